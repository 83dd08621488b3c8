"""The copies on disk: what is rotten is never used, and never in the way of a whole one."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ocistate.agent.reconcile.cache import ContentCache, limits_of_memory
from ocistate.oci import open_store
from ocistate.ops.artifact.fetch import Content, fetch_manifest
from ocistate.reference import parse_reference
from tests.support.factories.keys import Key
from tests.support.factories.stacks import Publisher, config_map


class Disk:
    """A registry with one artifact, and a cache of it."""

    def __init__(self, registry: str, digest: str, root: Path) -> None:
        self.registry, self.digest = registry, digest
        self.cache = ContentCache(root / "cache")

    def keep(self) -> str:
        async def keep() -> str:
            async with open_store(parse_reference(self.registry)) as store:
                return await self.cache.keep(store, await fetch_manifest(store, self.digest))

        return asyncio.run(keep())

    def load(self) -> Content | None:
        return asyncio.run(self.cache.load(self.digest))

    @property
    def files(self) -> list[Path]:
        """What is read of the copy."""
        root = self.cache.root / self.digest[7:]
        found = [path for path in sorted(root.rglob("*")) if path.is_file()]
        return [path for path in found if path.name not in (".lock", "oci-layout")]


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A repository and the digest in it."""
    publisher = Publisher(f"layout:{tmp_path_factory.mktemp('registry')}", Key.make())
    return publisher.reference, publisher.push([config_map("app", v="1")])


@pytest.fixture
def disk(pushed: tuple[str, str], tmp_path: Path) -> Disk:
    disk = Disk(*pushed, tmp_path)
    assert disk.keep() == ""
    assert len(disk.files) == 4, "index, manifest, config, layer"
    return disk


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x01
    path.write_bytes(data)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def bloat(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


def scramble(path: Path) -> None:
    path.write_bytes(b"\xff" * path.stat().st_size)


def turn_into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(
    "harm", [flip, halve, empty, bloat, scramble, Path.unlink, turn_into_a_folder]
)
def test_a_damaged_copy_is_either_whole_or_none_and_is_made_anew(
    disk: Disk, harm: Callable[[Path], None], number: int
) -> None:
    whole = disk.load()
    assert whole is not None
    harm(disk.files[number])

    # In the index not every bit counts; what the digests cover does.
    assert disk.load() in (None, whole) if number == 3 else disk.load() is None

    assert disk.keep() == ""
    assert disk.load() == whole


def test_a_copy_without_an_index_does_not_leave_its_rot_to_the_next(disk: Disk) -> None:
    whole = disk.load()
    for path in disk.files:
        if path.name == "index.json":
            path.unlink()
        else:
            path.chmod(0o644)
            flip(path)

    assert disk.load() is None
    assert disk.keep() == ""
    assert disk.load() == whole


def test_what_is_fetched_is_kept_and_what_can_not_be_kept_is_fetched_all_the_same(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = disk.load()

    def fetch() -> tuple[Content, str]:
        async def fetch() -> tuple[Content, str]:
            async with open_store(parse_reference(disk.registry)) as store:
                return await disk.cache.fetch(store, disk.digest)

        return asyncio.run(fetch())

    assert fetch() == (whole, "")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    content, trouble = fetch()
    assert content == whole
    assert "No space left" in trouble
    assert disk.load() is None


def test_without_room_nothing_is_left_and_the_reason_is_told(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(disk.cache.root)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
        assert "No space left" in disk.keep()
    assert disk.files == []
    assert disk.load() is None

    assert disk.keep() == ""
    assert disk.load() is not None


def test_a_file_in_the_place_of_the_copies_is_told(disk: Disk) -> None:
    shutil.rmtree(disk.cache.root)
    disk.cache.root.write_text("")

    trouble = disk.keep()

    assert str(disk.cache.root) in trouble
    assert disk.load() is None


def test_files_that_were_let_go_are_unpacked_again(disk: Disk) -> None:
    content = disk.load()
    assert content is not None
    files, resources = dict(content.files), content.resources()
    content.rest()
    assert content._files is None
    assert dict(content.files) == files
    assert content.resources() == resources


@pytest.mark.parametrize(
    ("memory", "file_bytes"),
    [("536870912\n", 64 << 20), ("max\n", 256 << 20), (str(64 << 30), 256 << 20)],
)
def test_the_agents_memory_bounds_what_a_file_may_have(
    tmp_path: Path, memory: str, file_bytes: int
) -> None:
    (tmp_path / "memory.max").write_text(memory)
    assert limits_of_memory(tmp_path / "memory.max").file_bytes == file_bytes
    assert limits_of_memory(tmp_path / "nothing").file_bytes == 256 << 20
