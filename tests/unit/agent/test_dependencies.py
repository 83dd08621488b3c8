"""Cycles among Stacks that wait for each other are named."""

from __future__ import annotations

import pytest

from ocistate.agent.dependencies import Followers, find_cycle
from ocistate.objects import StackKey

A, B, C, D = StackKey("n", "a"), StackKey("n", "b"), StackKey("m", "c"), StackKey("n", "d")


@pytest.mark.parametrize(
    StackKey("depends_on", "expected"),
    [
        ({}, ()),
        ({A: (B,), B: (C,)}, ()),
        ({A: (B, C), B: (D,), C: (D,)}, ()),
        ({A: (B,), B: (A,)}, (A, B, A)),
        ({A: (A,)}, (A, A)),
        ({A: (B,), B: (C,), C: (A,)}, (A, B, C, A)),
        ({A: (B, C), B: (D,), D: (A,), C: (A,)}, (A, C, A)),
        ({A: (B,), B: (C,), C: (B,)}, ()),  # it waits for others' cycle, and is not in it
        ({A: (D,)}, ()),
    ],
)
def test_a_shortest_way_back_is_found(
    depends_on: dict[StackKey, tuple[StackKey, ...]], expected: tuple[StackKey, ...]
) -> None:
    assert find_cycle(A, depends_on) == expected


def test_who_names_a_stack_is_known_as_long_as_they_do() -> None:
    followers = Followers()
    followers.set(A, {C})
    followers.set(B, {C, A})
    assert set(followers.of(C)) == {A, B}
    followers.set(B, {A})
    assert set(followers.of(C)) == {A}
    assert set(followers.of(A)) == {B}
    followers.drop(A)
    assert not followers.of(C)
    assert set(followers.of(A)) == {B}, "it is still named"
