"""What is due of a plan, and what waits for the health of an earlier wave."""

from __future__ import annotations

from typing import Any

from ocistate.apply.plan import Plan, Verb, make_plan
from ocistate.apply.waves import hold_waves
from ocistate.health.model import HEALTHY, MISSING, Health, HealthStatus
from ocistate.objects import ObjectId
from tests.support.factories.objects import as_applied, config_map, crd, desire, obj


def wave(name: str, number: int) -> dict[str, Any]:
    return config_map(name, annotations={"ocistate.dev/wave": str(number)})


def due(plan: Plan) -> list[str]:
    return [action.id.name for action in plan.write]


def all_well(id: ObjectId) -> Health:
    return HEALTHY


def nothing_there(id: ObjectId) -> Health:
    return MISSING


ALL = (obj("Namespace", "ns"), wave("first", -1), config_map("second"), wave("third", 5))


def test_only_the_first_wave_is_due_at_first_and_nothing_is_pruned() -> None:
    desired = desire(*ALL)
    gone = as_applied(desire(config_map("gone")))
    plan, waits = hold_waves(make_plan(desired, gone), desired, nothing_there)
    assert due(plan) == ["ns", "first"]
    assert waits == -1
    assert plan.prune == ()


def test_the_next_wave_waits_for_the_health_of_the_one_before() -> None:
    desired = desire(*ALL)
    mine = as_applied(desire(*ALL[:2]))

    def busy(id: ObjectId) -> Health:
        return Health(HealthStatus.PROGRESSING) if id.name == "first" else MISSING

    plan, waits = hold_waves(make_plan(desired, mine), desired, busy)
    assert (due(plan), waits) == ([], -1)
    plan, waits = hold_waves(make_plan(desired, mine), desired, all_well)
    assert (due(plan), waits) == (["second"], 0)


def test_what_is_healthy_only_with_later_objects_holds_nothing_back() -> None:
    desired = desire(*ALL)
    mine = as_applied(desire(*ALL[:2]))

    def pending(id: ObjectId) -> Health:
        return Health(HealthStatus.PROGRESSING, holds=False) if id.name == "first" else MISSING

    plan, waits = hold_waves(make_plan(desired, mine), desired, pending)
    assert (due(plan), waits) == (["second"], 0)


def test_with_the_last_wave_all_is_due() -> None:
    desired = desire(*ALL)
    mine = as_applied(desire(*ALL[:3], config_map("gone")))
    plan, waits = hold_waves(make_plan(desired, mine), desired, all_well)
    assert (due(plan), waits) == (["third"], None)
    assert [action.verb for action in plan.prune] == [Verb.PRUNE]


def test_trouble_in_a_later_wave_holds_no_earlier_one() -> None:
    desired = desire(*ALL)
    mine = as_applied(desire(*ALL))
    del mine[next(id for id in mine if id.name == "first")]
    plan, waits = hold_waves(make_plan(desired, mine), desired, nothing_there)
    assert (due(plan), waits) == (["first"], None)


def test_without_waves_there_is_nothing_to_wait_for() -> None:
    desired = desire(obj("Namespace", "ns"), crd("Widget", "ex.io"), config_map("a"))
    whole = make_plan(desired, {})
    assert hold_waves(whole, desired, nothing_there) == (whole, None)


def test_what_is_left_alone_holds_nobody_up() -> None:
    ignored = config_map("x", annotations={"ocistate.dev/apply": "ignore"})
    desired = desire(ignored, wave("later", 1))
    plan, waits = hold_waves(make_plan(desired, {}), desired, nothing_there)
    assert (due(plan), waits) == (["later"], None)


def test_what_is_recreated_is_waited_for_and_what_ifnotpresent_found_is_not() -> None:
    def marked(name: str, mode: str) -> dict[str, Any]:
        return config_map(name, annotations={"ocistate.dev/apply": mode})

    desired = desire(marked("a", "recreate"), wave("later", 1))
    plan, waits = hold_waves(
        make_plan(desired, as_applied(desired, intact=None)), desired, all_well
    )
    assert (due(plan), waits) == (["a"], 0)
    mine = as_applied(desire(marked("a", "recreate")))
    plan, waits = hold_waves(make_plan(desired, mine), desired, nothing_there)
    assert (due(plan), waits) == ([], 0)
    desired = desire(marked("a", "ifnotpresent"), wave("later", 1))
    there = {desired.wanted[0].id}
    plan, waits = hold_waves(make_plan(desired, {}, there=there), desired, nothing_there)
    assert (due(plan), waits) == (["later"], None)
