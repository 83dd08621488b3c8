"""The commits between two releases, from what their artifacts say they were made from."""

from __future__ import annotations

import re
import subprocess
from typing import Any, Final
from urllib.parse import urlsplit

from ocistate.channel.record import RecordProvenance
from ocistate.text import plain

_COMMIT: Final = re.compile(r"(?:^|@)sha1:([0-9a-f]{40})(?:-dirty)?$")
_MOST: Final = 200


def commit_of(revision: str) -> str:
    """The commit of ``main@sha1:…``; empty where there is none."""
    match = _COMMIT.search(revision)
    return match[1] if match else ""


def compare_url(source: str, old: str, new: str) -> str:
    """A page that shows the commits between two, as the usual forges have it; else empty."""
    parts = urlsplit(source)
    if parts.scheme not in ("https", "http", "ssh") or not parts.hostname:
        return ""
    path = parts.path.removesuffix(".git").rstrip("/")
    marker = "/-/compare/" if "gitlab" in parts.hostname else "/compare/"
    return f"https://{parts.hostname}{path}{marker}{old}...{new}"


def commits_between(
    before: RecordProvenance | None, after: RecordProvenance | None
) -> dict[str, Any]:
    """``range``, ``url`` and ``log``: a line a commit, where this folder's repository has them."""
    nothing: dict[str, Any] = {"range": "", "url": "", "log": []}
    if before is None or after is None:
        return nothing
    old, new = commit_of(before.revision), commit_of(after.revision)
    if not old or not new or old == new:
        return nothing
    same = bool(after.source) and before.source == after.source
    return {
        "range": f"{old[:12]}..{new[:12]}",
        "url": compare_url(after.source, old, new) if same else "",
        "log": _log(old, new),
    }


def _log(old: str, new: str) -> list[str]:
    """What git tells, newest first; nothing where it does not know one of the commits."""
    # The commits are hexadecimal, checked above: git can't take them for options.
    command = ["git", "log", f"--max-count={_MOST}", "--format=%h %an: %s", f"{old}..{new}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    return [plain(line) for line in lines]
