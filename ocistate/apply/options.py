"""How to apply: what a caller of `ocistate.apply.executor.apply` may choose."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from ocistate.apply.barred import Barred
from ocistate.apply.prune import Prune
from ocistate.apply.result import Result
from ocistate.objects import ObjectId

StageGate = Callable[[Sequence[ObjectId]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to apply.

    ``force`` takes fields from other managers. ``takeover`` makes fields of an object's former
    tool ours. ``gate`` is awaited between waves with the ids of the wave before; what it raises
    stops the later waves. ``barred`` is what could not be written before. ``sleep``, ``clock`` and
    ``rng`` are passed in by tests.
    """

    concurrency: int = 16
    dry_run: bool = False
    force: bool = True
    takeover: bool = True
    gate: StageGate | None = None
    prune: Prune = field(default_factory=Prune)
    barred: Barred = field(default_factory=Barred)
    on_result: Callable[[Result], None] | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    rng: Callable[[], float] = random.random
