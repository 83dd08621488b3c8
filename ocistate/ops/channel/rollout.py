"""Bring a channel's release on from ring to ring, by what its clusters report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ocistate.channel.change import Why, ring_opened, rollout_aborted, rollout_ended
from ocistate.channel.fleet import Fleet
from ocistate.channel.progress import RolloutStep, RolloutVerdict, decide
from ocistate.channel.record import Record, RecordProvenance
from ocistate.channel.trust import Trusted
from ocistate.errors import NotFound
from ocistate.oci.store import Store
from ocistate.ops.channel.history import read_history
from ocistate.ops.channel.reader import Channel
from ocistate.ops.channel.reports import read_fleet
from ocistate.ops.channel.writer import Writer
from ocistate.signing.policy.model import TrustedKey

_LOOK_BACK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSnapshot:
    """A channel's newest record, its clusters, and what is due; None without a rollout."""

    newest: Trusted
    fleet: Fleet
    step: RolloutStep | None


async def take_snapshot(
    newest: Trusted,
    channel: Channel,
    report_store: Store,
    reporters: Sequence[TrustedKey],
    now: datetime,
) -> RolloutSnapshot:
    """What is due in a channel, by the reports that the store ``told`` holds. Raises StoreError."""
    record = newest.record
    fleet = await read_fleet(report_store, channel, reporters, record, now)
    rollout = record.rollout
    step = decide(record, rollout, fleet, now) if rollout is not None else None
    return RolloutSnapshot(newest=newest, fleet=fleet, step=step)


async def take_step(writer: Writer, newest: Trusted, verdict: RolloutVerdict, why: Why) -> Trusted:
    """Write what a verdict asks for on top of the record that it was made about, and of no other.

    Raises Conflict when somebody wrote meanwhile, ConfigError without a rollout, what ``write``
    raises.
    """
    made = await _stable_artifacts(writer, newest.record) if verdict == "back" else {}

    def make(now: Trusted | None) -> Record | None:
        if now is None:
            raise NotFound(f"the channel {writer.channel.name} went away meanwhile")
        if verdict == "back":
            return rollout_aborted(now, made, why)
        return ring_opened(now, why) if verdict == "advance" else rollout_ended(now, why)

    return await writer.write(make, base=newest.digest)


async def _stable_artifacts(writer: Writer, record: Record) -> Mapping[str, RecordProvenance]:
    """What the stable digests were made from, as the record says that last pinned them."""
    if record.rollout is None:
        return {}
    history = await read_history(writer.store, writer.channel, limit=_LOOK_BACK)
    stable = dict(record.rollout.stable)
    return next(
        (
            link.record.artifacts
            for link in history.links
            if link.signer and dict(link.record.subjects) == stable
        ),
        {},
    )
