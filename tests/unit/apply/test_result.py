"""Results of single objects, and what an apply as a whole says of them."""

from __future__ import annotations

from ocistate.apply.plan import Verb, make_plan
from ocistate.apply.result import ApplyOutcome, ObjectState, Result, result_of
from ocistate.errors import ClusterError
from ocistate.objects import ObjectId
from tests.support.factories.objects import config_map, desire

A = ObjectId("", "ConfigMap", "", "a")


def result(state: ObjectState, **parts: object) -> Result:
    return Result(id=A, verb=Verb.CHANGE, state=state, **parts)  # type: ignore[arg-type]


def test_a_result_gives_the_errors_reason_else_the_actions() -> None:
    [action] = make_plan(desire(config_map("a")), {}).write
    assert result_of(action, ObjectState.APPLIED).reason == action.reason
    failed = result_of(action, ObjectState.FAILED, error=ClusterError("no room"))
    assert (failed.reason, failed.verb) == ("no room", Verb.CREATE)
    assert result_of(action, ObjectState.SKIPPED, reason="too early").reason == "too early"


def test_an_outcome_counts_what_is_other_than_before() -> None:
    states = [
        ObjectState.APPLIED,
        ObjectState.DELETED,
        ObjectState.UNCHANGED,
        ObjectState.SKIPPED,
    ]
    outcome = ApplyOutcome(results=tuple(map(result, states)))
    assert outcome.ok
    assert outcome.changed == 2
    assert outcome.counts() == {**dict.fromkeys(states, 1), ObjectState.FAILED: 0}
    assert outcome.error() is None


def test_the_error_names_three_failures_and_counts_the_others() -> None:
    failures = [result(ObjectState.FAILED, error=ClusterError(f"e{n}")) for n in range(5)]
    one = ApplyOutcome(results=tuple(failures[:1])).error()
    many = ApplyOutcome(results=tuple(failures)).error()
    assert one is not None
    assert one.message == "1 object failed: e0"
    assert many is not None
    assert many.message == "5 objects failed: e0; e1; e2; and 2 more"
