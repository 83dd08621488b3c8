"""One line of records: written, raced for, finished for others, found again behind wrong tags."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ocistate.channel.change import begun, held, promoted, refreshed, released, rolled_back
from ocistate.channel.trust import Trusted
from ocistate.errors import (
    ChannelFork,
    ChannelHeld,
    ConfigError,
    Conflict,
    ForeignRecord,
    InvalidRecord,
    NotFound,
    Untrusted,
)
from ocistate.oci.local.layout import LayoutStore
from ocistate.oci.model import Descriptor, Index, Manifest
from ocistate.ops.channel.history import read_history
from ocistate.ops.channel.reader import Channel, digest_at, numbers_in, read_newest, read_number
from ocistate.ops.channel.writer import Writer
from ocistate.reference import parse_reference
from ocistate.signing.keys import KeySigner
from tests.support.factories.records import (
    ALICE,
    DIGESTS,
    MALLORY,
    NOW,
    SHOP,
    first,
    pins,
    to,
    trust,
    why,
)

T = TypeVar("T")


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    return LayoutStore(parse_reference(f"layout:{tmp_path}/store"))


def run(story: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(story)


def channel(name: str = "prod", *signers: KeySigner, epoch: int | None = None) -> Channel:
    return Channel(name=name, repository=SHOP, trust=trust(*signers, epoch=epoch))


def writer(
    store: LayoutStore, name: str = "prod", signer: KeySigner = ALICE, epoch: int | None = None
) -> Writer:
    return Writer(
        store=store,
        channel=channel(name, signer, epoch=epoch),
        signer=signer,
        settle=0.01,
        clock=lambda: NOW,
    )


async def line(store: LayoutStore, *numbers: int, name: str = "prod") -> list[Trusted]:
    """A channel with these releases."""
    written = [await writer(store, name).write(first(numbers[0], name))]
    for number in numbers[1:]:
        written.append(await writer(store, name).write(to(number)))
    return written


async def point(store: LayoutStore, tag: str, target: str) -> None:
    await store.push_manifest(await store.fetch_manifest(target), tag)


def test_records_follow_each_other(store: LayoutStore) -> None:
    async def story() -> None:
        records = await line(store, 1, 2, 3)
        assert [r.record.sequence for r in records] == [1, 2, 3]
        assert [r.record.previous for r in records] == ["", records[0].digest, records[1].digest]
        assert records[2].signer == "alice"
        assert (await read_newest(store, channel())).digest == records[2].digest
        assert (await read_number(store, channel(), 1, 2)).digest == records[1].digest
        assert await store.tags() == [
            "channel-prod",
            "channel-prod-1",
            "channel-prod-2",
            "channel-prod-3",
        ]
        assert numbers_in(await store.tags(), "prod") == [(1, 1), (1, 2), (1, 3)]
        with pytest.raises(NotFound, match="no channel staging"):
            await read_newest(store, channel("staging"))

    run(story())


def test_what_is_there_already_is_not_written_again(store: LayoutStore) -> None:
    async def story() -> None:
        records = await line(store, 1, 2)
        again = await writer(store).write(to(2))
        assert again.digest == records[1].digest

    run(story())


def test_many_writers_make_one_line_and_lose_nothing(store: LayoutStore) -> None:
    async def story() -> None:
        await line(store, 0)
        written = await asyncio.gather(*(writer(store).write(to(n)) for n in range(1, 9)))
        assert sorted(r.record.sequence for r in written) == list(range(2, 10))
        history = await read_history(store, channel(), all_tags=True)
        assert [link.record.sequence for link in history.links] == list(range(9, 0, -1))
        assert not history.forks
        assert not history.broken
        released = {link.record.subjects[SHOP] for link in history.links}
        assert released == {DIGESTS[n] for n in range(9)}

    run(story())


class Dying(LayoutStore):
    """A store whose user dies before some tag is written."""

    dies_at = ""

    async def push_manifest(self, manifest: Manifest | Index, tag: str | None = None) -> Descriptor:
        if tag == self.dies_at:
            raise KeyboardInterrupt
        return await super().push_manifest(manifest, tag)


def test_what_a_dead_writer_left_is_finished_by_the_next(store: LayoutStore) -> None:
    dying = Dying(store.reference)
    dying.dies_at = "channel-prod"

    async def begin() -> list[Trusted]:
        return await line(store, 1)

    records = run(begin())
    with pytest.raises(KeyboardInterrupt):
        run(writer(dying).write(to(2)))

    async def story() -> None:
        assert (await read_newest(store, channel())).digest == records[0].digest
        third = await writer(store).write(to(3))
        assert third.record.sequence == 3
        second = await read_number(store, channel(), 1, 2)
        assert third.record.previous == second.digest
        assert second.record.subjects[SHOP] == DIGESTS[2]

    run(story())


class Slow(LayoutStore):
    """A writer that sees a number free, and is then held up until others have used it."""

    def __init__(self, store: LayoutStore, meanwhile: Callable[[], Coroutine[Any, Any, Any]]):
        super().__init__(store.reference)
        self.meanwhile: Callable[[], Coroutine[Any, Any, Any]] | None = meanwhile

    async def push_manifest(self, manifest: Manifest | Index, tag: str | None = None) -> Descriptor:
        if tag == "channel-prod-2" and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return await super().push_manifest(manifest, tag)


def test_a_writer_that_was_held_up_gives_the_number_back(store: LayoutStore) -> None:
    async def story() -> None:
        await line(store, 1)
        seen: list[Trusted] = []

        async def others() -> None:
            seen.append(await writer(store).write(to(2)))

        late = await writer(Slow(store, others)).write(to(3))
        assert late.record.sequence == 3
        assert late.record.previous == seen[0].digest
        history = await read_history(store, channel(), all_tags=True)
        assert [link.digest for link in history.links[:2]] == [late.digest, seen[0].digest]
        assert not history.forks

    run(story())


def test_what_was_finished_meanwhile_is_not_finished_again(store: LayoutStore) -> None:
    async def story() -> None:
        records = await line(store, 1, 2, 3)
        await writer(store)._finish(records[0], (1, 2))  # one that had read the first, long ago
        assert await digest_at(store, "channel-prod") == records[2].digest

    run(story())


def test_a_base_that_is_not_the_newest_any_more_is_a_conflict(store: LayoutStore) -> None:
    async def story() -> None:
        records = await line(store, 1, 2)
        with pytest.raises(Conflict, match="meanwhile"):
            await writer(store).write(to(3), base=records[0].digest)
        assert (await writer(store).write(to(3), base=records[1].digest)).record.sequence == 3

    run(story())


def test_an_old_record_under_the_name_does_not_start_a_second_line(store: LayoutStore) -> None:
    async def story() -> None:
        records = await line(store, 1, 2, 3)
        await point(store, "channel-prod", records[0].digest)
        fourth = await writer(store).write(to(4))
        assert (fourth.record.sequence, fourth.record.previous) == (4, records[2].digest)

    run(story())


def test_the_numbers_tell_when_the_name_holds_another_channels_record(store: LayoutStore) -> None:
    async def story() -> None:
        records = await line(store, 1, 2)
        staging = await line(store, 5, name="staging")
        await point(store, "channel-prod", staging[0].digest)
        with pytest.raises(ForeignRecord):
            await read_newest(store, channel())
        third = await writer(store).write(to(3))
        assert (third.record.sequence, third.record.previous) == (3, records[1].digest)

    run(story())


def test_a_number_that_somebody_else_took_stops_the_line(store: LayoutStore) -> None:
    async def story() -> None:
        records = await line(store, 1, 2)
        await point(store, "channel-prod-3", records[0].digest)
        with pytest.raises(ChannelFork, match="holds prod@1"):
            await writer(store).write(to(3))
        foreign = await writer(store, "other", MALLORY).write(first(9, "other"))
        await point(store, "channel-prod-3", foreign.digest)
        with pytest.raises(Untrusted):
            await writer(store).write(to(3))

    run(story())


def test_an_overwritten_number_is_a_fork_with_a_name(store: LayoutStore) -> None:
    async def story() -> None:
        records = await line(store, 1, 2, 3)
        await point(store, "channel-prod-2", records[0].digest)
        history = await read_history(store, channel())
        (fork,) = history.forks
        assert (fork.number, fork.chained, fork.tagged) == (
            (1, 2),
            records[1].digest,
            records[0].digest,
        )
        assert [link.digest for link in history.links] == [r.digest for r in reversed(records)]
        with pytest.raises(ChannelFork, match="was overwritten"):
            await read_number(store, channel(), 1, 2)

    run(story())


def test_a_stolen_key_is_left_behind_by_a_new_epoch(store: LayoutStore) -> None:
    async def story() -> None:
        await line(store, 1, 2)
        stolen = await writer(store).write(to(7))
        with pytest.raises(Untrusted):  # the old key counts no more, and so does what it signed
            await writer(store, signer=MALLORY, epoch=2).write(to(2))
        again = await writer(store, signer=MALLORY, epoch=2).restart(
            begun("prod", SHOP, pins(2), why("recovered"))
        )
        assert (again.record.number, again.record.previous) == ((2, 1), stolen.digest)
        with pytest.raises(Conflict, match="has begun already"):
            await writer(store, signer=MALLORY, epoch=2).restart(
                begun("prod", SHOP, pins(2), why("recovered"))
            )
        found = await writer(store, signer=MALLORY, epoch=2).write(to(3))
        assert found.record.number == (2, 2)
        history = await read_history(store, channel("prod", MALLORY, epoch=2))
        assert [link.record.number for link in history.links] == [
            (2, 2),
            (2, 1),
            (1, 3),
            (1, 2),
            (1, 1),
        ]
        assert [link.signer for link in history.links] == ["mallory", "mallory", "", "", ""]
        assert history.links[2].problem == "signed by no channel key"

    run(story())


def test_a_higher_epoch_of_the_policy_continues_the_line(store: LayoutStore) -> None:
    async def story() -> None:
        records = await line(store, 1, 2)
        bumped = await writer(store, epoch=2).write(to(3))
        assert (bumped.record.number, bumped.record.previous) == ((2, 1), records[1].digest)
        assert "channel-prod-2.1" in await store.tags()
        assert numbers_in(await store.tags(), "prod") == [(1, 1), (1, 2), (2, 1)]

    run(story())


def test_a_rollback_puts_the_channel_on_hold_until_it_is_released(store: LayoutStore) -> None:
    async def story() -> None:
        records = await line(store, 1, 2)
        back = await writer(store).write(
            lambda newest: rolled_back(newest, records[0].record, why("broken"))  # type: ignore[arg-type]
        )
        assert (back.record.sequence, back.record.hold) == (3, True)
        assert back.record.subjects[SHOP] == DIGESTS[1]
        assert back.record.artifacts == records[0].record.artifacts
        with pytest.raises(ChannelHeld, match="on hold since 2026-05-01 12:00 UTC: broken"):
            await writer(store).write(to(3))
        kept = await writer(store).write(lambda newest: refreshed(newest, why(days=1)))  # type: ignore[arg-type]
        assert kept.record.hold
        assert await writer(store).write(lambda n: held(n, why())) == kept  # type: ignore[arg-type]
        free = await writer(store).write(lambda n: released(n, why()))  # type: ignore[arg-type]
        assert (free.record.sequence, free.record.hold) == (5, False)
        assert (await writer(store).write(to(3))).record.sequence == 6
        again = await writer(store).write(lambda n: held(n, why()))  # type: ignore[arg-type]
        assert again.record.hold
        assert not (await writer(store).write(to(4, release=True))).record.hold

    run(story())


def test_the_other_repositories_of_a_set_stay_as_they_are() -> None:
    from tests.support.factories.records import record, trusted

    both = {SHOP: DIGESTS[1], "r/db": DIGESTS[2]}
    newest = trusted(record(4, subjects=both, extra={"rings": 3}))
    made = promoted(newest, pins(3), why())
    assert made is not None
    assert made.subjects == {SHOP: DIGESTS[3], "r/db": DIGESTS[2]}
    assert made.extra == {"rings": 3}
    alone = promoted(newest, pins(3), why(), drop=frozenset({"r/db"}))
    assert alone is not None
    assert alone.subjects == {SHOP: DIGESTS[3]}


def test_a_lifetime_is_kept_from_record_to_record() -> None:
    from tests.support.factories.records import record, trusted

    newest = trusted(record(4, expires=NOW.replace(day=8)))
    later = NOW.replace(day=5)
    assert refreshed(newest, why(now=later)).expires == NOW.replace(day=12)
    assert refreshed(newest, why(now=later, days=1)).expires == NOW.replace(day=6)
    assert refreshed(newest, why(now=later, days=0.5)).issued_at == later
    assert refreshed(newest, why(days=0)).expires is None
    with pytest.raises(ConfigError, match="--expires 7d"):
        refreshed(trusted(record(4)), why())


def test_what_is_no_record_is_not_read_as_one(store: LayoutStore) -> None:
    async def story() -> None:
        from ocistate.oci.model import EMPTY_CONFIG, build_manifest

        await store.push_blob(EMPTY_CONFIG, b"{}")
        other = build_manifest(config=EMPTY_CONFIG, layers=(), artifact_type="x/y")
        await store.push_manifest(other, "channel-prod")
        with pytest.raises(InvalidRecord, match="not a channel's record"):
            await read_newest(store, channel())
        with pytest.raises(InvalidRecord):  # and nothing is written over what is not understood
            await writer(store).write(first())
        assert await digest_at(store, "channel-prod") == other.descriptor.digest

    run(story())
