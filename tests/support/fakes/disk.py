"""A disk so small that it is full when a test wants it to be; the kernel says so, no one else.

    with SmallDisk(tmp_path / "disk", kilobytes=256) as disk:
        with AgentProcess(["--state", str(disk.folder)], log, inside=disk.inside):
            disk.fill()
            disk.free()

It is a tmpfs in a mount namespace of its own, which needs no more rights than the machine gives to
everybody for user namespaces. Who runs `inside` sees it at `folder`; others see an empty folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

import pytest


class SmallDisk:
    """It lasts as long as the context does, also while no agent uses it."""

    def __init__(self, folder: Path, *, kilobytes: int) -> None:
        self.folder = folder
        self._kilobytes = kilobytes

    def __enter__(self) -> Self:
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        if shutil.which("unshare") is None or shutil.which("nsenter") is None:
            pytest.skip("mount namespaces need Linux, with util-linux")
        self.folder.mkdir(parents=True)
        script = 'mount -t tmpfs -o size="$2"k none "$1" && echo ready && exec cat'
        self._holder = subprocess.Popen(
            [
                *("unshare", *user, "--mount", "--propagation", "private"),
                *("sh", "-c", script, "sh", str(self.folder), str(self._kilobytes)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            _, why = self._holder.communicate()
            pytest.skip(f"no mount namespace of our own here: {why.strip()}")
        target = f"--target={self._holder.pid}"
        same = ["--preserve-credentials", "--user"] if user else []
        self.inside = ["nsenter", *same, "--mount", target, "--"]
        return self

    def __exit__(self, *exc: object) -> None:
        self._holder.communicate()

    @property
    def path(self) -> Path:
        """The folder as those see it who run outside."""
        return Path(f"/proc/{self._holder.pid}/root{self.folder.absolute()}")

    def fill(self) -> None:
        """Leave no room for a single byte."""
        with (self.path / "ballast").open("ab", buffering=0) as stream:
            for size in (4096, 1):
                try:
                    while True:
                        stream.write(b"\0" * size)
                except OSError:
                    continue

    def free(self) -> None:
        """Have room again."""
        (self.path / "ballast").unlink()
