"""Kubernetes Events on Stacks, without floods.

The same again within ten minutes raises the count of the Event there is, at most once a minute. A
Stack may emit ten at once and then one every half minute; the next one says how many were dropped.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from ocistate.agent.telemetry.instruments import EVENTS
from ocistate.agent.telemetry.rate_limit import TokenBucket
from ocistate.api.stack import API_VERSION, Stack
from ocistate.errors import OcistateError
from ocistate.kube.client import KubeClient
from ocistate.objects import ObjectId
from ocistate.text import plain
from ocistate.times import format_time

log = logging.getLogger("ocistate.agent")

_SAME_SECONDS: Final = 600.0
_COUNT_SECONDS: Final = 60.0
_AT_ONCE: Final = 10.0
_A_SECOND: Final = 1 / 30
_MANAGER: Final = "ocistate-agent"


@dataclass(slots=True)
class _EmittedEvent:
    """One Event that was made, and how often it has happened since."""

    name: str
    begun: float
    written: float
    count: int = 1


@dataclass(slots=True)
class Events:
    """Tells them. ``clock`` is passed in by tests."""

    client: KubeClient
    clock: Callable[[], float] = lambda: asyncio.get_running_loop().time()
    _emitted: dict[tuple[str, str, str], _EmittedEvent] = field(default_factory=dict)
    _buckets: dict[str, TokenBucket] = field(default_factory=dict)
    _held_back: dict[str, int] = field(default_factory=dict)

    async def emit(self, stack: Stack, kind: str, reason: str, message: str) -> None:
        """Emit an Event. Best effort: failures are dropped."""
        now, message = self.clock(), plain(message)
        key = (stack.uid, reason, message)
        emitted = self._emitted.get(key)
        try:
            if emitted is not None and now - emitted.begun < _SAME_SECONDS:
                emitted.count += 1
                if now - emitted.written < _COUNT_SECONDS:
                    EVENTS.labels("held").inc()
                    return
                emitted.written = now
                EVENTS.labels("folded").inc()
                await self._count(stack, emitted)
            elif self._bucket(stack).take():
                self._emitted = {
                    k: each for k, each in self._emitted.items() if now - each.begun < _SAME_SECONDS
                }
                name = f"{stack.name[:200]}.{secrets.token_hex(8)}"
                self._emitted[key] = _EmittedEvent(name, now, now)
                if held := self._held_back.pop(stack.uid, 0):
                    message = f"{message[:950]} ({held} others were held back)"
                EVENTS.labels("told").inc()
                await self.client.create(_event(stack, name, kind, reason, message))
            else:
                EVENTS.labels("held").inc()
                self._held_back[stack.uid] = self._held_back.get(stack.uid, 0) + 1
        except OcistateError as error:
            log.debug("event lost: %s", error, extra={"stack": str(stack)})

    def forget(self, stack: Stack) -> None:
        """The Stack is gone."""
        self._buckets.pop(stack.uid, None)
        self._held_back.pop(stack.uid, None)

    def _bucket(self, stack: Stack) -> TokenBucket:
        if stack.uid not in self._buckets:
            self._buckets[stack.uid] = TokenBucket(_A_SECOND, _AT_ONCE, self.clock)
        return self._buckets[stack.uid]

    async def _count(self, stack: Stack, emitted: _EmittedEvent) -> None:
        await self.client.patch(
            ObjectId("", "Event", stack.namespace, emitted.name),
            {"count": emitted.count, "lastTimestamp": format_time(datetime.now(UTC))},
            manager=_MANAGER,
            metadata_only=True,
        )


def _event(stack: Stack, name: str, kind: str, reason: str, message: str) -> dict[str, Any]:
    at = format_time(datetime.now(UTC))
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": stack.namespace, "name": name},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": "Stack",
            "namespace": stack.namespace,
            "name": stack.name,
            "uid": stack.uid,
        },
        "type": kind,
        "reason": reason,
        "message": message[:1024],
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
        "source": {"component": _MANAGER},
    }
