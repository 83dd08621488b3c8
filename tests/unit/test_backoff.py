import pytest

from ocistate.backoff import Backoff, settle_time

BACKOFF = Backoff(first=0.5, longest=60.0)


def test_pauses_double_up_to_the_longest() -> None:
    pauses = [BACKOFF.delay(failures) for failures in range(1, 11)]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("failures", [0, -1, 10**9])
def test_any_count_of_failures_gives_a_pause_within_bounds(failures: int) -> None:
    assert 0.5 <= BACKOFF.delay(failures) <= 60


def test_chance_adds_at_most_the_spread() -> None:
    assert BACKOFF.delay(2, drawn=1.0) == pytest.approx(1.2)
    assert Backoff(first=1, longest=9, spread=0.5).delay(1, drawn=0.5) == 1.25


def test_pauses_may_grow_faster() -> None:
    steep = Backoff(first=0.25, longest=30.0, growth=4.0)
    assert [steep.delay(failures) for failures in range(1, 7)] == [0.25, 1, 4, 16, 30, 30]
    assert steep.delay(10**9) == 30


def test_a_write_settles_after_more_than_twice_what_reading_and_writing_takes() -> None:
    assert settle_time(0.0, 0.0) == pytest.approx(0.05)
    assert settle_time(1.0, 0.0) == pytest.approx(2.05)
    assert settle_time(1.0, 1.0) == pytest.approx(4.1)
