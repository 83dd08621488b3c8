"""When a Stack's next pass is due: pure functions."""

from __future__ import annotations

from typing import Final

from ocistate.agent.reconcile.fold import is_out_of_reach, is_stalled
from ocistate.agent.reconcile.outcome import Failed
from ocistate.agent.reconcile.rollback import way_back
from ocistate.agent.reconcile.state import ReconcileState
from ocistate.api.conditions import ConditionType
from ocistate.api.stack import Stack
from ocistate.api.status import StackStatus
from ocistate.backoff import Backoff

HEALTH_INTERVAL: Final = 10.0
"""Seconds between two checks while objects are not healthy yet; the target says when they are."""

DEPENDENCY_INTERVAL: Final = 5.0
_LONGEST_BACKOFF: Final = 60.0
_SPREAD: Final = 0.1
"""The share of an interval by which Stacks are spread, so that a thousand do not move as one."""


def next_look(state: ReconcileState, *, stack: Stack, elapsed: float, drawn: float) -> float:
    """Seconds to the next look at the registry."""
    interval = stack.spec.source.interval
    return max(interval - state.age(elapsed), 0.0) + _SPREAD * interval * drawn


def next_check(state: ReconcileState, *, stack: Stack, elapsed: float, drawn: float) -> float:
    """Seconds to the next pass after one that succeeded."""
    look = next_look(state, stack=stack, elapsed=elapsed, drawn=drawn)
    if state.healthy_by is None or state.is_late(elapsed):
        return look
    return min(HEALTH_INTERVAL, state.healthy_by - elapsed, look)


def next_try(
    before: StackStatus,
    state: ReconcileState,
    failed: Failed,
    *,
    stack: Stack,
    elapsed: float,
    drawn: float,
) -> float:
    """Seconds to the next pass after one that failed; ``before``: the status without the error."""
    interval = stack.spec.source.interval
    out_of_reach = is_out_of_reach(before.condition(ConditionType.READY), failed)
    longest = interval if is_stalled(failed.error) and not out_of_reach else _LONGEST_BACKOFF
    backoff = Backoff(first=1.0, longest=max(min(longest, interval), 1.0))
    delay = backoff.delay(state.failures, drawn)
    if out_of_reach or state.healthy_by is None or not way_back(before, stack, failed.digest):
        return delay
    # Not later than when it is time to go back.
    return min(delay, max(state.healthy_by - elapsed, 1.0))
