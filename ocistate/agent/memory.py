"""Gives memory back to the system once much of it is free.

Python's and C's allocators keep what was freed for the next use. After a Stack of many objects was
applied, or is gone, that is most of the process's memory, and nothing else would ever return it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

_CHECK_SECONDS: Final = 15.0
_WORTH_IT: Final = 200_000
"""Blocks freed since the last time: some 20 MB."""

_M_ARENA_MAX: Final = -8
_ARENAS: Final = 2


def limit_arenas() -> None:
    """Keep C's allocator from holding memory for each thread: only one runs Python at a time.

    Call it before threads begin. Does nothing where the C library has no such setting.
    """
    with contextlib.suppress(OSError, AttributeError):
        library: Any = ctypes.CDLL(None)
        library.mallopt(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Free what only cycles hold, and return free memory to the system."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        library: Any = ctypes.CDLL(None)
        library.malloc_trim(0)


@dataclass(slots=True)
class MemoryTrimmer:
    """Calls ``trim`` once the process uses much less memory than it did before."""

    allocated: Callable[[], int] = sys.getallocatedblocks
    trim: Callable[[], None] = give_back
    _highest: int = 0

    def check(self) -> bool:
        """Trim if it is worth it; whether it was."""
        now = self.allocated()
        self._highest = max(self._highest, now)
        if self._highest - now < _WORTH_IT:
            return False
        self.trim()
        self._highest = self.allocated()
        return True

    async def run(self, stop: asyncio.Event) -> None:
        """Check now and then, until ``stop`` is set."""
        while not stop.is_set():
            self.check()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _CHECK_SECONDS)
