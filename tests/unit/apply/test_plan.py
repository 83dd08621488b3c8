"""Decisions: what is created, changed, kept, pruned, skipped and refused, and in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ocistate.apply.desired.confine import confine
from ocistate.apply.plan import (
    CONTESTED,
    DELETING,
    Plan,
    Verb,
    guard_prune,
    make_plan,
    mass_prune,
    plan_deletion,
    without,
)
from ocistate.errors import MassPrune, OwnershipConflict
from tests.support.factories.objects import (
    OWNER,
    as_applied,
    config_map,
    crd,
    deployment,
    desire,
    live,
    obj,
)


def told(plan: Plan) -> dict[str, str]:
    return {action.id.name: action.verb.value for action in plan.actions}


def test_nothing_live_means_everything_is_created() -> None:
    plan = make_plan(desire(config_map("a"), config_map("b")), {})
    assert told(plan) == {"a": "create", "b": "create"}


def test_what_is_live_as_wanted_is_kept_and_the_plan_is_empty() -> None:
    desired = desire(config_map("a"), deployment("web"))
    plan = make_plan(desired, as_applied(desired))
    assert plan.empty
    assert plan.counts()[Verb.KEEP] == 2


def test_only_what_the_artifact_changed_is_changed() -> None:
    before = desire(config_map("a"), config_map("b"))
    plan = make_plan(desire(config_map("a"), config_map("b", "2")), as_applied(before))
    assert told(plan) == {"a": "keep", "b": "change"}


@pytest.mark.parametrize("intact", [False, None])
def test_what_is_not_known_to_be_intact_is_applied_again(intact: bool | None) -> None:
    desired = desire(config_map("a"))
    assert told(make_plan(desired, as_applied(desired, intact=intact))) == {"a": "change"}


def test_what_is_no_longer_wanted_is_pruned_in_reverse_order() -> None:
    before = desire(
        obj("Namespace", "ns"),
        crd("Widget", "ex.io"),
        config_map("settings"),
        deployment("web"),
        obj("Widget", "cr", "ex.io/v1"),
        obj("ValidatingWebhookConfiguration", "hook", "admissionregistration.k8s.io/v1"),
    )
    plan = make_plan(desire(), as_applied(before))
    assert [action.id.name for action in plan.prune] == [
        "hook",
        "cr",
        "web",
        "settings",
        "widgets.ex.io",
        "ns",
    ]


def test_late_waves_are_pruned_first() -> None:
    first, second = desire(config_map("a")).wanted[0].id, desire(config_map("b")).wanted[0].id
    plan = make_plan(desire(), {first: live(wave=-1, uid="1"), second: live(wave=3, uid="2")})
    assert [action.id.name for action in plan.prune] == ["b", "a"]


@pytest.mark.parametrize(
    ("parts", "word"),
    [({"protected": True}, "disabled"), ({"deleting": True}, "deleted already")],
)
def test_protected_and_dying_objects_are_not_pruned(parts: dict[str, Any], word: str) -> None:
    id = desire(config_map("a")).wanted[0].id
    plan = make_plan(desire(), {id: live(**parts)})
    assert not plan.prune
    assert word in plan.skip[0].reason


def test_a_namespace_that_was_there_before_is_never_pruned_but_other_objects_are() -> None:
    before = desire(obj("Namespace", "ns"), config_map("a"))
    plan = make_plan(desire(), as_applied(before, adopted=True))
    assert told(plan) == {"ns": "skip", "a": "prune"}


def test_pruning_can_be_off() -> None:
    plan = make_plan(desire(), as_applied(desire(config_map("a"))), prune=False)
    assert told(plan) == {"a": "skip"}


def test_an_object_seen_under_two_groups_is_not_pruned_under_the_other() -> None:
    wanted = desire(deployment("web"))
    id = wanted.wanted[0].id
    other = id._replace(group="extensions")
    mine = {id: live(wanted.wanted[0].marker, uid="same"), other: live(uid="same")}
    assert not make_plan(wanted, mine).prune


def test_another_owners_object_is_refused_and_the_rest_goes_on() -> None:
    desired = desire(config_map("a"), config_map("b"))
    theirs = {desired.wanted[0].id: live(owner="owner-2")}
    plan = make_plan(desired, {}, theirs)
    assert told(plan) == {"a": "refuse", "b": "create"}
    assert isinstance(plan.refuse[0].error, OwnershipConflict)
    assert "owner-2" in plan.refuse[0].error.message


def test_an_object_handed_over_is_taken() -> None:
    desired = desire(config_map("a"))
    theirs = {desired.wanted[0].id: live(owner="owner-2")}
    plan = make_plan(desired, {}, theirs, adopt_from={"owner-2"})
    assert told(plan) == {"a": "change"}
    assert "owner-2" in plan.write[0].reason


def test_everybodys_objects_may_be_given_as_the_others() -> None:
    desired = desire(config_map("a"))
    mine = as_applied(desired)
    assert make_plan(desired, mine, mine).empty


def test_ifnotpresent_is_created_once_and_then_left_alone() -> None:
    desired = desire(config_map("a", annotations={"ocistate.dev/apply": "ifnotpresent"}))
    assert told(make_plan(desired, {})) == {"a": "create"}
    changed = {desired.wanted[0].id: live("sha256:other", intact=False)}
    assert told(make_plan(desired, changed)) == {"a": "keep"}


def test_ignored_objects_are_neither_applied_nor_pruned() -> None:
    desired = desire(config_map("a", annotations={"ocistate.dev/apply": "ignore"}))
    for mine in ({}, as_applied(desired, intact=False)):
        assert told(make_plan(desired, mine)) == {"a": "skip"}


def test_an_object_on_its_way_out_is_waited_for() -> None:
    desired = desire(config_map("a"))
    plan = make_plan(desired, as_applied(desired, deleting=True))
    assert told(plan) == {"a": "skip"}
    assert plan.empty


def test_an_object_with_a_problem_is_refused_even_where_it_is_live() -> None:
    desired = desire(config_map("a", annotations={"ocistate.dev/wave": "soon"}))
    assert told(make_plan(desired, as_applied(desired))) == {"a": "refuse"}


def test_deleting_a_stack_prunes_all_it_may() -> None:
    before = desire(config_map("a"), config_map("b"))
    mine = as_applied(before)
    mine[before.wanted[1].id] = live(protected=True)
    assert told(plan_deletion(OWNER, mine)) == {"a": "prune", "b": "skip"}


def test_a_mass_prune_is_noticed_by_share_and_by_number() -> None:
    many = desire(*(config_map(f"c{number:02}") for number in range(40)))
    mine = as_applied(many)

    def keeping(count: int) -> Plan:
        return make_plan(desire(*(config_map(f"c{n:02}") for n in range(count))), mine)

    assert "40 of 40" in mass_prune(keeping(0))
    assert mass_prune(keeping(19))
    assert not mass_prune(keeping(20))
    assert mass_prune(keeping(35), share=0.1, least=5)
    assert not mass_prune(keeping(35), share=0.1, least=6)


def test_what_was_handed_over_is_left_to_the_new_owner_and_not_taken_back() -> None:
    desired = desire(config_map("a"), config_map("b"))
    theirs = as_applied(desire(config_map("a"), owner="owner-2"))
    plan = make_plan(desired, {}, theirs, handed_to={"owner-2"})
    assert told(plan) == {"a": "skip", "b": "create"}
    assert told(make_plan(desire(), {}, theirs, handed_to={"owner-2"})) == {}


def test_outside_of_its_namespaces_nothing_is_wanted() -> None:
    inside, outside = config_map("a"), config_map("b")
    outside["metadata"]["namespace"] = "elsewhere"
    desired = desire(inside, outside, obj("Namespace", "ns"), namespace="shop")
    desired = confine(desired, {"shop"})
    plan = make_plan(desired, {})
    assert told(plan) == {"a": "create", "b": "refuse", "ns": "refuse"}
    assert all("the namespace shop" in action.reason for action in plan.refuse)


def test_a_plan_of_what_changed_says_the_same_of_it_as_a_plan_of_all() -> None:
    before = desire(*(config_map(f"cm-{n}") for n in range(9)), config_map("gone"))
    desired = desire(*(config_map(f"cm-{n}", "2" if n == 3 else "1") for n in range(10)))
    mine = as_applied(before)
    drifted = desired.wanted[5].id
    mine[drifted] = replace(mine[drifted], intact=False)
    whole = make_plan(desired, mine)
    settled = {action.id for action in whole.actions if action.verb is not Verb.KEEP}
    part = make_plan(desired, mine, only=settled | {desired.wanted[0].id})
    assert (part.write, part.prune, part.refuse) == (whole.write, whole.prune, whole.refuse)
    assert part.counts() == whole.counts()
    assert part.total == whole.total
    assert make_plan(desired, mine, only=frozenset()).empty


def test_what_another_writer_fights_for_waits_unless_the_artifact_changed_it() -> None:
    before = desire(config_map("a"), config_map("b"), config_map("gone"))
    desired = desire(config_map("a"), config_map("b", "2"), config_map("gone"))
    mine = as_applied(before, intact=False)
    del mine[before.wanted[2].id]
    plan = make_plan(desired, mine, waits=lambda id: True)
    assert told(plan) == {"a": "skip", "b": "change", "gone": "skip"}
    assert {action.reason for action in plan.skip} == {CONTESTED}


def test_ifnotpresent_is_content_with_what_is_known_to_be_there() -> None:
    desired = desire(config_map("a", annotations={"ocistate.dev/apply": "ifnotpresent"}))
    assert told(make_plan(desired, {})) == {"a": "create"}
    assert make_plan(desired, {}, there={desired.wanted[0].id}).empty


def test_a_plan_that_removes_more_than_the_share_is_not_to_be_carried_out() -> None:
    before = as_applied(desire(*(config_map(f"cm-{n}") for n in range(20))))
    left = make_plan(desire(*(config_map(f"cm-{n}") for n in range(8))), before)
    with pytest.raises(MassPrune, match="would delete 12 of 20 objects, more than 50%"):
        guard_prune(left, percent=50, hint="")
    guard_prune(left, percent=60, hint="")
    guard_prune(make_plan(desire(), before), percent=100, hint="")
    few = as_applied(desire(*(config_map(f"cm-{n}") for n in range(9))))
    guard_prune(make_plan(desire(), few), percent=0, hint="")


def test_what_another_owner_leaves_is_waited_for_until_it_is_gone() -> None:
    desired = desire(config_map("app"))
    going = {desired.wanted[0].id: live("old", "owner-2", deleting=True)}
    plan = make_plan(desired, {}, going)
    assert plan.empty
    assert [action.reason for action in plan.skip] == [DELETING]


def test_what_only_claims_to_be_ours_is_neither_pruned_nor_counted() -> None:
    before = desire(*(config_map(f"c{n}") for n in range(20)))
    plan = make_plan(desire(), as_applied(before))
    forged = {action.id for action in plan.prune[:19]}
    left = without(plan, forged)
    assert [action.id for action in left.prune] == [plan.prune[19].id]
    assert (left.skip, left.total) == ((), 1)
    guard_prune(left, percent=50, hint="")
    assert without(plan, ()) is plan


@pytest.mark.parametrize(
    ("called", "said"), [("team/app", "another Stack, team/app"), ("", "another Stack")]
)
def test_an_owner_is_called_as_its_reader_may_know_it(called: str, said: str) -> None:
    desired = desire(config_map("a"))
    (wanted,) = desired.wanted
    plan = make_plan(desired, {}, {wanted.id: live(owner="u-1")}, called=lambda owner: called)
    (refused,) = plan.refuse
    assert refused.reason.endswith(said)
    assert "u-1" not in refused.reason
