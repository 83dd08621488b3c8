"""Time windows: days, hours over midnight, freezes, and changes of the clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import pytest

from ocistate.channel.window import Freeze, TimeWindow

WORKDAYS = TimeWindow(days=frozenset(range(5)), start=time(9), end=time(17))
NIGHTS = TimeWindow(days=frozenset({4}), start=time(22), end=time(6))  # Friday nights


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "moment", "is_open"),
    [
        (WORKDAYS, "2026-05-01T09:00", True),  # a Friday
        (WORKDAYS, "2026-05-01T08:59", False),
        (WORKDAYS, "2026-05-01T17:00", False),
        (WORKDAYS, "2026-05-02T12:00", False),
        (NIGHTS, "2026-05-01T21:59", False),
        (NIGHTS, "2026-05-01T22:00", True),
        (NIGHTS, "2026-05-02T05:59", True),
        (NIGHTS, "2026-05-02T06:00", False),
        (NIGHTS, "2026-05-02T23:00", False),
        (TimeWindow(), "2026-05-02T03:00", True),
    ],
)
def test_when_a_window_is_open(window: TimeWindow, moment: str, is_open: bool) -> None:
    assert window.is_open(at(moment)) is is_open


def test_the_clock_of_the_zone_decides() -> None:
    window = TimeWindow(zone="Asia/Tokyo", start=time(9), end=time(17))
    assert window.is_open(at("2026-05-01T00:00"))
    assert not window.is_open(at("2026-05-01T09:00"))


def test_it_opens_at_the_next_minute_that_is_open() -> None:
    assert WORKDAYS.opens_at(at("2026-05-01T12:00")) == at("2026-05-01T12:00")
    assert WORKDAYS.opens_at(at("2026-05-01T18:00")) == at("2026-05-04T09:00")
    assert NIGHTS.opens_at(at("2026-05-02T07:00")) == at("2026-05-08T22:00")


def test_a_freeze_keeps_it_closed() -> None:
    freeze = Freeze(date(2026, 5, 1), date(2026, 5, 5))
    window = TimeWindow(freezes=(freeze,))
    assert not window.is_open(at("2026-05-05T23:59"))
    assert window.opens_at(at("2026-05-01T00:00")) == at("2026-05-06T00:00")
    assert window.freeze_on(date(2026, 5, 3)) is freeze
    assert window.freeze_on(date(2026, 5, 6)) is None


def test_one_that_never_opens_is_known_after_a_year() -> None:
    assert (
        TimeWindow(days=frozenset(), start=time(9), end=time(10)).opens_at(at("2026-05-01")) is None
    )


def test_an_hour_that_the_change_to_summer_time_leaves_out_is_never_open() -> None:
    window = TimeWindow(zone="Europe/Berlin", start=time(2), end=time(3))
    opens = window.opens_at(at("2026-03-29T00:00"))
    assert opens == at("2026-03-30T00:00")  # 02:00 in summer time, a day later


def test_how_it_is_shown() -> None:
    assert str(WORKDAYS) == "Mon Tue Wed Thu Fri 09:00-17:00 UTC"
    assert str(TimeWindow(zone="Europe/Berlin")) == "every day Europe/Berlin"
