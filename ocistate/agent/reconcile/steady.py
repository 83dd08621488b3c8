"""What of an error is worth another write: not what differs each time that the same goes wrong.

A request's id, the port of a connection, the time of day: each would make every pass a write of the
status, an Event and a line in the log.
"""

from __future__ import annotations

import re
from typing import Final

_PASSING: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # a UUID
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?"  # a time
    r"|(?<=:)\d{4,5}(?=\b)"  # a port
    r"|\b(?=[0-9A-Fa-f]*\d)[0-9A-Fa-f]{16,63}\b"  # an id; a digest has 64
    r"|\b\d+ of \d+ bytes",
    re.IGNORECASE,
)


def same_trouble(old: str, new: str) -> bool:
    """Whether two messages tell of the same trouble."""
    return old == new or _PASSING.sub("…", old) == _PASSING.sub("…", new)
