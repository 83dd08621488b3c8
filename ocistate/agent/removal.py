"""Removing a Stack's objects, or leaving them in place, once the Stack is to go."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from ocistate.agent.reconcile.context import Services
from ocistate.agent.registry import StackEntry
from ocistate.agent.state.store import StatusStore
from ocistate.api.conditions import ConditionType, EventReason
from ocistate.api.stack import Stack
from ocistate.backoff import Backoff
from ocistate.errors import ClusterError, ConfigError, OcistateError

log = logging.getLogger("ocistate.agent")

_NAMED: Final = 5
_ORPHAN_TRIES: Final = 3
"""Tries to take our marks off what is left in place; a cluster that is gone has none to take."""
_BACKOFF: Final = Backoff(first=2.0, longest=60.0)


async def remove_stack(
    entry: StackEntry, services: Services, status_store: StatusStore
) -> float | None:
    """Let a Stack go; None when it is gone, else the seconds until the next try."""
    stack = entry.where_it_is()
    try:
        try:
            await _clear(stack, services, status_store)
        except OcistateError as error:
            entry.removals += 1
            if stack.spec.deletion_policy != "orphan" or entry.removals < _ORPHAN_TRIES:
                raise
            services.event(stack, "Warning", error.reason, f"let go as it is: {error}")
        await status_store.forget(stack)
    except OcistateError as error:
        return await _not_yet(entry, stack, services, error)
    return None


async def _not_yet(
    entry: StackEntry, stack: Stack, services: Services, error: OcistateError
) -> float:
    """Say why it cannot go yet, and what helps."""
    log.warning("cannot remove: %s", error, extra={"stack": str(stack), "reason": error.reason})
    services.event(stack, "Warning", error.reason, str(error))
    entry.status = entry.status.with_condition(
        ConditionType.READY.value,
        "False",
        error.reason,
        f"cannot be removed: {error}. It is tried again; to leave its objects where they are, "
        "set spec.deletionPolicy to orphan",
        now=services.now(),
        generation=stack.generation,
    )
    try:
        await services.save(stack, entry.status)
    except OcistateError as trouble:
        log.warning("cannot save the status: %s", trouble, extra={"stack": str(stack)})
    return _BACKOFF.delay(entry.removals)


async def _clear(stack: Stack, services: Services, status_store: StatusStore) -> None:
    if stack.spec.deletion_policy == "orphan":
        await services.target(stack).release()
        log.info("left in place", extra={"stack": str(stack)})
        return
    try:
        removed = await services.target(stack).remove()
        log.info("removed", extra={"stack": str(stack), "objects": removed.count})
        if removed.kept:
            services.event(stack, "Warning", EventReason.KEPT.value, _kept(removed.kept))
    except (ClusterError, ConfigError) as error:
        if not await status_store.is_abandoned(stack):
            raise
        log.warning("let go as it is: %s", error, extra={"stack": str(stack)})


def _kept(kept: Sequence[str]) -> str:
    more = len(kept) - _NAMED
    return f"left in place, without an owner: {'; '.join(kept[:_NAMED])}" + (
        f"; and {more} more" if more > 0 else ""
    )
