"""Kubernetes Events on Stacks, without floods.

The same again within ten minutes raises the count of the Event there is, at most once a minute. A
Stack may tell ten at once and then one every half minute; what is held back is said with the next.
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
from ocistate.agent.telemetry.rate_limit import Bucket
from ocistate.api.stack import API_VERSION, Stack
from ocistate.api.status import rfc3339
from ocistate.errors import OcistateError
from ocistate.kube.client import KubeClient
from ocistate.objects import ObjectId
from ocistate.text import plain

log = logging.getLogger("ocistate.agent")

_SAME_SECONDS: Final = 600.0
_COUNT_SECONDS: Final = 60.0
_AT_ONCE: Final = 10.0
_A_SECOND: Final = 1 / 30
_MANAGER: Final = "ocistate-agent"


@dataclass(slots=True)
class _Told:
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
    _told: dict[tuple[str, str, str], _Told] = field(default_factory=dict)
    _buckets: dict[str, Bucket] = field(default_factory=dict)
    _held_back: dict[str, int] = field(default_factory=dict)

    async def tell(self, stack: Stack, kind: str, reason: str, message: str) -> None:
        """Tell one; losing it is no harm."""
        now, message = self.clock(), plain(message)
        key = (stack.uid, reason, message)
        told = self._told.get(key)
        try:
            if told is not None and now - told.begun < _SAME_SECONDS:
                told.count += 1
                if now - told.written < _COUNT_SECONDS:
                    EVENTS.labels("held").inc()
                    return
                told.written = now
                EVENTS.labels("folded").inc()
                await self._count(stack, told)
            elif self._bucket(stack).take():
                self._told = {
                    k: each for k, each in self._told.items() if now - each.begun < _SAME_SECONDS
                }
                name = f"{stack.name[:200]}.{secrets.token_hex(8)}"
                self._told[key] = _Told(name, now, now)
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

    def _bucket(self, stack: Stack) -> Bucket:
        if stack.uid not in self._buckets:
            self._buckets[stack.uid] = Bucket(_A_SECOND, _AT_ONCE, self.clock)
        return self._buckets[stack.uid]

    async def _count(self, stack: Stack, told: _Told) -> None:
        await self.client.patch(
            ObjectId("", "Event", stack.namespace, told.name),
            {"count": told.count, "lastTimestamp": rfc3339(datetime.now(UTC))},
            manager=_MANAGER,
            metadata_only=True,
        )


def _event(stack: Stack, name: str, kind: str, reason: str, message: str) -> dict[str, Any]:
    at = rfc3339(datetime.now(UTC))
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
