"""What all folds share: Events, the last attempt, conditions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, NamedTuple

from ocistate.agent.reconcile.channel import Pointed
from ocistate.api.conditions import ConditionType
from ocistate.api.stack import Stack
from ocistate.api.status import (
    Attempt,
    Current,
    StackStatus,
    Truth,
)
from ocistate.times import format_time

LONGEST_MESSAGE: Final = 1024


class PassEvent(NamedTuple):
    """An Event to emit."""

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


Folded = tuple[StackStatus, tuple[PassEvent, ...]]


@dataclass(frozen=True, slots=True)
class FoldContext:
    stack: Stack
    now: datetime

    def set(
        self, status: StackStatus, type_: ConditionType, truth: Truth, reason: str, message: str
    ) -> StackStatus:
        return status.with_condition(
            type_.value,
            truth,
            str(reason),
            message,
            now=self.now,
            generation=self.stack.generation,
        )


def with_attempt(status: StackStatus, digest: str, error: str, now: datetime) -> StackStatus:
    """The status with the last attempt; the same again is not worth a write."""
    old, error = status.last_attempt, error[:LONGEST_MESSAGE]
    if error and old is not None and (old.digest, old.error) == (digest, error):
        return status
    at = format_time(now)
    same = old is not None and old.digest == digest and old.error
    begun = old.begun if old is not None and same else at
    return replace(status, last_attempt=Attempt(digest=digest, error=error, at=at, begun=begun))


def without(status: StackStatus, *types: ConditionType) -> StackStatus:
    for type_ in types:
        status = status.without_condition(type_.value)
    return status


def numbered(current: Current, record: Pointed | None, stack: Stack) -> Current:
    """What is applied, with the channel's record that names it now."""
    if not stack.spec.source.channel or record is None or record.digest != current.digest:
        return current
    epoch, sequence = record.record.record.number
    return replace(current, channel=stack.spec.source.channel, epoch=epoch, sequence=sequence)


def running(digest: str) -> str:
    """The message of a Stack that is Ready."""
    return f"running {digest}"
