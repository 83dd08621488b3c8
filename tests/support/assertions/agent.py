"""What an agent's status, log and folder hold."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def condition(status: Mapping[str, Any] | None, type_: str) -> tuple[str, str, str]:
    """(status, reason, message) of one condition; empty texts where there is none."""
    for found in (status or {}).get("conditions") or ():
        if found["type"] == type_:
            return found["status"], found["reason"], found["message"]
    return "", "", ""


def read_log(path: Path) -> list[dict[str, Any]]:
    """The entries of a log in JSON."""
    found = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found
