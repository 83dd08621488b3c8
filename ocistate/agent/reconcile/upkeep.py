"""What runs is kept equal to its artifact, whatever happens to what the pointer names now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from ocistate.agent.reconcile.context import Inputs, Progress, advance, worth_keeping
from ocistate.agent.reconcile.fold import same_trouble
from ocistate.agent.reconcile.outcome import (
    Compared,
    Failed,
    Found,
    Repaired,
    RunningTrust,
    RunningVerified,
)
from ocistate.agent.reconcile.phase import log_digest
from ocistate.agent.reconcile.rollout import (
    compare,
    look_after,
    must_correct,
    repair,
)
from ocistate.agent.reconcile.source import (
    find,
    last_good,
    load,
    verify_again,
)
from ocistate.agent.targets.base import Applied
from ocistate.ops.artifact.fetch import Content

_REPAIR_SECONDS: Final = 0.25
"""Between two comparisons of what runs while a registry is asked for what is wanted."""


async def look(inputs: Inputs, progress: Progress) -> tuple[Found | Failed, Progress]:
    """What is wanted; what runs is kept equal however long a registry takes to answer."""
    kept = None
    if not inputs.is_fresh(progress.state):
        kept, progress = await _repairable(inputs, progress)
    if kept is None:
        return await find(inputs, progress)
    outcome, progress = await _repair(inputs, progress, kept)
    if not _is_equal(outcome):
        return await find(inputs, progress)
    finding = asyncio.create_task(find(inputs, progress))
    beside = progress
    try:
        while _is_equal(outcome) and not await _is_done(finding):
            outcome, beside = await _repair(inputs, beside, kept)
        found, after = await finding
    finally:
        finding.cancel()
        await asyncio.wait({finding})
    log_digest(after.digest)
    after = replace(after, state=after.state.kept_equal(beside.state))
    return found, after if isinstance(outcome, Failed) else advance(inputs, after, outcome.compared)


async def _is_done(task: asyncio.Task[tuple[Found | Failed, Progress]]) -> bool:
    return bool((await asyncio.wait({task}, timeout=_REPAIR_SECONDS))[0])


async def _repairable(inputs: Inputs, progress: Progress) -> tuple[Content | None, Progress]:
    """What was applied last, by the current spec, if it is in memory or on disk and trusted."""
    digest = progress.last_good
    if not digest or not progress.state.is_complete(digest, inputs.stack):
        return None, progress
    content, state = await load(inputs, progress.state, digest)
    progress = replace(progress, state=state)
    if isinstance(content, Failed) or state.trust_of(digest, inputs.trust) is None:
        return None, progress
    return content, progress


@dataclass(frozen=True, slots=True, kw_only=True)
class _Upkeep:
    """How the target differed, and what was put back."""

    compared: Compared
    applied: Applied | None = None


async def _repair(
    inputs: Inputs, progress: Progress, content: Content
) -> tuple[_Upkeep | Failed, Progress]:
    """Put back what differs. A failure is an Event, and does not end the pass."""
    compared, state = await compare(inputs, progress.state, content)
    if isinstance(compared, Failed):
        return compared, _warn(inputs, progress, compared)
    progress = advance(inputs, replace(progress, state=state), compared)
    if not must_correct(compared, inputs.stack):
        return _Upkeep(compared=compared), progress
    done, state = await repair(inputs, state, content)
    if isinstance(done, Failed):
        return done, _warn(inputs, progress, done)
    progress = advance(inputs, replace(progress, state=state), Repaired(applied=done))
    return _Upkeep(compared=compared, applied=done), progress


def _is_equal(outcome: _Upkeep | Failed) -> bool:
    """Whether the target is as it should be, or is left as it is."""
    if isinstance(outcome, Failed):
        return False
    return outcome.applied is None or not outcome.applied.errors


def _warn(inputs: Inputs, progress: Progress, failed: Failed) -> Progress:
    """An Event, once: the same failure comes back with every pass until it is over."""
    message = str(failed.error)
    if not same_trouble(progress.state.unrepaired, message):
        inputs.services.event(inputs.stack, "Warning", failed.error.reason, message)
    return replace(progress, state=progress.state.not_repaired(message))


async def keep_last_good(inputs: Inputs, progress: Progress, *, reachable: bool) -> Progress:
    """What the pointer names now cannot be had or trusted: what runs is still kept equal.

    While the registry is not ``reachable``, only its mirrors are asked.
    """
    digest = progress.last_good
    if not digest:
        return progress
    ask = reachable or bool(inputs.stack.spec.source.mirrors)
    if digest == progress.digest and progress.state.trust_of(digest, inputs.trust) is None:
        ask = False  # it was asked for in this pass
    keep = worth_keeping(progress.status)
    found, state = await last_good(inputs, progress.state, digest, ask=ask, keep=keep)
    progress = replace(progress, state=state)
    if isinstance(found, Failed):
        return progress  # this pass ends with the reason
    if found is None:
        return progress
    progress = advance(inputs, progress, found)
    outcome, progress = await _repair(inputs, progress, found.content)
    if isinstance(outcome, Failed):
        return progress
    observed, state = await look_after(inputs, progress.state, progress, wanted=False)
    if isinstance(observed, Failed):
        return _warn(inputs, progress, observed)
    progress = replace(progress, state=progress.state.not_repaired(""))
    if not observed.report.counts:
        return progress
    return advance(inputs, replace(progress, state=state.not_repaired("")), observed)


async def verify_running(inputs: Inputs, progress: Progress) -> Progress:
    """Say whether the current policies trust what runs.

    The pass may have come to an end before it was verified: with another artifact that fails, or a
    suspended Stack, there may be no other occasion.
    """
    current, state = progress.status.current, progress.state
    if current is None:
        return progress
    digest, trust = current.digest, inputs.trust
    known = state.trust_of(digest, trust) or state.refusal_of(digest, trust)
    if known is None and digest != progress.digest and not state.unreachable:
        # An error leaves it unknown, and it is tried again in the next pass.
        keep = worth_keeping(progress.status)
        _, state = await verify_again(inputs, state, digest, keep=keep)
    standing = RunningTrust(state.trust_of(digest, trust), state.refusal_of(digest, trust))
    outcome = RunningVerified(standing=standing, newer=progress.verified)
    return advance(inputs, replace(progress, state=state), outcome)
