"""The remembered state: each transition gives a new one, and says what it is about only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from ocistate.agent.reconcile.state import Look, ReconcileState, TrustInputs
from ocistate.agent.targets.base import HealthReport
from ocistate.api.stack import parse_stack
from ocistate.errors import ClusterError, NotSigned, Unavailable
from ocistate.ops.signing.verify import Verified
from tests.support.factories.stacks import stack

STACK = parse_stack(stack("app", "layout:/registry"))
OTHER = parse_stack(stack("app", "layout:/registry", prune=False))
INPUTS = TrustInputs("", ())
NEWER = TrustInputs("strict", ())
TRUST = Verified(
    digest="a", policy="p", mode="enforce", satisfied=True, signers=(), verdicts=(), summary=""
)
LOOK = Look(stack=STACK, digest="a", tag="prod", at=10.0)
REPORT = HealthReport(worst="Degraded")
EMPTY = ReconcileState()

TRANSITIONS: list[tuple[Callable[[ReconcileState], ReconcileState], dict[str, Any]]] = [
    (lambda s: s.asking(3), {"answered": 3}),
    (lambda s: s.found(LOOK), {"look": LOOK}),
    (lambda s: s.verified("a", INPUTS, TRUST, keep=()), {"trusted": {"a": (INPUTS, TRUST)}}),
    (lambda s: s.began("a", STACK, healthy_by=9.0), {"attempt": ("a", STACK), "healthy_by": 9.0}),
    (lambda s: s.applied("a", STACK), {"complete": ("a", STACK)}),
    (lambda s: s.applied("a", STACK).incomplete(), {}),
    (lambda s: s.applied("a", STACK).forgotten(), {}),
    (lambda s: s.repaired(2).repaired(1), {"repairs": 3}),
    (lambda s: s.not_repaired("gone"), {"unrepaired": "gone"}),
    (lambda s: s.not_repaired("gone").repaired(0), {}),
    (lambda s: s.kept_equal(s.repaired(2)), {"repairs": 2}),
    (lambda s: s.allowed(5.0), {"healthy_by": 5.0}),
    (lambda s: s.unhealthy(5.0).unhealthy(8.0), {"healthy_by": 5.0}),
    (lambda s: s.unhealthy(5.0).explained(REPORT, "why").healthy(), {}),
    (lambda s: s.explained(REPORT, "why"), {"explanation": (REPORT, "why")}),
    (lambda s: s.explained(REPORT, "why").unexplained(), {}),
    (lambda s: s.failed(ClusterError("x")).failed(ClusterError("x")), {"failures": 2}),
    (lambda s: s.failed(Unavailable("x")), {"failures": 1, "unreachable": True}),
    (lambda s: s.failed(Unavailable("x")).succeeded(), {}),
    (lambda s: s.found(LOOK).resolved(None), {}),
]


@pytest.mark.parametrize("transition", TRANSITIONS)
def test_a_transition_changes_what_it_names_and_nothing_else(
    transition: tuple[Callable[[ReconcileState], ReconcileState], dict[str, Any]],
) -> None:
    change, expected = transition
    after = change(EMPTY)
    changed = {f.name: getattr(after, f.name) for f in fields(after)}
    assert {n: v for n, v in changed.items() if v != getattr(EMPTY, n)} == expected
    assert ReconcileState() == EMPTY


def test_nothing_is_set_from_outside() -> None:
    with pytest.raises(FrozenInstanceError):
        EMPTY.failures = 1  # type: ignore[misc]


def test_trust_holds_for_the_policies_it_was_found_under() -> None:
    state = EMPTY.verified("a", INPUTS, TRUST, keep=())
    assert state.trust_of("a", INPUTS) is TRUST
    assert state.trust_of("a", NEWER) is None
    assert state.trust_of("b", INPUTS) is None


def test_earlier_results_are_kept_for_what_may_run_again_only() -> None:
    state = EMPTY.verified("a", INPUTS, TRUST, keep=()).verified("b", INPUTS, TRUST, keep={"a"})
    assert set(state.trusted) == {"a", "b"}
    assert set(state.verified("c", INPUTS, TRUST, keep={"b"}).trusted) == {"b", "c"}


def test_a_refusal_holds_for_its_digest_and_policies() -> None:
    error = NotSigned("no signature")
    state = EMPTY.refused("a", INPUTS, error)
    assert state.refusal_of("a", INPUTS) is error
    assert state.refusal_of("a", NEWER) is None
    assert state.refusal_of("b", INPUTS) is None


def test_what_is_applied_counts_for_its_spec() -> None:
    state = EMPTY.applied("a", STACK)
    assert state.is_complete("a", STACK)
    assert not state.is_complete("a", OTHER)
    assert not state.is_complete("b", STACK)


def test_time_runs_once_for_each_attempt() -> None:
    state = EMPTY.began("a", STACK, healthy_by=9.0)
    assert state.began("a", STACK, healthy_by=99.0) is state
    assert state.began("b", STACK, healthy_by=99.0).healthy_by == 99.0
    assert state.began("a", OTHER, healthy_by=99.0).healthy_by == 99.0


def test_late_is_from_the_moment_on() -> None:
    assert not EMPTY.is_late(1e9)
    assert not EMPTY.allowed(5.0).is_late(4.9)
    assert EMPTY.allowed(5.0).is_late(5.0)


def test_a_look_ages() -> None:
    assert EMPTY.age(1e9) == float("inf")
    assert EMPTY.found(LOOK).age(15.0) == 5.0
