"""The next step of a rollout, by the clusters' reports: a decision on plain data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from ocistate.channel.fleet import Fleet, Member, healthy_since
from ocistate.channel.record import Record
from ocistate.channel.rings import Rollout
from ocistate.times import format_time

RolloutVerdict = Literal["wait", "advance", "finish", "back"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStep:
    """``advance``: the next ring is to be opened; ``finish``: every cluster has proven the release;
    ``back``: a cluster is in trouble by it. ``why`` gives the reasons, or what is missing.
    """

    verdict: RolloutVerdict
    why: tuple[str, ...]


def decide(record: Record, rollout: Rollout, fleet: Fleet, now: datetime) -> RolloutStep:
    """The next step of the rollout that a record holds.

    Only what a cluster of an open ring reports of this release counts against it:
    one that was silent or unhealthy before is waited for. So hidden and forged reports hold a
    rollout up, and move nothing.
    """
    inside = members_inside(rollout, fleet)
    if lost := [text for m in inside if (text := _trouble(m, record, rollout, now))]:
        return RolloutStep(verdict="back", why=tuple(lost))
    if record.hold:
        return RolloutStep(verdict="wait", why=(f"the channel is on hold: {record.reason}",))
    if not inside:
        return _without_members(rollout)
    since = healthy_since(inside)
    if since is None:
        missing = [m for m in inside if m.standing != "Healthy" or not m.current]
        return RolloutStep(verdict="wait", why=tuple(_missing(m) for m in missing))
    due = max(since, rollout.opened_at) + timedelta(seconds=rollout.newest.soak)
    if now < due:
        text = f"all {len(inside)} are healthy, and must stay so until {format_time(due)}"
        return RolloutStep(verdict="wait", why=(text,))
    healthy = f"all {len(inside)} are healthy since {format_time(since)}"
    done = rollout.open == len(rollout.rings)
    return RolloutStep(verdict="finish" if done else "advance", why=(healthy,))


def members_inside(rollout: Rollout, fleet: Fleet) -> list[Member]:
    """The members that are to run the new release."""
    return [m for m in fleet.members if m.standing != "NotBelieved" and rollout.is_open(m.ring)]


def _without_members(rollout: Rollout) -> RolloutStep:
    """Rings that no enrolled cluster is in prove nothing, and opening the next one gives the
    release to no one yet; but which labels an unheard cluster has is not known."""
    opened = rollout.rings[: rollout.open]
    if rollout.open == len(rollout.rings) or any(ring.labels for ring in opened):
        names = ", ".join(ring.name for ring in opened)
        return RolloutStep(verdict="wait", why=(f"no cluster reports that is in {names}",))
    return RolloutStep(verdict="advance", why=(f"no enrolled cluster is in {rollout.newest.name}",))


def _trouble(member: Member, record: Record, rollout: Rollout, now: datetime) -> str:
    """Why a member is lost by this release; empty when it is not, or not for long enough."""
    report = member.report
    if report is None or member.standing not in ("Degraded", "Refused", "Silent"):
        return ""
    new, old = (pins.get(report.repository) for pins in (record.subjects, rollout.stable))
    begun = report.silent_at if member.standing == "Silent" else report.since
    if new == old and begun < rollout.opened_at:
        return ""  # nothing of what it runs was changed, and it was so before
    if report.number < record.number and (report.digest != new or new == old):
        return ""  # it has not come to this release
    patience = timedelta(seconds=rollout.rings[member.ring].patience)
    if now < max(begun, rollout.opened_at) + patience:
        return ""
    return f"{_name(member)} is {member.standing} since {format_time(begun)}" + (
        f": {member.problem}" if member.problem else ""
    )


def _missing(member: Member) -> str:
    behind = "" if member.current or member.report is None else ", and behind"
    problem = f": {member.problem}" if member.problem else ""
    return f"{_name(member)} is {member.standing}{behind}{problem}"


def _name(member: Member) -> str:
    return f"{member.cluster}/{member.stack}".rstrip("/")
