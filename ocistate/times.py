"""Times as Kubernetes and our records write them: RFC 3339, in UTC, to the second.

Every number of a date is bounded by its digits before it is read, and years are those that a
statement of ours can be from, so that sums with durations never overflow.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 2999
_TIME: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})", re.ASCII
)
_EXACT: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)


def format_time(moment: datetime) -> str:
    """``2026-01-31T12:00:00Z``."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def format_micros(moment: datetime) -> str:
    """The same with microseconds, as a Lease has it."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_exact_time(text: str) -> datetime:
    """A time just as `format_time` writes it, for signed statements. Raises ValueError."""
    if not _EXACT.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a time like 2026-01-31T12:00:00Z")
    return parse_time(text)


def parse_time(text: str) -> datetime:
    """A time with any offset and fraction, as API servers and registries write it.

    Raises ValueError, also for a year that no statement can be from.
    """
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a time like 2026-01-31T12:00:00Z")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text[:40]!r} is not a time: {error}") from None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"{text[:40]!r} is not between the years {_FIRST_YEAR} and {_LAST_YEAR}")
    return moment.astimezone(UTC)
