"""Mirrors: what has a digest comes from any of them, a tag from the first alone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from ocistate.errors import DigestMismatch, NotFound, Unavailable
from ocistate.oci import Mirror, StoreOptions, open_store
from ocistate.oci.mirrors import MirroredStore
from ocistate.oci.model import (
    MANIFEST,
    describe,
)  # fmt: skip
from ocistate.oci.registry.store import RegistryStore
from ocistate.reference import parse_reference
from testbed.registries import Distribution, ReferrersRegistry
from tests.support.command import ocistate
from tests.support.factories.artifacts import put
from tests.support.fakes.faulty_registry import Registry, on

MB = 1024 * 1024
QUICK = StoreOptions(silence=3.0, whole=10.0)


def hurry(store: MirroredStore) -> None:
    """Without the pauses between two attempts."""
    first = store.stores[0]
    assert isinstance(first, RegistryStore)
    first._http.sleep = lambda seconds: asyncio.sleep(0)


def name(registry: Distribution | ReferrersRegistry | Registry) -> str:
    return f"{registry.host}/{os.urandom(8).hex()}"


def test_content_missing_in_the_registry_is_read_from_a_mirror(
    distribution: Distribution, referrers_registry: ReferrersRegistry
) -> None:
    first, second = (parse_reference(name(r)) for r in (distribution, referrers_registry))

    async def story() -> None:
        async with open_store(second) as mirror:
            made = await put(mirror, b"content", "v1")
            signature = await put(mirror, b"signed", subject=made.descriptor)
        async with open_store(first, QUICK, [Mirror(reference=second)]) as store:
            digest = made.descriptor.digest
            assert store.reference == first
            assert (await store.resolve(digest)).digest == digest
            assert (await store.fetch_manifest(digest)).raw == made.raw
            assert await store.fetch_blob(made.layers[0], limit=100) == b"content"
            (found,) = await store.referrers(digest)
            assert found.digest == signature.descriptor.digest
            # The mirror's tag is not believed.
            with pytest.raises(NotFound):
                await store.resolve("v1")
            with pytest.raises(NotFound):
                await store.fetch_manifest("v1")
            absent = describe(b"absent", "text/plain")
            with pytest.raises(NotFound, match="the others"):
                await store.fetch_blob(absent, limit=100)
            # What is written goes to the first.
            await put(store, b"new", "v2")
        async with open_store(first) as alone:
            assert await alone.tags() == ["v2"]

    asyncio.run(story())


def test_mirrors_serve_all_but_the_tag_while_the_registry_is_down(
    referrers_registry: ReferrersRegistry,
) -> None:
    second = parse_reference(name(referrers_registry))
    with Registry(lambda h: False, "127.0.0.1:1") as gone:
        pass  # nothing listens there any more
    first = parse_reference(f"{gone.host}/x")

    async def story() -> None:
        async with open_store(second) as mirror:
            made = await put(mirror, b"content", "v1")
        async with open_store(first, QUICK, [Mirror(reference=second)]) as store:
            assert isinstance(store, MirroredStore)
            hurry(store)
            digest = made.descriptor.digest
            assert (await store.fetch_manifest(digest)).raw == made.raw
            # From now on the mirror is asked first.
            assert next(iter(store._in_order())).reference == second
            assert await store.fetch_blob(made.layers[0], limit=100) == b"content"
            assert await store.referrers(digest) == []
            with pytest.raises(Unavailable):
                await store.resolve("v1")

    asyncio.run(story())


def test_an_interrupted_blob_download_resumes_from_the_mirror(distribution: Distribution) -> None:
    content = os.urandom(5 * MB)
    blob = describe(content, "application/octet-stream")
    half = on("/blobs/", lambda h: h.answer(content[: 3 * MB], length=len(content)), "GET")
    wrong = on("/blobs/", lambda h: h.answer(bytes(3 * MB), length=len(content)), "GET")
    second = parse_reference(name(distribution))

    async def fetch(first: str) -> bytes:
        async with open_store(second) as mirror:
            await mirror.push_blob(blob, content)
        reference = parse_reference(first)
        async with open_store(reference, QUICK, [Mirror(reference=second)]) as store:
            assert isinstance(store, MirroredStore)
            hurry(store)
            return b"".join([piece async for piece in store.stream_blob(blob)])

    with Registry(half, distribution.host) as broken:
        assert asyncio.run(fetch(name(broken))) == content
    # What was given out cannot be taken back: then the whole is no good.
    with Registry(wrong, distribution.host) as lying, pytest.raises((Unavailable, DigestMismatch)):
        asyncio.run(fetch(name(lying)))


def test_a_mirror_with_another_manifest_under_the_digest_is_skipped(
    distribution: Distribution,
) -> None:
    second = parse_reference(name(distribution))
    lie = on("/manifests/", lambda h: h.answer(b"{}", kind=MANIFEST), "GET")

    async def story() -> None:
        async with open_store(second) as mirror:
            made = await put(mirror, b"content")
        first = parse_reference(name(lying))
        async with open_store(first, QUICK, [Mirror(reference=second)]) as store:
            assert (await store.fetch_manifest(made.descriptor.digest)).raw == made.raw

    with Registry(lie, distribution.host) as lying:
        asyncio.run(story())


def test_the_command_line_names_mirrors(
    distribution: Distribution, referrers_registry: ReferrersRegistry, tmp_path: Path
) -> None:
    (tmp_path / "m.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\n"
    )
    first, second = name(distribution), name(referrers_registry)
    pushed = ocistate("push", tmp_path / "m.yaml", f"{second}:v1").line
    digest = pushed.partition("@")[2]
    missing = ocistate("pull", f"{first}@{digest}", "-o", tmp_path / "out", check=False)
    assert missing.code == 11
    done = ocistate("pull", f"{first}@{digest}", "-o", tmp_path / "out", "--mirror", second)
    assert done.line == f"{first}@{digest}"
    assert (tmp_path / "out" / "m.yaml").exists()
    tag = ocistate("pull", f"{first}:v1", "-o", tmp_path / "no", "--mirror", second, check=False)
    assert tag.code == 11
    wrong = ocistate(
        "pull", f"{first}:v1", "-o", tmp_path / "no", "--mirror", f"{second}:v1", check=False
    )
    assert wrong.code == 2
