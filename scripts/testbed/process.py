"""Child processes that never outlive the test bed.

etcd = Child("etcd", [path, "--flag"], log=Path("etcd.log"), ready=answers)
etcd.start()          # returns when `answers()` is true, or raises with the log's end
etcd.kill()           # kill -9, as a fault
etcd.start()          # the same command again
etcd.stop()
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import TestbedError


@functools.cache
def _spawner() -> ThreadPoolExecutor:
    """Return the one thread that starts children.

    The kernel ends a child with its parent *thread*, so the thread must live as long as we do.
    """
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="testbed-spawner")


@functools.cache
def _setpriv() -> str | None:
    return shutil.which("setpriv")


def patience(seconds: float) -> float:
    """How long to wait for what takes at most so many seconds on a machine that is not crowded.

    By the load of the last minute, four times as long at most: what hangs must be reported, too.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return seconds * min(max(os.getloadavg()[0] / processors, 1.0), 4.0)


@dataclass(slots=True, kw_only=True)
class Child:
    """A server process with its log in a file; it can be stopped and started again.

    `ready` is polled until it returns true; an `OSError` counts as not yet. `parent_death` is the
    signal the kernel sends the child when this process dies, however it dies (Linux only).
    """

    name: str
    command: Sequence[str]
    log: Path
    ready: Callable[[], bool] = lambda: True
    env: Mapping[str, str] = field(default_factory=dict)
    start_timeout: float = 120.0
    stop_timeout: float = 20.0
    parent_death: str = "KILL"
    _process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id; raises when it does not run."""
        if self._process is None or not self.running:
            raise TestbedError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the process and wait until it is ready; nothing happens when it runs already."""
        if not self.running:
            self._process = spawn(
                self.command, log=self.log, env=self.env, parent_death=self.parent_death
            )
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the process is ready; raise with the end of its log when it does not get so.

        A process that is not ready in time is stopped.
        """
        begun = time.monotonic()
        while True:
            if not self.running:
                code = self._process.returncode if self._process else None
                raise TestbedError(f"{self.name} ended with code {code}:\n{self.log_tail()}")
            try:
                if self.ready():
                    return
            except OSError:  # refused, reset, timed out: it is still starting
                pass
            if time.monotonic() > begun + patience(self.start_timeout):
                self.kill()
                raise TestbedError(
                    f"{self.name} was not ready after {time.monotonic() - begun:.0f} s:\n"
                    f"{self.log_tail()}"
                )
            time.sleep(0.05)

    def stop(self) -> None:
        """Ask the process to end, make it end when it does not, and wait; safe to repeat."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)  # a paused process cannot end by itself
        self._process.terminate()
        try:
            self._process.wait(self.stop_timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process at once, as a crash would (kill -9)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Freeze the process: its connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Stop the process and start it again, with the same command."""
        self.stop()
        self.start()

    def log_tail(self, lines: int = 25) -> str:
        """Return the last lines of the log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(line[:400] for line in text.splitlines()[-lines:])


def spawn(
    command: Sequence[str], *, log: Path, env: Mapping[str, str], parent_death: str = "KILL"
) -> subprocess.Popen[bytes]:
    """Start a process that ends when we do, however we end; its output is added to the log."""
    # setpriv sets the parent-death signal and executes the command, so the pid is the command's;
    # a preexec_fn would run Python between fork and exec of a threaded process.
    setpriv = _setpriv()
    wrapper = [setpriv, "--pdeathsig", parent_death, "--"] if setpriv else []
    log.parent.mkdir(parents=True, exist_ok=True)

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as stream:
            return subprocess.Popen(
                [*wrapper, *command],
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us only; we then stop the children
            )

    return _spawner().submit(start).result()


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that no one uses, and that is this process's until it ends.

    It lies below the range the kernel takes for outgoing connections, so that no connection
    takes the port while its server is down for a fault test.
    """
    for _ in range(1000):
        port = random.randrange(20_000, 32_000)
        if not _reserve(port):
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port
    raise TestbedError("found no free port between 20000 and 32000")


_reserved: set[int] = set()


@functools.cache
def _reservations() -> int:
    """The file, open as long as we live, in which a process locks a byte for each of its ports."""
    path = Path(tempfile.gettempdir()) / f"ocistate-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _reserve(port: int) -> bool:
    """Whether no other test run was given this port: its server may not listen yet."""
    if port in _reserved:
        return False
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    _reserved.add(port)
    return True


def listens(port: int) -> bool:
    """Whether something accepts connections on this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def started_at(pid: int) -> str | None:
    """Return what tells this process from a later one with the same id; None when there is none.

    On Linux it is the kernel's start time, elsewhere what `ps` prints for it.
    """
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        state, *rest = stat.rpartition(")")[2].split()  # the name before it may hold anything
        return None if state == "Z" else rest[18]
    reply = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
    return reply.stdout.strip() or None
