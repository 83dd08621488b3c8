"""Fights over an object: at first repaired at once, then ever more slowly."""

from __future__ import annotations

from ocistate.objects import ObjectId
from ocistate.watch.conflicts import Contest, Contested, ContestReason

ID = ObjectId("", "ConfigMap", "n", "a")


def told(contested: Contested) -> list[str]:
    return [str(each) for each in contested.of([ID])]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_few_edits_are_repaired_at_once() -> None:
    clock = Clock()
    contested = Contested(clock=clock)
    assert [contested.drifted(ID) for _ in range(4)] == [0.0] * 4
    assert told(contested) == []


def test_a_fight_is_slowed_down_up_to_a_limit_and_named() -> None:
    clock = Clock()
    contested = Contested(limit=3, first=2, longest=10, clock=clock)
    delays = []
    for _ in range(8):
        delays.append(contested.drifted(ID, "rival"))
        clock.now += delays[-1]
    assert delays == [0, 0, 2, 4, 8, 10, 10, 10]
    assert told(contested) == ["ConfigMap/n/a is changed again and again by rival"]
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
    assert told(contested) == ["ConfigMap/n/a is changed again and again"]
    clock.now = 201
    assert told(contested) == []
    assert contested.drifted(ID) == 0


def test_a_new_artifact_starts_afresh() -> None:
    contested = Contested(limit=1, clock=Clock())
    assert contested.drifted(ID) > 0
    contested.forget(ID)
    assert told(contested) == []


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


def test_what_is_overruled_is_sent_again_ever_more_slowly_until_it_is_stored() -> None:
    clock = Clock()
    contested = Contested(first=2, longest=10, clock=clock)
    pauses: list[float] = []
    last = 0.0
    contested.answered(ID, (".data.v",))
    (contest,) = contested.of([ID])
    assert (contest.reason, contest.fields) == (ContestReason.OVERRULED, (".data.v",))
    assert contested.of([]) == ()
    while len(pauses) < 5:
        clock.now += contested.moves_in(contest)
        assert contested.due([]) == []
        assert contested.due([ID]) == [ID]
        assert contested.due([ID]) == []
        pauses.append(clock.now - last)
        last = clock.now
        contested.answered(ID, (".data.v", ".data.w"))
    assert pauses == [2, 4, 8, 10, 10]
    assert not contested.waits(ID), "a drift is repaired at once all the same"
    assert contested.of([ID])[0].fields == (".data.v", ".data.w")
    contested.answered(ID, ())
    assert contested.of([ID]) == ()
    assert contested.due([ID]) == []


def test_after_a_restart_contests_go_on_and_are_found_to_be_over() -> None:
    clock = Clock()
    contested = Contested(window=60, clock=clock)
    other = ObjectId("", "ConfigMap", "n", "b")
    flipped = Contest(id=ID, reason=ContestReason.FLIPPED, by="rival")
    overruled = Contest(id=other, reason=ContestReason.OVERRULED, fields=(".data.v",))
    for each in (flipped, overruled):
        contested.resume(each)
    assert contested.of([ID, other]) == (flipped, overruled)
    assert contested.due([other]) == [other], "whether that still holds is asked at once"
    contested.answered(other, ())
    contested.resume(flipped)
    clock.now = 59
    assert contested.moves_in(flipped) == 1
    assert contested.of([ID, other]) == (flipped,)
    clock.now = 61
    assert contested.of([ID, other]) == ()


def test_of_many_that_are_overruled_a_few_are_tried_until_one_is_stored() -> None:
    clock = Clock()
    contested = Contested(first=2, longest=10, clock=clock)
    many = [ObjectId("", "ConfigMap", "n", f"{number:04}") for number in range(1000)]
    for id in many:
        contested.answered(id, (".data.v",))
    tried = []
    for _ in range(5):
        clock.now += 10
        chosen = contested.due(many)
        assert contested.due(many) == []
        for id in chosen:
            contested.answered(id, (".data.v",))
        tried += chosen
    assert tried == many[:100], "every one has its turn"
    contested.answered(many[500], ())
    assert len(contested.due(many)) == 999
    assert len(contested.of(many)) == 999
