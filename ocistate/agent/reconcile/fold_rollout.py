"""Fold what a rollout returned into the status: drift, applied, healthy, contested, ready."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, Literal

from ocistate.agent.reconcile.fold_base import (
    FoldContext,
    Folded,
    PassEvent,
    numbered,
    running,
    with_attempt,
    without,
)
from ocistate.agent.reconcile.outcome import (
    Began,
    Compared,
    Executed,
    Observed,
    RolledBack,
    Unchanged,
)
from ocistate.agent.reconcile.rollback import hold_back
from ocistate.agent.targets.base import Applied
from ocistate.api.conditions import ConditionType, EventReason, Reason
from ocistate.api.stack import Stack
from ocistate.api.status import (
    MOST_CONTESTS,
    Current,
    Drift,
    HistoryEntry,
    LastHealthy,
    RemoteTarget,
    StackStatus,
)
from ocistate.times import format_time
from ocistate.watch.conflicts import Contest

_NAMED: Final = 5
_CONTESTS_NAMED: Final = 3


def compared(status: StackStatus, outcome: Compared, context: FoldContext) -> StackStatus:
    different = outcome.different
    if context.stack.spec.drift == "ignore":
        return replace(status, drift=None)
    drift = Drift.of(different) if context.stack.spec.drift == "report" else None
    status = replace(status, drift=drift)
    applied = status.condition(ConditionType.APPLIED)
    if not different and applied is not None and applied.reason == Reason.DRIFTED:
        return _as_it_should_be(status, outcome.digest, context)
    if drift is None:
        return status
    message = f"the target differs from the artifact: {drift}"
    return context.set(status, ConditionType.APPLIED, "False", Reason.DRIFTED, message)


def unchanged(status: StackStatus, outcome: Unchanged, context: FoldContext) -> StackStatus:
    """What was applied as a whole is unchanged: an error since then is over."""
    applied = status.condition(ConditionType.APPLIED)
    if applied is None or applied.status != "False" or applied.reason == Reason.DRIFTED:
        return status
    return _as_it_should_be(status, outcome.digest, context)


def _as_it_should_be(status: StackStatus, digest: str, context: FoldContext) -> StackStatus:
    message = f"{digest}: as it should be"
    return context.set(status, ConditionType.APPLIED, "True", Reason.APPLIED, message)


def began(status: StackStatus, outcome: Began, context: FoldContext) -> Folded:
    status, events = _targeted(status, context.stack)
    if outcome.kinds is None:
        return status, events
    # Written before the first object is: whatever happens, we know where to look for them.
    kinds = tuple(sorted({*status.kinds, *outcome.kinds}))
    status = replace(status, kinds=kinds)
    last = status.last_attempt
    if last is None or last.digest != outcome.digest or not last.error:
        # Else the error of the attempt before stays until one succeeds.
        status = with_attempt(status, outcome.digest, "applying", context.now)
        message = f"applying {outcome.digest}"
        status = context.set(status, ConditionType.RECONCILING, "True", Reason.PROGRESSING, message)
    return status, events


def _targeted(status: StackStatus, stack: Stack) -> Folded:
    """Remember in which cluster the objects are, before the first of them is there."""
    before, now = status.target, None
    target = stack.spec.target
    if target.kubeconfig_secret:
        now = RemoteTarget(
            secret=stack.spec.target.kubeconfig_secret,
            key=stack.spec.target.kubeconfig_key,
            context=stack.spec.target.context,
        )
    if before == now:
        return status, ()
    events: tuple[PassEvent, ...] = ()
    if status.current is not None:
        where = before or "the agent's own cluster"
        message = (
            f"applied to {where} until now: if that is another cluster, what is there stays, "
            f"with the mark {stack.uid}; delete it, or see 'ocistate orphans'"
        )
        events = (PassEvent("Warning", EventReason.TARGET_CHANGED, message),)
    return replace(status, target=now), events


def executed(status: StackStatus, outcome: Executed, context: FoldContext) -> Folded:
    done, digest = outcome.applied, outcome.digest
    events = applied_events(done, digest, changed=outcome.new)
    status = replace(status, runs=done.runs, drift=None)
    if done.errors:
        return status, events
    if done.waiting:
        message = f"{digest}: {done.waiting}"
        status = context.set(status, ConditionType.APPLIED, "Unknown", Reason.PROGRESSING, message)
        return status, events
    if outcome.new or done.touched or not status.is_true(ConditionType.APPLIED):
        status = with_attempt(status, digest, "", context.now)
        status = context.set(
            status, ConditionType.APPLIED, "True", Reason.APPLIED, f"{digest}: {done}"
        )
    return (_adopted(status, outcome, context) if outcome.changed else status), events


def _adopted(status: StackStatus, outcome: Executed, context: FoldContext) -> StackStatus:
    """What was applied is the current artifact from now on."""
    old, at = status.current, format_time(context.now)
    same = old is not None and old.digest == outcome.digest
    current = Current(
        digest=outcome.digest,
        tag=outcome.tag,
        revision=outcome.revision,
        signed_by=outcome.signers,
        applied_at=old.applied_at if old is not None and same else at,
    )
    current = numbered(current, outcome.record, context.stack)
    status = replace(status, current=current, kinds=outcome.kinds)
    history = status.history
    if same and history and history[0].digest == outcome.digest:
        return status
    return status.with_history(
        HistoryEntry(digest=outcome.digest, revision=outcome.revision, at=at, outcome="applied")
    )


def applied_events(done: Applied, digest: str, *, changed: bool) -> tuple[PassEvent, ...]:
    if done.drifted:
        message = f"put back: {', '.join(done.drifted[:_NAMED])}"
        return (PassEvent("Normal", EventReason.DRIFT_CORRECTED, message),)
    if changed and done.touched:
        return (PassEvent("Normal", Reason.APPLIED, f"{digest}: {done}"),)
    return ()


def observed(status: StackStatus, outcome: Observed, context: FoldContext) -> Folded:
    report, was = outcome.report, status.condition(ConditionType.HEALTHY)
    status = replace(status, resources=report.counts, runs=report.runs)
    status = context.set(
        status, ConditionType.HEALTHY, outcome.truth, outcome.reason, report.message
    )
    status, events = _contested(status, outcome, context)
    if was is None or (was.status, was.reason) != (outcome.truth, outcome.reason):
        kind: Literal["Normal", "Warning"] = "Warning" if outcome.truth == "False" else "Normal"
        events += (PassEvent(kind, outcome.reason, report.message or outcome.digest),)
    if outcome.wanted:
        status = _ready(status, outcome, context)
    return status, events


def _contested(status: StackStatus, outcome: Observed, context: FoldContext) -> Folded:
    was, contested = status.is_true(ConditionType.CONTESTED), outcome.report.contested
    status, news = with_contested(
        status, contested, now=context.now, generation=context.stack.generation
    )
    if news:
        return status, (PassEvent("Warning", EventReason.CONTESTED, news),)
    if was and not contested:
        message = "no object is contested any more"
        return status, (PassEvent("Normal", Reason.SETTLED, message),)
    return status, ()


def with_contested(
    status: StackStatus, contests: Sequence[Contest], *, now: datetime, generation: int
) -> tuple[StackStatus, str]:
    """The status with the contests there are now, and a text about those that are new.

    The condition is there from the first contest on.
    """
    known = {(each.id, each.reason) for each in status.contested}
    shown = tuple(contests[:MOST_CONTESTS])
    new = status if shown == status.contested else replace(status, contested=shown)
    if contests:
        new = new.with_condition(
            ConditionType.CONTESTED.value,
            "True",
            contests[0].reason.value,
            _named(contests),
            now=now,
            generation=generation,
        )
    elif status.condition(ConditionType.CONTESTED) is not None:
        new = new.with_condition(
            ConditionType.CONTESTED.value,
            "False",
            Reason.SETTLED.value,
            "",
            now=now,
            generation=generation,
        )
    return new, _named([each for each in shown if (each.id, each.reason) not in known])


def _named(contests: Sequence[Contest]) -> str:
    more = len(contests) - _CONTESTS_NAMED
    text = "; ".join(map(str, contests[:_CONTESTS_NAMED]))
    return text + (f"; and {more} more" if more > 0 else "")


def _ready(status: StackStatus, outcome: Observed, context: FoldContext) -> StackStatus:
    """`Ready`, `Reconciling` and `Stalled`, from how the objects of what is to run are."""
    digest, report = outcome.digest, outcome.report
    applied = status.condition(ConditionType.APPLIED)
    drifted = applied is not None and applied.status == "False"
    status = without(status, ConditionType.STALLED)
    if outcome.truth == "True" and not drifted:
        status = _healthy(status, digest, outcome.tag)
    if outcome.truth == "Unknown":
        status = context.set(
            status, ConditionType.RECONCILING, "True", Reason.PROGRESSING, report.message
        )
    elif applied is None or applied.status != "Unknown":
        status = without(status, ConditionType.RECONCILING)
    held = status.held_back
    if drifted and applied is not None:
        return context.set(status, ConditionType.READY, "False", applied.reason, applied.message)
    if held is not None:
        runs = f"back at {digest}" + (f": {report.message}" if report.message else "")
        message = f"{held.digest} is held back: {held.reason}; {runs}"
        status = context.set(status, ConditionType.READY, "False", Reason.ROLLED_BACK, message)
        return context.set(status, ConditionType.STALLED, "True", Reason.ROLLED_BACK, message)
    if outcome.truth == "True":
        return context.set(status, ConditionType.READY, "True", Reason.READY, running(digest))
    return context.set(status, ConditionType.READY, outcome.truth, outcome.reason, report.message)


def _healthy(status: StackStatus, digest: str, tag: str) -> StackStatus:
    """Remember what was healthy: this is what to go back to."""
    history = status.history
    if history and history[0].digest == digest and history[0].outcome != "healthy":
        newest = replace(history[0], outcome="healthy")
        status = replace(status, history=(newest, *history[1:]))
    if status.last_healthy == LastHealthy(digest=digest, tag=tag):
        return status
    return replace(status, last_healthy=LastHealthy(digest=digest, tag=tag))


def rolled_back(status: StackStatus, outcome: RolledBack, context: FoldContext) -> Folded:
    reason, bad = outcome.error.message, outcome.digest
    status = hold_back(
        status, context.stack, bad, reason, revision=outcome.revision, now=context.now
    )
    message = f"{bad} back to {outcome.back_to.digest}: {reason}"
    return status, (PassEvent("Warning", Reason.ROLLED_BACK, message),)
