"""The words of health, and reading standard conditions: what every rule of health builds on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class HealthStatus(StrEnum):
    HEALTHY = "Healthy"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    SUSPENDED = "Suspended"
    MISSING = "Missing"
    UNKNOWN = "Unknown"


WORST_FIRST: Final = (
    HealthStatus.DEGRADED,
    HealthStatus.MISSING,
    HealthStatus.UNKNOWN,
    HealthStatus.PROGRESSING,
    HealthStatus.SUSPENDED,
    HealthStatus.HEALTHY,
)


@dataclass(frozen=True, slots=True)
class Health:
    """``message`` says what is not as it should be; it may be empty when all is well.

    ``holds`` is whether later waves wait for it while it is not done. What becomes healthy only
    with something that may come later, as a budget does with its pods, holds no one back.
    """

    status: HealthStatus
    message: str = ""
    holds: bool = True

    @property
    def done(self) -> bool:
        """Whether there is nothing to wait for: healthy, or suspended on purpose."""
        return self.status in (HealthStatus.HEALTHY, HealthStatus.SUSPENDED)

    @property
    def lets_on(self) -> bool:
        """Whether later waves may begin."""
        return self.done or not self.holds


HealthRule = Callable[[Mapping[str, Any]], Health | None]
"""A rule of one kind; None leaves it to the general rules."""

MISSING: Final = Health(HealthStatus.MISSING, "not in the cluster")
HEALTHY: Final = Health(HealthStatus.HEALTHY)
NOT_REPORTED: Final = Health(
    HealthStatus.PROGRESSING, "its controller has not reported a status yet"
)


def conditions_of(obj: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """``status.conditions`` by type; of a type that is there twice, the last."""
    status = obj.get("status")
    listed = status.get("conditions") if isinstance(status, Mapping) else None
    return {
        each["type"]: each
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, Mapping) and isinstance(each.get("type"), str)
    }


def not_observed(obj: Mapping[str, Any]) -> Health | None:
    """Progressing while the controller has not seen the newest generation, as far as it says."""
    generation = (obj.get("metadata") or {}).get("generation")
    status = obj.get("status")
    observed = status.get("observedGeneration") if isinstance(status, Mapping) else None
    if isinstance(generation, int) and isinstance(observed, int) and observed < generation:
        return Health(
            HealthStatus.PROGRESSING,
            f"its controller has seen generation {observed} of {generation}",
        )
    return None


def stale(condition: Mapping[str, Any], obj: Mapping[str, Any]) -> bool:
    """Whether a condition says itself that it is about an older generation."""
    observed = condition.get("observedGeneration")
    generation = (obj.get("metadata") or {}).get("generation")
    return isinstance(observed, int) and isinstance(generation, int) and observed < generation


def condition_text(condition: Mapping[str, Any]) -> str:
    """A condition in words: its message, else its reason, else its name."""
    for key in ("message", "reason"):
        if isinstance(condition.get(key), str) and condition[key].strip():
            return str(condition[key]).strip()
    return f"{condition.get('type')} is {condition.get('status')}"
