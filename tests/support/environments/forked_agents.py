"""Agents that are forked from a process which has imported everything: a start costs no imports.

    with Forks(folder / "forks.log") as forks:
        agent = forks.agent(arguments, folder / "agent.log")
        agent.start()
        agent.kill()

Everything after the imports is what `ocistate agent` does in a process of its own.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.support.assertions.agent import read_log
from tests.support.command import ROOT
from tests.support.environments.agent_process import LOOPBACK

USED = (
    "ocistate.cli.setup.agent",
    "ocistate.agent.factory",
    "ocistate.agent.targets.cluster",
    "ocistate.agent.backends.cluster",
    "ocistate.agent.targets.remote",
    "ocistate.agent.http.server",
    "ocistate.agent.sharding.shards",
    "ocistate.oci.registry.clients",
    "ocistate.oci.local.layout",
    "ocistate.oci.registry.store",
    "ocistate.signing.envelope",
)


class Forks:
    """The process that agents are forked from; they end with it, and it ends with this one."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.environments.forked_agents"],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.communicate(timeout=30)  # the end of what it reads is its end

    def agent(self, arguments: Sequence[str], log: Path) -> ForkedAgent:
        """An agent that does not run yet."""
        return ForkedAgent(self, [*arguments, *LOOPBACK], log)

    def ask(self, **request: Any) -> int:
        """What the process answers to a request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the process that forks has ended: {self._log.read_text()[-3000:]}"
        return int(answer)


@dataclass
class ForkedAgent:
    """One agent; only one thread at a time may start or await it, any may strike."""

    forks: Forks
    arguments: Sequence[str]
    log: Path
    pid: int = 0
    _born: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self.pid = self.forks.ask(arguments=list(self.arguments), log=str(self.log))
        self._born.set()

    def strike(self) -> None:
        """kill -9, maybe before `start` has returned; until `kill` has seen its end, no other
        process gets its number."""
        if self._born.wait(10):
            os.kill(self.pid, signal.SIGKILL)

    @property
    def running(self) -> bool:
        return bool(self.pid) and self.forks.ask(look=self.pid) == 0

    def kill(self) -> None:
        """kill -9, unless it has ended, and wait for that."""
        if self.pid:
            self.strike()
            self.forks.ask(await_end=self.pid)
            self._born.clear()
            self.pid = 0

    def lines(self) -> list[dict[str, Any]]:
        """What it logged."""
        return read_log(self.log)


def _become_agent(arguments: list[str], log: str) -> None:
    from ocistate.cli.main import main

    nothing = os.open(os.devnull, os.O_RDONLY)
    opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number, place in ((nothing, 0), (opened, 1), (opened, 2)):
        os.dup2(number, place)
    os._exit(main(["agent", "--log-format=json", *arguments]))


def _fork(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _become_agent(request["arguments"], request["log"])
    finally:
        os._exit(70)


def serve() -> None:
    """Answer requests, one a line, until there are no more."""
    for name in USED:
        importlib.import_module(name)
    gc.freeze()
    living: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "arguments" in request:
            answer = _fork(request)
            living.add(answer)
        elif "look" in request:
            ended = os.waitid(os.P_PID, request["look"], os.WEXITED | os.WNOHANG | os.WNOWAIT)
            answer = 0 if ended is None else 1
        else:
            os.waitpid(request["await_end"], 0)
            living.discard(request["await_end"])
            answer = 0
        print(answer, flush=True)
    for pid in living:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve()
