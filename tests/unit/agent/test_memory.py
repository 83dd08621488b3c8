"""Memory is given back after much was freed, and not for a little."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from ocistate.agent.memory import MemoryTrimmer

_PROCESS = """
import ctypes
from pathlib import Path
from ocistate.agent.memory import MemoryTrimmer, limit_arenas

def resident():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024

limit_arenas()
trimmer = MemoryTrimmer()
trimmer.check()
before = resident()
# What the C library keeps: blocks above Python's own 512 bytes, and one at the end that holds them.
held = [bytes(2000 + n % 7) for n in range(60_000)]
small = [str(n) for n in range(400_000)]
last = bytes(3000)
trimmer.check()
full = resident()
del held, small
kept = resident()
assert trimmer.check()
print(before, full, kept, resident())
"""


def test_only_a_large_fall_is_worth_a_trim() -> None:
    trims: list[int] = []
    blocks = [1_000_000]
    trimmer = MemoryTrimmer(allocated=lambda: blocks[0], trim=lambda: trims.append(blocks[0]))
    for now, trimmed in (
        (1_000_000, False),
        (900_000, False),
        (1_500_000, False),
        (1_400_000, False),  # not much less than at its highest
        (1_250_000, True),
        (1_240_000, False),  # counted from what was left then
        (1_100_000, False),
        (1_040_000, True),
    ):
        blocks[0] = now
        assert trimmer.check() is trimmed, now
    assert trims == [1_250_000, 1_040_000]


def test_what_was_freed_goes_back_to_the_system() -> None:
    output = subprocess.check_output([sys.executable, "-c", _PROCESS], text=True)
    before, full, kept, after = map(float, output.split())
    assert full > before + 120
    assert kept > after + 50, "nothing was held back that a trim could return"
    assert after < before + 25


def test_it_ends_when_told_to() -> None:
    async def go() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(MemoryTrimmer(trim=lambda: None).run(stop))
        await asyncio.sleep(0)
        stop.set()
        await asyncio.wait_for(running, 1)

    asyncio.run(go())
