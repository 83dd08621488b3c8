"""Wait for what another process does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

from testbed.process import patience

T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None], *, seconds: float = 60.0) -> T:
    """Look until there is something, and return it; wait longer where the machine is crowded.

    What takes long is looked at less and less often: looking costs those we wait for their time.
    """
    begun = time.monotonic()
    pause = 0.02
    while True:
        before = time.monotonic()
        seen = look()
        if seen:
            return seen
        now = time.monotonic()
        if now > begun + patience(seconds):
            load = os.getloadavg()[0]
            raise AssertionError(f"not within {now - begun:.0f} s (load {load:.1f}): {what}")
        time.sleep(max(pause, now - before))
        pause = min(pause * 1.2, 0.1)
