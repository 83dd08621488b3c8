"""What an apply did, as a Stack's status counts it."""

from __future__ import annotations

from ocistate.agent.targets.base import Applied
from ocistate.apply.plan import Plan, Verb
from ocistate.apply.result import ApplyOutcome, ObjectState
from ocistate.health.vanishing import Run


def applied(
    plan: Plan, outcome: ApplyOutcome, *, changed: bool, wave: int | None, runs: tuple[Run, ...]
) -> Applied:
    def count(verb: Verb, *states: ObjectState) -> int:
        return sum(r.verb is verb and r.state in states for r in outcome.results)

    unchanged = sum(r.state is ObjectState.UNCHANGED for r in outcome.results)
    return Applied(
        runs=runs,
        created=count(Verb.CREATE, ObjectState.APPLIED),
        changed=count(Verb.CHANGE, ObjectState.APPLIED),
        kept=len(plan.keep) + plan.untouched + unchanged,
        pruned=sum(r.state is ObjectState.DELETED for r in outcome.results),
        # In the same order each time, so that the status stays the same.
        errors=tuple(sorted(str(r.error or r.reason) for r in outcome.failed)),
        waiting="" if wave is None else f"the others wait until wave {wave} is healthy",
        drifted=()
        if changed
        else tuple(
            str(r.id)
            for r in outcome.results
            if r.state in (ObjectState.APPLIED, ObjectState.DELETED)
        ),
    )
