"""Write a channel's next record beside other writers.

Registries have no compare-and-swap. A writer takes a number by tagging it while it is free, waits
until any other writer that saw it free must have written too, checks that the number is still its
own, and only then moves the channel's name. The loser of a race starts again from the winner's
record; what a writer that died left unfinished, the next one finishes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from ocistate.backoff import Backoff
from ocistate.channel.change import succeed
from ocistate.channel.record import RECORD_TYPE, Record, name_tag, number_tag, sign_record
from ocistate.channel.trust import Trusted
from ocistate.errors import ChannelFork, Conflict, NotFound, ProtocolError, TrustError, Untrusted
from ocistate.oci.model import EMPTY_CONFIG, Manifest, build_manifest, describe
from ocistate.oci.store import Store
from ocistate.ops.channel.reader import (
    Channel,
    digest_at,
    fetch_record,
    follow_numbers,
    no_channel,
    numbers_in,
    read_newest,
    read_number,
)
from ocistate.signing.envelope import BUNDLE_TYPE
from ocistate.signing.keys import Signer

SETTLE_SECONDS: Final = {"oci": 0.5, "layout": 0.05, "archive": 0.05}
"""How long a number must stay ours before the channel's name is moved to it."""

_PATIENCE: Final = timedelta(seconds=60)
"""A record older than this is not being written any more."""
_TRIES: Final = 60
_LOOKS: Final = 5
"""How often in a settling time the name is looked at while another writer is at work."""

Make = Callable[[Trusted | None], Record | None]


@dataclass(slots=True)
class Writer:
    """Writes a channel's next record. ``make`` is asked again after each lost race."""

    store: Store
    channel: Channel
    signer: Signer
    settle: float = -1.0
    """Seconds; as long as the kind of store asks for by default."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def __post_init__(self) -> None:
        if self.settle < 0:
            self.settle = SETTLE_SECONDS[self.store.reference.scheme]

    async def newest(self) -> Trusted | None:
        """The newest record, whether the channel's name was moved to it or not. Writes nothing.

        None when there is no such channel. Raises TrustError, ChannelError, StoreError.
        """
        named = await self._named()
        return named and await follow_numbers(self.store, self.channel, named)

    async def write(self, make: Make, *, base: str = "") -> Trusted:
        """Write what ``make`` makes of the newest record, unless that is None.

        With ``base`` only on top of the record of that digest: Conflict when it is not the newest
        any more. Raises TrustError, ChannelError, ChannelHeld, Conflict, StoreError.
        """
        self.check_signer()
        pause = Backoff(first=self.settle, longest=4 * self.settle, spread=0)
        for attempt in range(1, _TRIES + 1):
            newest = await self._named()
            follower = self._follower(newest)
            if await digest_at(self.store, number_tag(self.channel.name, *follower)):
                await self._finish(newest, follower)
                continue
            if base and (newest is None or newest.digest != base):
                raise Conflict(
                    f"the channel {self.channel.name} was moved by someone else meanwhile",
                    hint="see what it is now with 'ocistate channel show', and decide again",
                )
            draft = make(newest)
            if draft is None:
                if newest is None:
                    raise no_channel(self.store.reference, self.channel.name)
                if await digest_at(self.store, name_tag(self.channel.name)) != newest.digest:
                    await self._name(newest.digest)
                return newest
            written = await self._take(newest, succeed(newest, draft, epoch=self._epoch))
            if written is not None:
                return written
            # Anywhere up to the pause: writers that lost one race together must part.
            await self.sleep(pause.delay(attempt) * random.random())  # noqa: S311
        raise Conflict(
            f"other writers kept moving the channel {self.channel.name} of {self.store.reference}",
            hint="try again, with fewer writers at the same time",
        )

    async def restart(self, draft: Record) -> Trusted:
        """Begin the policy's epoch over whatever the name holds now, even an unsigned record.

        For recovery after a stolen or lost key. Raises Conflict when the epoch has begun already.
        """
        self.check_signer()
        old = await digest_at(self.store, name_tag(self.channel.name))
        record = replace(succeed(None, draft, epoch=self._epoch), previous=old)
        written = None
        if not await digest_at(self.store, number_tag(record.channel, *record.number)):
            written = await self._take(None, record)
        if written is None:
            raise Conflict(
                f"epoch {record.epoch} of the channel {record.channel} has begun already",
                hint="promote in it, or raise the policy's epoch once more",
            )
        return written

    @property
    def _epoch(self) -> int | None:
        return self.channel.trust.epoch

    def check_signer(self) -> None:
        """That the signer is one of the channel's keys. Raises Untrusted."""
        mine = self.signer.public_key.fingerprint
        if mine not in {trusted.key.fingerprint for trusted in self.channel.trust.keys}:
            raise Untrusted(
                f"the key {mine[:12]} is not a channel key of {self.channel.repository}",
                hint="sign with one of the policy's channelKeys, not with a key for artifacts",
            )

    def _follower(self, newest: Trusted | None) -> tuple[int, int]:
        """The number that comes after the newest record, in the policy's epoch."""
        epoch = self.channel.trust.epoch
        if newest is None:
            return (epoch or 1, 1)
        last = newest.record
        return (last.epoch, last.sequence + 1) if epoch in (None, last.epoch) else (epoch or 1, 1)

    async def _name(self, digest: str) -> None:
        manifest = await self.store.fetch_manifest(digest)
        await self.store.push_manifest(manifest, name_tag(self.channel.name))

    async def _named(self) -> Trusted | None:
        try:
            return await read_newest(self.store, self.channel)
        except NotFound:
            return None
        except (TrustError, ProtocolError) as error:
            # The name was pointed at something else; the numbers may still be right.
            found = await self._highest()
            if found is None:
                raise error
            return found

    async def _highest(self) -> Trusted | None:
        numbers = numbers_in(await self.store.tags(), self.channel.name)
        for epoch, sequence in sorted(numbers, reverse=True)[:_TRIES]:
            try:
                return await read_number(self.store, self.channel, epoch, sequence)
            except (TrustError, NotFound, ProtocolError):
                continue
        return None

    async def _take(self, newest: Trusted | None, record: Record) -> Trusted | None:
        """Take the record's number and move the name; None when another writer was first."""
        store = self.store
        number = number_tag(record.channel, *record.number)
        name = name_tag(record.channel)
        manifest = await self._push(record)
        digest = manifest.descriptor.digest
        if await digest_at(store, number):
            return None
        await store.push_manifest(manifest, number)
        await self.sleep(self.settle)
        if await digest_at(store, number) != digest:
            return None
        named = await digest_at(store, name)
        expected = ("", newest.digest if newest else "", digest)
        if named not in expected and await self._overtaken(record, named):
            return None
        await store.push_manifest(manifest, name)
        if await digest_at(store, number) != digest:
            return None  # overwritten by a slow writer that saw the number free long ago
        written = self.channel.check(manifest.layers[0].data, digest)
        follower = self._follower(written)
        if await digest_at(store, number_tag(record.channel, *follower)):
            await self._finish(written, follower)  # we were slow, and moved the name back
        return written

    async def _overtaken(self, record: Record, named: str) -> bool:
        """Whether another's record of our number, or a later one, was named while we waited.

        Its number is then given back to it.
        """
        other = await self._number_of(named)
        if other < record.number:
            return False
        if other == record.number:
            manifest = await self.store.fetch_manifest(named)
            await self.store.push_manifest(manifest, number_tag(record.channel, *record.number))
        return True

    async def _number_of(self, digest: str) -> tuple[int, int]:
        """A record's number; (0, 0) for anything but a verified record of this channel."""
        try:
            return self.channel.check(*await fetch_record(self.store, digest)).record.number
        except (TrustError, NotFound, ProtocolError):
            return (0, 0)

    async def _finish(self, newest: Trusted | None, number: tuple[int, int]) -> None:
        """Another record has the number: wait for its writer to finish, or finish for it."""
        name = name_tag(self.channel.name)
        base = await digest_at(self.store, name)
        try:
            found = await read_number(self.store, self.channel, *number)
        except NotFound:
            return
        expected = newest.digest if newest else ""
        if base not in ("", expected) and await self._number_of(base) >= number:
            return  # it was finished while we read
        fresh = found.record.issued_at > self.clock() - _PATIENCE
        for _ in range(6 * _LOOKS if fresh else 1):
            if await digest_at(self.store, name) != base:
                return
            await self.sleep(self.settle / _LOOKS if fresh else 0)
        if found.record.previous != expected:
            raise ChannelFork(
                f"{found.record} ({found.digest}) does not follow the newest record, "
                f"{newest.digest if newest else 'none'}",
                hint="'ocistate channel verify' shows forks; a higher epoch begins a new history",
            )
        if await digest_at(self.store, name) == base:
            await self._name(found.digest)

    async def _push(self, record: Record) -> Manifest:
        bundle = sign_record(record, self.signer)
        layer = describe(bundle, BUNDLE_TYPE, embed=True)
        manifest = build_manifest(artifact_type=RECORD_TYPE, config=EMPTY_CONFIG, layers=(layer,))
        await self.store.push_blob(EMPTY_CONFIG, b"{}")
        await self.store.push_blob(layer, bundle)
        return manifest
