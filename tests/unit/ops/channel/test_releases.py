"""What a channel or one of its releases pins, and which artifacts may be pinned."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from ocistate.cli.channel.options import ChannelTrustOptions
from ocistate.errors import NotFound, NotSigned, Untrusted
from ocistate.oci.local.layout import LayoutStore
from ocistate.oci.store import Store
from ocistate.ops.channel.reader import Channel
from ocistate.ops.channel.releases import find_candidate, find_digest, pins_of, reference_of
from ocistate.reference import Reference, parse_reference
from tests.support.environments.shop import REVISIONS, Shop

T = TypeVar("T")


def with_store(shop: Shop, work: Callable[[Store], Awaitable[T]]) -> T:
    async def run() -> T:
        async with LayoutStore(parse_reference(shop.store)) as store:
            return await work(store)

    return asyncio.run(run())


def channel(shop: Shop, *, key: str = "", trusted: bool = True) -> Channel:
    policy = shop.policy if trusted and not key else None
    trust = ChannelTrustOptions(policy=policy, keys=(shop.pub(key),) if key else ())
    return trust.channel("staging", parse_reference(shop.store), required=False)


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize(("wanted", "place"), [("", 2), ("2", 1), ("1", 0)])
def test_a_release_is_found_by_number(shop: Shop, wanted: str, place: int, trusted: bool) -> None:
    of = channel(shop, trusted=trusted)
    found = with_store(shop, lambda store: find_digest(store, of, wanted))
    assert found == shop.digests[place]


def test_a_release_is_found_by_digest(shop: Shop) -> None:
    of = channel(shop)
    digest = shop.digests[1]
    assert with_store(shop, lambda store: find_digest(store, of, digest)) == digest


def test_what_the_channel_never_had_is_not_found(shop: Shop) -> None:
    of = channel(shop)
    with pytest.raises(NotFound):
        with_store(shop, lambda store: find_digest(store, of, "sha256:" + "0" * 64))
    with pytest.raises(NotFound):
        with_store(shop, lambda store: find_digest(store, of, "9"))


@pytest.mark.parametrize("by_digest", [False, True])
def test_a_record_by_another_key_is_refused(shop: Shop, by_digest: bool) -> None:
    of, wanted = channel(shop, key="other"), shop.digests[1] if by_digest else ""
    with pytest.raises(Untrusted):
        with_store(shop, lambda store: find_digest(store, of, wanted))


def test_a_candidate_has_its_provenance(shop: Shop) -> None:
    def connect(reference: Reference) -> Store:
        return LayoutStore(reference.base)

    policies = ChannelTrustOptions(policy=shop.policy, keys=()).policies()
    reference = parse_reference(f"{shop.store}:v2")
    found = asyncio.run(find_candidate(connect, reference, policies))
    assert (found.digest, found.made.revision) == (shop.digests[1], REVISIONS[2])
    assert "signed by ci" in found.trust
    assert pins_of([found]) == {found.place: (found.digest, found.made)}
    assert reference_of(found.place) == reference.base


def test_an_unsigned_artifact_is_no_candidate_unless_allowed(shop: Shop) -> None:
    def connect(reference: Reference) -> Store:
        return LayoutStore(reference.base)

    raw = parse_reference(f"{shop.store}:raw")
    with pytest.raises(NotSigned, match="is not signed"):
        asyncio.run(find_candidate(connect, raw, (), allow_unsigned=False))
    assert asyncio.run(find_candidate(connect, raw, ())).trust == "not verified"
