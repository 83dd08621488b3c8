"""What a Stack's channel names: proven, remembered, and followed in no other order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ocistate.agent.reconcile.channel import Pointed, read_channel
from ocistate.api.names import ChannelName, Repository
from ocistate.api.stack_spec import StackSource
from ocistate.api.status import Followed, StackStatus, status_from_dict, status_to_dict
from ocistate.channel.change import begun, promoted, refreshed, rollout_aborted
from ocistate.channel.record import Record
from ocistate.channel.rings import Cluster, Ring
from ocistate.channel.trust import Trusted
from ocistate.errors import (
    ChannelError,
    ChannelFork,
    EpochRefused,
    ForeignRecord,
    NotFound,
    RecordExpired,
    RecordReplayed,
    Unavailable,
    Untrusted,
)
from ocistate.oci.local.layout import LayoutStore
from ocistate.oci.mirrors import MirroredStore
from ocistate.oci.model import Descriptor, Index, Manifest
from ocistate.ops.channel.reader import Channel, repository_of
from ocistate.ops.channel.writer import Writer
from ocistate.ops.repository.copy import copy_artifacts
from ocistate.reference import parse_reference
from ocistate.signing.keys import KeySigner
from tests.support.factories.records import ALICE, DIGESTS, MALLORY, NOW, pins, trust, why

T = TypeVar("T")


class Counting(LayoutStore):
    """A store that tells what it was asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(parse_reference(f"layout:{path}"))
        self.asked: list[str] = []

    async def resolve(self, target: str) -> Descriptor:
        self.asked.append("resolve")
        return await super().resolve(target)

    async def fetch_manifest(self, target: str) -> Manifest | Index:
        self.asked.append("manifest")
        return await super().fetch_manifest(target)


@dataclass
class Reader:
    """A Stack that follows a channel; what it keeps survives ``restart``."""

    store: Counting
    kept: StackStatus = field(default_factory=StackStatus)
    last: Pointed | None = None
    now: datetime = NOW
    mirrored: MirroredStore | None = None
    """What is read instead of the store alone."""
    cluster: Cluster = Cluster()  # noqa: RUF009 - it is frozen

    @property
    def place(self) -> str:
        return repository_of(self.store.reference)

    def channel(
        self, *keys: KeySigner, name: str = "prod", epoch: int | None = None, least: int = 0
    ) -> Channel:
        return Channel(
            name=name, repository=self.place, trust=trust(*keys, epoch=epoch, least=least)
        )

    async def look(self, channel: Channel | None = None) -> str:
        source = StackSource(
            repository=Repository.of(self.store.reference), channel=ChannelName("prod")
        )
        self.last = await read_channel(
            self.mirrored or self.store,
            source,
            channel or self.channel(),
            followed=self.kept.channels,
            last=self.last,
            now=self.now,
            cluster=self.cluster,
        )
        self.kept = StackStatus(channels=self.last.followed)
        return self.last.digest

    def restart(self) -> None:
        self.kept, self.last = status_from_dict(status_to_dict(self.kept)), None

    async def refuses(self, error: type[ChannelError], **options: Any) -> str:
        before = self.kept
        with pytest.raises(error) as caught:
            await self.look(self.channel(**options))
        assert self.kept == before
        return str(caught.value)

    async def write(
        self, number: int, *, name: str = "prod", by: KeySigner = ALICE, epoch: int | None = None
    ) -> str:
        """Promote to a digest; the record's own digest."""
        given = pins(number, self.place)
        writer = Writer(
            store=self.store,
            channel=self.channel(by, name=name, epoch=epoch),
            signer=by,
            settle=0.0,
            clock=lambda: NOW,
        )
        made = await writer.write(
            lambda newest: (
                begun(name, self.place, given, why(days=7))
                if newest is None
                else promoted(newest, given, why())
            )
        )
        return made.digest

    async def copy_to(self, path: Path) -> Counting:
        """A mirror that has the records there are now."""
        mirror = Counting(path)
        await copy_artifacts(self.store, mirror, [], channels=True)
        return mirror

    async def point(self, record: str) -> None:
        await self.store.push_manifest(await self.store.fetch_manifest(record), "channel-prod")


class Gone(Counting):
    """A store that is out of reach."""

    async def resolve(self, target: str) -> Descriptor:
        raise Unavailable("gone")


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(Counting(tmp_path / "store"))


def run(story: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(story)


def test_a_poll_without_news_is_one_question(reader: Reader) -> None:
    async def story() -> None:
        await reader.write(1)
        assert await reader.look() == DIGESTS[1]
        reader.store.asked.clear()
        assert await reader.look() == DIGESTS[1]
        assert reader.store.asked == ["resolve"]
        await reader.write(2)
        reader.store.asked.clear()
        assert await reader.look() == DIGESTS[2]
        assert reader.store.asked == ["resolve", "manifest"]

    run(story())


def test_what_was_accepted_survives_a_restart(reader: Reader) -> None:
    async def story() -> None:
        old = await reader.write(1)
        await reader.write(2)
        assert await reader.look() == DIGESTS[2]
        (kept,) = reader.kept.channels
        assert (kept.channel, kept.epoch, kept.sequence) == ("prod", 1, 2)
        await reader.point(old)
        for _ in range(2):
            assert "1 is before 2" in await reader.refuses(RecordReplayed)
            reader.restart()

    run(story())


def test_the_first_contact_is_as_good_as_the_policys_min_sequence(reader: Reader) -> None:
    async def story() -> None:
        old = await reader.write(1)
        await reader.write(2)
        await reader.point(old)
        await reader.refuses(EpochRefused, least=2)
        assert await reader.look() == DIGESTS[1]  # without it, no one can know

    run(story())


def test_another_channels_record_is_refused(reader: Reader) -> None:
    async def story() -> None:
        await reader.write(1)
        await reader.look()
        await reader.point(await reader.write(5, name="staging"))
        assert "one of the channel staging" in await reader.refuses(ForeignRecord)

    run(story())


def test_a_record_of_another_repository_is_refused(reader: Reader, tmp_path: Path) -> None:
    async def story() -> None:
        await reader.write(1)
        await reader.look()
        other = Reader(Counting(tmp_path / "other"))
        digest = await other.write(7)
        manifest = await other.store.fetch_manifest(digest)
        assert isinstance(manifest, Manifest)
        await reader.store.push_blob(manifest.layers[0], manifest.layers[0].data)
        await reader.store.push_manifest(manifest, "channel-prod")
        assert str(tmp_path / "other") in await reader.refuses(ForeignRecord)

    run(story())


def test_a_record_by_another_key_is_refused(reader: Reader) -> None:
    async def story() -> None:
        await reader.write(1, by=MALLORY)
        with pytest.raises(Untrusted):
            await reader.look()

    run(story())


def test_two_records_of_one_number_are_a_fork(reader: Reader, tmp_path: Path) -> None:
    async def story() -> None:
        await reader.write(1)
        await reader.look()
        # The same place as it would be, had another record been the first.
        for tag in ("channel-prod", "channel-prod-1"):
            await reader.store.delete(tag)
        await reader.write(2)
        assert "accepted under that number" in await reader.refuses(ChannelFork)

    run(story())


def test_an_expired_record_is_followed_no_more_and_a_refreshed_one_is(reader: Reader) -> None:
    async def story() -> None:
        await reader.write(1)
        await reader.look()
        reader.now = NOW + timedelta(days=8)
        assert "expired" in await reader.refuses(RecordExpired)
        reader.now = NOW + timedelta(days=6)
        # This process saw the later time: a clock put back changes nothing for what it accepted.
        assert await reader.look() == DIGESTS[1]
        writer = Writer(
            store=reader.store,
            channel=reader.channel(),
            signer=ALICE,
            settle=0.0,
            clock=lambda: NOW,
        )
        later = NOW + timedelta(days=8)

        def again(newest: Trusted | None) -> Record:
            assert newest is not None
            return refreshed(newest, why(now=later))

        await writer.write(again)
        reader.now = later
        assert await reader.look() == DIGESTS[1]
        assert reader.kept.channels[0].sequence == 2

    run(story())


def test_a_clock_put_back_behind_what_was_accepted_changes_nothing(reader: Reader) -> None:
    async def story() -> None:
        await reader.write(1)
        reader.now = NOW + timedelta(days=6)
        await reader.look()
        reader.restart()
        reader.now = NOW - timedelta(days=400)
        assert await reader.look() == DIGESTS[1]  # neither from the future nor expired
        assert reader.last is not None
        assert reader.last.accepted.at == NOW + timedelta(days=6)

    run(story())


def test_a_sequence_far_ahead_is_recovered_from_by_an_epoch(reader: Reader) -> None:
    async def story() -> None:
        await reader.write(1)
        reader.kept = StackStatus(
            channels=(
                Followed(
                    channel="prod",
                    repository=reader.place,
                    epoch=1,
                    sequence=2**53 - 1,
                    record=DIGESTS[0],
                    at="2026-05-01T12:00:00Z",
                ),
            )
        )
        await reader.refuses(RecordReplayed)
        await reader.refuses(EpochRefused, epoch=2)
        await reader.write(2, epoch=2)
        assert await reader.look(reader.channel(epoch=2)) == DIGESTS[2]
        await reader.refuses(EpochRefused, epoch=1)

    run(story())


def test_a_channel_that_is_not_there_and_one_that_says_nothing_of_us(
    reader: Reader, tmp_path: Path
) -> None:
    async def story() -> None:
        with pytest.raises(NotFound):
            await reader.look()
        await reader.write(1)
        with pytest.raises(NotFound, match="no channel prod"):
            await Reader(Counting(tmp_path / "store2")).look()
        source = StackSource(
            repository=Repository.read(f"layout:{tmp_path}/db"), channel=ChannelName("prod")
        )
        with pytest.raises(ForeignRecord, match="pins nothing for"):
            await read_channel(
                reader.store, source, reader.channel(), followed=(), last=None, now=NOW
            )

    run(story())


def test_each_channel_has_a_memory_of_its_own(reader: Reader) -> None:
    async def story() -> None:
        await reader.write(1)
        await reader.write(2)
        await reader.write(3, name="staging")
        await reader.look()
        assert await reader.look(reader.channel(name="staging")) == DIGESTS[3]
        reader.restart()
        names = [(f.channel, f.sequence) for f in reader.kept.channels]
        assert names == [("staging", 1), ("prod", 2)]

    run(story())


def test_a_record_comes_from_a_mirror_when_the_repository_is_gone(
    reader: Reader, tmp_path: Path
) -> None:
    async def story() -> None:
        await reader.write(1)
        stale = await reader.copy_to(tmp_path / "stale")
        await reader.write(2)
        fresh = await reader.copy_to(tmp_path / "fresh")
        await reader.write(3)
        reader.mirrored = MirroredStore([reader.store, stale, fresh])
        stale.asked.clear()
        assert await reader.look() == DIGESTS[3]
        assert stale.asked == [], "mirrors are asked only where they are needed"
        gone = Gone(tmp_path / "gone")
        # Who knows nothing yet takes the highest there is; who knows more goes back for no one.
        newcomer = Reader(reader.store, mirrored=MirroredStore([gone, stale, fresh]))
        assert await newcomer.look() == DIGESTS[2]
        newcomer.restart()
        for behind in (newcomer, reader):
            behind.mirrored = MirroredStore([gone, stale])
            before = behind.kept
            with pytest.raises(Unavailable, match=r"gone; the others: .*accepted already"):
                await behind.look()
            assert behind.kept == before

    run(story())


def test_a_mirror_with_news_serves_where_the_repository_is_put_back(
    reader: Reader, tmp_path: Path
) -> None:
    async def story() -> None:
        old = await reader.write(1)
        await reader.write(2)
        mirror = await reader.copy_to(tmp_path / "mirror")
        reader.mirrored = MirroredStore([reader.store, mirror])
        assert await reader.look() == DIGESTS[2]
        await reader.point(old)
        assert await reader.look() == DIGESTS[2]

    run(story())


def test_mirrors_that_differ_on_one_number_are_a_fork(reader: Reader, tmp_path: Path) -> None:
    async def story() -> None:
        await reader.write(1)
        one = await reader.copy_to(tmp_path / "one")
        other = Counting(tmp_path / "other")
        writer = Writer(
            store=other, channel=reader.channel(), signer=ALICE, settle=0.0, clock=lambda: NOW
        )
        given = pins(2, reader.place)
        await writer.write(lambda newest: begun("prod", reader.place, given, why(days=7)))
        reader.mirrored = MirroredStore([Gone(tmp_path / "gone"), one, other])
        await reader.refuses(ChannelFork)

    run(story())


def test_a_record_of_another_repository_in_a_mirror_is_none_of_ours(
    reader: Reader, tmp_path: Path
) -> None:
    async def story() -> None:
        own = Reader(Counting(tmp_path / "mirror"))
        await own.write(1)  # under the mirror's own name
        reader.mirrored = MirroredStore([reader.store, own.store])
        with pytest.raises(NotFound, match=r"no channel prod.*the record found"):
            await reader.look()

    run(story())


def test_an_old_rollout_put_back_is_refused(tmp_path: Path) -> None:
    async def story(reader: Reader) -> None:
        rings = (
            Ring(name="canary", labels={"tier": "canary"}),
            Ring(name="all", percent=100),
        )
        canary = Cluster(name="east", labels={"tier": "canary"})
        await reader.write(1)

        async def move(make: Callable[[Trusted], Record | None]) -> str:
            writer = Writer(
                store=reader.store,
                channel=reader.channel(ALICE),
                signer=ALICE,
                settle=0.0,
                clock=lambda: NOW,
            )

            def made(newest: Trusted | None) -> Record | None:
                assert newest is not None
                return make(newest)

            return (await writer.write(made)).digest

        begun = await move(lambda now: promoted(now, pins(2, reader.place), why(), rings=rings))
        assert await reader.look() == DIGESTS[1]
        reader.cluster = canary
        assert await reader.look() == DIGESTS[2]
        reader.cluster = Cluster(name="west")
        await move(lambda now: rollout_aborted(now, {}, why()))
        assert await reader.look() == DIGESTS[1]
        reader.cluster = canary
        await reader.store.push_manifest(await reader.store.fetch_manifest(begun), "channel-prod")
        await reader.refuses(RecordReplayed)

    asyncio.run(story(Reader(Counting(tmp_path))))
