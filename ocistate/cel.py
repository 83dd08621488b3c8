"""CEL expressions on data that others made, evaluated in a bounded number of steps.

    check_syntax("status.phase == 'Ready'")                     # "": it is one
    is_true("status.phase == 'Ready'", {"status": {…}}, steps=2000)

https://cel.dev. Whoever made the data chose its size, and CEL can loop over it once for each of its
elements, and within that again; so that every evaluation has its limit. Importing this module loads
the library: import it where an expression is in play.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from celpy import Environment
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.celtypes import BoolType
from celpy.evaluation import Activation, CELEvalError, Evaluator

_UNIT: Final = 1_000
"""Characters or elements that count as a step wherever they are passed on."""


class EvaluationError(ValueError):
    """Why an expression has no value: a sentence that goes on from the expression's name."""


class _TooMuch(BaseException):
    """Not an Exception: CEL's ``||`` and macros hold those back, and go on."""


def check_syntax(expression: str) -> str:
    """What is wrong with an expression; empty when it is one."""
    try:
        _compiled(expression)
    except (CELParseError, RecursionError) as error:
        return f"is not a CEL expression: {str(error).strip() or 'it is nested too deeply'}"
    return ""


def cel_value(value: Any) -> Any:
    """Plain data as CEL has it, for several evaluations. Raises EvaluationError."""
    try:
        return json_to_cel(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise EvaluationError(f"can't be read as CEL values: {error}") from None


def is_true(expression: str, variables: Mapping[str, Any], *, steps: int) -> bool:
    """Whether an expression is true; ``variables`` are made by `cel_value`.

    ``steps`` bounds the visits of the expression's nodes, 100,000 of them take about a second; long
    texts and lists count as more.
    Raises EvaluationError when it is no truth, can't be evaluated or takes too many steps.
    """
    try:
        tree = _compiled(expression)
        result = _Bounded(tree, Activation(), [steps]).evaluate(dict(variables))
    except CELEvalError as error:
        # Behind this the library shows all values there are.
        text = str(error.args[0] if error.args else error).partition(" (in activation")[0]
        raise EvaluationError(f"can't be evaluated: {text}") from None
    except _TooMuch:
        raise EvaluationError(f"takes more than {steps} steps") from None
    except (RecursionError, ValueError, TypeError, ArithmeticError, LookupError) as error:
        raise EvaluationError(f"can't be evaluated: {error}") from None
    if not isinstance(result, BoolType):
        raise EvaluationError(f"is neither true nor false, but a {type(result).__name__}")
    return bool(result)


class _Bounded(Evaluator):
    """An evaluator that counts its steps, those of the loops in it too."""

    def __init__(self, ast: Any, activation: Any, left: list[int]) -> None:
        super().__init__(ast, activation)
        self._left = left

    def visit_children(self, tree: Any) -> Any:
        if self._left[0] <= 0:
            raise _TooMuch
        self._left[0] -= 1
        values = super().visit_children(tree)
        # Each operation on a long text copies it: a few that double it would fill the memory.
        self._left[0] -= sum(_weight(value) for value in values)
        return values

    def sub_evaluator(self, ast: Any) -> Evaluator:
        return _Bounded(ast, self.activation, self._left)


def _weight(value: Any) -> int:
    return len(value) // _UNIT if isinstance(value, str | bytes | list) else 0


@lru_cache(maxsize=256)
def _compiled(expression: str) -> Any:
    limit = sys.getrecursionlimit()
    try:
        return Environment().compile(expression)
    finally:
        sys.setrecursionlimit(limit)  # the library raises it for the whole process
