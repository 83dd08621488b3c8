"""A report: a cluster's signed statement of what it runs of a channel, and its health. Pure.

    raw = sign_report(report, signer)
    report = verify_report(raw, channel="prod", records="registry.example.com/shop",
                           reporters=policy.reporters)

A cluster reports on itself only: its report counts when the key that the policy gives under the
cluster's name signed it. So CI needs no credentials of clusters to know how they are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from ocistate.channel.rings import Cluster, labels_problem
from ocistate.channel.trust import CLOCK_SKEW
from ocistate.errors import ForeignReport, InvalidReport, Untrusted
from ocistate.oci.tags import REPORT_PREFIX
from ocistate.signing.envelope import (
    PAYLOAD_TYPE,
    build_bundle,
    build_named_statement,
    pae,
    parse_bundle,
    parse_statement,
)
from ocistate.signing.keys import Signer
from ocistate.signing.policy.model import TrustedKey
from ocistate.signing.signer import signer_of
from ocistate.times import format_time, parse_signed_time

PREDICATE: Final = "https://ocistate.dev/report/v1"
REPORT_TYPE: Final = "application/vnd.ocistate.report.v1"
MAX_REPORT_BYTES: Final = 16 * 1024
MAX_TEXT: Final = 512

ReportedState = Literal["Healthy", "Progressing", "Degraded", "Refused"]
"""``Degraded``: what runs is not healthy. ``Refused``: what the channel names is not accepted,
or can't be applied; what ran before keeps running."""

_STATES: Final[tuple[ReportedState, ...]] = get_args(ReportedState)
_MAX_NUMBER: Final = 2**53 - 1
_MAX_EVERY: Final = 24 * 3600
_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9._]{0,251}[A-Za-z0-9])?")
_TEXTS: Final = ("cluster", "stack", "channel", "records", "repository", "message")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a cluster reports. ``digest`` is what it runs of ``repository``, or tries to run;
    ``records`` is the repository that holds the channel, mostly the same one.

    ``epoch`` and ``sequence`` number the channel's record that it followed; ``since`` is from when
    on it is in this ``state`` with this digest; ``at`` is when it reported, and it reports again at
    least every ``every`` seconds. ``stack`` is NAMESPACE/NAME, ``labels`` are the cluster's.
    """

    cluster: str
    stack: str
    channel: str
    records: str
    repository: str
    digest: str
    epoch: int
    sequence: int
    state: ReportedState
    since: datetime
    at: datetime
    every: int
    message: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def number(self) -> tuple[int, int]:
        """(epoch, sequence) of the record it follows."""
        return (self.epoch, self.sequence)

    @property
    def speaker(self) -> Cluster:
        """The cluster, as its ring in a rollout is found."""
        return Cluster(name=self.cluster, labels=self.labels)

    @property
    def silent_at(self) -> datetime:
        """When the next report of the cluster was due."""
        return self.at + 3 * timedelta(seconds=self.every) + CLOCK_SKEW

    def is_silent(self, now: datetime) -> bool:
        """Whether the next report of the cluster was due by now."""
        return now > self.silent_at


def check_cluster(name: str) -> str:
    """The name itself when it can be a cluster's. Raises InvalidReport."""
    if not _NAME.fullmatch(name):
        raise InvalidReport(
            f"{name[:80]!r} is not a cluster's name",
            hint="letters, digits, '-', '.' and '_', at most 253",
        )
    return name


def report_tag(channel: str, cluster: str, stack: str) -> str:
    """The tag that holds one Stack's newest report: its own, so that no two agents write one."""
    mark = hashlib.sha256(f"{cluster}\n{stack}".encode()).hexdigest()[:20]
    return f"{REPORT_PREFIX}{channel}-{mark}"


def report_tags(tags: Iterable[str], channel: str) -> list[str]:
    """The tags of a channel's reports."""
    shape = re.compile(re.escape(f"{REPORT_PREFIX}{channel}-") + "[0-9a-f]{20}")
    return [tag for tag in tags if shape.fullmatch(tag)]


def sign_report(report: Report, signer: Signer) -> bytes:
    """The bundle of a report. Raises InvalidReport for what no reader would take."""
    predicate: dict[str, Any] = {
        **{name: getattr(report, name) for name in _TEXTS},
        "epoch": report.epoch,
        "sequence": report.sequence,
        "state": report.state,
        "since": format_time(report.since),
        "at": format_time(report.at),
        "every": report.every,
        **({"labels": dict(report.labels)} if report.labels else {}),
    }
    payload = build_named_statement(((report.repository, report.digest),), PREDICATE, predicate)
    _parse(payload)
    return build_bundle(
        payload, signer.sign(pae(PAYLOAD_TYPE, payload)), signer.public_key.fingerprint
    )


def verify_report(
    raw: bytes, *, channel: str, records: str, reporters: Iterable[TrustedKey]
) -> Report:
    """A report that counts: of this channel, and of the cluster whose key signed it.

    Raises Untrusted for a key that no cluster is enrolled with, ForeignReport for another channel,
    repository or cluster, InvalidReport, InvalidSignature.
    """
    if len(raw) > MAX_REPORT_BYTES:
        raise InvalidReport(f"the report has more than {MAX_REPORT_BYTES} bytes")
    bundle = parse_bundle(raw)
    if bundle.has_certificate:
        raise Untrusted("the report is signed by identity, and reporters have keys")
    signer = signer_of(bundle, reporters)
    if signer is None:
        raise Untrusted(
            f"the report is signed by no enrolled cluster (hint {bundle.hint or 'none'})",
            hint="enrol the cluster: its name and public key in the policy's spec.reporters",
        )
    report = _parse(bundle.payload)
    if report.cluster != signer.name:
        raise ForeignReport(
            f"a report of {report.cluster} is signed with the key of {signer.name}",
            hint="one cluster reports for another: find out who has its key",
        )
    if (report.channel, report.records) != (channel, records):
        raise ForeignReport(
            f"a report on the channel {report.channel} of {report.records} lies among those of "
            f"{channel} of {records}",
            hint="someone moved a tag: see who may write to the repository",
        )
    return report


def _parse(payload: bytes) -> Report:
    statement = parse_statement(payload)
    value = statement.predicate
    if statement.predicate_type != PREDICATE or not isinstance(value, dict):
        raise InvalidReport(f"it is a {statement.predicate_type}, not a report")
    texts = {name: _text(value, name) for name in _TEXTS}
    if statement.names != (texts["repository"],):
        raise InvalidReport("report: the subject is not named by the repository")
    check_cluster(texts["cluster"])
    state: ReportedState | None = next(
        (known for known in _STATES if known == value.get("state")), None
    )
    if state is None:
        raise InvalidReport(f"report: state is none of {', '.join(_STATES)}")
    labels = value.get("labels", {})
    if problem := labels_problem(labels):
        raise InvalidReport(f"report: labels: {problem}")
    since, at = _time(value, "since"), _time(value, "at")
    if since > at:
        raise InvalidReport("report: since is later than at, the time of the report")
    return Report(
        **texts,
        labels=MappingProxyType(labels),
        digest=statement.digests[0],
        epoch=_number(value, "epoch", _MAX_NUMBER),
        sequence=_number(value, "sequence", _MAX_NUMBER),
        state=state,
        since=since,
        at=at,
        every=_number(value, "every", _MAX_EVERY),
    )


def _text(value: Mapping[str, Any], key: str) -> str:
    text = value.get(key)
    if not isinstance(text, str) or len(text) > MAX_TEXT or not text.isprintable():
        raise InvalidReport(f"report: {key} is not a printable text of at most {MAX_TEXT}")
    return text


def _number(value: Mapping[str, Any], key: str, most: int) -> int:
    number = value.get(key)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number <= most:
        raise InvalidReport(f"report: {key} is not a whole number from 1 to {most}")
    return number


def _time(value: Mapping[str, Any], key: str) -> datetime:
    text = value.get(key)
    try:
        return parse_signed_time(text) if isinstance(text, str) else parse_signed_time("")
    except ValueError:
        raise InvalidReport(f"report: {key} is not a time such as 2026-01-31T12:00:00Z") from None
