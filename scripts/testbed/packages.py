"""Programs that come from Debian's packages: installed when they are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from . import TestbedError
from .tools import cache_dir, locked, say

_updated = False


def ensure_apt(*packages: str) -> None:
    """Install the named Debian packages that are not there yet, as root or through sudo."""
    if all(map(_installed, packages)):
        return
    cache_dir().mkdir(parents=True, exist_ok=True)
    with locked(cache_dir() / ".apt.lock", "another process that installs packages"):
        _install([name for name in packages if not _installed(name)])


def _install(missing: list[str]) -> None:
    if not missing:
        return
    advice = f"install {' '.join(missing)} by hand"
    apt = shutil.which("apt-get")
    if apt is None:
        raise TestbedError(f"this system has no apt-get: {advice}")
    say(f"installing Debian packages: {' '.join(missing)}")
    _update(apt, advice)
    _apt([apt, "install", "-y", "-qq", "--no-install-recommends", *missing], advice)


def ensure_command(command: str, package: str | None = None) -> Path:
    """Return where `command` is, installing the Debian package of that name when it is missing."""
    found = shutil.which(command)
    if found is None:
        ensure_apt(package or command)
        found = shutil.which(command)
    if found is None:
        raise TestbedError(f"the package {package or command} is there, but not `{command}`")
    return Path(found)


def _installed(package: str) -> bool:
    try:
        reply = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True, text=True
        )
    except FileNotFoundError:
        return False
    return reply.stdout.endswith(" installed")


def _update(apt: str, advice: str) -> None:
    global _updated
    if not _updated:
        _apt([apt, "update", "-qq"], advice)
        _updated = True


def _apt(command: list[str], advice: str) -> None:
    if os.geteuid() != 0:
        sudo = shutil.which("sudo")
        if sudo is None:
            raise TestbedError(f"neither root nor sudo: {advice}")
        command = [sudo, "-n", "DEBIAN_FRONTEND=noninteractive", *command]
    done = subprocess.run(
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise TestbedError(f"{' '.join(command)} failed; {advice}\n{tail}")
