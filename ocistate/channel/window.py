"""Time windows: on which days, at which hours of which place, something may be moved. Pure.

The clock on the wall of the zone decides: an hour that a change to summer time leaves out is never
open, one that comes twice is open twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_DAY: Final = timedelta(days=1)
_MINUTE: Final = timedelta(minutes=1)
_AHEAD: Final = 400
"""How many days are looked ahead for the next opening."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """Days on which nothing moves, both included."""

    first: date
    last: date


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeWindow:
    """When it is open. ``days`` are those of `DAYS` by number; ``start`` to ``end`` are hours of
    the day in ``zone``, over midnight when ``end`` is not later; all day when they are equal.

    What goes over midnight belongs to the day on which it starts.
    """

    zone: str = "UTC"
    days: frozenset[int] = frozenset(range(7))
    start: time = time()
    end: time = time()
    freezes: tuple[Freeze, ...] = ()

    def is_open(self, now: datetime) -> bool:
        """Whether it is open at a moment."""
        local = now.astimezone(ZoneInfo(self.zone))
        day, clock = local.date(), local.time().replace(tzinfo=None)
        if self.freeze_on(day) is not None:
            return False
        if self.start == self.end:
            return day.weekday() in self.days
        if self.start < self.end:
            return day.weekday() in self.days and self.start <= clock < self.end
        today = day.weekday() in self.days and clock >= self.start
        return today or ((day - _DAY).weekday() in self.days and clock < self.end)

    def opens_at(self, now: datetime) -> datetime | None:
        """The first minute from a moment on in which it is open; None when not within a year."""
        if self.is_open(now):
            return now
        zone = ZoneInfo(self.zone)
        first = now.astimezone(zone).date()
        for day in (first + count * _DAY for count in range(_AHEAD)):
            if not self._may_open(day):
                continue
            # In UTC, where each minute comes once; a day of a zone may have more than 24 hours.
            moment = datetime.combine(day, time(), zone).astimezone(UTC)
            end = datetime.combine(day + _DAY, time(), zone).astimezone(UTC)
            while moment < end:
                if moment >= now and self.is_open(moment):
                    return moment
                moment += _MINUTE
        return None

    def freeze_on(self, day: date) -> Freeze | None:
        """The freeze that a day is in."""
        return next((f for f in self.freezes if f.first <= day <= f.last), None)

    def _may_open(self, day: date) -> bool:
        over = self.start > self.end and (day - _DAY).weekday() in self.days
        return self.freeze_on(day) is None and (day.weekday() in self.days or over)

    def __str__(self) -> str:
        names = " ".join(DAYS[day] for day in sorted(self.days))
        days = "every day" if len(self.days) == len(DAYS) else names
        hours = "" if self.start == self.end else f" {self.start:%H:%M}-{self.end:%H:%M}"
        return f"{days}{hours} {self.zone}"
