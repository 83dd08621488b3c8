"""How the clusters of a channel are, from their reports alone: a decision on plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ocistate.channel.record import Record
from ocistate.channel.report import Report
from ocistate.channel.rings import Cluster
from ocistate.channel.trust import CLOCK_SKEW

MemberStanding = Literal[
    "Healthy", "Progressing", "Degraded", "Refused", "Silent", "NeverSeen", "NotBelieved"
]
"""A report's state; or ``Silent``: not heard of in time; ``NeverSeen``: enrolled, and not heard of
at all; ``NotBelieved``: a report that is forged, foreign, from the future or of no one enrolled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedReport:
    """What one tag holds: a verified report, or why there is none to be believed."""

    tag: str
    report: Report | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One Stack of one cluster. ``current``: it follows the channel's newest record. ``ring`` is
    the place of the cluster's ring, where the record has a rollout."""

    cluster: str
    stack: str
    standing: MemberStanding
    current: bool
    report: Report | None
    problem: str = ""
    ring: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All members, the ones that need looking at first."""

    members: tuple[Member, ...]

    def counts(self) -> dict[str, int]:
        """How many members there are of each standing."""
        counted: Counter[str] = Counter(member.standing for member in self.members)
        return {standing: counted[standing] for standing in _ORDER if counted[standing]}

    @property
    def is_healthy(self) -> bool:
        """Whether every member is healthy on what the channel names now. An empty fleet is not."""
        return bool(self.members) and all(
            member.standing == "Healthy" and member.current for member in self.members
        )


_ORDER: tuple[MemberStanding, ...] = (
    "NotBelieved", "Degraded", "Refused", "Silent", "NeverSeen", "Progressing", "Healthy",
)  # fmt: skip


def assess(
    seen: Iterable[TaggedReport],
    enrolled: Iterable[str],
    *,
    record: Record,
    now: datetime,
) -> Fleet:
    """The fleet of a channel whose newest record is given.

    A member is ``current`` when it runs the digest that the record pins for its repository and
    cluster, and has followed no older record. Of two reports of one Stack the later one counts.
    """
    members: list[Member] = []
    latest: dict[tuple[str, str], TaggedReport] = {}
    for item in seen:
        if item.report is None:
            members.append(_disbelieved(item, item.problem))
        elif item.report.at > now + CLOCK_SKEW:
            members.append(_disbelieved(item, "the report is from the future"))
        else:
            key = (item.report.cluster, item.report.stack)
            other = latest.get(key)
            if other is None or other.report is None or other.report.at < item.report.at:
                latest[key] = item
    for item in latest.values():
        report = item.report
        assert report is not None
        members.append(
            Member(
                cluster=report.cluster,
                stack=report.stack,
                standing="Silent" if report.is_silent(now) else report.state,
                current=record.pinned_for(report.speaker).get(report.repository) == report.digest
                and report.number >= record.number,
                ring=record.ring_of(report.speaker),
                report=report,
                problem=report.message,
            )
        )
    heard = {cluster for cluster, _ in latest}
    members += [
        Member(
            cluster=name,
            stack="",
            standing="NeverSeen",
            current=False,
            report=None,
            ring=record.ring_of(Cluster(name=name)),
        )
        for name in dict.fromkeys(enrolled)
        if name not in heard
    ]
    members.sort(key=lambda m: (_ORDER.index(m.standing), m.current, m.cluster, m.stack))
    return Fleet(members=tuple(members))


def healthy_since(members: Sequence[Member]) -> datetime | None:
    """Since when all of these are healthy and current; None when one is not, or there is none."""
    if not members or any(m.standing != "Healthy" or not m.current for m in members):
        return None
    return max(m.report.since for m in members if m.report is not None)


def by_cluster(fleet: Fleet) -> Mapping[str, list[Member]]:
    """The members of each cluster that is believed or enrolled."""
    found: dict[str, list[Member]] = {}
    for member in fleet.members:
        if member.standing != "NotBelieved":
            found.setdefault(member.cluster, []).append(member)
    return found


def _disbelieved(item: TaggedReport, problem: str) -> Member:
    report = item.report
    return Member(
        cluster=report.cluster if report else "",
        stack=report.stack if report else "",
        standing="NotBelieved",
        current=False,
        report=None,
        problem=f"{item.tag}: {problem}",
    )
