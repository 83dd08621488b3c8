"""Fights over an object: at first repaired at once, then ever more slowly."""

from __future__ import annotations

from ocistate.cluster.contested import Contested
from ocistate.objects import ObjectId

ID = ObjectId("", "ConfigMap", "n", "a")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_few_edits_are_repaired_at_once() -> None:
    clock = Clock()
    contested = Contested(clock=clock)
    assert [contested.drifted(ID) for _ in range(4)] == [0.0] * 4
    assert contested.ids() == {}


def test_a_fight_is_slowed_down_up_to_a_limit_and_named() -> None:
    clock = Clock()
    contested = Contested(limit=3, first=2, longest=10, clock=clock)
    delays = []
    for _ in range(8):
        delays.append(contested.drifted(ID, "rival"))
        clock.now += delays[-1]
    assert delays == [0, 0, 2, 4, 8, 10, 10, 10]
    assert contested.ids() == {ID: "rival"}
    assert contested.drifted(ObjectId("", "ConfigMap", "n", "other")) == 0


def test_edits_far_apart_are_no_fight() -> None:
    clock = Clock()
    contested = Contested(limit=3, window=60, clock=clock)
    for _ in range(10):
        assert contested.drifted(ID) == 0
        clock.now += 40


def test_a_fight_that_rests_is_forgiven() -> None:
    clock = Clock()
    contested = Contested(limit=2, window=60, first=100, longest=100, clock=clock)
    assert [contested.drifted(ID) for _ in range(2)] == [0, 100]
    clock.now = 199
    assert contested.ids() == {ID: ""}
    clock.now = 201
    assert contested.ids() == {}
    assert contested.drifted(ID) == 0


def test_a_new_artifact_starts_afresh() -> None:
    contested = Contested(limit=1, clock=Clock())
    assert contested.drifted(ID) > 0
    contested.forget(ID)
    assert contested.ids() == {}


def test_what_happens_while_a_repair_waits_does_not_count() -> None:
    clock = Clock()
    contested = Contested(limit=1, first=2, clock=clock)
    assert contested.drifted(ID) == 2
    assert contested.waits(ID)
    clock.now = 0.5
    assert [contested.drifted(ID) for _ in range(3)] == [1.5, 1.5, 1.5]
    clock.now = 2
    assert not contested.waits(ID)
    assert contested.drifted(ID) == 4


def test_many_objects_that_drift_once_are_not_remembered_for_ever() -> None:
    clock = Clock()
    contested = Contested(clock=clock)
    for number in range(5000):
        contested.drifted(ObjectId("", "ConfigMap", "n", str(number)))
        clock.now += 1
    assert len(contested._fights) < 600
