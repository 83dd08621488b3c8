"""Rules of health that a Stack brings along, in CEL, for kinds whose conditions don't tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ocistate.health.model import Health, HealthStatus, condition_text, conditions_of, not_observed

if TYPE_CHECKING:
    from ocistate.api.stack_spec import CelRule

MAX_STEPS: Final = 2_000
"""Visits of an expression's nodes that one look at one object may take: some 20 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CelCheck:
    """How to tell the health of one kind's objects: `ocistate.health.model.HealthRule`.

    ``failed``, then ``progressing``, then ``healthy`` are asked; when none is true, it is under
    way. They see ``metadata``, ``spec`` and ``status`` (empty while there is none), and the whole
    as ``object``. An expression that can't be evaluated, as while a field is not there yet, is not
    true.
    """

    group: str
    kind: str
    healthy: str
    progressing: str = ""
    failed: str = ""

    @classmethod
    def of(cls, rule: CelRule) -> CelCheck:
        """The check that a Stack's `spec.wait.checks` describes."""
        return cls(
            group=rule.group_kind.group,
            kind=rule.kind,
            healthy=rule.healthy,
            progressing=rule.progressing,
            failed=rule.failed,
        )

    def __call__(self, obj: Mapping[str, Any]) -> Health:
        from ocistate.cel import EvaluationError, cel_value

        if (behind := not_observed(obj)) is not None:
            return behind
        metadata = {k: v for k, v in (obj.get("metadata") or {}).items() if k != "managedFields"}
        try:
            whole = cel_value({"spec": {}, "status": {}, **obj, "metadata": metadata})
        except EvaluationError as error:
            return Health(HealthStatus.UNKNOWN, f"it {error}")
        names = ("metadata", "spec", "status")
        variables = {"object": whole, **{name: whole.get(name) for name in names}}
        for status, expression in (
            (HealthStatus.DEGRADED, self.failed),
            (HealthStatus.PROGRESSING, self.progressing),
            (HealthStatus.HEALTHY, self.healthy),
        ):
            true, fault = _ask(expression, variables)
            if true:
                words = "" if status is HealthStatus.HEALTHY else _words(obj, expression)
                return Health(status, words)
        return Health(
            HealthStatus.PROGRESSING, f"not yet: {self.healthy}" + (f" ({fault})" if fault else "")
        )


def _ask(expression: str, variables: Mapping[str, Any]) -> tuple[bool, str]:
    from ocistate.cel import EvaluationError, is_true

    if not expression:
        return False, ""
    try:
        return is_true(expression, variables, steps=MAX_STEPS), ""
    except EvaluationError as error:
        return False, str(error)


def _words(obj: Mapping[str, Any], expression: str) -> str:
    """What the object says itself, else which expression is true."""
    ready = conditions_of(obj).get("Ready")
    if ready is not None and ready.get("message"):
        return condition_text(ready)
    status = obj.get("status")
    message = status.get("message") if isinstance(status, Mapping) else None
    return message if isinstance(message, str) and message else expression
