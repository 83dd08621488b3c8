"""The layout: many writers at once, writers that die, and content that is not what it says."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ocistate.errors import DigestMismatch, LimitExceeded, NotFound, StoreError
from ocistate.oci.local.layout import LayoutStore
from ocistate.oci.model import (
    EMPTY_CONFIG,
    INDEX,
    Manifest,
    build_index,
    build_manifest,
    describe,
    parse_index,
)
from ocistate.reference import Reference
from tests.support.command import ROOT

WRITER = """
import asyncio, sys
from ocistate.oci.local.layout import LayoutStore
from ocistate.oci.model import EMPTY_CONFIG, build_manifest, describe
from ocistate.reference import Reference

async def main(folder, name, count):
    store = LayoutStore(Reference(scheme="layout", registry="", repository=folder))
    await store.push_blob(EMPTY_CONFIG, b"{}")
    for number in range(count):
        layer = f"{name}-{number}".encode() * 1000
        descriptor = describe(layer, "text/plain")
        await store.push_blob(descriptor, layer)
        manifest = build_manifest(config=EMPTY_CONFIG, layers=(descriptor,))
        await store.push_manifest(manifest, f"{name}-{number}")
        print(number, flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def store_in(folder: Path) -> LayoutStore:
    return LayoutStore(Reference(scheme="layout", registry="", repository=str(folder)))


def writer(folder: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), name, str(count)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )


async def push(store: LayoutStore, text: bytes, tag: str) -> Manifest:
    layer = describe(text, "text/plain")
    await store.push_blob(EMPTY_CONFIG, b"{}")
    await store.push_blob(layer, text)
    manifest = build_manifest(config=EMPTY_CONFIG, layers=(layer,))
    await store.push_manifest(manifest, tag)
    return manifest


async def check_all(store: LayoutStore) -> list[str]:
    """Every tag leads to bytes that are right, or this raises."""
    tags = await store.tags()
    for tag in tags:
        manifest = await store.fetch_manifest(tag)
        assert isinstance(manifest, Manifest)
        for blob in (manifest.config, *manifest.layers):
            await store.fetch_blob(blob, limit=10**6)
    return tags


def test_ten_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    writers = [writer(tmp_path / "s", f"w{n}", 5) for n in range(10)]
    for process in writers:
        process.communicate()
        assert process.returncode == 0
    tags = asyncio.run(check_all(store_in(tmp_path / "s")))
    assert tags == sorted(f"w{n}-{m}" for n in range(10) for m in range(5))


def test_a_writer_that_is_killed_leaves_the_layout_whole(tmp_path: Path) -> None:
    for turn in range(5):
        process = writer(tmp_path / "s", f"k{turn}", 10_000)
        assert process.stdout is not None
        for _ in range(turn + 1):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        tags = asyncio.run(check_all(store_in(tmp_path / "s")))
        assert f"k{turn}-{turn}" in tags


def test_tasks_of_one_process_take_turns_without_waiting_for_ever(tmp_path: Path) -> None:
    async def together() -> list[str]:
        store = store_in(tmp_path / "s")
        async with asyncio.timeout(30):
            await asyncio.gather(*(push(store, str(n).encode(), f"t{n}") for n in range(20)))
        return await check_all(store)

    assert len(asyncio.run(together())) == 20


def test_content_that_was_changed_is_noticed(tmp_path: Path) -> None:
    store = store_in(tmp_path / "s")
    manifest = asyncio.run(push(store, b"content", "v1"))
    blob = tmp_path / "s" / "blobs" / "sha256" / manifest.layers[0].digest[7:]
    for wrong in (b"Content", b"contents", b"conten", b""):
        blob.write_bytes(wrong)
        with pytest.raises(DigestMismatch):
            asyncio.run(store.fetch_blob(manifest.layers[0], limit=100))
    blob.unlink()
    with pytest.raises(NotFound):
        asyncio.run(store.fetch_blob(manifest.layers[0], limit=100))
    body = tmp_path / "s" / "blobs" / "sha256" / manifest.descriptor.digest[7:]
    body.write_bytes(body.read_bytes() + b" ")
    with pytest.raises(DigestMismatch):
        asyncio.run(store.fetch_manifest("v1"))


def test_more_than_is_wanted_is_not_read(tmp_path: Path) -> None:
    store = store_in(tmp_path / "s")
    manifest = asyncio.run(push(store, b"content", "v1"))
    with pytest.raises(LimitExceeded):
        asyncio.run(store.fetch_blob(manifest.layers[0], limit=3))


def test_what_is_pushed_must_be_what_it_is_called(tmp_path: Path) -> None:
    store = store_in(tmp_path / "s")
    with pytest.raises(DigestMismatch):
        asyncio.run(store.push_blob(describe(b"one", "text/plain"), b"two"))
    assert list((tmp_path / "s" / "blobs" / "sha256").iterdir()) == []


def test_a_tag_moves_and_the_old_artifact_stays(tmp_path: Path) -> None:
    async def story() -> None:
        store = store_in(tmp_path / "s")
        old, new = await push(store, b"old", "v1"), await push(store, b"new", "v1")
        assert (await store.resolve("v1")).digest == new.descriptor.digest
        assert (await store.resolve(old.descriptor.digest)).digest == old.descriptor.digest
        await store.push_manifest(old, "v1")
        assert (await store.resolve("v1")).digest == old.descriptor.digest
        await store.delete("v1")
        assert await store.tags() == []
        with pytest.raises(NotFound):
            await store.resolve("v1")
        await store.delete(old.descriptor.digest)
        with pytest.raises(NotFound):
            await store.resolve(old.descriptor.digest)

    asyncio.run(story())


def test_a_folder_that_is_no_layout_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="not an OCI image layout"):
        asyncio.run(store_in(tmp_path / "nothing").resolve("v1"))
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(StoreError):
        asyncio.run(store_in(tmp_path).resolve("v1"))


def test_an_index_entry_of_another_tool_with_a_name_is_found_by_its_tag(tmp_path: Path) -> None:
    store = store_in(tmp_path / "s")
    asyncio.run(push(store, b"content", "v1"))
    path = tmp_path / "s" / "index.json"
    index = json.loads(path.read_text())
    name = "org.opencontainers.image.ref.name"
    index["manifests"][0]["annotations"][name] = "example.com/shop:v7"
    path.write_text(json.dumps(index))
    assert asyncio.run(store.tags()) == ["v7"]


async def refer(store: LayoutStore, subject: Manifest, text: bytes) -> Manifest:
    layer = describe(text, "text/plain")
    await store.push_blob(layer, text)
    made = build_manifest(
        config=EMPTY_CONFIG, layers=(layer,), artifact_type="text/plain",
        subject=subject.descriptor,
    )  # fmt: skip
    await store.push_blob(made.descriptor, made.raw)
    return made


def test_what_refers_is_found_in_indexes_inside_the_index(tmp_path: Path) -> None:
    async def story() -> None:
        store = store_in(tmp_path / "s")
        subject = await push(store, b"content", "v1")
        made = [await refer(store, subject, str(n).encode()) for n in range(2)]
        assert await store.referrers(subject.descriptor.digest) == []
        inner = build_index((made[0].descriptor,))
        outer = build_index((inner.descriptor, made[1].descriptor))
        await store.push_blob(inner.descriptor, inner.raw)
        await store.push_manifest(outer, "listing")
        found = await store.referrers(subject.descriptor.digest)
        assert {item.digest for item in found} == {item.descriptor.digest for item in made}
        for item in made:
            assert (await store.fetch_manifest(item.descriptor.digest)).raw == item.raw
        await store.delete("listing")
        await store.delete(outer.descriptor.digest)
        assert await store.referrers(subject.descriptor.digest) == []

    asyncio.run(story())


def test_what_has_no_tag_is_told_unless_it_belongs_to_something(tmp_path: Path) -> None:
    async def story() -> None:
        store = store_in(tmp_path)
        old = await push(store, b"old", "moves")
        new = await push(store, b"new", "moves")
        gone = build_manifest(config=EMPTY_CONFIG, layers=())
        orphan = await refer(store, gone, b"about what is gone")
        for made in (await refer(store, new, b"x"), await refer(store, old, b"y"), orphan):
            await store.push_manifest(made)
        part = build_manifest(config=EMPTY_CONFIG, layers=(), annotations={"x": "part"})
        await store.push_manifest(part)
        inner = build_index((part.descriptor,))
        await store.push_manifest(inner)
        await store.push_manifest(build_index((inner.descriptor,)), "nested")
        assert await store.untagged() == [], "all of it was written just now"
        for blob in (tmp_path / "blobs" / "sha256").iterdir():
            os.utime(blob, (0, 0))
        found = {item.digest for item in await store.untagged()}
        assert found == {old.descriptor.digest, orphan.descriptor.digest}

    asyncio.run(story())


def test_an_index_that_refers_to_an_artifact_is_listed(tmp_path: Path) -> None:
    async def story() -> None:
        store = store_in(tmp_path / "s")
        subject = await push(store, b"content", "v1")
        raw = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": INDEX,
                "artifactType": "text/index",
                "manifests": [],
                "subject": subject.descriptor.to_dict(),
            }
        ).encode()
        index = parse_index(raw)
        await store.push_manifest(index)
        (found,) = await store.referrers(subject.descriptor.digest, "text/index")
        assert found.digest == index.descriptor.digest

    asyncio.run(story())


def test_what_others_wrote_into_the_index_stays(tmp_path: Path) -> None:
    store = store_in(tmp_path / "s")
    asyncio.run(push(store, b"content", "v1"))
    path = tmp_path / "s" / "index.json"
    index = json.loads(path.read_text())
    index["annotations"] = {"com.example": "theirs"}
    index["manifests"][0]["platform"] = {"os": "linux", "architecture": "arm64"}
    index["manifests"][0]["annotations"]["io.containerd.image.name"] = "example.com/shop:v1"
    path.write_text(json.dumps(index))
    asyncio.run(push(store, b"more", "v2"))
    asyncio.run(push(store, b"content", "v3"))
    after = json.loads(path.read_text())
    assert after["annotations"] == {"com.example": "theirs"}
    theirs = [entry for entry in after["manifests"] if "platform" in entry]
    assert {entry["annotations"]["org.opencontainers.image.ref.name"] for entry in theirs} == {
        "v1", "v3",
    }  # fmt: skip
    assert all("io.containerd.image.name" in entry["annotations"] for entry in theirs)


def test_a_tag_that_is_none_is_passed_over(tmp_path: Path) -> None:
    store = store_in(tmp_path / "s")
    asyncio.run(push(store, b"content", "v1"))
    path = tmp_path / "s" / "index.json"
    path.write_text(path.read_text().replace('"v1"', '"../../v1"'))
    assert asyncio.run(store.tags()) == []


STREAMER = """
import asyncio, sys
from ocistate.oci.local.layout import LayoutStore
from ocistate.oci.model import Descriptor
from ocistate.reference import Reference

async def pieces():
    for number in range(10**6):
        yield bytes(100_000)
        if number == 20:
            print("half", flush=True)
        await asyncio.sleep(0 if number < 20 else 0.05)

async def main(folder):
    store = LayoutStore(Reference(scheme="layout", registry="", repository=folder))
    blob = Descriptor(media_type="x", digest="sha256:" + "0" * 64, size=10**11)
    await store.push_blob(blob, pieces)

asyncio.run(main(sys.argv[1]))
"""


def test_a_writer_killed_within_a_blob_leaves_no_blob_and_its_rest_is_swept(tmp_path: Path) -> None:
    store = store_in(tmp_path / "s")
    asyncio.run(push(store, b"content", "v1"))
    process = subprocess.Popen(
        [sys.executable, "-c", STREAMER, str(tmp_path / "s")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    blobs = tmp_path / "s" / "blobs" / "sha256"
    assert not (blobs / ("0" * 64)).exists()
    (torn,) = blobs.glob(".tmp-*")
    assert asyncio.run(store.sweep()) == 0, "what is young may be someone's who is still writing"
    os.utime(torn, (0, 0))
    assert asyncio.run(store.sweep()) > 0
    assert not torn.exists()
    assert asyncio.run(check_all(store)) == ["v1"]
