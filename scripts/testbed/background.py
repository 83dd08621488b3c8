"""A part of the test bed that runs in the background between two commands.

`up` starts one keeper process, which starts the servers and is the only pid on record; the servers
end with it. `down` ends the keeper when the recorded pid is still the same process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import TestbedError
from .process import patience, started_at

START_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Background:
    """One background service with its state in `folder`."""

    folder: Path

    @property
    def log(self) -> Path:
        """What the keeper printed."""
        return self.folder / "keeper.log"

    @property
    def _state(self) -> Path:
        return self.folder / "keeper.json"

    def running(self) -> dict[str, Any] | None:
        """Return the facts the service gave when it was ready, or None when it does not run."""
        state = self._read()
        return None if state is None else state["facts"]

    def up(self, command: list[str]) -> dict[str, Any]:
        """Start the service with this command, unless it runs, and return its facts.

        The command must call `keep` with this folder.
        """
        facts = self.running()
        if facts is not None:
            return facts
        self.folder.mkdir(parents=True, exist_ok=True)
        self._state.unlink(missing_ok=True)
        with self.log.open("wb") as log:
            status_store = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            return self._wait_started(status_store)
        except BaseException:  # Ctrl-C, too, must not leave half a service behind
            status_store.terminate()
            status_store.wait()
            raise

    def down(self) -> bool:
        """Stop the service; return whether it ran."""
        state = self._read()
        if state is None:
            return False
        os.kill(state["pid"], signal.SIGTERM)
        deadline = time.monotonic() + patience(60)
        while started_at(state["pid"]) == state["started"]:
            if time.monotonic() > deadline:
                raise TestbedError(f"process {state['pid']} does not end; see {self.log}")
            time.sleep(0.05)
        self._state.unlink(missing_ok=True)
        return True

    def keep(self, service: AbstractContextManager[Any], facts: dict[str, Any]) -> None:
        """Run the service in this process until SIGTERM; `facts` are for those who ask later."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with service:
            pid = os.getpid()
            state = {"pid": pid, "started": started_at(pid), "facts": facts}
            temporary = self._state.with_suffix(".new")
            temporary.write_text(json.dumps(state))
            temporary.rename(self._state)
            while True:
                signal.pause()

    def _wait_started(self, status_store: subprocess.Popen[bytes]) -> dict[str, Any]:
        deadline = time.monotonic() + patience(START_TIMEOUT)
        while (facts := self.running()) is None:
            if status_store.poll() is not None or time.monotonic() > deadline:
                text = self.log.read_text(errors="replace")
                raise TestbedError("it did not start:\n" + "\n".join(text.splitlines()[-30:]))
            time.sleep(0.1)
        return facts

    def _read(self) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = json.loads(self._state.read_text())
        except (OSError, ValueError):
            return None
        # The same number may be another process by now: the start time tells.
        return state if started_at(state["pid"]) == state["started"] else None
