"""``ocistate agent --once``: reconcile until there is nothing to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ocistate.agent.runtime import Agent
from ocistate.api.conditions import ConditionType, Reason
from ocistate.objects import StackKey

_WAITING = (Reason.PROGRESSING, Reason.DEPENDENCY_NOT_READY)


async def run_once(agent: Agent, wait: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Reconcile every Stack until it is ready, has failed, or waits for one that has."""
    waiting = set(agent.stacks)
    while waiting:
        reasons: dict[StackKey, str] = {}
        for key in sorted(waiting):
            await agent.reconcile(key)
            entry = agent.stacks.get(key)
            ready = entry.status.condition(ConditionType.READY) if entry else None
            if ready is not None and ready.reason in _WAITING:
                reasons[key] = ready.reason
        if set(reasons.values()) == {Reason.DEPENDENCY_NOT_READY} and set(reasons) == waiting:
            return
        waiting = set(reasons)
        if Reason.PROGRESSING in reasons.values():
            await wait(1.0)
