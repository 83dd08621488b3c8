"""What is in the way of a file: links, FIFOs and devices, wherever files of others are read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ocistate.agent.targets.folder import OwnedFolder
from ocistate.canonical import digest_of
from ocistate.errors import InputError, OcistateError, StoreError
from ocistate.nofollow import folder_below, open_below, open_regular
from ocistate.oci import open_store
from ocistate.oci.local.layout import LayoutStore
from ocistate.oci.model import Descriptor
from ocistate.ops.artifact.collect import collect
from ocistate.reference import parse_reference

Plant = Callable[[Path], None]

SPECIAL: dict[str, Plant] = {
    "fifo": lambda path: os.mkfifo(path),
    "link to zeros": lambda path: path.symlink_to("/dev/zero"),
    "link to a terminal": lambda path: path.symlink_to("/dev/tty"),
    "folder": lambda path: path.mkdir(),
}


@pytest.fixture(params=sorted(SPECIAL))
def plant(request: pytest.FixtureRequest) -> Plant:
    return SPECIAL[request.param]


def test_only_regular_files_are_opened(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path / "x")
    with pytest.raises(OSError):  # noqa: PT011 - which one, the system says
        open_regular(tmp_path / "x")
    with pytest.raises(OSError):  # noqa: PT011
        open_below(tmp_path, "x")


def test_no_link_on_the_way_is_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    (outside / "a").mkdir(parents=True)
    (outside / "a" / "f").write_text("secret")
    inside.mkdir()
    (inside / "a").symlink_to(outside / "a")
    (inside / "f").symlink_to(outside / "a" / "f")
    for path in ("a/f", "f"):
        with pytest.raises(OSError):  # noqa: PT011
            open_below(inside, path)
    with pytest.raises(OSError), folder_below(inside, "a/b/c", make=True):  # noqa: PT011
        pass
    assert not (outside / "a" / "b").exists()
    (tmp_path / "link").symlink_to(outside)  # the folder itself is the user's to name
    with open_below(tmp_path / "link", "a/f") as stream:
        assert stream.read() == b"secret"


CONTENT = b"content"
BLOB = Descriptor(
    media_type="application/octet-stream", digest=digest_of(CONTENT), size=len(CONTENT)
)


def _layout(root: Path) -> tuple[LayoutStore, Path]:
    store = LayoutStore(parse_reference(f"layout:{root}"))
    asyncio.run(store.push_blob(BLOB, CONTENT))
    return store, root / "blobs" / "sha256" / BLOB.digest.removeprefix("sha256:")


def test_a_layout_reads_no_blob_that_is_not_a_regular_file(tmp_path: Path, plant: Plant) -> None:
    store, blob = _layout(tmp_path)
    blob.unlink()
    plant(blob)
    assert not asyncio.run(store.has_blob(BLOB))
    with pytest.raises(StoreError):
        asyncio.run(store.fetch_blob(BLOB, limit=100))
    with pytest.raises(StoreError):
        asyncio.run(_drain(store))


async def _drain(store: LayoutStore) -> None:
    async for _ in store.stream_blob(BLOB):
        pass


def test_a_layout_reads_no_index_that_is_not_a_regular_file(tmp_path: Path, plant: Plant) -> None:
    store, _ = _layout(tmp_path)
    plant(tmp_path / "index.json")
    with pytest.raises(OcistateError):
        asyncio.run(store.tags())


@pytest.mark.parametrize("where", ["blobs", "blobs/sha256"])
def test_a_layout_writes_through_no_link(tmp_path: Path, where: str) -> None:
    root, outside = tmp_path / "store", tmp_path / "outside"
    outside.mkdir()
    link = root / where
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    store = LayoutStore(parse_reference(f"layout:{root}"))
    with pytest.raises(StoreError):
        asyncio.run(store.push_blob(BLOB, CONTENT))
    assert list(outside.iterdir()) == []


def test_an_archive_is_a_regular_file(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path / "x.tar")
    store = open_store(parse_reference(f"archive:{tmp_path}/x.tar"))
    with pytest.raises(StoreError):
        asyncio.run(store.resolve("v1"))


def test_what_is_pushed_is_a_regular_file(tmp_path: Path, plant: Plant) -> None:
    if plant is SPECIAL["folder"]:
        return
    (tmp_path / "m").mkdir()
    plant(tmp_path / "m" / "x.yaml")
    for inputs in ([str(tmp_path / "m" / "x.yaml")], [str(tmp_path / "m")]):
        with pytest.raises((InputError, OcistateError)):
            collect(inputs)


def _target(root: Path) -> OwnedFolder:
    return OwnedFolder(root / "out", root / "record.json")


@pytest.mark.parametrize("prune", ["apply", "remove"])
@pytest.mark.parametrize("depth", ["sub", "sub/deep"])
def test_pruning_a_folder_follows_no_link_out_of_it(tmp_path: Path, prune: str, depth: str) -> None:
    files = {"a.yaml": b"a", "sub/deep/b.yaml": b"b"}
    made = _target(tmp_path)
    made.apply(files)
    outside = tmp_path / "outside"
    (tmp_path / "out" / depth).rename(outside)
    (tmp_path / "out" / depth).symlink_to(outside)
    kept = sorted(path.name for path in outside.rglob("*"))
    if prune == "apply":
        made.apply({"a.yaml": b"a"})
    else:
        made.remove()
    assert sorted(path.name for path in outside.rglob("*")) == kept
    assert (tmp_path / "out" / depth).is_symlink()


def test_a_fifo_in_the_place_of_our_file_is_put_right(tmp_path: Path, plant: Plant) -> None:
    if plant is SPECIAL["folder"]:
        return
    made = _target(tmp_path)
    made.apply({"sub/a.yaml": b"a"})
    path = tmp_path / "out" / "sub" / "a.yaml"
    path.unlink()
    plant(path)
    made.apply({"sub/a.yaml": b"a"})
    assert path.read_bytes() == b"a"
    assert not path.is_symlink()
