"""CEL expressions: values, faults, and limits that hold."""

from __future__ import annotations

from typing import Any

import pytest

from ocistate.cel import EvaluationError, cel_value, check_syntax, is_true


def true(expression: str, value: Any = None, *, steps: int = 2000) -> bool:
    return is_true(expression, {"self": cel_value(value)}, steps=steps)


@pytest.mark.parametrize(
    ("expression", "value", "result"),
    [
        ("self.ready == true", {"ready": True}, True),
        ("self.items.all(i, i > 1)", {"items": [2, 3]}, True),
        ("self.items.exists(i, i == 1)", {"items": [2, 3]}, False),
        ("has(self.name) && self.name.startsWith('a')", {"name": "abc"}, True),
        ("has(self.name)", {}, False),
    ],
)
def test_an_expression_is_true_or_false(expression: str, value: Any, result: bool) -> None:
    assert true(expression, value) is result


@pytest.mark.parametrize("expression", ["1 +", "a b", "(" * 500, "self.["])
def test_what_is_no_expression_has_a_fault(expression: str) -> None:
    assert check_syntax("self.a == 1") == ""
    assert check_syntax(expression).startswith("is not a CEL expression")


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("self.missing == 1", "can't be evaluated"),
        ("1 + 1", "is neither true nor false"),
        ("unknown", "can't be evaluated"),
        ("1 / 0 == 1", "can't be evaluated"),
    ],
)
def test_an_expression_without_a_truth_is_an_error(expression: str, problem: str) -> None:
    with pytest.raises(EvaluationError, match=problem):
        true(expression, {"a": 1})


def test_an_error_does_not_show_the_values() -> None:
    with pytest.raises(EvaluationError) as caught:
        true("self.missing == 1", {"password": "hidden"})
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "expression",
    [
        "self.all(a, self.all(b, self.all(c, true)))",
        "self.map(a, self.map(b, self)) == self",
    ],
)
def test_an_expression_that_takes_too_much_is_ended(expression: str) -> None:
    with pytest.raises(EvaluationError, match="takes more than"):
        true(expression, list(range(100)))


def test_values_nested_without_end_are_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(EvaluationError, match="nested too deeply"):
        cel_value(value)
