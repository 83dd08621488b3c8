"""Tasks that run beside the passes, such as sending Events."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Background:
    """Holds on to tasks until they end: the event loop alone does not."""

    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it; errors are its own to handle."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def join(self, seconds: float) -> None:
        """Wait for what runs, but no longer than that."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
