"""Stacks whose object can't be read: said on each of them, and out of everybody's way.

A Stack whose status can't be written keeps no one else's events waiting: each is tried again by
itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from ocistate.agent.contain import unexpected
from ocistate.agent.queue import Controller
from ocistate.agent.runtime import Agent
from ocistate.agent.state.store import StatusStore
from ocistate.api.stack import Stack, removed_stack
from ocistate.api.stack_spec import StackTarget
from ocistate.api.status import StackStatus, refused, remote_target, status_from_dict
from ocistate.documents import shapes
from ocistate.errors import OcistateError
from ocistate.objects import StackKey

log = logging.getLogger("ocistate.agent")

_RETRY_SECONDS: Final = 15.0


@dataclass(slots=True)
class Refusals:
    """What can't be read, and why."""

    agent: Agent
    status_store: StatusStore
    _unread: dict[StackKey, tuple[Mapping[str, Any], OcistateError]] = field(default_factory=dict)
    _queue: Controller = field(init=False)

    def __post_init__(self) -> None:
        self._queue = Controller(reconcile=self._say, on_bug=_on_bug, workers=4)

    async def run(self, stop: asyncio.Event) -> None:
        """Say them until ``stop`` is set."""
        await self._queue.run(stop)

    def put(self, obj: Mapping[str, Any], error: OcistateError) -> None:
        """A Stack is one of them, as it is now."""
        key = key_of(obj)
        known = self._unread.get(key)
        self._unread[key] = (obj, error)
        if self.agent.mine(key) and (known is None or str(known[1]) != str(error)):
            log.error("%s", error, extra={"stack": "/".join(key), "reason": error.reason})
        self._queue.wake(key)

    def forget(self, key: StackKey) -> None:
        """It can be read, or is gone."""
        self._unread.pop(key, None)
        self._queue.forget(key)

    def keep_only(self, present: Collection[StackKey]) -> None:
        """These Stacks are all there are."""
        for key in [key for key in self._unread if key not in present]:
            self.forget(key)

    def begin(self, ours: Callable[[StackKey], bool]) -> None:
        """Some of these Stacks have become ours to write."""
        for key in filter(ours, self._unread):
            self._queue.wake(key)

    async def _say(self, key: StackKey) -> float | None:
        """Say on the Stack itself that it can't be read; what ran before goes on."""
        if key not in self._unread or not self.agent.mine(key):
            return None
        obj, error = self._unread[key]
        metadata = obj["metadata"]
        generation = metadata.get("generation", 0)
        if self.agent.refuse_stack(key, metadata["uid"], generation, error):
            return None
        old = status_of(obj)
        new = refused(old, error, now=datetime.now(UTC), generation=generation)
        if new != old:
            try:
                await self.status_store.save(departed(obj), new)
            except OcistateError as trouble:
                log.warning("cannot keep the status: %s", trouble, extra={"stack": "/".join(key)})
                return _RETRY_SECONDS
        return None


def key_of(obj: Mapping[str, Any]) -> StackKey:
    """(namespace, name) of an object."""
    return StackKey(obj["metadata"]["namespace"], obj["metadata"]["name"])


def status_of(obj: Mapping[str, Any]) -> StackStatus:
    """The status of a Stack object, empty where what it holds is none."""
    try:
        return status_from_dict(obj.get("status"))
    except Exception as error:
        unexpected(f"reading the status of the Stack {'/'.join(key_of(obj))}", error)
        return StackStatus()


def departed(obj: Mapping[str, Any]) -> Stack:
    """Of a Stack whose spec can't be read, just what its status and its removal need."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    target = remote_target((obj.get("status") or {}).get("target"))
    account = spec.get("serviceAccountName")
    return removed_stack(
        key_of(obj),
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        account=account if isinstance(account, str) and shapes.NAME.fits(account) else "",
        orphan=spec.get("deletionPolicy") == "orphan",
        target=target.as_target if target else StackTarget(),
    )


def _on_bug(key: StackKey, error: Exception) -> None:
    unexpected(f"refusing the Stack {'/'.join(key)}", error)
