"""Steps of a rollout, written only on top of the record that they were decided about."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ocistate.channel.change import Why
from ocistate.channel.trust import Trusted
from ocistate.cli.channel.options import ChannelTrustOptions
from ocistate.errors import Conflict
from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.channel.rollout import take_snapshot, take_step
from ocistate.ops.channel.writer import Writer
from ocistate.reference import parse_reference
from ocistate.signing.keys import load_private_key
from tests.support.environments.shop import Shop, make_shop, run
from tests.support.factories.reports import REPORTERS

WHY = Why(now=datetime(2026, 1, 1, tzinfo=UTC), reason="by hand")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The channel prod in a rollout of v3 by two rings, the first open."""
    shop = make_shop(tmp_path)
    # Who is in a share is drawn by the record: with less, the first ring is often empty.
    rings = ("--rings", "canary=99%/10m,all=100%")
    run("promote", shop.store, "--tag", "v3", "--to", "prod", *rings, *shop.sign, "--yes")
    return shop


def writer(shop: Shop) -> Writer:
    reference = parse_reference(shop.store)
    signer = load_private_key(Path(shop.key("chan")).read_bytes(), lambda: b"")
    channel = ChannelTrustOptions(policy=shop.policy, keys=()).channel("prod", reference)
    return Writer(store=LayoutStore(reference), channel=channel, signer=signer)


async def newest(write: Writer) -> Trusted:
    found = await write.newest()
    assert found is not None
    return found


def test_clusters_that_never_reported_are_waited_for(shop: Shop) -> None:
    async def look() -> tuple[str, bool]:
        write = writer(shop)
        at = await newest(write)
        now = datetime.now(UTC)
        snapshot = await take_snapshot(at, write.channel, write.store, REPORTERS, now)
        assert snapshot.step is not None
        return snapshot.step.verdict, bool(snapshot.step.why)

    assert asyncio.run(look()) == ("wait", True)


def test_each_step_writes_one_record(shop: Shop) -> None:
    async def steps() -> list[int | None]:
        write = writer(shop)
        opened = []
        for verdict in ("advance", "finish"):
            at = await newest(write)
            done = await take_step(write, at, verdict, WHY)
            opened.append(done.record.rollout.open if done.record.rollout else None)
        return opened

    assert asyncio.run(steps()) == [2, None]


def test_going_back_pins_the_stable_digests_and_holds(shop: Shop) -> None:
    async def back() -> tuple[str, bool, str]:
        write = writer(shop)
        record = (await take_step(write, await newest(write), "back", WHY)).record
        (digest,) = record.subjects.values()
        (made,) = record.artifacts.values()
        return digest, record.hold, made.revision

    digest, hold, revision = asyncio.run(back())
    assert (digest, hold) == (shop.digests[1], True)
    assert revision.endswith("2" * 40)


def test_a_step_is_not_written_on_top_of_another_record(shop: Shop) -> None:
    async def late() -> None:
        write = writer(shop)
        at = await newest(write)
        await take_step(write, at, "advance", WHY)
        await take_step(write, replace(at), "advance", WHY)

    with pytest.raises(Conflict, match="moved by someone else"):
        asyncio.run(late())
