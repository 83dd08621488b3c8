"""Run the command line as a user does: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Done:
    """A finished process."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """Standard output as the one line it should be."""
        (line,) = self.out.splitlines()
        return line


def run(
    *command: str | Path,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    stdin: str | None = None,
    check: bool = True,
) -> Done:
    """Run any program; with ``check`` an exit code other than 0 fails the test with its output."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **(environ or {})},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if check:
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return Done(done.returncode, done.stdout, done.stderr)


def ocistate(
    *arguments: str | Path,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    stdin: str | None = None,
    check: bool = True,
) -> Done:
    """Run ocistate; its keys have an empty password unless the environment given says otherwise."""
    return run(
        sys.executable,
        "-m",
        "ocistate",
        *arguments,
        cwd=cwd,
        environ={"OCISTATE_PASSWORD": "", "PYTHONPATH": str(ROOT), **(environ or {})},
        stdin=stdin,
        check=check,
    )
