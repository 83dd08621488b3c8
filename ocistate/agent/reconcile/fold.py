"""The only place where a pass changes a status: fold what a phase returned into it.

    status, events = fold(status, Resolved(digest="sha256:…"), stack=stack, now=now)

Pure: the same inputs give the same status, and nothing is written or emitted here.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Final

from ocistate.agent.reconcile.fold_base import (
    LONGEST_MESSAGE,
    FoldContext,
    Folded,
    PassEvent,
    numbered,
    running,
    with_attempt,
    without,
)
from ocistate.agent.reconcile.fold_rollout import (
    applied_events,
    began,
    compared,
    executed,
    observed,
    rolled_back,
    unchanged,
)
from ocistate.agent.reconcile.outcome import (
    NOT_VERIFIED,
    Began,
    Chosen,
    Compared,
    Done,
    Executed,
    Failed,
    Fetched,
    Found,
    Observed,
    Outcome,
    Repaired,
    Resolved,
    RolledBack,
    RunningVerified,
    Suspended,
    Unchanged,
    Verification,
    Waiting,
)
from ocistate.api.conditions import ConditionType, EventReason, Reason
from ocistate.api.stack import Stack
from ocistate.api.status import (
    Condition,
    StackStatus,
    Truth,
)
from ocistate.errors import (
    ArtifactError,
    ConfigError,
    InputError,
    InternalError,
    MassPrune,
    OcistateError,
    StoreError,
    TrustError,
    Unavailable,
)
from ocistate.ops.signing.verify import Verified

_PASSING: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # a UUID
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?"  # a time
    r"|(?<=:)\d{4,5}(?=\b)"  # a port
    r"|\b(?=[0-9A-Fa-f]*\d)[0-9A-Fa-f]{16,63}\b"  # an id; a digest has 64
    r"|\b\d+ of \d+ bytes",
    re.IGNORECASE,
)


def fold(status: StackStatus, outcome: Outcome | Found, *, stack: Stack, now: datetime) -> Folded:
    """The status after an outcome, and the Events to emit."""
    context = FoldContext(stack, now)
    match outcome:
        case Suspended() | Waiting():
            return _paused(status, outcome, context), ()
        case Resolved():
            return _resolved(status, outcome, stack), ()
        case Chosen():
            return (status if outcome.held_back else replace(status, held_back=None)), ()
        case Verification():
            return _verified(status, outcome.trust, context), ()
        case Fetched() | Found():
            return status, _cache_events(outcome)
        case Compared():
            return compared(status, outcome, context), ()
        case Repaired():
            return status, applied_events(outcome.applied, "", changed=False)
        case Unchanged():
            return unchanged(status, outcome, context), ()
        case Began():
            return began(status, outcome, context)
        case Executed():
            return executed(status, outcome, context)
        case Observed():
            return observed(status, outcome, context)
        case RolledBack():
            return rolled_back(status, outcome, context)
        case RunningVerified():
            return _running_verified(status, outcome, context)
        case Failed():
            return _failed(status, outcome, context)
        case Done():
            attempted = status.last_attempt
            failed = attempted is not None and attempted.error
            return with_attempt(status, outcome.digest, "", now) if failed else status, ()


def is_out_of_reach(ready: Condition | None, failed: Failed) -> bool:
    """Whether a failure leaves `Ready` as it is: a silent registry says nothing about what runs."""
    if not isinstance(failed.error, Unavailable) or ready is None:
        return False
    return failed.served or ready.status == "True"


def is_stalled(error: OcistateError) -> bool:
    """Whether only another artifact, policy or spec helps."""
    return isinstance(error, TrustError | ArtifactError | ConfigError | InputError | MassPrune)


def _paused(status: StackStatus, outcome: Suspended | Waiting, context: FoldContext) -> StackStatus:
    if isinstance(outcome, Suspended):
        status = context.set(
            status,
            ConditionType.READY,
            "Unknown",
            Reason.SUSPENDED,
            "reconciling is suspended",
        )
    else:
        message = f"waiting for {', '.join(outcome.dependencies)}"
        status = context.set(
            status, ConditionType.READY, "False", Reason.DEPENDENCY_NOT_READY, message
        )
    # Nothing is tried now, so that nothing is stalled either.
    return without(status, ConditionType.STALLED, ConditionType.RECONCILING)


def _resolved(status: StackStatus, outcome: Resolved, stack: Stack) -> StackStatus:
    record = outcome.record
    if record is None:
        return status
    if record.followed != status.channels:
        status = replace(status, channels=record.followed)
    if status.current is None:
        return status
    return replace(status, current=numbered(status.current, record, stack))


def _verified(status: StackStatus, trust: Verified, context: FoldContext) -> StackStatus:
    truth: Truth
    if trust.mode == "off":
        truth, reason = "Unknown", Reason.VERIFICATION_OFF
    elif not trust.satisfied:
        truth, reason = "False", Reason.NOT_ENFORCED
    else:
        truth, reason = "True", Reason.VERIFIED
    return context.set(status, ConditionType.VERIFIED, truth, reason, trust.summary)


def _cache_events(outcome: Fetched | Found) -> tuple[PassEvent, ...]:
    if not outcome.trouble:
        return ()
    message = f"no copy of {outcome.content.digest} on disk: {outcome.trouble}"
    return (PassEvent("Warning", EventReason.NOT_KEPT, message),)


def _running_verified(
    status: StackStatus, outcome: RunningVerified, context: FoldContext
) -> Folded:
    """A key that is revoked stops nothing. But a Stack must show that it runs what is not trusted
    any more, also while a newer artifact is refused for another reason."""
    current, standing = status.current, outcome.standing
    if current is None:
        return status, ()
    truth, message = standing.truth, standing.message[:LONGEST_MESSAGE]
    # Under other policies others may be the ones who count as signers of the same artifact.
    trust = standing.trust
    signers = trust.signers if trust is not None and truth == "True" else current.signed_by
    shown = replace(current, verified=truth, verification=message, signed_by=signers)
    status = replace(status, current=shown)
    unknown = standing.trust is None and standing.refusal is None
    if unknown and not outcome.newer and status.is_true(ConditionType.VERIFIED):
        status = context.set(
            status, ConditionType.VERIFIED, "Unknown", Reason.NOT_VERIFIED_YET, NOT_VERIFIED
        )
    if truth != "False" or current.verified == "False":
        return status, ()
    words = f"{current.digest} runs unverified: {message}"
    return status, (PassEvent("Warning", EventReason.RUNS_UNVERIFIED, words),)


def _failed(status: StackStatus, failed: Failed, context: FoldContext) -> Folded:
    error, old = failed.error, status.condition(ConditionType.READY)
    message = _known_message(status, error)
    status = with_attempt(status, failed.digest, message, context.now)
    if is_out_of_reach(old, failed):
        return _out_of_reach(status, error, context), ()
    if isinstance(error, TrustError):
        status = context.set(status, ConditionType.VERIFIED, "False", error.reason, message)
    elif not isinstance(error, StoreError | ConfigError | InternalError):
        status = context.set(status, ConditionType.APPLIED, "False", error.reason, message)
    if is_stalled(error):
        status = context.set(status, ConditionType.STALLED, "True", error.reason, message)
        status = without(status, ConditionType.RECONCILING)
    else:
        # What it was stalled at before is over, or not what it is stalled at now.
        status = without(status, ConditionType.STALLED)
    status = context.set(status, ConditionType.READY, "False", error.reason, message)
    shown = (error.reason, message[:LONGEST_MESSAGE])
    if old is not None and (old.reason, old.message) == shown:
        return status, ()
    return status, (PassEvent("Warning", error.reason, message),)


def _out_of_reach(status: StackStatus, error: OcistateError, context: FoldContext) -> StackStatus:
    old, current = status.condition(ConditionType.READY), status.current
    if old is None or old.status != "True":
        return status
    digest = current.digest if current is not None else ""
    message = f"{running(digest)}; last look failed: {error.message}"
    if same_trouble(old.message, message[:LONGEST_MESSAGE]):
        return status
    return context.set(status, ConditionType.READY, "True", error.reason, message)


def _known_message(status: StackStatus, error: OcistateError) -> str:
    """The message of an error, or the one that is there already, if it is the same again."""
    message, old, last = str(error), status.condition(ConditionType.READY), status.last_attempt
    known = [old.message] if old is not None and old.reason == error.reason else []
    known += [last.error] if last is not None and last.error else []
    short = message[:LONGEST_MESSAGE]
    return next((each for each in known if same_trouble(each, short)), message)


def same_trouble(old: str, new: str) -> bool:
    """Whether two messages are about the same trouble.

    A request's id, the port of a connection, the time of day differ each time that the same fails:
    none of them is worth a write of the status, an Event and a line in the log.
    """
    return old == new or _PASSING.sub("…", old) == _PASSING.sub("…", new)
