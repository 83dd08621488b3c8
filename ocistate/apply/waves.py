"""Waves that wait: nothing of a later ``ocistate.dev/wave`` before the earlier ones are healthy.

    now, wave = hold_waves(plan, desired, owned.health)
    await apply(client, now)        # and again, when the objects of ``wave`` are healthy

No one waits in here: what is due is told from what is seen, so that a new artifact, a restart or an
edit in between is nothing special. Namespaces and CRDs that name no wave belong to none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ocistate.apply.desired.prepare import ApplyMode, Desired, DesiredObject
from ocistate.apply.plan import Plan
from ocistate.health.model import Health
from ocistate.kube.stages import ApplyStage
from ocistate.objects import ObjectId


def hold_waves(
    plan: Plan, desired: Desired, health: Callable[[ObjectId], Health]
) -> tuple[Plan, int | None]:
    """The part of the plan that is due, and the wave that the rest waits for (None: no rest).

    Nothing is pruned while something waits: what replaces it may be in a later wave.
    """
    waves = {each.wave for each in desired.wanted if not _is_early(each)}
    if len(waves) < 2:
        return plan, None
    busy = {
        action.wanted.wave
        for action in plan.write
        if action.wanted is not None and not _is_early(action.wanted)
    }
    if not busy:
        return plan, None
    busy |= {
        each.wave
        for each in desired.wanted
        if each.wave < max(busy)
        and each.wave not in busy
        and each.mode not in (ApplyMode.IGNORE, ApplyMode.IF_NOT_PRESENT)
        and not _is_early(each)
        and not health(each.id).lets_on
    }
    first = min(busy)
    due = tuple(
        action
        for action in plan.write
        if action.wanted is None or _is_early(action.wanted) or action.wanted.wave <= first
    )
    if len(due) == len(plan.write):
        return plan, None
    return replace(plan, write=due, prune=()), first


def _is_early(wanted: DesiredObject) -> bool:
    return wanted.stage <= ApplyStage.DEFINITIONS and wanted.wave == 0
