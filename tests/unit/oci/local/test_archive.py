"""The archive: written in one step, the same bytes each time, and read without trust."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from ocistate.errors import Conflict, DigestMismatch, NotFound, ProtocolError, StoreError
from ocistate.oci.local.archive import ArchiveStore
from ocistate.oci.model import Manifest, describe
from ocistate.reference import Reference
from tests.support.command import ROOT
from tests.support.factories.artifacts import put


def archive(path: Path) -> ArchiveStore:
    return ArchiveStore(Reference(scheme="archive", registry="", repository=str(path)))


def write(path: Path, *texts: bytes) -> list[Manifest]:
    """An archive of artifacts, tagged by their texts, each with something that refers to it."""

    async def story() -> list[Manifest]:
        async with archive(path) as store:
            made = [await put(store, text, text.decode()) for text in texts]
            for manifest in made:
                await put(store, b"about it", subject=manifest.descriptor)
            return made

    return asyncio.run(story())


def names_in(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    (made,) = write(tmp_path / "a.tar", b"one")

    async def story() -> None:
        async with archive(tmp_path / "a.tar") as store:
            assert await store.tags() == ["one"]
            assert (await store.fetch_manifest("one")).raw == made.raw
            assert await store.fetch_blob(made.layers[0], limit=10) == b"one"
            assert len(await store.referrers(made.descriptor.digest)) == 1

    asyncio.run(story())
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_the_same_content_makes_the_same_bytes_in_whatever_order_it_came(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", b"one", b"two", b"three")
    write(tmp_path / "b.tar", b"three", b"one", b"two")
    write(tmp_path / "c.tar", b"two")
    write(tmp_path / "c.tar", b"one", b"three")
    first = (tmp_path / "a.tar").read_bytes()
    assert first == (tmp_path / "b.tar").read_bytes()
    assert first == (tmp_path / "c.tar").read_bytes()


def test_only_what_the_index_needs_is_kept(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a.tar", b"one", b"two")

    async def story() -> None:
        async with archive(tmp_path / "a.tar") as store:
            for item in await store.referrers(one.descriptor.digest):
                await store.delete(item.digest)
            await store.delete(one.descriptor.digest)
            with pytest.raises(NotFound):
                await store.resolve(one.descriptor.digest)

    asyncio.run(story())
    names = names_in(tmp_path / "a.tar")
    assert f"blobs/sha256/{one.layers[0].digest[7:]}" not in names
    assert f"blobs/sha256/{two.layers[0].digest[7:]}" in names


def test_an_error_leaves_the_file_as_it_was_and_the_next_try_goes_on(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", b"one")
    before = (tmp_path / "a.tar").read_bytes()
    large = b"large" * 1000
    blob = describe(large, "text/plain")

    async def broken() -> None:
        async with archive(tmp_path / "a.tar") as store:
            await put(store, b"two", "two")
            await store.push_blob(blob, large)
            raise StoreError("the registry went away")

    async def again() -> bool:
        async with archive(tmp_path / "a.tar") as store:
            with pytest.raises(NotFound):
                await store.resolve("two")
            await put(store, b"three", "three")
            return await store.push_blob(blob, large)

    with pytest.raises(StoreError, match="went away"):
        asyncio.run(broken())
    assert (tmp_path / "a.tar").read_bytes() == before
    assert asyncio.run(again()) is False, "what came before the error is not asked for again"
    write(tmp_path / "b.tar", b"one")
    asyncio.run(again_without(tmp_path / "b.tar"))
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


async def again_without(path: Path) -> None:
    async with archive(path) as store:
        await put(store, b"three", "three")


def test_nothing_new_leaves_the_file_alone(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", b"one")
    before = (tmp_path / "a.tar").stat()
    write(tmp_path / "a.tar", b"one")
    assert (tmp_path / "a.tar").stat().st_ino == before.st_ino


def test_the_second_of_two_writers_is_told_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with archive(tmp_path / "a.tar") as first:
            await put(first, b"one", "one")
            with pytest.raises(Conflict, match="another process is writing"):
                await put(archive(tmp_path / "a.tar"), b"two", "two")

    asyncio.run(story())
    assert (tmp_path / "a.tar").exists()


WRITER = """
import asyncio, sys
from ocistate.oci.local.archive import ArchiveStore
from ocistate.oci.model import EMPTY_CONFIG, build_manifest, describe
from ocistate.reference import Reference

async def main(path):
    for number in range(10_000):
        store = ArchiveStore(Reference(scheme="archive", registry="", repository=path))
        async with store:
            layer = bytes([number % 256]) * 300_000 + str(number).encode()
            descriptor = describe(layer, "text/plain")
            await store.push_blob(EMPTY_CONFIG, b"{}")
            await store.push_blob(descriptor, layer)
            manifest = build_manifest(config=EMPTY_CONFIG, layers=(descriptor,))
            await store.push_manifest(manifest, f"t{number}")
        print(number, flush=True)

asyncio.run(main(sys.argv[1]))
"""


def test_a_writer_that_is_killed_leaves_the_archive_before_or_after(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    for turn in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        for _ in range(turn + 2):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()

        async def check() -> list[str]:
            async with archive(path) as store:
                tags = await store.tags()
                for tag in tags:
                    manifest = await store.fetch_manifest(tag)
                    assert isinstance(manifest, Manifest)
                    await store.fetch_blob(manifest.layers[0], limit=10**6)
                return tags

        assert f"t{turn + 1}" in asyncio.run(check())
    write(path, b"last")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tar"]


def tar_of(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def link_tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("index.json")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    return stream.getvalue()


INDEX = json.dumps({"schemaVersion": 2, "manifests": []}).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "ends too early", id="empty"),
        pytest.param(b"x" * 2000, "not an OCI archive", id="no tar"),
        pytest.param(gzip.compress(tar_of(("index.json", INDEX))), "gunzip", id="compressed"),
        pytest.param(tar_of(("manifest.json", b"[]")), "no index.json", id="docker save"),
        pytest.param(tar_of(("index.json", INDEX), ("./index.json", INDEX)), "twice", id="twice"),
        pytest.param(link_tar(), "as a link", id="a link"),
        pytest.param(tar_of(("index.json", b"{")), "not valid JSON", id="broken index"),
        pytest.param(tar_of(("index.json", INDEX))[:600], "ends too early", id="cut"),
    ],
)
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    for story in (read_tags, add_something):
        with pytest.raises(ProtocolError) as caught:
            asyncio.run(story(path))
        assert message in str(caught.value)
    assert path.read_bytes() == content


async def read_tags(path: Path) -> Sequence[str]:
    async with archive(path) as store:
        return await store.tags()


async def add_something(path: Path) -> None:
    async with archive(path) as store:
        await put(store, b"more", "more")


def test_a_file_that_is_not_there_is_said_not_to_be(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        asyncio.run(read_tags(tmp_path / "a.tar"))


def test_a_blob_that_was_changed_in_the_archive_is_noticed(tmp_path: Path) -> None:
    (made,) = write(tmp_path / "a.tar", b"content")
    path = tmp_path / "a.tar"
    path.write_bytes(path.read_bytes().replace(b"content", b"Content"))

    async def story() -> None:
        async with archive(path) as store:
            await store.fetch_blob(made.layers[0], limit=100)

    with pytest.raises(DigestMismatch):
        asyncio.run(story())


def test_who_has_an_archive_open_sees_that_it_was_replaced(tmp_path: Path) -> None:
    async def story() -> None:
        async with archive(tmp_path / "a.tar") as reader:
            for text in (b"one", b"two"):
                async with archive(tmp_path / "a.tar") as writer:
                    made = await put(writer, text, "v1")
                assert (await reader.resolve("v1")).digest == made.descriptor.digest
                assert await reader.fetch_blob(made.layers[0], limit=10) == text

    asyncio.run(story())


def test_an_archive_that_tar_packed_from_a_layout_is_read(tmp_path: Path) -> None:
    (made,) = write(tmp_path / "a.tar", b"one")
    with tarfile.open(tmp_path / "a.tar") as tar:
        tar.extractall(tmp_path / "layout", filter="data")
    subprocess.run(["tar", "-C", tmp_path / "layout", "-cf", tmp_path / "b.tar", "."], check=True)

    async def story() -> bytes:
        async with archive(tmp_path / "b.tar") as store:
            return (await store.fetch_manifest("one")).raw

    assert asyncio.run(story()) == made.raw
