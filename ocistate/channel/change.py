"""The next record of a channel: promote, roll back, refresh, hold, release. Pure decisions.

Each gives the next record, not numbered yet, or None where nothing is to be changed. They are asked
again with the then newest record whenever another writer got in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ocistate.channel.record import MAX_NUMBER, Record, RecordProvenance
from ocistate.channel.rings import Ring, Rollout
from ocistate.channel.trust import Trusted
from ocistate.errors import ChannelHeld, ConfigError, EpochRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Who wants a change, when, why, and from where the digests come.

    ``lifetime`` is how long the record is to be valid; None for as long as the one before was,
    zero for ever.
    """

    now: datetime
    reason: str
    actor: str = ""
    source: str = ""
    lifetime: timedelta | None = None

    def expires(self, newest: Record | None) -> datetime | None:
        """When the record made now expires."""
        lifetime = self.lifetime
        if lifetime is None and newest is not None and newest.expires is not None:
            lifetime = newest.expires - newest.issued_at
        return self.now + lifetime if lifetime else None


Pins = Mapping[str, tuple[str, RecordProvenance]]
"""By repository: the digest that is meant, and what it was made from."""


def succeed(
    newest: Trusted | None,
    record: Record,
    *,
    epoch: int | None = None,
) -> Record:
    """A record made the successor of the newest one: numbered, and linked to it.

    ``epoch`` is the policy's, None for the newest record's own; in a higher one the sequence starts
    at 1. Raises EpochRefused for a lower one, and where the sequence has come to its end.
    """
    if newest is None:
        return replace(record, epoch=epoch or 1, sequence=1, previous="")
    last = newest.record
    wanted = last.epoch if epoch is None else epoch
    if wanted < last.epoch:
        raise EpochRefused(
            f"{last} is of epoch {last.epoch}, and the policy allows epoch {wanted} only",
            hint="set the policy's epoch to that of the newest record, or to a higher one",
        )
    sequence = last.sequence + 1 if wanted == last.epoch else 1
    if sequence > MAX_NUMBER:
        raise EpochRefused(
            f"{last} has the last sequence there is", hint="raise the policy's epoch"
        )
    return replace(record, epoch=wanted, sequence=sequence, previous=newest.digest)


def begun(channel: str, repository: str, pins: Pins, why: Why) -> Record:
    """A channel's first record."""
    return Record(
        channel=channel,
        repository=repository,
        epoch=1,
        sequence=1,
        previous="",
        issued_at=why.now,
        expires=why.expires(None),
        reason=why.reason,
        source=why.source,
        actor=why.actor,
        subjects={name: digest for name, (digest, _) in pins.items()},
        artifacts={name: made for name, (_, made) in pins.items()},
    )


def promoted(
    newest: Trusted,
    pins: Pins,
    why: Why,
    *,
    drop: frozenset[str] = frozenset(),
    release: bool = False,
    rings: tuple[Ring, ...] = (),
) -> Record | None:
    """The channel with these digests; the other repositories of the set stay as they are.

    With ``rings`` only the first of them gets the digests now. A rollout that is under way may only
    be followed by another one, and what is stable stays so. None when the channel has the digests
    already. Raises ChannelHeld for a channel on hold without ``release``, ConfigError.
    """
    last = newest.record
    kept = {name: digest for name, digest in last.subjects.items() if name not in drop}
    subjects = {**kept, **{name: digest for name, (digest, _) in pins.items()}}
    known = {**last.artifacts, **{name: made for name, (_, made) in pins.items()}}
    artifacts = {name: made for name, made in known.items() if name in subjects}
    if last.hold and not release:
        raise ChannelHeld(
            f"the channel {last} is on hold since {last.issued_at:%Y-%m-%d %H:%M} UTC: "
            f"{last.reason or 'no reason given'}",
            hint="a person may lift the hold with --release, or 'ocistate channel release'",
        )
    if subjects == dict(last.subjects) and not last.hold:
        return None
    draft = replace(_next(newest, why), subjects=subjects, artifacts=artifacts, hold=False)
    if subjects == dict(last.subjects):
        return draft  # only the hold is lifted
    if last.rollout is not None and not rings:
        raise ConfigError(
            f"a rollout is under way in {last}: {last.rollout}",
            hint="bring it to its end, 'ocistate rollout abort' it, or give --rings for the next",
        )
    stable = last.rollout.stable if last.rollout is not None else last.subjects
    begun = Rollout(stable=stable, rings=rings, opened_at=why.now) if rings else None
    return replace(draft, rollout=begun)


def rolled_back(newest: Trusted, to: Record, why: Why) -> Record:
    """The channel with the digests of an earlier record for every cluster, and on hold."""
    old = _next(newest, why)
    return replace(old, subjects=to.subjects, artifacts=to.artifacts, hold=True, rollout=None)


def ring_opened(newest: Trusted, why: Why) -> Record:
    """The same, with the next ring of its rollout open. Raises ConfigError."""
    rollout = _under_way(newest)
    if rollout.open == len(rollout.rings):
        raise ConfigError(f"all rings of {newest.record} are open already")
    further = replace(rollout, open=rollout.open + 1, opened_at=why.now)
    return replace(_next(newest, why), rollout=further)


def rollout_ended(newest: Trusted, why: Why) -> Record:
    """The same for every cluster. Raises ConfigError."""
    _under_way(newest)
    return replace(_next(newest, why), rollout=None)


def rollout_aborted(newest: Trusted, artifacts: Mapping[str, RecordProvenance], why: Why) -> Record:
    """Back to what is stable, made from ``artifacts``, and on hold. Raises ConfigError."""
    stable = _under_way(newest).stable
    made = {place: found for place, found in artifacts.items() if place in stable}
    draft = _next(newest, why)
    return replace(draft, subjects=stable, artifacts=made, hold=True, rollout=None)


def _under_way(newest: Trusted) -> Rollout:
    rollout = newest.record.rollout
    if rollout is None:
        raise ConfigError(
            f"no rollout is under way in {newest.record}",
            hint="'ocistate promote --rings …' begins one",
        )
    return rollout


def refreshed(newest: Trusted, why: Why) -> Record:
    """The same record with a new lifetime. Raises ConfigError for a channel that never expires."""
    last = newest.record
    if why.lifetime is None and last.expires is None:
        raise ConfigError(
            f"{last} does not expire, and no lifetime is given",
            hint="give the time it is valid for: --expires 7d",
        )
    return replace(_next(newest, why), hold=last.hold)


def held(newest: Trusted, why: Why) -> Record | None:
    """The same, on hold; None when it is already."""
    return None if newest.record.hold else replace(_next(newest, why), hold=True)


def released(newest: Trusted, why: Why) -> Record | None:
    """The same, no longer on hold; None when it is not."""
    return replace(_next(newest, why), hold=False) if newest.record.hold else None


def _next(newest: Trusted, why: Why) -> Record:
    # What a newer ocistate put into the record stays in it.
    return replace(
        newest.record,
        issued_at=why.now,
        expires=why.expires(newest.record),
        reason=why.reason,
        source=why.source,
        actor=why.actor,
    )
