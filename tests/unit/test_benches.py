"""What the benchmarks' bars are made of."""

from __future__ import annotations

import pytest

from benches.common.measure import against, below, waited


@pytest.mark.parametrize("unit", ["s", "ms", "% of a core"])
def test_a_time_has_a_floor_of_the_same_run_unless_a_person_waits_for_it(unit: str) -> None:
    with pytest.raises(ValueError, match="a time needs a floor"):
        below(1.0, unit=unit, most=2.0)
    assert against(3.0, 2.0, unit=unit, most=1.5)["ok"]
    assert not against(3.1, 2.0, unit=unit, most=1.5)["ok"]
    assert waited(1.0, unit=unit, most=2.0, floor=4.0)["ratio"] == 0.25


def test_memory_has_a_bar_of_its_own() -> None:
    assert below(80.0, unit="MB", most=80)["ok"]
    assert not below(80.1, unit="MB", most=80)["ok"]
