"""Conditions on predicates: what is met, what is not and why, and that nothing runs for ever."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocistate.cel import check_syntax
from ocistate.signing.policy import conditions
from ocistate.signing.policy.conditions import first_unmet

PROVENANCE = {
    "buildDefinition": {"buildType": "https://acme.example/release"},
    "runDetails": {"builder": {"id": "https://github.com/acme/builder@v1"}},
}
TESTS = {"passed": 12, "failed": 0, "suites": [{"name": "unit", "ok": True}, {"name": "e2e"}]}


@pytest.mark.parametrize(
    ("condition", "predicate"),
    [
        ('predicate.runDetails.builder.id.startsWith("https://github.com/acme/")', PROVENANCE),
        ('predicate.buildDefinition.buildType.matches("^https://acme[.]example/")', PROVENANCE),
        ("predicate.failed == 0 && predicate.passed > 10", TESTS),
        ('predicate.suites.exists(s, s.name == "unit" && s.ok)', TESTS),
        ("!has(predicate.waived)", TESTS),
        ('timestamp(predicate) > timestamp("2026-01-01T00:00:00Z")', "2026-06-01T00:00:00Z"),
        ("predicate.ratio > 0.5", {"ratio": 0.75}),
        ("predicate == null || true", None),
        ('"a" in predicate', ["a", "b"]),
    ],
)
def test_what_is_true_is_met(condition: str, predicate: Any) -> None:
    assert check_syntax(condition) == ""
    assert first_unmet([condition], predicate) == ""


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("predicate.failed > 0", "is false"),
        ("predicate.missing == 1", "no such member"),
        ("predicate.passed", "neither true nor false"),
        ("passed > 1", "undeclared reference to 'passed'"),
        ("predicate.suites.all(s, s.ok)", "no such member"),
        ("predicate.passed / 0 == 1", "divide by zero"),
        ('predicate.passed == "12"', "can't be evaluated"),
        ("predicate.suites[9].ok", "can't be evaluated"),
        ('open("/etc/passwd") == ""', "undeclared reference to 'open'"),
        ('predicate.name.matches("(")', "can't be evaluated"),
    ],
)
def test_what_is_not_true_is_not_met_and_says_why(condition: str, reason: str) -> None:
    fault = first_unmet(["true", condition], {**TESTS, "name": "x"})
    assert repr(condition) in fault
    assert reason in fault
    assert "12" not in fault.replace(condition, ""), "no values of the predicate"


@pytest.mark.parametrize("condition", ["predicate ==", "", "a b", "(" * 3000 + ")" * 3000, "1 +"])
def test_what_is_no_expression_is_refused_beforehand(condition: str) -> None:
    assert check_syntax(condition)


def test_a_condition_may_take_so_many_steps_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "MAX_STEPS", 5000)
    deep = "predicate.all(a, predicate.all(b, predicate.all(c, a + b + c >= 0)))"
    for condition in (deep, f"{deep} || true", f"true ? {deep} : true"):
        assert "takes more than 5000 steps" in first_unmet([condition], list(range(60)))
    assert first_unmet([deep], [1, 2]) == ""


def test_the_recursion_limit_of_the_process_stays_as_it_was() -> None:
    before = sys.getrecursionlimit()
    check_syntax("predicate.fresh == 1")
    assert sys.getrecursionlimit() == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@settings(max_examples=60)
@given(
    st.sampled_from(["predicate.a.b > 1", "predicate.exists(x, x == 1)", "size(predicate) > 0"]),
    JSON,
)
def test_any_predicate_meets_a_condition_or_does_not_and_nothing_crashes(
    condition: str, predicate: Any
) -> None:
    assert isinstance(first_unmet([condition], predicate), str)


GROW = [".map(a, [a, a])", ".map(a, {'l': a, 'r': a})"]


@pytest.mark.parametrize("grow", GROW)
@pytest.mark.parametrize(
    "around",
    [
        "{0} == {0}",
        "{0} != {0}",
        "[1] in {0}",
        "{0} in [{0}]",
        "size({0}) == 1",
        "{0}.foo == 1",
        "{0}[0] < 1",
        "{0} + {0} == []",
        "{{'a': {0}}} == {{'a': {0}}}",
        "true || {0} == {0}",
    ],
)
def test_values_that_share_their_parts_count_as_what_they_would_be_written_out(
    around: str, grow: str
) -> None:
    for levels in (22, 60):
        condition = around.format("[[1, 1]]" + grow * levels)
        check_syntax(condition)  # which parses it once and for all
        begun = time.thread_time()
        fault = first_unmet([condition], None)
        assert "more than" in fault or "nested too deeply" in fault or around.startswith("true")
        assert time.thread_time() - begun < 1


def test_comparing_takes_as_many_steps_as_there_is_to_compare() -> None:
    predicate = {"a": [{"x": n} for n in range(500)]}
    assert first_unmet(["predicate == predicate", "predicate != {}"], predicate) == ""
    fault = first_unmet(["predicate.a.all(i, predicate == predicate)"], predicate)
    assert "more than" in fault


def test_time_is_bounded_where_steps_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocistate.cel._LEAST_SECONDS", 0.0)
    monkeypatch.setattr("ocistate.cel._STEPS_A_SECOND", 10**12)
    assert "its time" in first_unmet(["[1, 2, 3].all(a, a > 0)"], None)
