"""Read a channel's records from a store and its mirrors, each proven before it is given out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ocistate.channel.record import (
    RECORD_TYPE,
    name_tag,
    number_tag,
    read_number_text,
)
from ocistate.channel.trust import (
    MAX_RECORD_BYTES,
    ChannelTrust,
    Trusted,
    authenticate,
    check_repository,
    highest,
)
from ocistate.errors import (
    ChannelFork,
    InvalidRecord,
    InvalidReference,
    NoPolicy,
    NotFound,
    ProtocolError,
    TrustError,
)
from ocistate.oci.mirrors import ask_replicas
from ocistate.oci.model import Manifest
from ocistate.oci.store import Store
from ocistate.oci.tags import CHANNEL_PREFIX, is_channel
from ocistate.reference import Reference, check_channel
from ocistate.signing.policy.model import TrustPolicy
from ocistate.signing.policy.select import select_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel's name, the repository that holds its records, and whose records count."""

    name: str
    repository: str
    trust: ChannelTrust

    def check(self, raw: bytes, digest: str) -> Trusted:
        """A record of this channel, signed by one of its keys; of any age and epoch."""
        trusted = authenticate(raw, digest, self.trust)
        check_repository(trusted.record, self.name, self.repository)
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
    return Channel(name=check_channel(name), repository=repository_of(repository), trust=trust)


def repository_of(reference: Reference) -> str:
    """A repository's name as records have it: a layout's or archive's is its absolute path."""
    if reference.scheme == "oci":
        return reference.name
    return str(Path(reference.repository).resolve())


def no_channel(repository: Reference | str, name: str) -> NotFound:
    """The error where there is no such channel."""
    return NotFound(
        f"{repository} has no channel {name}",
        hint="'ocistate channel list' shows all, 'ocistate channel init' begins one",
    )


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
            raise no_channel(replica.reference, channel.name) from None

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


def numbers_in(tags: list[str], channel: str) -> list[tuple[int, int]]:
    """The (epoch, sequence) of a channel's records among a repository's tags."""
    prefix = f"{name_tag(channel)}-"
    found = []
    for tag in tags:
        if tag.startswith(prefix):
            number = read_number_text(tag.removeprefix(prefix))
            if number is not None and number_tag(channel, *number) == tag:
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
