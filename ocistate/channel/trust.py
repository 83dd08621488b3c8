"""Which records may be followed: by whom they are signed, of what, of when, and in which order.

    trusted = verify_record(
        raw, digest, channel="prod", repository="registry.example.com/shop",
        trust=ChannelTrust(keys=keys), now=now, accepted=last,
    )
    trusted.record.digest_of("registry.example.com/shop")

Bytes go in, and a record that may be followed comes out, or an error. The checks are made in this
order, at the one moment ``now``: signed by a channel key; is a channel's record; well
formed; of the channel and repository asked for; of an epoch and sequence that the policy allows;
not from the future, not expired; not before, and not beside, the record accepted last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from ocistate.channel.record import Record, parse_record, show_number
from ocistate.errors import (
    ChannelFork,
    EpochRefused,
    ForeignRecord,
    InvalidSignature,
    RecordExpired,
    RecordReplayed,
    Untrusted,
)
from ocistate.signing.envelope import parse_bundle, parse_statement
from ocistate.signing.policy.model import TrustedKey
from ocistate.signing.signer import signer_of
from ocistate.times import format_time

MAX_RECORD_BYTES: Final = 256 * 1024
CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far the clock of who signs may be ahead of the reader's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTrust:
    """Whose records are followed: any one of ``keys``, in this ``epoch``, from a sequence on.

    ``epoch`` None accepts every epoch: for those who only look, and have no policy.
    """

    keys: tuple[TrustedKey, ...]
    epoch: int | None = None
    min_sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What a reader remembers of a channel: the record it followed last, and when.

    ``at`` only grows, so that a clock that was put back makes no expired record valid again.
    """

    epoch: int
    sequence: int
    digest: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """A record whose signature holds, its own digest, and the key that signed it."""

    record: Record
    digest: str
    signer: str
    raw: bytes = field(repr=False)


def authenticate(raw: bytes, digest: str, trust: ChannelTrust) -> Trusted:
    """A record whose signature holds and whose form is right, of whatever channel and age.

    Raises InvalidSignature, Untrusted, InvalidRecord.
    """
    if len(raw) > MAX_RECORD_BYTES:
        raise InvalidSignature(f"the record {digest} is larger than {MAX_RECORD_BYTES} bytes")
    bundle = parse_bundle(raw)
    if bundle.has_certificate:
        raise Untrusted(f"the record {digest} is signed by identity, and channels trust keys only")
    signer = signer_of(bundle, trust.keys)
    if signer is None:
        raise Untrusted(
            f"the record {digest} is signed by no channel key (hint {bundle.hint or 'none'})",
            hint="a channel's record counts only when one of the policy's channelKeys signed it",
        )
    record = parse_record(parse_statement(bundle.payload))
    return Trusted(record=record, digest=digest, signer=signer.name, raw=raw)


def verify_record(
    raw: bytes,
    digest: str,
    *,
    channel: str,
    repository: str,
    trust: ChannelTrust,
    now: datetime,
    accepted: Accepted | None = None,
) -> Trusted:
    """A record that may be followed, by all checks in the module's order.

    Raises InvalidSignature, Untrusted, and errors of the ChannelError branch.
    """
    trusted = authenticate(raw, digest, trust)
    check_repository(trusted.record, channel, repository)
    check_policy(trusted.record, trust)
    check_time(trusted.record, now, accepted)
    check_order(trusted, accepted)
    return trusted


def check_repository(record: Record, channel: str, repository: str) -> None:
    """That a record is of the channel and repository asked for. Raises ForeignRecord."""
    if (record.channel, record.repository) != (channel, repository):
        raise ForeignRecord(
            f"the record found for the channel {channel} of {repository} is one of the channel "
            f"{record.channel} of {record.repository}",
            hint="someone moved a tag or copied a record: promote again, and see who may write",
        )


def check_policy(record: Record, trust: ChannelTrust) -> None:
    """That a policy allows a record's epoch and sequence. Raises EpochRefused."""
    if trust.epoch is not None and record.epoch != trust.epoch:
        raise EpochRefused(
            f"{record} is of epoch {record.epoch}, and the policy allows epoch {trust.epoch}",
            hint="promote again in the policy's epoch, or change the policy's epoch",
        )
    if record.sequence < trust.min_sequence:
        raise EpochRefused(
            f"{record} is before the policy's minSequence, {trust.min_sequence}",
            hint="an old record was put back, or the policy's minSequence is too high",
        )


def check_time(record: Record, now: datetime, accepted: Accepted | None = None) -> None:
    """That a record is neither from the future nor expired. Raises RecordExpired."""
    if accepted is not None:
        now = max(now, accepted.at)
    if record.issued_at > now + CLOCK_SKEW:
        raise RecordExpired(
            f"{record} was issued at {format_time(record.issued_at)}, which is in the future",
            hint="set the clock of this machine, or of the one that signed",
        )
    if record.expires is not None and record.expires <= now:
        raise RecordExpired(
            f"{record} expired at {format_time(record.expires)}",
            hint="run 'ocistate channel refresh'; if it was run, the newest record is held back",
        )


def check_order(trusted: Trusted, accepted: Accepted | None) -> None:
    """That a record is not before or beside the one accepted last.

    Raises RecordReplayed, ChannelFork.
    """
    if accepted is None:
        return
    record, last = trusted.record, (accepted.epoch, accepted.sequence)
    if record.number < last:
        raise RecordReplayed(
            f"{record} is before {show_number(*last)}, which was accepted already",
            hint="an old record was put back: 'ocistate promote' moves the channel forward again",
        )
    if record.number == last and trusted.digest != accepted.digest:
        raise ChannelFork(
            f"{record} is {trusted.digest}, but {accepted.digest} was accepted under that number",
            hint="two records were signed under one number: promote once more, and see who signs",
        )


def highest(found: Sequence[Trusted]) -> Trusted:
    """Of one channel's records, from places that may lag behind, the one of the highest number.

    Raises ChannelFork when two have one number, whichever places they lie in.
    """
    first = max(found, key=lambda one: one.record.number)
    for other in found:
        check_order(first, accept(other, other.record.issued_at))
    return first


def accept(trusted: Trusted, now: datetime, accepted: Accepted | None = None) -> Accepted:
    """What to remember once a record is followed."""
    return Accepted(
        epoch=trusted.record.epoch,
        sequence=trusted.record.sequence,
        digest=trusted.digest,
        at=now if accepted is None else max(now, accepted.at),
    )
