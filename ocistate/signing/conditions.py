"""Conditions on an attestation's predicate, in CEL: ``predicate.tests.all(t, t.passed)``.

Whoever made the predicate chose its size, and CEL can loop over it once for each of its elements,
and within that again: what takes too many steps is not met.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from celpy import Environment
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.celtypes import BoolType
from celpy.evaluation import Activation, CELEvalError, Evaluator

MAX_STEPS: Final = 200_000
"""Visits of an expression's nodes that one condition may take: about two seconds."""


class _TooMuch(BaseException):
    """Not an Exception: CEL's ``||`` and macros hold those back, and go on."""


def check_syntax(condition: str) -> str:
    """What is wrong with an expression; empty when it is one."""
    try:
        _compiled(condition)
    except (CELParseError, RecursionError) as error:
        return f"is not a CEL expression: {str(error).strip() or 'it is nested too deeply'}"
    return ""


def first_unmet(conditions: Sequence[str], predicate: Any) -> str:
    """Why the predicate does not meet the conditions; empty when it meets them all."""
    if not conditions:
        return ""
    try:
        value = json_to_cel(predicate)
    except (ValueError, TypeError, RecursionError) as error:
        return f"the predicate can't be read as CEL values: {error}"
    for condition in conditions:
        if fault := _evaluate(condition, value):
            return f"{condition!r} {fault}"
    return ""


def _evaluate(condition: str, predicate: Any) -> str:
    try:
        result = _Bounded(_compiled(condition), Activation()).evaluate({"predicate": predicate})
    except CELEvalError as error:
        # Behind this the library shows all values there are.
        text = str(error.args[0] if error.args else error).partition(" (in activation")[0]
        return f"can't be evaluated: {text}"
    except _TooMuch:
        return f"takes more than {MAX_STEPS} steps"
    except (RecursionError, ValueError, TypeError, ArithmeticError, LookupError) as error:
        return f"can't be evaluated: {error}"
    if not isinstance(result, BoolType):
        return f"is neither true nor false, but a {type(result).__name__}"
    return "" if result else "is false"


class _Bounded(Evaluator):
    """An evaluator that counts its steps, those of the loops in it too."""

    def __init__(self, ast: Any, activation: Any, steps: list[int] | None = None) -> None:
        super().__init__(ast, activation)
        self._steps = [0] if steps is None else steps

    def visit_children(self, tree: Any) -> Any:
        self._steps[0] += 1
        if self._steps[0] > MAX_STEPS:
            raise _TooMuch
        return super().visit_children(tree)

    def sub_evaluator(self, ast: Any) -> Evaluator:
        return _Bounded(ast, self.activation, self._steps)


@lru_cache(maxsize=64)
def _compiled(condition: str) -> Any:
    limit = sys.getrecursionlimit()
    try:
        return Environment().compile(condition)
    finally:
        sys.setrecursionlimit(limit)  # the library raises it for the whole process
