"""What a Stack's channel names now: a record proven, remembered, and only then followed.

A poll that finds nothing new costs one HEAD. What was accepted is part of the status, and is kept
before the digest is used: a restart, a lost folder or a registry put back cannot undo it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from ocistate.api.stack import Stack
from ocistate.api.stack_spec import StackSource
from ocistate.api.status import Followed
from ocistate.channel.record import name_tag
from ocistate.channel.rings import Cluster
from ocistate.channel.trust import Accepted, Trusted, accept, highest, verify_record
from ocistate.errors import NotFound
from ocistate.oci.mirrors import ask_replicas
from ocistate.oci.store import Store
from ocistate.ops.channel.reader import (
    Channel,
    channel_of,
    fetch_record,
    no_channel,
    repository_of,
)
from ocistate.signing.policy.model import TrustPolicy
from ocistate.times import format_time, parse_signed_time

MAX_FOLLOWED: Final = 16
"""How many channels a Stack remembers, should it be pointed at one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointed:
    """A digest, the record that names it, and what must be kept before it is used."""

    digest: str
    record: Trusted
    accepted: Accepted
    followed: tuple[Followed, ...]


async def follow_channel(
    stack: Stack,
    store: Store,
    *,
    connect: Callable[[Stack], Awaitable[Store]],
    policies: Iterable[TrustPolicy],
    followed: tuple[Followed, ...],
    last: Pointed | None,
    now: datetime,
    cluster: Cluster,
) -> Pointed:
    """What a Stack's channel names for this cluster, under the policies.

    Its records may be in another repository than the artifacts.

    Raises NoPolicy, ConfigError, and what ``read_channel`` raises.
    """
    source = stack.spec.source
    records = source.records.reference
    here = records == source.repository.reference
    # The policy that the Stack names speaks of its own repository.
    name = (stack.spec.trust.policy or None) if here else None
    channel = channel_of(source.channel, records, policies, policy_name=name)
    async with contextlib.AsyncExitStack() as opened:
        if not here:
            there = stack.with_source(repository=source.records)
            store = await opened.enter_async_context(await connect(there))
        return await read_channel(
            store, source, channel, followed=followed, last=last, now=now, cluster=cluster
        )


async def read_channel(
    store: Store,
    source: StackSource,
    channel: Channel,
    *,
    followed: tuple[Followed, ...],
    last: Pointed | None,
    now: datetime,
    cluster: Cluster = Cluster(),  # noqa: B008 - it is frozen
) -> Pointed:
    """The digest that a channel names for the source's repository in this cluster.

    A mirror is asked where the repository itself does not answer, or has no record to follow; of
    several mirrors' records the highest counts. ``last`` is what this process saw before; it saves
    the record's fetching, and no check. Raises NotFound, TrustError, errors of the ChannelError
    branch, StoreError.
    """
    place = (channel.name, channel.repository)
    accepted = _remembered(followed, place)
    if accepted is not None and last is not None and last.accepted.digest == accepted.digest:
        accepted = last.accepted

    async def read(replica: Store) -> Trusted:
        try:
            newest = await replica.resolve(name_tag(channel.name))
        except NotFound:
            raise no_channel(replica.reference, channel.name) from None
        if last is not None and last.record.digest == newest.digest:
            raw = last.record.raw
        else:
            raw, _ = await fetch_record(replica, newest.digest)
        return verify_record(
            raw,
            newest.digest,
            channel=channel.name,
            repository=channel.repository,
            trust=channel.trust,
            now=now,
            accepted=accepted,
        )

    trusted = highest(await ask_replicas(store, read))
    digest = trusted.record.digest_of(repository_of(source.repository.reference), cluster)
    new = accept(trusted, now, accepted)
    if accepted is None or accepted.digest != new.digest:
        entry = Followed(
            channel=channel.name,
            repository=channel.repository,
            epoch=new.epoch,
            sequence=new.sequence,
            record=new.digest,
            at=format_time(new.at),
        )
        others = (f for f in followed if (f.channel, f.repository) != place)
        followed = (entry, *others)[:MAX_FOLLOWED]
    return Pointed(digest=digest, record=trusted, accepted=new, followed=followed)


def _remembered(followed: tuple[Followed, ...], place: tuple[str, str]) -> Accepted | None:
    for entry in followed:
        if (entry.channel, entry.repository) == place:
            try:
                at = parse_signed_time(entry.at)
            except ValueError:
                at = datetime.min.replace(tzinfo=UTC)
            return Accepted(epoch=entry.epoch, sequence=entry.sequence, digest=entry.record, at=at)
    return None
