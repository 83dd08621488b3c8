"""Blobs on bad lines: taken up again, in chunks where asked, never sent in vain."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ocistate.errors import DigestMismatch, ProtocolError, Unavailable
from ocistate.oci import StoreOptions
from ocistate.oci.model import EMPTY_CONFIG, build_manifest, describe
from ocistate.oci.registry.store import RegistryStore
from ocistate.oci.source import BlobSource
from ocistate.reference import parse_reference
from testbed.registries import Distribution
from testbed.registries import Registry as RealRegistry
from tests.support.fakes.faulty_registry import Fault, Handler, Registry, behaves, on, once

MB = 1024 * 1024
SIZE = 20 * MB + 7


def meet(
    fault: Fault,
    upstream: RealRegistry,
    story: Callable[[RegistryStore], Awaitable[None]],
    *,
    silence: float = 5.0,
) -> Registry:
    """Run a story against a registry with a fault; what it was asked is in what comes back."""
    name = os.urandom(8).hex()

    async def main() -> None:
        options = StoreOptions(silence=silence, whole=60.0)
        async with RegistryStore(parse_reference(f"{registry.host}/{name}/x"), options) as store:
            store._http.sleep = lambda seconds: asyncio.sleep(seconds / 20)
            await story(store)

    with Registry(fault, upstream.host) as registry:
        asyncio.run(main())
    return registry


def pushes(
    content: bytes, source: BlobSource | None = None
) -> Callable[[RegistryStore], Awaitable[None]]:
    async def story(store: RegistryStore) -> None:
        blob = describe(content, "application/octet-stream")
        assert await store.push_blob(blob, content if source is None else source)
        assert await store.fetch_blob(blob, limit=blob.size) == content

    return story


@pytest.fixture
def content() -> bytes:
    """Another blob for each test: registries share blobs between repositories."""
    return os.urandom(SIZE)


@pytest.fixture(params=["bytes", "file", "stream"])
def source(request: pytest.FixtureRequest, tmp_path: Path, content: bytes) -> BlobSource:
    if request.param == "bytes":
        return content
    if request.param == "file":
        (tmp_path / "blob").write_bytes(content)
        return tmp_path / "blob"

    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 300_000):
            yield content[start : start + 300_000]

    return stream


def test_a_blob_goes_in_one_request(
    any_registry: RealRegistry, source: BlobSource, content: bytes
) -> None:
    seen = meet(behaves, any_registry, pushes(content, source))
    assert seen.methods == ["HEAD", "POST", "PUT", "GET"]


def test_an_interrupted_upload_resumes(
    distribution: Distribution, source: BlobSource, content: bytes
) -> None:
    cut = once(on("", lambda h: h.break_off(5 * MB), "PUT"))
    seen = meet(cut, distribution, pushes(content, source))
    # The registry says how much it has got; never again is that sent.
    first = int(seen.handler.ranges[0].partition("-")[0])
    assert 0 < first <= 5 * MB
    assert seen.methods.count("POST") == 1


def test_only_an_interrupted_chunk_is_sent_again(
    distribution: Distribution, content: bytes
) -> None:
    refused = once(on("", lambda h: h.answer(status=413), "PUT"))
    cut = once(on("", lambda h: h.break_off(MB), "PATCH"))
    seen = meet(lambda h: refused(h) or cut(h), distribution, pushes(content))
    assert seen.methods.count("POST") == 1
    assert seen.handler.ranges[-1].endswith(f"-{SIZE - 1}")


def test_a_blob_too_large_for_one_request_goes_in_chunks(
    any_registry: RealRegistry, content: bytes
) -> None:
    refused = once(on("", lambda h: h.answer(status=413), "PUT"))
    seen = meet(refused, any_registry, pushes(content))
    assert seen.handler.ranges == [f"0-{16 * MB - 1}", f"{16 * MB}-{SIZE - 1}"]


def test_chunks_are_not_smaller_than_the_registry_asks_for(
    distribution: Distribution, content: bytes
) -> None:
    def least(handler: Handler) -> bool:
        if handler.command != "POST":
            return handler.command == "PUT" and first(handler)
        sent = handler.send_header

        def more(keyword: str, value: str) -> None:
            sent(keyword, value)
            if keyword == "Location":
                sent("OCI-Chunk-Min-Length", str(18 * MB))

        handler.send_header = more  # type: ignore[method-assign]
        return False

    first = once(lambda h: h.answer(status=413))
    seen = meet(least, distribution, pushes(content))
    assert seen.handler.ranges == [f"0-{18 * MB - 1}", f"{18 * MB}-{SIZE - 1}"]


def test_chunks_larger_than_we_hold_are_refused(distribution: Distribution, content: bytes) -> None:
    where = {"Location": "/v2/x/y", "OCI-Chunk-Min-Length": str(10**12)}
    greedy = on("", lambda h: h.answer(status=202, headers=where), "POST")
    with pytest.raises(ProtocolError, match="chunks of at least"):
        meet(greedy, distribution, pushes(content))


def test_an_upload_unknown_to_the_registry_starts_again(
    distribution: Distribution, content: bytes
) -> None:
    cut = once(on("", lambda h: h.break_off(5 * MB), "PUT"))
    forgotten = once(on("/uploads/", lambda h: h.answer(status=404), "GET"))
    seen = meet(lambda h: cut(h) or forgotten(h), distribution, pushes(content))
    assert seen.methods.count("POST") == 2
    assert seen.handler.ranges[0].startswith("0-")


def ends(handler: Handler) -> None:
    """What is sent is all there is."""


def resets(handler: Handler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def falls_silent(handler: Handler) -> None:
    time.sleep(3)


@pytest.mark.parametrize("end", [ends, resets, falls_silent])
def test_an_interrupted_download_resumes(
    end: Callable[[Handler], None], distribution: Distribution, content: bytes
) -> None:
    blob = describe(content, "application/octet-stream")

    def cut(handler: Handler) -> bool:
        handler.answer(content[: 12 * MB], length=len(content))
        handler.wfile.flush()
        end(handler)
        return True

    async def story(store: RegistryStore) -> None:
        await store.push_blob(blob, content)
        pieces = [piece async for piece in store.stream_blob(blob)]
        assert b"".join(pieces) == content
        # The connection of a large body ends with it; there are others.
        assert await store.has_blob(blob)

    registry = meet(once(on("/blobs/sha256", cut, "GET")), distribution, story, silence=2.0)
    assert registry.methods.count("GET") > 1


def test_an_upload_that_keeps_failing_ends_with_an_error(
    distribution: Distribution, content: bytes
) -> None:
    always = on("/uploads/", lambda h: h.answer(status=503), "PUT")
    with pytest.raises(Unavailable, match="503"):
        meet(always, distribution, pushes(content[: 2 * MB]))


def test_a_file_shorter_than_its_descriptor_is_reported(
    distribution: Distribution, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "blob").write_bytes(content[:MB])
    with pytest.raises(DigestMismatch, match="too early"):
        meet(behaves, distribution, pushes(content, tmp_path / "blob"))


def test_a_small_blob_takes_one_request_where_the_registry_takes_it(
    referrers_registry: RealRegistry, content: bytes
) -> None:
    seen = meet(behaves, referrers_registry, pushes(content[:100]))
    assert seen.methods == ["HEAD", "POST", "GET"]


def test_a_registry_that_refuses_single_request_uploads_is_tried_once(
    distribution: Distribution,
) -> None:
    async def story(store: RegistryStore) -> None:
        for number in range(3):
            text = f"{number}".encode()
            await store.push_blob(describe(text, "text/plain"), text)

    seen = meet(behaves, distribution, story)
    tried = [path for method, path, _ in seen.handler.requests if method == "POST"]
    assert ["digest=" in path for path in tried] == [True, False, False]


def test_concurrent_blob_transfers_are_limited(distribution: Distribution) -> None:
    under_way, most = 0, 0
    full = asyncio.Event()

    async def stream() -> AsyncIterator[bytes]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == StoreOptions().transfers:
            full.set()
        await full.wait()
        under_way -= 1
        yield b"content"

    async def story(store: RegistryStore) -> None:
        blob = describe(b"content", "text/plain")
        await asyncio.gather(*(store._uploader.upload(blob, stream, doing="x") for _ in range(20)))

    meet(behaves, distribution, story)
    assert most == StoreOptions().transfers


def test_an_unchanged_tag_costs_one_head(any_registry: RealRegistry) -> None:
    manifest = build_manifest(config=EMPTY_CONFIG, layers=(EMPTY_CONFIG,))

    async def story(store: RegistryStore) -> None:
        await store.push_blob(EMPTY_CONFIG, b"{}")
        await store.push_manifest(manifest, "v1")
        for _ in range(5):
            assert (await store.resolve("v1")).digest == manifest.descriptor.digest

    seen = meet(behaves, any_registry, story)
    polls = [r[0] for r in seen.handler.requests if r[1].endswith("/manifests/v1")]
    assert polls == ["PUT", "HEAD", "HEAD", "HEAD", "HEAD", "HEAD"]
    assert seen.methods[-5:] == ["HEAD"] * 5


def test_a_blob_is_mounted_from_another_repository_of_the_registry(
    any_registry: RealRegistry, content: bytes
) -> None:
    blob = describe(content, "application/octet-stream")
    name = f"{any_registry.host}/{os.urandom(8).hex()}"

    async def main() -> bool:
        async with (
            RegistryStore(parse_reference(f"{name}/origin"), StoreOptions()) as origin,
            RegistryStore(parse_reference(f"{name}/copy"), StoreOptions()) as store,
        ):
            await origin.push_blob(blob, content)
            mounted = await store.mount_blob(blob, origin.reference)
            await store.push_blob(blob, content)
            assert await store.fetch_blob(blob, limit=SIZE) == content
            absent = describe(b"absent", "text/plain")
            assert not await store.mount_blob(absent, origin.reference)
            assert not await store.mount_blob(blob, parse_reference("registry.example.com/a"))
            return mounted

    # go-containerregistry's registry shares its blobs anyway, and begins an upload instead.
    assert asyncio.run(main()) == (any_registry.kind == "distribution")
