"""What the benchmarks share: figures, and whole processes measured by the operating system."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

Figure = dict[str, Any]
Figures = dict[str, Figure]

_TIMES: Final = ("s", "ms", "% of a core")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Run:
    """One finished process: wall and CPU seconds, and the most memory it held, in MB."""

    wall: float
    cpu: float
    megabytes: float


def against(value: float, floor: float, *, unit: str, most: float) -> Figure:
    """A figure that may be at most ``most`` times its floor."""
    ratio = value / floor
    return {
        "value": round(value, 4),
        "unit": unit,
        "floor": round(floor, 4),
        "ratio": round(ratio, 3),
        "bar": f"at most {most:g} times the floor",
        "ok": ratio <= most,
    }


def below(value: float, *, unit: str, most: float) -> Figure:
    """A figure that has a bar of its own and no floor: memory, or a count.

    Never a time, which says nothing without what the same machine takes for the bare work.
    """
    if unit in _TIMES:
        raise ValueError("a time needs a floor: use `against`, or `waited` where a person waits")
    return _absolute(value, unit, most)


def waited(value: float, *, unit: str, most: float, floor: float | None = None) -> Figure:
    """A time that a person waits for: it has a bar of its own; a floor is only to see it beside."""
    figure = _absolute(value, unit, most)
    if floor is not None:
        figure |= {"floor": round(floor, 4), "ratio": round(value / floor, 3)}
    return figure


def _absolute(value: float, unit: str, most: float) -> Figure:
    return {
        "value": round(value, 4),
        "unit": unit,
        "floor": None,
        "ratio": None,
        "bar": f"at most {most:g} {unit}",
        "ok": value <= most,
    }


def times(value: float, other: float, unit: str, *, most: float) -> Figure:
    """A figure that may be at most ``most`` times what another tool takes, in the floor's place."""
    return against(value, other, unit=unit, most=most) | {"bar": f"at most {most:g} times theirs"}


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def megabytes(pid: int, what: str = "VmRSS") -> float:
    """Resident memory of a process now; with ``VmHWM`` the most there ever was."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) / 1024


def measure(
    command: Sequence[str], *, environ: Mapping[str, str] | None = None, stdin: str = ""
) -> Run:
    """Run a process to its end. Raises RuntimeError with its output when it fails."""
    with tempfile.TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        return _measure(command, given, environ or {})


def _measure(command: Sequence[str], given: IO[bytes], environ: Mapping[str, str]) -> Run:
    begun = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environ},
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command} failed:\n{output.decode(errors='replace')[-4000:]}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def ocistate(*arguments: str) -> list[str]:
    """The command that runs ocistate in this environment."""
    return [sys.executable, "-m", "ocistate", *arguments]


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)
