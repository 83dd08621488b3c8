"""Builds the Go tools of the test bed, in order of use.

The tools of one module are built by one command: what they share is compiled once, and one is
linked while the next is compiled. The modules of those that come next are downloaded meanwhile.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import TestbedError
from .tools import HERE, MINIMUM_GO, GoTool, say

Batch = tuple[GoTool, ...]


def build(wanted: Mapping[GoTool, Path]) -> None:
    """Build the tools to these paths, unless they are there. Raises TestbedError.

    Two processes may ask at the same time: one builds, the other waits for what it wants.
    """
    reported = False
    for path in wanted.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    while missing := [tool for tool, path in wanted.items() if not path.exists()]:
        batch, *later = batches(missing)
        # One lock for all tools: two large Go builds at once need more memory than they save time.
        with _try_lock(wanted[batch[0]].parent.parent / ".lock") as ours:
            if ours:
                _build(batch, later, wanted)
                continue
        if not reported:
            say(
                f"waiting for another process that builds, for {', '.join(t.name for t in missing)}"
            )
            reported = True
        time.sleep(0.5)


def batches(tools: Sequence[GoTool]) -> list[Batch]:
    """What one command builds: neighbours of one module, with the same tags."""

    def together(tool: GoTool) -> tuple[str, str]:
        return (tool.module or tool.name, tool.tags)

    return [tuple(group) for _, group in itertools.groupby(tools, key=together)]


@contextmanager
def _try_lock(path: Path) -> Iterator[bool]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _build(batch: Batch, later: Sequence[Batch], wanted: Mapping[GoTool, Path]) -> None:
    missing = tuple(tool for tool in batch if not wanted[tool].exists())
    if not missing:  # another process built them before we had the lock
        return
    names = ", ".join(f"{tool.name} {tool.version}" for tool in missing)
    say(f"building {names} (usually about {seconds([missing])} s the first time)")
    started = time.monotonic()
    if later:
        threading.Thread(target=_download, args=(later[0],), daemon=True).start()
    folder = wanted[missing[0]].parent.parent
    with tempfile.TemporaryDirectory(prefix=".build-", dir=folder) as name:
        built = _run(missing, Path(name))
        for tool in missing:
            built[tool.program].rename(wanted[tool])  # only what is finished has the final name
    left = "; left: " + ", ".join(tool.name for each in later for tool in each) if later else ""
    about = f", about {seconds(later)} s" if later else ""
    say(f"built {names} in {time.monotonic() - started:.0f} s{left}{about}")


def seconds(those: Sequence[Batch]) -> int:
    """How long it usually takes to build them."""
    return sum(tool.seconds for batch in those for tool in batch)


def _run(batch: Batch, scratch: Path) -> dict[str, Path]:
    """Build into a folder; the programs by name."""
    program, tags = go(), batch[0].tags
    ldflags = dict.fromkeys(tool.ldflags for tool in batch if tool.ldflags)
    # Without debug information: it saves a tenth of the time and a quarter of the cache. And the
    # same for all, so that what two modules have in common is compiled once.
    flags = ["-trimpath", "-gcflags=all=-dwarf=false", "-pgo=off"]
    flags += ["-ldflags", " ".join(["-s", "-w", *ldflags])]
    flags += ["-tags", tags] if tags else []
    command = [program, *_target(batch, flags, f"{scratch}/")]
    done = subprocess.run(
        command,
        cwd=_where(batch),
        env=_environment(scratch),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    built = {path.name: path for path in scratch.iterdir() if path.is_file()}
    if done.returncode or built.keys() != {tool.program for tool in batch}:
        tail = "\n".join(done.stdout.splitlines()[-20:])
        names = ", ".join(tool.name for tool in batch)
        raise TestbedError(f"could not build {names}: {' '.join(command)}\n{tail}")
    return built


def _target(batch: Batch, flags: Sequence[str], out: str) -> list[str]:
    if batch[0].module is None:
        (tool,) = batch
        return ["install", *flags, f"{tool.package}@v{tool.version}"]
    return ["build", "-mod=readonly", *flags, "-o", out, *(tool.package for tool in batch)]


def _download(batch: Batch) -> None:
    """Fetch the modules of a batch; what fails here, its build will tell."""
    with tempfile.TemporaryDirectory(prefix="ocistate-go-") as name:
        command = [go(), *_target(batch, ["-n"], f"{name}/")]
        subprocess.run(
            command, cwd=_where(batch), env=_environment(Path(name)), capture_output=True
        )


def _where(batch: Batch) -> Path:
    module = batch[0].module
    return HERE / module if module is not None else Path("/")


def _environment(scratch: Path) -> dict[str, str]:
    # Static, so that the same file also runs in an image made FROM scratch.
    return {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOBIN": str(scratch)}


def go() -> str:
    """Return the go command, which must be new enough."""
    wanted = ".".join(map(str, MINIMUM_GO))
    advice = f"install Go {wanted} or newer (https://go.dev/dl) and put `go` on PATH"
    found = shutil.which("go")
    if found is None:
        raise TestbedError(f"Go is not installed: {advice}")
    reply = subprocess.run(
        [found, "env", "GOVERSION", "GOTOOLCHAIN"], cwd="/", capture_output=True, text=True
    )
    lines = [*reply.stdout.splitlines(), "", ""]
    match = re.match(r"go(\d+)\.(\d+)", lines[0])
    if match is None:
        raise TestbedError(f"`go env GOVERSION` said {lines[0]!r}: {advice}")
    version = (int(match[1]), int(match[2]))
    # From 1.21 on, Go fetches the toolchain that a module asks for, unless set to stay local.
    fetches = version >= (1, 21) and not lines[1].startswith("local")
    if version < MINIMUM_GO and not fetches:
        raise TestbedError(f"Go {match[1]}.{match[2]} is too old: {advice}")
    return found
