"""An agent that dies, or finds its disk full, before each of its file operations in turn.

    python -m tests.integration.crashes FOLDER kill|full

FOLDER holds `stacks.yaml`, the registry and, under `before`, state and target as they were when all
was well. For n = 1, 2, … a child runs the agent once and is killed (kill -9) before its nth
operation on a file, or finds no space from there on; then another child runs it unharmed. It ends
when an agent needed fewer than n operations, and prints one JSON line for each n: what was in the
target in between and at the end, and how the children ended.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ocistate.agent.reconcile.run
import ocistate.oci.local.layout
import ocistate.signing.envelope  # noqa: F401 - what a child would import is there already
from ocistate.agent.factory import embedded_agent
from ocistate.agent.once import run_once
from ocistate.agent.telemetry.log import set_up
from ocistate.errors import OcistateError

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
GROWS = ("open", "os.rename", "os.mkdir")


def arm(root: Path, harm: Callable[[str], None]) -> None:
    """Have ``harm`` called before each operation that changes a file below ``root``."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        changes = bool(arguments[2] & WRITES) if event == "open" else event in CHANGES
        if changes and str(arguments[0]).startswith(str(root)):
            harm(event)

    sys.addaudithook(hook)


async def run_agent(root: Path) -> None:
    async with embedded_agent(
        root / "stacks.yaml", state=root / "state", kubeconfig=None, context=None, workers=1
    ) as (agent, source):
        source.load()
        await run_once(agent)


def child(root: Path, at: int, mode: str) -> int:
    """The exit status of a child that comes to harm at its ``at``-th operation; 0: of none."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    count = 0

    def harm(event: str) -> None:
        nonlocal count
        count += 1
        if mode == "kill" and count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "full" and count >= at and event in GROWS:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    try:
        if at:
            arm(root, harm)
        asyncio.run(run_agent(root))
    except OcistateError as error:
        print(error, file=sys.stderr)
        os._exit(4)
    except BaseException:
        traceback.print_exc()
        os._exit(70)
    os._exit(0 if count < at or not at else 1)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob("*"))}


def main(root: Path, mode: str) -> None:
    set_up("json")
    at = 0
    while True:
        at += 1
        for name in ("state", "shop"):
            shutil.rmtree(root / name, ignore_errors=True)
            shutil.copytree(root / "before" / name, root / name)
        first = child(root, at, mode)
        between = contents(root / "shop")
        second = child(root, 0, mode)
        line = {
            "at": at,
            "first": first,
            "between": between,
            "second": second,
            "after": contents(root / "shop"),
            "litter": [str(path) for path in (root / "state").glob("*/.*")],
            "status": json.loads((root / "state/stacks/default.shop.json").read_bytes())["status"]
            if (root / "state/stacks/default.shop.json").exists()
            else None,
        }
        print(json.dumps(line), flush=True)
        if first == 0:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
