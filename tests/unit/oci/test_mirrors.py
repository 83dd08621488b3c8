"""Mirrors: which store is asked for what, and in which order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from ocistate.errors import Conflict, NotFound, StoreError, TrustError, Unavailable
from ocistate.oci.local.layout import LayoutStore
from ocistate.oci.mirrors import MirroredStore, ask_any, ask_replicas
from ocistate.oci.model import EMPTY_CONFIG, Descriptor, build_manifest, describe
from ocistate.oci.store import Store
from ocistate.reference import Reference
from tests.support.loop import in_loop

BLOB = describe(b"0123456789", "text/plain")
MANIFEST = build_manifest(config=EMPTY_CONFIG, layers=(BLOB,))


async def layout(folder: Path, *tags: str, full: bool = True) -> LayoutStore:
    store = LayoutStore(Reference(scheme="layout", registry="", repository=str(folder)))
    await store.push_blob(EMPTY_CONFIG, b"{}")
    if full:
        await store.push_blob(BLOB, b"0123456789")
        await store.push_manifest(MANIFEST)
        for tag in tags:
            await store.push_manifest(MANIFEST, tag)
    return store


class Down(LayoutStore):
    """A store that is out of reach; ``asked`` counts."""

    asked = 0

    async def resolve(self, target: str) -> Descriptor:
        self.asked += 1
        raise Unavailable("the first is down", hint="look at it")


class Breaking(LayoutStore):
    """A store whose blobs break off after some bytes."""

    given = b"0123"

    async def stream_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        yield self.given
        raise Unavailable("broke off")


def down(folder: Path) -> Down:
    return Down(Reference(scheme="layout", registry="", repository=str(folder)))


@in_loop
async def test_what_has_a_digest_comes_from_any(tmp_path: Path) -> None:
    empty = await layout(tmp_path / "a", full=False)
    store = MirroredStore([empty, await layout(tmp_path / "b")])
    assert await store.fetch_manifest(MANIFEST.descriptor.digest) == MANIFEST
    assert await store.fetch_blob(BLOB, limit=100) == b"0123456789"


@in_loop
async def test_a_tag_comes_from_the_first_only(tmp_path: Path) -> None:
    empty = await layout(tmp_path / "a", full=False)
    store = MirroredStore([empty, await layout(tmp_path / "b", "v1")])
    with pytest.raises(NotFound):
        await store.resolve("v1")


@in_loop
async def test_a_store_out_of_reach_is_asked_last_for_a_while(tmp_path: Path) -> None:
    now = [0.0]
    first = down(tmp_path / "a")
    store = MirroredStore([first, await layout(tmp_path / "b")], clock=lambda: now[0])
    digest = MANIFEST.descriptor.digest
    for _ in range(3):
        assert (await store.resolve(digest)).digest == digest
    assert first.asked == 1
    now[0] = 31.0
    await store.resolve(digest)
    assert first.asked == 2


@in_loop
async def test_when_all_fail_the_first_error_names_the_others(tmp_path: Path) -> None:
    store = MirroredStore([down(tmp_path / "a"), await layout(tmp_path / "b", full=False)])
    with pytest.raises(Unavailable, match="the first is down; the others: ") as caught:
        await store.resolve(MANIFEST.descriptor.digest)
    assert caught.value.hint == "look at it"


@in_loop
async def test_a_blob_that_breaks_off_goes_on_from_the_next_mirror(tmp_path: Path) -> None:
    reference = Reference(scheme="layout", registry="", repository=str(tmp_path / "a"))
    store = MirroredStore([Breaking(reference), await layout(tmp_path / "b")])
    assert b"".join([piece async for piece in store.stream_blob(BLOB)]) == b"0123456789"


@in_loop
async def test_bytes_that_differ_from_those_given_out_end_the_blob(tmp_path: Path) -> None:
    reference = Reference(scheme="layout", registry="", repository=str(tmp_path / "a"))
    wrong = Breaking(reference)
    wrong.given = b"9999"
    store = MirroredStore([wrong, await layout(tmp_path / "b")])
    with pytest.raises(StoreError, match="broke off"):
        [piece async for piece in store.stream_blob(BLOB)]


@in_loop
async def test_replicas_are_asked_only_when_the_first_has_no_good_answer(tmp_path: Path) -> None:
    stores = [await layout(tmp_path / name) for name in ("a", "b", "c")]
    mirrored = MirroredStore(stores)

    async def good(store: Store) -> str:
        return store.reference.repository

    async def not_the_first(store: Store) -> str:
        if store is stores[0]:
            raise TrustError("an old record")
        return store.reference.repository

    assert await ask_replicas(stores[0], good) == [stores[0].reference.repository]
    assert await ask_replicas(mirrored, good) == [stores[0].reference.repository]
    assert len(await ask_replicas(mirrored, not_the_first)) == 2


@in_loop
async def test_a_conflict_is_not_taken_to_a_mirror(tmp_path: Path) -> None:
    mirrored = MirroredStore([await layout(tmp_path / "a"), await layout(tmp_path / "b")])

    async def ask(store: Store) -> str:
        raise Conflict("moved meanwhile")

    with pytest.raises(Conflict, match="moved meanwhile"):
        await ask_any(cast(Store, mirrored), ask)


@in_loop
async def test_writing_goes_to_the_first(tmp_path: Path) -> None:
    first, second = await layout(tmp_path / "a", "v1"), await layout(tmp_path / "b", "v1")
    async with MirroredStore([first, second]) as store:
        assert store.reference == first.reference
        await store.push_manifest(MANIFEST, "v2")
        await store.delete("v1")
    assert (await first.tags(), await second.tags()) == (["v2"], ["v1"])
