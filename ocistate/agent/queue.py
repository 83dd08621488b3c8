"""The queue: which Stack is due when, at most one pass for each at a time, a few side by side.

A few in each lane: what waits for one cluster that does not answer keeps no other cluster waiting.
What a pass costs here does not depend on how many others there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final

from ocistate.objects import StackKey

log = logging.getLogger("ocistate.agent")


GRACE_SECONDS: Final = 20.0
"""How long a stop waits for passes in flight: below Kubernetes' default of 30 s to SIGKILL."""

_BEAT_SECONDS: Final = 10.0
_STILL_SECONDS: Final = 60.0
_LONGEST_PASS: Final = 1800.0
_BUG_PAUSE: Final = 60.0
_LONGEST_WAIT: Final = 24 * 3600.0
_LEAST_SLACK: Final = 64


@dataclass(slots=True)
class Controller:
    """Runs ``reconcile(key)`` when a key is due; it returns the seconds until the next time.

    ``None`` means not again before someone wakes it. An exception is a bug: it is given to
    ``on_bug`` and the key comes back after a minute.
    """

    reconcile: Callable[[StackKey], Awaitable[float | None]]
    on_bug: Callable[[StackKey, Exception], None]
    workers: int = 8
    """How many passes of one lane run side by side."""
    lane: Callable[[StackKey], str] = lambda key: ""
    _due: dict[StackKey, float] = field(default_factory=dict)
    _queue: list[tuple[float, StackKey]] = field(default_factory=list)
    """A heap of when keys are due that do not run; what is not in ``_due`` too counts no more."""
    _held: dict[str, deque[tuple[float, StackKey]]] = field(default_factory=dict)
    """What was taken from the queue for a lane that has no worker free."""
    _running: dict[StackKey, asyncio.Task[None]] = field(default_factory=dict)
    _busy: Counter[str] = field(default_factory=Counter)
    """How many passes run in each lane."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _begun: dict[StackKey, float] = field(default_factory=dict)
    _beat: float | None = None

    def wake(self, key: StackKey, *, after: float = 0.0) -> None:
        """Make a key due, now or in some seconds, unless it is due earlier already."""
        # NaN would leave the heap without an order; it is no later than everything else.
        pause = min(max(after, 0.0), _LONGEST_WAIT) if after == after else _BUG_PAUSE
        at = asyncio.get_running_loop().time() + pause
        if key not in self._due or at < self._due[key]:
            self._due[key] = at
            if key not in self._running:  # else the end of its pass looks here again
                self._enqueue(key)
                self._changed.set()

    def _enqueue(self, key: StackKey) -> None:
        if len(self._queue) > 2 * len(self._due) + _LEAST_SLACK:
            due = self._due.items()
            self._queue = [(at, each) for each, at in due if each not in self._running]
            heapify(self._queue)
            self._held.clear()
            return
        heappush(self._queue, (self._due[key], key))

    def forget(self, key: StackKey) -> None:
        """Take a key out; a pass in flight ends by itself."""
        self._due.pop(key, None)

    def cancel(self, key: StackKey) -> None:
        """End a key's pass where it is, and take the key out."""
        self.forget(key)
        if task := self._running.get(key):
            task.cancel()

    async def finished(self, keys: Collection[StackKey]) -> None:
        """Wait until no pass of these keys runs."""
        tasks = [self._running[key] for key in keys if key in self._running]
        if tasks:
            await asyncio.wait(tasks)

    @property
    def running(self) -> int:
        """How many passes run."""
        return len(self._running)

    def waiting(self) -> int:
        """How many keys are due and wait for a worker."""
        now = asyncio.get_running_loop().time()
        return sum(at <= now for key, at in self._due.items() if key not in self._running)

    def stuck(self) -> str:
        """What shows that this will not go on by itself; empty when all is well."""
        now = asyncio.get_running_loop().time()
        if self._beat is not None and now - self._beat > _STILL_SECONDS:
            return f"the queue has stood still for {now - self._beat:.0f} s"
        for key, begun in self._begun.items():
            if now - begun > _LONGEST_PASS:
                return f"the pass for {'/'.join(key)} has taken {now - begun:.0f} s"
        return ""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; passes in flight may end, within the grace."""
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(lambda _: self._changed.set())
        try:
            while not stop.is_set():
                self._changed.clear()
                self._beat = asyncio.get_running_loop().time()
                delay = min(self._start_due(), _BEAT_SECONDS)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._changed.wait()
        finally:
            self._beat = None
            stopping.cancel()
            await self._drain()

    def _start_due(self) -> float:
        """Start what is due and may run; the seconds until the next one is due."""
        now = asyncio.get_running_loop().time()
        while self._queue:
            at, key = self._queue[0]
            current = self._due.get(key) == at and key not in self._running
            if current and at > now:
                return at - now
            heappop(self._queue)
            if current:
                self._start(at, key, now)
        return _BEAT_SECONDS  # the end of a running pass looks here again

    def _start(self, at: float, key: StackKey, now: float) -> None:
        try:
            lane = self.lane(key)
        except Exception as error:  # then its pass fails and says so
            self._bug(key, error)
            lane = ""
        if self._busy[lane] >= self.workers:
            self._held.setdefault(lane, deque()).append((at, key))
            return
        del self._due[key]
        self._busy[lane] += 1
        self._begun[key] = now
        self._running[key] = task = asyncio.create_task(self._pass(key))
        # Also of one that is cancelled before it begins.
        task.add_done_callback(functools.partial(self._ended, key, lane))

    async def _pass(self, key: StackKey) -> None:
        after: float | None = _BUG_PAUSE
        try:
            after = await self.reconcile(key)
        except Exception as error:
            self._bug(key, error)
        if after is not None:
            self.wake(key, after=after)

    def _bug(self, key: StackKey, error: Exception) -> None:
        try:
            self.on_bug(key, error)
        except Exception:
            log.exception("an unexpected failure cannot be reported")

    def _ended(self, key: StackKey, lane: str, task: asyncio.Task[None]) -> None:
        del self._running[key], self._begun[key]
        self._busy[lane] -= 1
        if not self._busy[lane]:
            del self._busy[lane]
        held = self._held.pop(lane, None)
        while held:
            at, other = held.popleft()
            if self._due.get(other) == at and other not in self._running:
                heappush(self._queue, (at, other))
                break
        if held:
            self._held[lane] = held
        if key in self._due:
            self._enqueue(key)
        self._changed.set()

    async def _drain(self) -> None:
        tasks = list(self._running.values())
        if not tasks:
            return
        _, pending = await asyncio.wait(tasks, timeout=GRACE_SECONDS)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
