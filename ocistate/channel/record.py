"""A channel's record: a signed, numbered statement of which digests an environment's name means.

    bundle = sign_record(record, signer)
    parse_record(parse_statement(parse_bundle(bundle).payload)) == record

What it holds, how it is written down and how that is read; whether it may be followed is decided in
``channel/trust.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from ocistate.canonical import DIGEST_PATTERN
from ocistate.channel.rings import Cluster, Rollout, read_rollout, write_rollout
from ocistate.errors import (
    ForeignRecord,
    InvalidRecord,
    InvalidReference,
)
from ocistate.oci.tags import CHANNEL_PREFIX
from ocistate.reference import check_channel
from ocistate.signing.envelope import (
    PAYLOAD_TYPE,
    Statement,
    build_bundle,
    build_named_statement,
    pae,
    parse_statement,
)
from ocistate.signing.keys import Signer
from ocistate.text import whole_number
from ocistate.times import format_time, parse_signed_time

PREDICATE: Final = "https://ocistate.dev/channel/v1"
RECORD_TYPE: Final = "application/vnd.ocistate.channel.v1"
MAX_SUBJECTS: Final = 256
MAX_NUMBER: Final = 2**53 - 1
"""The largest number that every reader of JSON keeps apart from its neighbours."""

_MAX_TEXT: Final = 4096
_KNOWN: Final = frozenset(
    (
        *("channel", "repository", "epoch", "sequence", "previous", "issuedAt"),
        *("expires", "reason", "source", "actor", "hold", "artifacts", "rollout", "critical"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordProvenance:
    """Where an artifact was made from, as its own config has it."""

    source: str = ""
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The fields of a record. ``subjects`` are the digests it pins, by repository, as one set.

    ``previous`` is the digest of the record before it, empty for a channel's first. ``actor`` is
    who asked for it, as the signer states; ``source`` the channel or tag that the digests came
    from; ``artifacts`` each repository's git source and revision. With a ``rollout`` the subjects
    are meant for the clusters in its open rings only. ``extra`` are fields of a newer ocistate,
    kept as they are.
    """

    channel: str
    repository: str
    epoch: int
    sequence: int
    previous: str
    issued_at: datetime
    subjects: Mapping[str, str]
    expires: datetime | None = None
    reason: str = ""
    source: str = ""
    actor: str = ""
    hold: bool = False
    rollout: Rollout | None = None
    artifacts: Mapping[str, RecordProvenance] = field(default_factory=lambda: MappingProxyType({}))
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def number(self) -> tuple[int, int]:
        """(epoch, sequence): what orders the records of a channel."""
        return (self.epoch, self.sequence)

    def digest_of(self, repository: str, cluster: Cluster | None = None) -> str:
        """The digest it pins for a repository, and for a cluster if one is given.

        Raises ForeignRecord when it pins none.
        """
        pinned = self.subjects if cluster is None else self.pinned_for(cluster)
        if repository not in pinned:
            raise ForeignRecord(
                f"the channel {self.channel} of {self.repository} pins nothing for {repository}",
                hint=f"it pins {', '.join(sorted(pinned))}",
            )
        return pinned[repository]

    def pinned_for(self, cluster: Cluster) -> Mapping[str, str]:
        """What a cluster is to run: the subjects, or what it stays on until its ring is opened."""
        rollout = self.rollout
        if rollout is None or rollout.is_open(self.ring_of(cluster)):
            return self.subjects
        return rollout.stable

    def ring_of(self, cluster: Cluster) -> int:
        """The place of a cluster's ring in the rollout; 0 without one.

        It is drawn separately for each channel, and stays the same from one release to the next.
        """
        if self.rollout is None:
            return 0
        return self.rollout.ring_of(cluster, seed=f"{self.repository}\n{self.channel}")

    @property
    def digests(self) -> frozenset[str]:
        """Every digest that some cluster is to run by it."""
        stable = self.rollout.stable.values() if self.rollout else ()
        return frozenset((*self.subjects.values(), *stable))

    def __str__(self) -> str:
        return f"{self.channel}@{show_number(self.epoch, self.sequence)}"


def name_tag(channel: str) -> str:
    """The tag that holds a channel's newest record."""
    return f"{CHANNEL_PREFIX}{channel}"


def number_tag(channel: str, epoch: int, sequence: int) -> str:
    """The tag that keeps one record: ``channel-prod-42``, or ``channel-prod-2.1`` in epoch 2."""
    return f"{name_tag(channel)}-{show_number(epoch, sequence)}"


def show_number(epoch: int, sequence: int) -> str:
    """A record's number for people: the sequence, with the epoch before it from the second on."""
    return str(sequence) if epoch == 1 else f"{epoch}.{sequence}"


def read_number_text(text: str) -> tuple[int, int] | None:
    """The inverse of ``show_number``: (epoch, sequence); None for what is no number of a record."""
    first, dot, second = text.partition(".")
    epoch, sequence = (first, second) if dot else ("1", first)
    numbers = (whole_number(epoch, most=MAX_NUMBER), whole_number(sequence, most=MAX_NUMBER))
    return (numbers[0], numbers[1]) if numbers[0] and numbers[1] else None


def sign_record(record: Record, signer: Signer) -> bytes:
    """The bundle of a record, signed with a channel key. Raises InvalidRecord."""
    predicate: dict[str, Any] = {
        **record.extra,
        "channel": record.channel,
        "repository": record.repository,
        "epoch": record.epoch,
        "sequence": record.sequence,
        "previous": record.previous,
        "issuedAt": format_time(record.issued_at),
        "reason": record.reason,
    }
    if record.artifacts:
        predicate["artifacts"] = {
            name: {"source": made.source, "revision": made.revision}
            for name, made in record.artifacts.items()
        }
    if record.expires is not None:
        predicate["expires"] = format_time(record.expires)
    if record.rollout is not None:
        predicate["rollout"] = write_rollout(record.rollout, format_time(record.rollout.opened_at))
        predicate["critical"] = ["rollout"]
    for name, value in (("source", record.source), ("actor", record.actor), ("hold", record.hold)):
        if value:
            predicate[name] = value
    payload = build_named_statement(sorted(record.subjects.items()), PREDICATE, predicate)
    parse_record(parse_statement(payload))  # what no reader would take is never signed
    signature = signer.sign(pae(PAYLOAD_TYPE, payload))
    return build_bundle(payload, signature, signer.public_key.fingerprint)


def parse_record(statement: Statement) -> Record:
    """Read a statement whose signature has been verified. Raises InvalidRecord."""
    if statement.predicate_type != PREDICATE:
        raise InvalidRecord(
            f"the statement is a {statement.predicate_type}, not {PREDICATE}",
            hint="this is a signature or an attestation, not a channel's record",
        )
    value = statement.predicate
    if not isinstance(value, dict):
        raise InvalidRecord("record: the predicate is not an object")
    if not 0 < len(statement.digests) <= MAX_SUBJECTS:
        raise InvalidRecord(f"record: it has {len(statement.digests)} subjects")
    subjects = dict(zip(statement.names, statement.digests, strict=True))
    if len(subjects) != len(statement.digests) or "" in subjects:
        raise InvalidRecord("record: each subject must have a name of its own")
    for name in subjects:
        _clean(name, "subject.name")
    channel = _text(value, "channel")
    try:
        check_channel(channel)
    except InvalidReference as error:
        raise InvalidRecord(f"record: channel: {error.message}") from None
    previous = _text(value, "previous")
    if previous and not DIGEST_PATTERN.fullmatch(previous):
        raise InvalidRecord(f"record: previous is {previous[:80]!r}, not a digest")
    hold = value.get("hold", False)
    if not isinstance(hold, bool):
        raise InvalidRecord("record: hold is neither true nor false")
    _check_critical(value)
    issued = _time(value, "issuedAt")
    if issued is None:
        raise InvalidRecord("record: issuedAt is missing")
    return Record(
        channel=channel,
        repository=_text(value, "repository"),
        epoch=_number(value, "epoch"),
        sequence=_number(value, "sequence"),
        previous=previous,
        issued_at=issued,
        expires=_time(value, "expires"),
        reason=_text(value, "reason", ""),
        source=_text(value, "source", ""),
        actor=_text(value, "actor", ""),
        hold=hold,
        rollout=_rollout(value),
        artifacts=MappingProxyType(_artifacts(value)),
        subjects=MappingProxyType(subjects),
        extra=MappingProxyType({k: v for k, v in value.items() if k not in _KNOWN}),
    )


def _check_critical(value: Mapping[str, Any]) -> None:
    """That every field is known which the record marks as critical, as in RFC 7515, section 4.1.11.

    A field that is not named there may be passed over by who does not know it.
    """
    critical = value.get("critical", [])
    if not isinstance(critical, list) or not all(isinstance(name, str) for name in critical):
        raise InvalidRecord("record: critical is not a list of names")
    for name in critical:
        if name not in _KNOWN or name not in value:
            raise InvalidRecord(
                f"record: it must not be followed without its field {name[:80]!r}, "
                f"which is {'missing' if name in _KNOWN else 'not known here'}",
                hint="a newer ocistate wrote it: update this one",
            )


def _rollout(value: Mapping[str, Any]) -> Rollout | None:
    found = value.get("rollout")
    if found is None:
        return None
    key = "rollout.openedAt"
    opened = _time({key: found.get("openedAt")}, key) if isinstance(found, dict) else None
    if opened is None:
        raise InvalidRecord(f"record: {key} is missing")
    return read_rollout(found, opened)


def _artifacts(value: Mapping[str, Any]) -> dict[str, RecordProvenance]:
    found = value.get("artifacts", {})
    if not isinstance(found, dict) or not all(isinstance(item, dict) for item in found.values()):
        raise InvalidRecord("record: artifacts is not an object of objects")
    return {
        name: RecordProvenance(
            source=_text(item, "source", ""), revision=_text(item, "revision", "")
        )
        for name, item in found.items()
    }


def _text(value: Mapping[str, Any], key: str, default: str | None = None) -> str:
    text = value.get(key, default)
    if not isinstance(text, str):
        raise InvalidRecord(f"record: {key} is not text")
    return _clean(text, key)


def _clean(text: str, key: str) -> str:
    if len(text) > _MAX_TEXT or not text.replace("\n", "").isprintable():
        raise InvalidRecord(f"record: {key} is too long or has control characters")
    return text


def _number(value: Mapping[str, Any], key: str) -> int:
    number = value.get(key)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number <= MAX_NUMBER:
        raise InvalidRecord(f"record: {key} is not a whole number from 1 to 2^53 - 1")
    return number


def _time(value: Mapping[str, Any], key: str) -> datetime | None:
    text = value.get(key)
    if text is None:
        return None
    try:
        return parse_signed_time(text)
    except (TypeError, ValueError):
        raise InvalidRecord(
            f"record: {key} is {str(text)[:40]!r}, not a time such as 2026-01-31T12:00:00Z"
        ) from None
