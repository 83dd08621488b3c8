"""Walking a channel's records back: links, limits, tags that were overwritten, the cache."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ocistate.channel.history import History
from ocistate.cli.channel.options import ChannelTrustOptions
from ocistate.errors import NotFound
from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.channel.history import Known, RecordCache, read_history
from ocistate.ops.channel.reader import Channel
from ocistate.reference import parse_reference
from tests.support.environments.shop import Shop, make_shop


def channel(shop: Shop, name: str = "staging", key: str = "") -> Channel:
    trust = ChannelTrustOptions(
        policy=None if key else shop.policy, keys=(shop.pub(key),) if key else ()
    )
    return trust.channel(name, parse_reference(shop.store))


def history(
    shop: Shop,
    of: Channel,
    *,
    limit: int = 100,
    cache: RecordCache | None = None,
    all_tags: bool = False,
) -> History:
    async def run() -> History:
        async with LayoutStore(parse_reference(shop.store)) as store:
            return await read_history(store, of, limit=limit, cache=cache, all_tags=all_tags)

    return asyncio.run(run())


def test_records_come_newest_first_with_their_signer(shop: Shop) -> None:
    found = history(shop, channel(shop), all_tags=True)
    assert [link.record.sequence for link in found.links] == [3, 2, 1]
    assert {link.signer for link in found.links} == {"release"}
    assert (found.forks, found.broken, found.more) == ((), "", False)


def test_a_limit_leaves_more(shop: Shop) -> None:
    found = history(shop, channel(shop), limit=2)
    assert (len(found.links), found.more) == (2, True)


def test_another_key_proves_nothing(shop: Shop) -> None:
    found = history(shop, channel(shop, key="other"))
    assert {link.problem for link in found.links} == {"signed by no channel key"}


def test_an_unknown_channel_is_not_found(shop: Shop) -> None:
    with pytest.raises(NotFound, match="has no channel nope"):
        history(shop, channel(shop, "nope"))


def test_the_cache_holds_verified_records(shop: Shop, tmp_path: Path) -> None:
    of = channel(shop)
    cache = RecordCache.open(of, tmp_path)
    first = history(shop, of, cache=cache)
    again = RecordCache.open(of, tmp_path)
    assert len(again.known) == 3
    assert history(shop, of, cache=again).links == first.links


def test_a_torn_cache_is_read_as_far_as_it_goes(shop: Shop, tmp_path: Path) -> None:
    of = channel(shop)
    cache = RecordCache.open(of, tmp_path)
    cache.add([("sha256:1", Known("{}", "me")), ("sha256:2", Known("{}", ""))])
    with cache.path.open("ab") as stream:
        stream.write(b'["sha256:3", "m')
    cache.add([("sha256:4", Known("{}", "me"))])
    assert set(RecordCache.open(of, tmp_path).known) == {"sha256:1", "sha256:4"}


def test_an_overwritten_number_is_a_fork(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)

    async def overwrite() -> None:
        async with LayoutStore(parse_reference(shop.store)) as store:
            tags = await store.tags()
            (number,) = (tag for tag in tags if "staging" in tag and tag.endswith("2"))
            (first,) = (tag for tag in tags if "staging" in tag and tag.endswith("1"))
            await store.push_manifest(await store.fetch_manifest(first), number)

    asyncio.run(overwrite())
    found = history(shop, channel(shop), all_tags=True)
    assert len(found.links) == 3
    assert len(found.forks) == 1
