"""So many kinds are watched for a Stack and in all, and no one loses a watch to another Stack."""

from __future__ import annotations

from ocistate.agent.targets.shares import share
from ocistate.objects import GroupKind


def kinds(name: str, count: int) -> set[GroupKind]:
    return {GroupKind("test", f"{name}{number:03}") for number in range(count)}


def test_a_stack_has_so_many_and_the_next_one_its_own() -> None:
    needs = {"a": kinds("A", 420), "b": kinds("B", 3)}
    watched = share(needs, set(), most=300, most_of_one=100)
    assert len(watched & needs["a"]) == 100
    assert watched >= needs["b"]


def test_what_is_watched_stays_so_while_it_is_needed() -> None:
    watched = share({"b": kinds("B", 5)}, set(), most=6, most_of_one=5)
    watched = share({"a": kinds("A", 5), "b": kinds("B", 5)}, watched, most=6, most_of_one=5)
    assert watched == kinds("B", 5) | kinds("A", 1)
    assert share({"a": kinds("A", 5)}, watched, most=6, most_of_one=5) == kinds("A", 5)


def test_a_kind_that_two_need_counts_once() -> None:
    both = {"a": kinds("A", 4), "b": kinds("A", 4) | kinds("B", 2)}
    assert share(both, set(), most=6, most_of_one=4) == kinds("A", 4)
    assert len(share(both, set(), most=6, most_of_one=6)) == 6
