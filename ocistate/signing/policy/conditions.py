"""Conditions on an attestation's predicate, in CEL: ``predicate.tests.all(t, t.passed)``.

What takes too many steps is not met.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ocistate.cel import EvaluationError, cel_value, is_true

MAX_STEPS: Final = 200_000
"""Visits of an expression's nodes that one condition may take: about two seconds."""


def first_unmet(conditions: Sequence[str], predicate: Any) -> str:
    """Why the predicate does not meet the conditions; empty when it meets them all."""
    if not conditions:
        return ""
    try:
        variables = {"predicate": cel_value(predicate)}
    except EvaluationError as error:
        return f"the predicate {error}"
    for condition in conditions:
        try:
            if not is_true(condition, variables, steps=MAX_STEPS):
                return f"{condition!r} is false"
        except EvaluationError as error:
            return f"{condition!r} {error}"
    return ""
