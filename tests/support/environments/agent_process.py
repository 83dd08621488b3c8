"""What the agent's tests share: artifacts made and signed, an agent in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.process import spawn
from tests.support.assertions.agent import read_log

LOOPBACK = ("--allow-hosts=127.0.0.0/8", "--allow-hosts=localhost")
"""Where all registries and API servers of tests are."""


@dataclass
class AgentProcess:
    """`ocistate agent` as a process; its log is a file."""

    arguments: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    inside: Sequence[str] = ()
    """A command that runs it in other surroundings."""
    process: subprocess.Popen[bytes] | None = None
    _mark: int = 0

    def start(self) -> AgentProcess:
        command = [*self.inside, sys.executable, "-m", "ocistate", "agent"]
        command += ["--log-format=json", *self.arguments]
        if "--stacks" not in self.arguments:
            command += LOOPBACK  # an agent in a cluster keeps Stacks off its own machine
        self.process = spawn(command, log=self.log, env=self.env)
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def terminate(self, seconds: float = 60.0) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """kill -9, unless it has ended."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def lines(self) -> list[dict[str, Any]]:
        """What it logged."""
        return read_log(self.log)

    def mark(self) -> None:
        """What it logs from now on is what `since_mark` tells."""
        self._mark = self.log.stat().st_size if self.log.exists() else 0

    def since_mark(self, lines: int = 60) -> str:
        """The last lines that it logged since the mark, and whether it still runs."""
        state = "runs" if self.running else "has ended"
        with self.log.open("rb") as stream:
            stream.seek(self._mark)
            said = stream.read().decode(errors="replace").splitlines()
        return "\n".join([f"{self.log}; the agent {state}", *said[-lines:]])

    def __enter__(self) -> AgentProcess:
        return self if self.running else self.start()

    def __exit__(self, *exc: object) -> None:
        self.kill()
