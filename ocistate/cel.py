"""CEL expressions on data that others made, evaluated in a bounded number of steps.

    check_syntax("status.phase == 'Ready'")                     # "": it is one
    is_true("status.phase == 'Ready'", {"status": {…}}, steps=2000)

https://cel.dev. Its author chose the size of the data, and CEL can loop over it once for each of
its elements, and within that again; so that every evaluation has its limit, in steps and in time.
Values can share their parts: a few ``map`` make a list that is small in memory, and compared or
printed without end, so that what they would be written out counts. Whatever the library raises, the
expression can't be evaluated. Importing this module loads it: import it where an expression is in
play.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from celpy import Environment
from celpy.adapter import json_to_cel
from celpy.celtypes import BoolType, MapType
from celpy.evaluation import Activation, CELEvalError, Evaluator

from ocistate.caches import bounded_cache

_UNIT: Final = 1_000
"""Characters or elements that count as a step wherever they are passed on."""
_COMPARED: Final = 2
"""Parts of a value that are compared in the time of a step."""
_GROWN: Final = 10
"""How many parts a step may add to what there is to look at."""
_STEPS_A_SECOND: Final = 20_000
_LEAST_SECONDS: Final = 0.1
_LONGEST_FAULT: Final = 300


class EvaluationError(ValueError):
    """Why an expression has no value: a sentence that goes on from the expression's name."""


class _TooMuch(BaseException):
    """Not an Exception: CEL's ``||`` and macros hold those back, and go on."""


def check_syntax(expression: str) -> str:
    """What is wrong with an expression; empty when it is one."""
    try:
        _compiled(expression)
    except RecursionError:
        return "is not a CEL expression: it is nested too deeply"
    except Exception as error:  # the library's own errors are of many classes
        return f"is not a CEL expression: {_words(error)}"
    return ""


def cel_value(value: Any) -> Any:
    """Plain data as CEL has it, for several evaluations. Raises EvaluationError."""
    try:
        return json_to_cel(value)
    except RecursionError:
        raise EvaluationError("can't be read as CEL values: nested too deeply") from None
    except Exception as error:
        raise EvaluationError(f"can't be read as CEL values: {_words(error)}") from None


def is_true(expression: str, variables: Mapping[str, Any], *, steps: int) -> bool:
    """Whether an expression is true; ``variables`` are made by `cel_value`.

    ``steps`` bounds the visits of the expression's nodes, 100,000 of them take about a second; long
    texts and lists, and what is compared, count as more. The processor's time is bounded to five
    times that, and a tenth of a second. Raises EvaluationError when it is no truth, can't be
    evaluated or takes too much.
    """
    try:
        tree = _compiled(expression)
        left = _Left(steps=steps)
        left.most_parts = sum(map(left.parts, variables.values())) + _GROWN * steps
        result = _Bounded(tree, Activation(), left).evaluate(dict(variables))
    except CELEvalError as error:
        # Behind this the library shows all values there are.
        text = str(error.args[0] if error.args else error).partition(" (in activation")[0]
        raise EvaluationError(f"can't be evaluated: {text[:_LONGEST_FAULT]}") from None
    except _TooMuch as error:
        raise EvaluationError(f"takes more than {error.args[0]}") from None
    except RecursionError:
        raise EvaluationError("can't be evaluated: nested too deeply") from None
    except Exception as error:
        raise EvaluationError(f"can't be evaluated: {_words(error)}") from None
    if not isinstance(result, BoolType):
        raise EvaluationError(f"is neither true nor false, but a {type(result).__name__}")
    return bool(result)


@dataclass(slots=True)
class _Left:
    """What an evaluation may still spend."""

    steps: int
    most_parts: int = 0
    words: str = ""
    until: float = 0.0
    # With the values themselves, so that no other gets the same id.
    _parts: dict[int, tuple[Any, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.words = f"{self.steps} steps"
        seconds = _LEAST_SECONDS + self.steps / _STEPS_A_SECOND
        self.until = time.thread_time() + seconds

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise _TooMuch(self.words)
        if time.thread_time() > self.until:
            raise _TooMuch("its time")

    def parts(self, value: Any) -> int:
        """How many values this one would be written out as; those that it shares are counted as
        often as they are in it, but looked at once."""
        if not isinstance(value, list | MapType):
            return 1 + (len(value) // _UNIT if isinstance(value, str | bytes) else 0)
        known = self._parts.get(id(value))
        if known is not None:
            return known[1]
        items = value.values() if isinstance(value, MapType) else value
        count = 1 + len(value) + sum(map(self.parts, items))
        self._parts[id(value)] = value, count
        return count


class _Bounded(Evaluator):
    """An evaluator that counts its steps, those of the loops in it too."""

    def __init__(self, ast: Any, activation: Any, left: _Left) -> None:
        super().__init__(ast, activation)
        self._left = left

    def _visit_tree(self, tree: Any) -> Any:
        value = super()._visit_tree(tree)
        # Asked before anything compares it, or puts it into a message.
        if isinstance(value, list | MapType) and self._left.parts(value) > self._left.most_parts:
            raise _TooMuch(self._left.words)
        return value

    def visit_children(self, tree: Any) -> Any:
        self._left.spend(1)
        values: list[Any] = super().visit_children(tree)
        # Each operation on a long text copies it: a few that double it would fill the memory.
        weight = sum(map(_weight, values))
        if tree.data == "relation" and len(values) > 1:
            ((left, *_), right), relation = values, tree.children[0].data
            weight += self._compared(relation, left, right) // _COMPARED
        if weight:
            self._left.spend(weight)
        return values

    def _compared(self, relation: str, left: Any, right: Any) -> int:
        """How many parts a comparison looks at, at most."""
        one, other = self._left.parts(left), self._left.parts(right)
        if relation == "relation_in" and isinstance(right, list):
            return min(other, len(right) * one)
        return min(one, other)

    def sub_evaluator(self, ast: Any) -> Evaluator:
        return _Bounded(ast, self.activation, self._left)


def _weight(value: Any) -> int:
    return len(value) // _UNIT if isinstance(value, str | bytes | list | MapType) else 0


def _words(error: Exception) -> str:
    return str(error).strip()[:_LONGEST_FAULT] or type(error).__name__


@bounded_cache("cel_expressions", most=256)
def _compiled(expression: str) -> Any:
    limit = sys.getrecursionlimit()
    try:
        return Environment().compile(expression)
    finally:
        sys.setrecursionlimit(limit)  # the library raises it for the whole process
