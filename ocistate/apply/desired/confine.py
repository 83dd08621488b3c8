"""Keep to some namespaces: what is wanted elsewhere is refused before it is asked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ocistate.apply.desired.prepare import Desired
from ocistate.errors import ClusterError


def confine(desired: Desired, namespaces: Collection[str]) -> Desired:
    """``desired``, where everything outside of the namespaces has a problem."""
    inside = ", ".join(sorted(namespaces))
    wanted = tuple(
        each
        if each.id.namespace in namespaces or each.problem is not None
        else replace(
            each,
            problem=ClusterError(
                f"{each.id} is outside of what this agent looks after: the namespace {inside}",
                hint="remove it, set spec.forceNamespace, or use an agent for the whole cluster",
            ),
        )
        for each in desired.wanted
    )
    return replace(desired, wanted=wanted, by_id={each.id: each for each in wanted})
