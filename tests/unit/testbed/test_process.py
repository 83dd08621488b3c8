"""How long tests wait."""

from __future__ import annotations

import os

import pytest

from testbed.process import patience
from tests.support.assertions.waiting import wait_for


@pytest.mark.parametrize(("load", "times"), [(0.0, 1.0), (1.0, 1.0), (2.5, 2.5), (80.0, 4.0)])
def test_patience_grows_with_the_load_of_each_processor_up_to_four_times(
    load: float, times: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (2 * load, 0.0, 0.0))
    assert patience(60) == 60 * times


def test_who_waited_in_vain_says_how_long_and_how_busy_the_machine_was() -> None:
    with pytest.raises(AssertionError, match=r"not within \d s \(load \d+\.\d\): the moon"):
        wait_for("the moon", lambda: None, seconds=0.1)
