from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocistate.times import format_micros, format_time, parse_signed_time, parse_time

MOMENT = datetime(2026, 1, 31, 12, 0, 1, 500_000, tzinfo=UTC)


def test_a_time_is_written_in_utc_to_the_second() -> None:
    assert format_time(MOMENT) == "2026-01-31T12:00:01Z"
    assert format_time(MOMENT.astimezone(timezone(timedelta(hours=5)))) == "2026-01-31T12:00:01Z"
    assert format_micros(MOMENT) == "2026-01-31T12:00:01.500000Z"


@pytest.mark.parametrize(
    "text",
    ["2026-01-31T12:00:01.5Z", "2026-01-31T14:00:01.500000+02:00", "2026-01-31T12:00:01.5+00:00"],
)
def test_offsets_and_fractions_are_read(text: str) -> None:
    assert parse_time(text) == MOMENT
    with pytest.raises(ValueError, match="not a time"):
        parse_signed_time(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-31",
        "2026-01-31T12:00:01",
        "9999-12-31T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2026-02-30T00:00:00Z",
        "2026-01-31T25:00:00Z",
        "2026-W05-6T12:00:01Z",
        "٢٠٢٦-01-31T12:00:01Z",
        "2026-01-31T12:00:01Z\n",
        "2026-01-31T12:00:01." + "5" * 400 + "Z",
    ],
)
def test_what_is_no_sane_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        parse_time(text)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC)))
def test_a_time_is_read_as_it_is_written(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    assert parse_signed_time(format_time(moment)) == moment


@pytest.mark.parametrize("year", [1970, 1999, 2200, 2999])
def test_a_signed_time_is_of_this_century_or_the_next(year: int) -> None:
    text = f"{year}-01-01T00:00:00Z"
    assert parse_time(text).year == year
    with pytest.raises(ValueError, match="not between the years 2000 and 2199"):
        parse_signed_time(text)
