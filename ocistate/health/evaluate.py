"""Is an object well? A pure function from a live object to a status and a sentence.

    health_of(deployment)          # Health(status=Status.PROGRESSING, message="2 of 3 pods …")

The standard kinds follow the rules of kstatus
(https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus); of any other kind the
standard conditions are read. One rule is stricter: a custom resource that no one has spoken about
yet is not healthy, it is Progressing, when its kind declares a status.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from ocistate.health.builtin import LATER, RULES, well
from ocistate.health.model import (
    HEALTHY,
    MISSING,
    NOT_REPORTED,
    WORST_FIRST,
    Health,
    HealthRule,
    HealthStatus,
    condition_text,
    conditions_of,
    not_observed,
    stale,
)
from ocistate.health.thirdparty import SILENT, crossplane
from ocistate.kube.stages import ApplyStage, stage_of
from ocistate.objects import GroupKind, ObjectId, group_of

__all__ = [
    "MISSING",
    "WORST_FIRST",
    "Health",
    "HealthRule",
    "HealthStatus",
    "Summary",
    "health_of",
    "needs_full_object",
    "summarize",
]


def health_of(
    obj: Mapping[str, Any] | None,
    *,
    has_status: bool = True,
    checks: Mapping[GroupKind, HealthRule] | None = None,
) -> Health:
    """The health of a live object; of None it is Missing.

    ``has_status`` is whether the kind declares a status (`ApiResource.subresources`,
    `ocistate.health.declared`): only then is there something to wait for before the controller has
    spoken. ``checks`` are rules
    by group and kind that go before the built-in ones. Never raises for odd content: what cannot
    be read is Unknown.
    """
    if obj is None:
        return MISSING
    try:
        metadata = obj.get("metadata") or {}
        key = GroupKind(group_of(obj["apiVersion"]), obj["kind"])
        if metadata.get("deletionTimestamp"):
            return _terminating(metadata)
        if checks and key in checks and (found := checks[key](obj)) is not None:
            return found
        found = RULES[key](obj) if key in RULES else None
        if found is None:
            found = general(obj, has_status=has_status)
        return replace(found, holds=False) if key in LATER and not found.done else found
    except Exception as error:  # of a rule of the Stack's own, and of its library, too
        words = f"{type(error).__name__}: {error}"[:200]
        return Health(HealthStatus.UNKNOWN, f"its status cannot be read: {words}")


def needs_full_object(
    group: str, kind: str, checks: Mapping[GroupKind, HealthRule] | None = None
) -> bool:
    """Whether the whole object is needed to tell its health; else that it is there is enough."""
    return GroupKind(group, kind) in (checks or ()) or RULES.get(GroupKind(group, kind)) is not well


def general(obj: Mapping[str, Any], *, has_status: bool) -> Health:
    """Any kind, by the standard conditions: observedGeneration, Stalled, Reconciling, Ready …"""
    status = obj.get("status")
    if (behind := not_observed(obj)) is not None:
        return behind
    conditions = conditions_of(obj)
    if not isinstance(status, Mapping) or not status:
        key = GroupKind(group_of(obj["apiVersion"]), obj["kind"])
        silent = key in SILENT or stage_of(*key) is not ApplyStage.CUSTOM
        if has_status and not silent:
            return NOT_REPORTED
        return HEALTHY
    if "Synced" in conditions and (found := crossplane(obj)) is not None:
        return found
    if (stalled := conditions.get("Stalled")) and stalled.get("status") == "True":
        return Health(HealthStatus.DEGRADED, condition_text(stalled))
    if (busy := conditions.get("Reconciling")) and busy.get("status") == "True":
        return Health(HealthStatus.PROGRESSING, condition_text(busy))
    for type_ in _BAD:
        condition = conditions.get(type_)
        if condition is not None and condition.get("status") == "True":
            return Health(HealthStatus.DEGRADED, condition_text(condition))
    for type_ in _GOOD:
        condition = conditions.get(type_)
        if condition is None or stale(condition, obj):
            continue
        if condition.get("status") == "True":
            return Health(HealthStatus.HEALTHY, str(condition.get("message") or ""))
        failed = condition.get("status") == "False" and _is_failure(condition.get("reason"))
        return Health(
            HealthStatus.DEGRADED if failed else HealthStatus.PROGRESSING, condition_text(condition)
        )
    if (busy := conditions.get("NotReady")) and busy.get("status") == "True":
        return Health(HealthStatus.PROGRESSING, condition_text(busy))
    if conditions and all(stale(condition, obj) for condition in conditions.values()):
        return Health(HealthStatus.PROGRESSING, "its conditions are about an older generation")
    return HEALTHY


_GOOD: Final = ("Ready", "Healthy", "Available", "Established", "Succeeded", "Complete")
_BAD: Final = ("Failed", "Degraded", "Error")
# Not ready is not failed: most controllers say it while they work. These reasons are final.
_FAILURES: Final = ("Failed", "Failure", "Error", "Invalid", "Denied", "Rejected", "Exceeded")


def _is_failure(reason: Any) -> bool:
    return isinstance(reason, str) and (
        reason.endswith(_FAILURES) or reason.startswith(("Invalid", "Failed", "Err"))
    )


def _terminating(metadata: Mapping[str, Any]) -> Health:
    held = ", ".join(metadata.get("finalizers") or ())
    return Health(
        HealthStatus.PROGRESSING, f"being deleted, held by {held}" if held else "being deleted"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Many objects' health: how many of each status, and what to look at, the worst first."""

    counts: Mapping[HealthStatus, int]
    worst: tuple[tuple[ObjectId, Health], ...]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def status(self) -> HealthStatus:
        """The worst status that counts: Suspended objects do not make the whole unhealthy."""
        for status in WORST_FIRST:
            if self.counts.get(status) and status is not HealthStatus.SUSPENDED:
                return status
        return HealthStatus.HEALTHY


def summarize(
    healths: Iterable[tuple[ObjectId, Health]], *, healthy: int = 0, keep: int = 10
) -> Summary:
    """Count, with ``healthy`` more that need no looking at.

    The ``keep`` worst are kept; among equals workloads go first, since what is wrong with them
    explains what is wrong with the rest.
    """
    counts = Counter({HealthStatus.HEALTHY: healthy})
    bad: list[tuple[int, bool, ObjectId, Health]] = []
    for id, health in healths:
        counts[health.status] += 1
        if health.status is not HealthStatus.HEALTHY:
            other = stage_of(id.group, id.kind) is not ApplyStage.WORKLOADS
            bad.append((WORST_FIRST.index(health.status), other, id, health))
    bad.sort(key=lambda each: each[:3])
    return Summary(
        counts={status: counts[status] for status in HealthStatus},
        worst=tuple((id, health) for _, _, id, health in bad[:keep]),
    )
