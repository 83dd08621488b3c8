"""One pass for one Stack: resolve, verify, fetch, plan, apply, health.

The order never changes. A phase that fails ends the pass, and the status says so; what was good
last is still kept equal. What is costly is done only when something changed: an unchanged pointer
under unchanged policies costs one HEAD an interval and nothing more.

Each phase is a function from explicit inputs to an outcome; `fold` turns outcomes into the status.
Here they are put in order, and the status is saved where a later phase depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ocistate.agent.reconcile.context import Inputs, Progress, Services, advance
from ocistate.agent.reconcile.outcome import (
    Done,
    End,
    Failed,
    Found,
    Suspended,
    Waiting,
)
from ocistate.agent.reconcile.rollout import roll_out
from ocistate.agent.reconcile.schedule import DEPENDENCY_INTERVAL, next_check, next_try
from ocistate.agent.reconcile.source import recall
from ocistate.agent.reconcile.state import ReconcileState, TrustInputs
from ocistate.agent.reconcile.upkeep import keep_last_good, look, verify_running
from ocistate.api.stack import Stack
from ocistate.api.status import StackStatus
from ocistate.errors import (
    DependencyCycle,
    MassPrune,
    Unavailable,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassResult:
    """The new status and state, and the seconds until the next pass; None: not by itself."""

    status: StackStatus
    state: ReconcileState
    after: float | None


async def run_pass(
    stack: Stack,
    status: StackStatus,
    state: ReconcileState,
    services: Services,
    *,
    jitter: Callable[[], float],
    requests: int = 0,
) -> PassResult:
    """Do one pass. Errors of the tree end up in the status, never with the caller."""
    inputs = Inputs(
        stack=stack,
        services=services,
        trust=TrustInputs(stack.spec.trust.policy, services.policies()),
        requests=requests,
        jitter=jitter,
    )
    resumed = status.observed_generation == stack.generation
    status = replace(status, observed_generation=stack.generation)
    end, progress = await _phases(inputs, Progress(status=status, state=state), resumed=resumed)
    progress, after = _finish(inputs, progress, end)
    progress = await verify_running(inputs, progress)
    # Only now: who asked for the pass waits for this, and then reads the rest.
    status = replace(progress.status, last_handled_reconcile_at=stack.reconcile_at)
    return PassResult(status=status, state=progress.state, after=after)


def _finish(inputs: Inputs, progress: Progress, end: End) -> tuple[Progress, float | None]:
    """Fold how the pass ended; the seconds until the next one."""
    stack, services = inputs.stack, inputs.services
    before, state = progress.status, progress.state
    if isinstance(end, Failed):
        end, state = replace(end, digest=progress.digest), state.failed(end.error)
    elif isinstance(end, Done):
        state = state.succeeded()
    progress = advance(inputs, replace(progress, state=state), end)
    elapsed, drawn = services.elapsed(), inputs.jitter()
    match end:
        case Suspended():
            return progress, None
        case Waiting():
            return progress, DEPENDENCY_INTERVAL
        case Failed():
            after = next_try(before, state, end, stack=stack, elapsed=elapsed, drawn=drawn)
            return progress, after
        case Done():
            return progress, next_check(state, stack=stack, elapsed=elapsed, drawn=drawn)


async def _phases(inputs: Inputs, progress: Progress, *, resumed: bool) -> tuple[End, Progress]:
    """All phases, as far as they get. ``resumed``: this spec was seen by a pass before."""
    if inputs.stack.spec.suspend:
        return Suspended(), progress
    found: Found | Waiting | Failed | None = check_dependencies(inputs)
    if found is None:
        if progress.state.unreachable and not inputs.is_fresh(progress.state):
            # The registry may take as long to answer as it did before.
            progress = await keep_last_good(inputs, progress, reachable=False)
        found, progress = await look(inputs, progress)
    if isinstance(found, Found):
        return await _roll_out(inputs, progress, found, resumed=resumed)
    unreachable = isinstance(found, Failed) and isinstance(found.error, Unavailable)
    known = None
    if unreachable:
        known, progress = await recall(inputs, progress)
    if known is None:
        progress = await keep_last_good(inputs, progress, reachable=not unreachable)
        return found, progress
    end, progress = await _roll_out(inputs, progress, known, resumed=resumed)
    if isinstance(end, Done) and isinstance(found, Failed):
        return replace(found, served=True), progress
    return end, progress


async def _roll_out(
    inputs: Inputs, progress: Progress, found: Found, *, resumed: bool
) -> tuple[Done | Failed, Progress]:
    end, progress = await roll_out(inputs, progress, found, resumed=resumed)
    if isinstance(end, Failed) and isinstance(end.error, MassPrune):
        progress = await keep_last_good(inputs, progress, reachable=True)
    return end, progress


def check_dependencies(inputs: Inputs) -> Waiting | Failed | None:
    """What has to be ready before; None when all of it is."""
    if cycle := inputs.services.cycle(inputs.stack):
        way = " → ".join("/".join(key) for key in cycle)
        error = DependencyCycle(
            f"Stack {inputs.stack} waits for itself: {way}",
            hint="remove one of these from spec.dependsOn",
        )
        return Failed(error=error)
    ready = {key: inputs.services.is_ready(key) for key in inputs.stack.depends_on}
    names = tuple(
        "/".join(key) + (", which does not exist" if found is None else "")
        for key, found in ready.items()
        if not found
    )
    return Waiting(dependencies=names) if names else None
