"""When the next pass is due."""

from __future__ import annotations

import pytest

from ocistate.agent.reconcile.outcome import Failed
from ocistate.agent.reconcile.schedule import HEALTH_INTERVAL, next_check, next_look, next_try
from ocistate.agent.reconcile.state import Look, ReconcileState
from ocistate.api.stack import parse_stack
from ocistate.api.status import HistoryEntry, LastHealthy, StackStatus
from ocistate.errors import ApplyFailed, NotSigned, OcistateError, Unavailable
from tests.support.factories.stacks import stack

STACK = parse_stack(
    stack("app", "layout:/registry", source={"interval": "100s"}, onFailure="rollback")
)
SEEN = ReconcileState().found(Look(stack=STACK, digest="a", tag="", at=1000.0))


@pytest.mark.parametrize(
    ("state", "elapsed", "drawn", "expected"),
    [
        (SEEN, 1000.0, 0.0, 100.0),
        (SEEN, 1040.0, 0.0, 60.0),
        (SEEN, 1040.0, 1.0, 70.0),
        (SEEN, 9999.0, 0.5, 5.0),
        (ReconcileState(), 0.0, 0.0, 0.0),
    ],
)
def test_a_look_is_due_when_the_interval_is_over(
    state: ReconcileState, elapsed: float, drawn: float, expected: float
) -> None:
    assert next_look(state, stack=STACK, elapsed=elapsed, drawn=drawn) == expected


@pytest.mark.parametrize(
    ("healthy_by", "expected"),
    [(None, 100.0), (1300.0, HEALTH_INTERVAL), (1004.0, 4.0), (1000.0, 100.0)],
)
def test_what_is_not_healthy_is_checked_sooner_until_it_is_late(
    healthy_by: float | None, expected: float
) -> None:
    state = SEEN if healthy_by is None else SEEN.allowed(healthy_by)
    assert next_check(state, stack=STACK, elapsed=1000.0, drawn=0.0) == expected


def tries(
    error: OcistateError, failures: int, status: StackStatus, state: ReconcileState = SEEN
) -> float:
    for _ in range(failures):
        state = state.failed(error)
    failed = Failed(error=error, digest="b")
    return next_try(status, state, failed, stack=STACK, elapsed=1000.0, drawn=0.0)


@pytest.mark.parametrize(
    ("error", "failures", "expected"),
    [
        (ApplyFailed("x"), 1, 1.0),
        (ApplyFailed("x"), 3, 4.0),
        (ApplyFailed("x"), 50, 60.0),
        (NotSigned("x"), 50, 100.0),
        (Unavailable("x"), 50, 60.0),
    ],
)
def test_pauses_grow_to_a_minute_or_the_interval_when_stalled(
    error: OcistateError, failures: int, expected: float
) -> None:
    assert tries(error, failures, StackStatus()) == expected


def test_a_try_comes_no_later_than_the_rollback() -> None:
    status = StackStatus(
        last_healthy=LastHealthy(digest="a"),
        history=(HistoryEntry(digest="b", revision="", at="", outcome="applied"),),
    )
    assert tries(ApplyFailed("x"), 50, status, SEEN.allowed(1007.0)) == 7.0
    assert tries(ApplyFailed("x"), 50, status, SEEN.allowed(900.0)) == 1.0
