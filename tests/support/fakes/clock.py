"""A clock for one process that a test sets, by libfaketime.

clock = Clock(tmp_path)
with AgentProcess(arguments, log, env=clock.env):
    clock.jump(3600)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from testbed.packages import ensure_apt


class Clock:
    """It runs as the machine's does, ahead of it by ``ahead`` seconds.

    With ``set_only`` it is the clock on the wall that is set; else it is time itself that passes,
    so that timers are due, too.
    """

    def __init__(self, folder: Path, *, set_only: bool = False) -> None:
        ensure_apt("libfaketime")
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        self.ahead = 0
        self._file = folder / "clock"
        self.env: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1" if set_only else "0",
        }
        self._write()

    def jump(self, seconds: int) -> None:
        """Put it on, or back."""
        self.ahead += seconds
        self._write()

    def _write(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{self.ahead:+d}\n")
        new.replace(self._file)
