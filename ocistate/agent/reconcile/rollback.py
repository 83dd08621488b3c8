"""When a new artifact does not become healthy: whether to go back, where to, and for how long."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ocistate.api.stack import Stack
from ocistate.api.status import (
    HeldBack,
    HistoryEntry,
    LastHealthy,
    StackStatus,
    moment_of,
)
from ocistate.times import format_time


def was_healthy(status: StackStatus, digest: str) -> bool:
    """Whether a digest has been healthy since it was applied: it is not to blame for trouble."""
    newest = status.history[0] if status.history else None
    return newest is not None and newest.digest == digest and newest.outcome == "healthy"


def way_back(status: StackStatus, stack: Stack, digest: str) -> LastHealthy | None:
    """What to go back to from a digest that is not healthy in time; None: stay."""
    last = status.last_healthy
    if stack.spec.on_failure != "rollback" or last is None or last.digest == digest:
        return None
    return None if was_healthy(status, digest) else last


def hold_back(
    status: StackStatus, stack: Stack, digest: str, reason: str, *, revision: str, now: datetime
) -> StackStatus:
    """The status of a Stack that leaves a digest again."""
    held = HeldBack(
        digest=digest,
        reason=reason[:1024],
        at=format_time(now),
        generation=stack.generation,
        reconcile_at=stack.reconcile_at,
    )
    entry = HistoryEntry(digest=digest, revision=revision, at=held.at, outcome="rolled back")
    return replace(status, held_back=held).with_history(entry)


def is_held(status: StackStatus, stack: Stack, digest: str) -> bool:
    """Whether a digest that the pointer names is one not to be tried again."""
    held = status.held_back
    return (
        held is not None
        and status.last_healthy is not None
        and held.digest == digest
        and held.generation == stack.generation
        and held.reconcile_at == stack.reconcile_at
    )


def seconds_left(timeout: float, since: str, now: datetime) -> float:
    """What is left of a timeout that began at a time kept in the status.

    A clock that was set meanwhile makes it at most as long as it was, and never negative.
    """
    begun = moment_of(since)
    used = (now - begun).total_seconds() if begun is not None else 0.0
    return timeout - min(max(used, 0.0), timeout)
