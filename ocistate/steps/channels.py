"""Read a channel's records from a store, and write the next one beside other writers.

Registries have no compare-and-swap. A writer takes a number by tagging it while it is free, waits
until whoever saw it free too must have shown itself, looks whether the number is still its own, and
only then moves the channel's name. The loser of a race starts anew on top of the winner; what a
writer that died left unfinished is finished by the next one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from ocistate.channel.change import succeed
from ocistate.channel.record import (
    RECORD_TYPE,
    Record,
    check_channel,
    name_tag,
    number_tag,
    sign_record,
)
from ocistate.channel.trust import (
    MAX_RECORD_BYTES,
    ChannelTrust,
    Trusted,
    authenticate,
    check_place,
    highest,
)
from ocistate.errors import (
    ChannelFork,
    Conflict,
    InvalidRecord,
    InvalidReference,
    NoPolicy,
    NotFound,
    ProtocolError,
    TrustError,
    Untrusted,
)
from ocistate.oci.mirrors import ask_replicas
from ocistate.oci.model import EMPTY_CONFIG, Manifest, build_manifest, describe
from ocistate.oci.store import Store
from ocistate.oci.tags import CHANNEL_PREFIX, is_channel
from ocistate.reference import Reference
from ocistate.signing.envelope import BUNDLE_TYPE
from ocistate.signing.keys import Signer
from ocistate.signing.policy import TrustPolicy
from ocistate.signing.select import select_policy

SETTLE_SECONDS: Final = {"oci": 0.5, "layout": 0.05, "archive": 0.05}
"""How long a number must stay ours before the channel's name is moved to it."""

_PATIENCE: Final = timedelta(seconds=60)
"""A record older than this is not being written any more."""
_TRIES: Final = 60
_LOOKS: Final = 5
"""How often in a settling time the name is looked at while another writer is at work."""

Make = Callable[[Trusted | None], Record | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel's name, the repository that holds its records, and whose records count."""

    name: str
    repository: str
    trust: ChannelTrust

    def check(self, raw: bytes, digest: str) -> Trusted:
        """A record of this channel, signed by one of its keys; of any age and epoch."""
        trusted = authenticate(raw, digest, self.trust)
        check_place(trusted.record, self.name, self.repository)
        return trusted


def channel_of(
    name: str,
    repository: Reference,
    policies: Iterable[TrustPolicy],
    *,
    policy_name: str | None = None,
) -> Channel:
    """A channel under the trust that a policy gives it. Raises NoPolicy, ConfigError.

    A policy's mode does not matter here: records are verified, or they are not followed.
    """
    policy = select_policy(policies, repository.name, policy_name)
    if not policy.channel_keys:
        raise NoPolicy(
            f"the TrustPolicy {policy.name!r} names no key for the channels of {repository.name}",
            hint="name who may sign channels in its spec.channelKeys",
        )
    trust = ChannelTrust(
        keys=policy.channel_keys, epoch=policy.epoch, min_sequence=policy.min_sequence
    )
    return Channel(name=check_channel(name), repository=place_of(repository), trust=trust)


def place_of(reference: Reference) -> str:
    """A repository's name as records have it: a layout's or archive's is its absolute path."""
    if reference.scheme == "oci":
        return reference.name
    return str(Path(reference.repository).resolve())


async def fetch_record(store: Store, target: str) -> tuple[bytes, str]:
    """A record's bytes and its digest, unverified. Raises NotFound, InvalidRecord, StoreError."""
    manifest = await store.fetch_manifest(target)
    if (
        not isinstance(manifest, Manifest)
        or manifest.artifact_type != RECORD_TYPE
        or len(manifest.layers) != 1
    ):
        raise InvalidRecord(
            f"{target} in {store.reference} is not a channel's record",
            hint="'ocistate channel list' shows the channels there are",
        )
    raw = await store.fetch_blob(manifest.layers[0], limit=MAX_RECORD_BYTES)
    return raw, manifest.descriptor.digest


async def read_newest(store: Store, channel: Channel) -> Trusted:
    """What the channel's name holds: signed, and of this channel. Its age is not looked at.

    A mirror is asked where the repository itself does not answer, or has no good record; of several
    mirrors' the highest counts. Raises NotFound when there is no such channel, ChannelFork.
    """
    tag = name_tag(check_channel(channel.name))

    async def read(replica: Store) -> Trusted:
        try:
            return channel.check(*await fetch_record(replica, tag))
        except NotFound:
            raise NotFound(
                f"{replica.reference} has no channel {channel.name}",
                hint="'ocistate channel init' begins one, 'ocistate channel list' shows all",
            ) from None

    return highest(await ask_replicas(store, read))


async def read_number(store: Store, channel: Channel, epoch: int, sequence: int) -> Trusted:
    """One record of a channel by its number, from mirrors too, as ``read_newest``.

    Raises NotFound, TrustError, ChannelError.
    """
    tag = number_tag(channel.name, epoch, sequence)

    async def read(replica: Store) -> Trusted:
        return channel.check(*await fetch_record(replica, tag))

    trusted = highest(await ask_replicas(store, read))
    if trusted.record.number != (epoch, sequence):
        raise ChannelFork(
            f"the tag {tag} holds {trusted.record}",
            hint="the tag was overwritten: 'ocistate history' shows the records as they are linked",
        )
    return trusted


async def follow_numbers(store: Store, channel: Channel, newest: Trusted) -> Trusted:
    """The newest record there is from one on, be the channel's name moved to it or not."""
    while True:
        number = (newest.record.epoch, newest.record.sequence + 1)
        try:
            found = await read_number(store, channel, *number)
        except (NotFound, TrustError, ProtocolError):
            return newest
        if found.record.previous != newest.digest:
            return newest
        newest = found


async def digest_at(store: Store, tag: str) -> str:
    """What a tag names; empty when it is free."""
    try:
        return (await store.resolve(tag)).digest
    except NotFound:
        return ""


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
        """The newest record there is, be the channel's name moved to it or not. Writes nothing.

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
        for attempt in range(_TRIES):
            newest = await self._named()
            follower = self._follower(newest)
            if await digest_at(self.store, number_tag(self.channel.name, *follower)):
                await self._finish(newest, follower)
                continue
            if base and (newest is None or newest.digest != base):
                raise Conflict(
                    f"the channel {self.channel.name} was moved by someone else meanwhile",
                    hint="look at what it is now, and decide again",
                )
            draft = make(newest)
            if draft is None:
                assert newest is not None  # there is always something to write into nothing
                if await digest_at(self.store, name_tag(self.channel.name)) != newest.digest:
                    await self._name(newest.digest)
                return newest
            written = await self._take(newest, succeed(newest, draft, epoch=self._epoch))
            if written is not None:
                return written
            await self.sleep(self.settle * random.random() * min(1 + attempt / 4, 4))  # noqa: S311
        raise Conflict(
            f"other writers kept moving the channel {self.channel.name} of {self.store.reference}",
            hint="try again, with fewer writers at the same time",
        )

    async def restart(self, draft: Record) -> Trusted:
        """Begin the policy's epoch over whatever the name holds now, be it signed by nobody.

        The way back after a stolen or lost key. Raises Conflict when the epoch has begun already.
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
        """That the signer's records would count. Raises Untrusted."""
        mine = self.signer.public_key.fingerprint
        if mine not in {trusted.key.fingerprint for trusted in self.channel.trust.keys}:
            raise Untrusted(
                f"the key {mine[:12]} is no channel key of {self.channel.repository}",
                hint="sign with one of the policy's channelKeys; a key of artifacts is no such key",
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
            # The name was pointed at something else; the numbers may still tell.
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
            return None  # overwritten by one so slow that it saw the number free long ago
        written = self.channel.check(manifest.layers[0].data, digest)
        follower = self._follower(written)
        if await digest_at(store, number_tag(record.channel, *follower)):
            await self._finish(written, follower)  # we were so slow that the name went back
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
        """A record's number; (0, 0) for what is no record of this channel, or signed by nobody."""
        try:
            return self.channel.check(*await fetch_record(self.store, digest)).record.number
        except (TrustError, NotFound, ProtocolError):
            return (0, 0)

    async def _finish(self, newest: Trusted | None, number: tuple[int, int]) -> None:
        """Another's record has the number: let its writer finish, or finish in its place."""
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
                hint="'ocistate channel verify' tells of forks; a higher epoch begins a new line",
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


def numbers_in(tags: list[str], channel: str) -> list[tuple[int, int]]:
    """The (epoch, sequence) of a channel's records among a repository's tags."""
    prefix = f"{name_tag(channel)}-"
    found = []
    for tag in tags:
        if tag.startswith(prefix):
            first, dot, second = tag.removeprefix(prefix).partition(".")
            if first.isdecimal() and (not dot or second.isdecimal()) and len(tag) < 128:
                number = (int(first), int(second)) if dot else (1, int(first))
                if number_tag(channel, *number) == tag:
                    found.append(number)
    return found


def channels_in(tags: list[str]) -> list[str]:
    """The names of the channels among a repository's tags."""
    found = []
    for tag in tags:
        if is_channel(tag):
            try:
                found.append(check_channel(tag.removeprefix(CHANNEL_PREFIX)))
            except InvalidReference:
                continue  # the number of one of them
    return found
