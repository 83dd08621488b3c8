"""Search by halves."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocistate.channel.bisect import BisectStep, ReleaseVerdict, next_step


def search(good: int, bad: int, judge: Callable[[int], ReleaseVerdict]) -> tuple[BisectStep, int]:
    verdicts: dict[int, ReleaseVerdict] = {}
    while (step := next_step(good, bad, verdicts)).test is not None:
        assert step.test not in verdicts
        verdicts[step.test] = judge(step.test)
    return step, len(verdicts)


@given(length=st.integers(1, 200), data=st.data())
def test_it_finds_the_first_bad_one_in_few_steps(length: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, length))
    step, tried = search(0, length, lambda place: "bad" if place >= first else "good")
    assert step.first_bad == first
    assert step.suspects == ()
    assert tried <= math.ceil(math.log2(length)) + 1


@given(data=st.data())
def test_what_is_skipped_is_named_where_it_may_be_the_first(data: st.DataObject) -> None:
    first = data.draw(st.integers(1, 30))
    skipped = data.draw(st.sets(st.integers(1, 29)))

    def judge(place: int) -> ReleaseVerdict:
        return "skip" if place in skipped else "bad" if place >= first else "good"

    step, _ = search(0, 30, judge)
    assert first == step.first_bad or first in step.suspects
    assert set(step.suspects) <= skipped


def test_the_good_one_comes_first() -> None:
    with pytest.raises(ValueError, match="before"):
        next_step(3, 3, {})
