"""Times as Kubernetes and our records write them: RFC 3339, in UTC, to the second.

Every number of a date is bounded by its digits before it is read, and years are bounded too, so
that sums with durations and changes of the time zone never overflow.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

FIRST_SIGNED_YEAR: Final = 2000
LAST_SIGNED_YEAR: Final = 2199
"""The years that a signed statement can be from, or name."""

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


def parse_signed_time(text: str) -> datetime:
    """A time of a signed statement: as `format_time` writes it, of this century or the next.

    A signer may write any time there is. Raises ValueError.
    """
    if not _EXACT.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a time like 2026-01-31T12:00:00Z")
    return _within(parse_time(text), text, FIRST_SIGNED_YEAR, LAST_SIGNED_YEAR)


def parse_time(text: str) -> datetime:
    """A time with any offset and fraction, as API servers and registries write it.

    Raises ValueError, also for years that no registry or cluster can mean.
    """
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a time like 2026-01-31T12:00:00Z")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text[:40]!r} is not a time: {error}") from None
    return _within(moment, text, _FIRST_YEAR, _LAST_YEAR).astimezone(UTC)


def _within(moment: datetime, text: str, first: int, last: int) -> datetime:
    if not first <= moment.year <= last:
        raise ValueError(f"{text[:40]!r} is not between the years {first} and {last}")
    return moment
