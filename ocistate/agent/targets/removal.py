"""Take a Stack's mark off objects that it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ocistate.apply.ownership import Marked, mark_all
from ocistate.apply.plan import Live
from ocistate.apply.result import ApplyOutcome, ObjectState
from ocistate.errors import ClusterError
from ocistate.kube.client import KubeClient
from ocistate.kube.errors import StatusError
from ocistate.objects import ObjectId

_NOT_OURS_ANY_MORE: Final = (404, 409, 422)
"""Answers to taking our mark off what is gone, or carries another one."""


async def unmark(
    client: KubeClient, owner: str, objects: Mapping[ObjectId, Live]
) -> dict[ObjectId, ClusterError]:
    """Take the owner's mark off objects that still carry it; of those that keep it, why.

    With our label left on, the next Stack would be refused them. Raises ClusterUnavailable.
    """
    marked = [
        Marked(id=id, uid=live.uid, owner=owner, has_digest=bool(live.marker))
        for id, live in objects.items()
    ]
    errors: dict[ObjectId, ClusterError] = {}
    for each, error in await mark_all(client, marked):
        if isinstance(error, StatusError):
            if error.status not in _NOT_OURS_ANY_MORE:
                errors[each.id] = error
        elif error is not None:
            raise error
    return errors


def left_behind(outcome: ApplyOutcome, mine: Mapping[ObjectId, Live]) -> dict[ObjectId, Live]:
    """What a removal did not delete, on purpose."""
    return {
        result.id: mine[result.id]
        for result in outcome.results
        if result.state is ObjectState.SKIPPED and not mine[result.id].deleting
    }


def kept_messages(
    outcome: ApplyOutcome,
    kept: Mapping[ObjectId, Live],
    errors: Mapping[ObjectId, ClusterError],
    forbidden: list[str],
) -> tuple[str, ...]:
    """Which objects stay after a removal, and why."""
    messages = [
        f"{result.id} ({result.reason}"
        + (f"; its mark stays: {errors[result.id]})" if result.id in errors else ")")
        for result in outcome.results
        if result.id in kept
    ]
    if forbidden:
        messages.append(f"whatever there is of {', '.join(forbidden)}, which may not be listed")
    return tuple(messages)
