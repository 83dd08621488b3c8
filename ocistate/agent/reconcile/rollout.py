"""The last phases of a pass: compare, apply and observe the target."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from ocistate.agent.reconcile.context import Inputs, Progress, advance, worth_keeping
from ocistate.agent.reconcile.outcome import (
    Began,
    Compared,
    Done,
    Executed,
    Failed,
    Found,
    Observed,
    RolledBack,
    Unchanged,
    Verification,
)
from ocistate.agent.reconcile.phase import phase
from ocistate.agent.reconcile.rollback import seconds_left, was_healthy, way_back
from ocistate.agent.reconcile.source import load, retrieve
from ocistate.agent.reconcile.state import ReconcileState
from ocistate.agent.targets.base import Applied, HealthReport
from ocistate.api.conditions import ConditionType, Reason
from ocistate.api.stack import Stack
from ocistate.api.status import LastHealthy, StackStatus, Truth
from ocistate.errors import ApplyFailed, HealthTimeout, OcistateError
from ocistate.health.model import HealthStatus
from ocistate.ops.artifact.fetch import Content

HEALTHY: Final = (HealthStatus.HEALTHY, HealthStatus.SUSPENDED)
"""What is suspended, like a CronJob, is meant to be: it counts as healthy."""

_NAMED: Final = 5


@phase("compare", measured=False)
async def compare(
    inputs: Inputs, state: ReconcileState, content: Content
) -> tuple[Compared, ReconcileState]:
    """How the target differs from an artifact."""
    if inputs.stack.spec.drift == "ignore":
        return Compared(digest=content.digest), state
    different = await inputs.services.target(inputs.stack).drifted(content)
    return Compared(digest=content.digest, different=tuple(different)), state


def must_correct(compared: Compared, stack: Stack) -> bool:
    """Whether differences are put back, and there are some."""
    return stack.spec.drift == "correct" and bool(compared.different)


@phase("repair", measured=False)
async def repair(
    inputs: Inputs, state: ReconcileState, content: Content
) -> tuple[Applied, ReconcileState]:
    """Put back what differs from an artifact that was applied before."""
    done = await inputs.services.target(inputs.stack).apply(content, changed=False)
    return done, state.repaired(len(done.drifted))


@phase("plan", measured=False)
async def plan(
    inputs: Inputs, state: ReconcileState, content: Content
) -> tuple[tuple[str, ...], ReconcileState]:
    """The kinds that an apply will touch."""
    return inputs.services.target(inputs.stack).kinds(content), state


@phase("begin", measured=False)
async def begin(
    inputs: Inputs, state: ReconcileState, status: StackStatus
) -> tuple[None, ReconcileState]:
    """Have the status written before the first object is."""
    await inputs.services.prepare(inputs.stack)
    await inputs.services.save(inputs.stack, status)
    return None, state


@phase("apply")
async def execute(
    inputs: Inputs,
    state: ReconcileState,
    found: Found,
    progress: Progress,
    *,
    changed: bool,
    new: bool,
) -> tuple[Executed, ReconcileState]:
    """Make the target equal. ``changed`` and ``new`` as in Executed."""
    content, target = found.content, inputs.services.target(inputs.stack)
    done = await target.apply(content, changed=new)
    outcome = Executed(
        digest=progress.digest,
        tag=progress.tag,
        applied=done,
        revision=content.inventory.revision,
        kinds=target.kinds(content),
        signers=found.trust.signers,
        record=state.record,
        changed=changed,
        new=new,
    )
    state = state.repaired(len(done.drifted))
    if done.errors or done.waiting:
        return outcome, state.incomplete()
    return outcome, state.applied(progress.digest, inputs.stack)


def failure_of(done: Applied, total: int) -> Failed | None:
    """The error of an apply of so many objects; None when none was refused."""
    if not done.errors:
        return None
    error = ApplyFailed(
        f"{len(done.errors)} of {total} objects failed: " + "; ".join(done.errors[:_NAMED]),
        hint="the others are applied; these are tried again",
    )
    return Failed(error=error)


def time_left(
    status: StackStatus, state: ReconcileState, digest: str, *, stack: Stack, now: datetime
) -> float:
    """Seconds in which a digest that is applied now must become healthy.

    A process before this one may have begun with it, and used some of its time.
    """
    last = status.last_attempt
    again = last is not None and last.error and last.digest == digest
    since = last.begun if last is not None and again and state.complete is None else ""
    return seconds_left(stack.spec.wait.timeout, since, now)


def allow_time(
    status: StackStatus, state: ReconcileState, outcome: Executed, inputs: Inputs
) -> ReconcileState:
    """Let the time run again for what is applied as a whole.

    For what another process applied, as much as is left since then.
    """
    elapsed, current = inputs.services.elapsed(), status.current
    if outcome.new:
        return state.allowed(elapsed + inputs.stack.spec.wait.timeout)
    if state.healthy_by is not None or was_healthy(status, outcome.digest) or current is None:
        return state
    left = seconds_left(inputs.stack.spec.wait.timeout, current.applied_at, inputs.services.now())
    return state.allowed(elapsed + left)


async def observe(
    inputs: Inputs, state: ReconcileState, progress: Progress, *, wanted: bool
) -> tuple[Observed, ReconcileState]:
    """How the objects are. ``wanted`` as in Observed."""
    report, state = await _report(inputs, state)
    truth, reason, state = verdict(
        report, state, inputs.services.elapsed(), inputs.stack.spec.wait.timeout
    )
    digest = progress.digest if wanted else progress.last_good
    outcome = Observed(
        digest=digest, tag=progress.tag, report=report, truth=truth, reason=reason, wanted=wanted
    )
    return outcome, state


check_health = phase("health")(observe)
"""As a step of its own, after an apply."""

look_after = phase("observe", measured=False)(observe)
"""Of what runs, while a newer artifact cannot be had."""


async def _report(inputs: Inputs, state: ReconcileState) -> tuple[HealthReport, ReconcileState]:
    """How the objects are; with the cause of what does not get healthy by itself."""
    target = inputs.services.target(inputs.stack)
    report = await target.health()
    late = state.is_late(inputs.services.elapsed())
    if report.worst in HEALTHY or (report.worst == HealthStatus.PROGRESSING and not late):
        return report, state.unexplained()
    if state.explanation is None or state.explanation[0] != report:
        state = state.explained(report, await target.explain())
    cause = state.explanation[1] if state.explanation is not None else ""
    return replace(
        report, message="; ".join(each for each in (report.message, cause) if each)
    ), state


def verdict(
    report: HealthReport, state: ReconcileState, elapsed: float, timeout: float
) -> tuple[Truth, str, ReconcileState]:
    """Whether all objects are healthy, and the reason; the time runs as long as they are not."""
    if report.worst in HEALTHY:
        return "True", report.worst, state.healthy()
    state = state.unhealthy(elapsed + timeout)
    if report.worst != HealthStatus.PROGRESSING:
        return "False", report.worst, state
    if state.is_late(elapsed):
        return "False", Reason.HEALTH_TIMEOUT.value, state
    return "Unknown", Reason.PROGRESSING.value, state


async def roll_out(
    inputs: Inputs, progress: Progress, found: Found, *, resumed: bool
) -> tuple[Done | Failed, Progress]:
    """Make the target equal and check health; roll back where that does not end well."""
    end, progress = await _equalize(inputs, progress, found, resumed=resumed)
    if isinstance(end, Done):
        return end, progress
    if isinstance(end.error, ApplyFailed | HealthTimeout):
        late = progress.state.is_late(inputs.services.elapsed())
        last = way_back(progress.status, inputs.stack, progress.digest)
        if late and last is not None:
            return await _roll_back(inputs, progress, found.content, last, end.error)
    return end, progress


async def _equalize(
    inputs: Inputs, progress: Progress, found: Found, *, resumed: bool
) -> tuple[Done | Failed, Progress]:
    changed = not progress.state.is_complete(progress.digest, inputs.stack)
    if not changed:
        compared, state = await compare(inputs, progress.state, found.content)
        if isinstance(compared, Failed):
            return compared, progress
        progress = advance(inputs, replace(progress, state=state), compared)
        if not must_correct(compared, inputs.stack):
            progress = advance(inputs, progress, Unchanged(digest=progress.digest))
            return await _check_health(inputs, progress)
    status = progress.status
    known = status.current is not None and status.current.digest == progress.digest
    complete = resumed and known and status.is_true(ConditionType.APPLIED)
    return await _apply(inputs, progress, found, changed=changed, new=changed and not complete)


async def _apply(
    inputs: Inputs, progress: Progress, found: Found, *, changed: bool, new: bool
) -> tuple[Done | Failed, Progress]:
    """Apply and check health. ``changed`` and ``new`` as in Executed."""
    stack, services, digest = inputs.stack, inputs.services, progress.digest
    state, kinds = progress.state, None
    if new:
        planned, state = await plan(inputs, state, found.content)
        if isinstance(planned, Failed):
            return planned, progress
        kinds = planned
        left = time_left(progress.status, state, digest, stack=stack, now=services.now())
        state = state.began(digest, stack, healthy_by=services.elapsed() + left)
    progress = replace(progress, state=state)
    progress = advance(inputs, progress, Began(digest=digest, kinds=kinds))
    if new:
        begun, state = await begin(inputs, state, progress.status)
        if isinstance(begun, Failed):
            return begun, progress
    done, state = await execute(inputs, state, found, progress, changed=changed, new=new)
    progress = replace(progress, state=state)
    if isinstance(done, Failed):
        return done, progress
    progress = advance(inputs, progress, done)
    if failed := failure_of(done.applied, len(found.content.inventory.resources)):
        return failed, progress
    if changed and not done.applied.waiting:
        services.cache(stack).keep_only(worth_keeping(progress.status))
        state = allow_time(progress.status, state, done, inputs)
    return await _check_health(inputs, replace(progress, state=state))


async def _check_health(inputs: Inputs, progress: Progress) -> tuple[Done | Failed, Progress]:
    observed, state = await check_health(inputs, progress.state, progress, wanted=True)
    progress = replace(progress, state=state)
    if isinstance(observed, Failed):
        return observed, progress
    before = progress.status.last_healthy
    progress = advance(inputs, progress, observed)
    if progress.status.last_healthy != before:
        inputs.services.cache(inputs.stack).keep_only(worth_keeping(progress.status))
    late = state.is_late(inputs.services.elapsed())
    if late and way_back(progress.status, inputs.stack, progress.digest) is not None:
        report = observed.report
        error = HealthTimeout(
            f"not healthy after {inputs.stack.spec.wait.timeout:g} s: "
            f"{report.worst}: {report.message}"
        )
        return Failed(error=error), progress
    return Done(digest=progress.digest), progress


async def _roll_back(
    inputs: Inputs, progress: Progress, left: Content, last: LastHealthy, error: OcistateError
) -> tuple[Done | Failed, Progress]:
    """Leave what does not become healthy for the digest that was healthy last."""
    outcome = RolledBack(
        digest=left.digest, revision=left.inventory.revision, back_to=last, error=error
    )
    progress = advance(inputs, progress, outcome)
    try:
        await inputs.services.save(inputs.stack, progress.status)
    except OcistateError as trouble:
        return Failed(error=trouble), progress
    progress = replace(progress, digest=last.digest, tag=last.tag)
    trust = progress.state.trust_of(last.digest, inputs.trust)
    content, state = await load(inputs, progress.state, last.digest)
    if trust is None or content is None or isinstance(content, Failed):
        keep = worth_keeping(progress.status)
        found, state = await retrieve(inputs, state, last.digest, keep=keep)
    else:
        found = Found(content=content, trust=trust)
    progress = replace(progress, state=state)
    if isinstance(found, Failed):
        return found, progress
    progress = advance(inputs, advance(inputs, progress, found), Verification(trust=found.trust))
    progress = replace(progress, verified=True)
    return await _apply(inputs, progress, found, changed=True, new=True)
