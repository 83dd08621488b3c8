"""The outcome of each phase, and the status it makes: plain values, no loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ocistate.agent.reconcile.fold import fold, same_trouble
from ocistate.agent.reconcile.fold_base import PassEvent
from ocistate.agent.reconcile.outcome import (
    Began,
    Chosen,
    Compared,
    Done,
    Executed,
    Failed,
    Observed,
    Outcome,
    Repaired,
    Resolved,
    RolledBack,
    RunningTrust,
    RunningVerified,
    Suspended,
    Unchanged,
    Verification,
    Waiting,
)
from ocistate.agent.targets.base import Applied, HealthReport
from ocistate.api.stack import Stack, parse_stack
from ocistate.api.status import Current, HeldBack, LastHealthy, RemoteTarget, StackStatus
from ocistate.errors import (
    ApplyFailed,
    HealthTimeout,
    InternalError,
    MassPrune,
    NotFound,
    NotSigned,
    OcistateError,
    Unavailable,
)
from ocistate.ops.signing.verify import Verified
from ocistate.signing.policy.model import PolicyMode
from tests.support.factories.stacks import stack

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STACK = parse_stack(stack("app", "layout:/registry"))
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
Conditions = Mapping[str, tuple[str, str]]


def trust(mode: PolicyMode = "enforce", *, satisfied: bool = True) -> Verified:
    return Verified(
        digest=A,
        policy="p",
        mode=mode,
        satisfied=satisfied,
        signers=("key",),
        verdicts=(),
        summary="signed by key",
    )


def executed(*, new: bool = True, changed: bool = True, **done: Any) -> Executed:
    return Executed(
        digest=A,
        tag="prod",
        applied=Applied(**done),
        revision="r1",
        kinds=("ConfigMap",),
        signers=("key",),
        record=None,
        changed=changed,
        new=new,
    )


def observed(truth: Any, reason: str, *, wanted: bool = True, digest: str = A) -> Observed:
    report = HealthReport(counts={"total": 1}, worst=reason, message=f"it is {reason}")
    return Observed(
        digest=digest, tag="prod", report=report, truth=truth, reason=reason, wanted=wanted
    )


def after(*outcomes: Outcome, start: StackStatus | None = None, of: Stack = STACK) -> StackStatus:
    status = start or StackStatus()
    for outcome in outcomes:
        status, _ = fold(status, outcome, stack=of, now=NOW)
    return status


def events(outcome: Outcome, start: StackStatus | None = None) -> list[tuple[str, str]]:
    _, found = fold(start or StackStatus(), outcome, stack=STACK, now=NOW)
    return [(each.kind, str(each.reason)) for each in found]


def conditions(status: StackStatus) -> Conditions:
    return {each.type: (each.status, each.reason) for each in status.conditions}


BEGAN = Began(digest=A, kinds=("ConfigMap",))
READY = (BEGAN, executed(created=1), observed("True", "Healthy"))
PROGRESSING = (BEGAN, executed(created=1), observed("Unknown", "Progressing"))
RUNS: Conditions = {
    "Applied": ("True", "Applied"),
    "Healthy": ("True", "Healthy"),
    "Ready": ("True", "Ready"),
}
UNDER_WAY: Conditions = {
    "Applied": ("True", "Applied"),
    "Healthy": ("Unknown", "Progressing"),
    "Ready": ("Unknown", "Progressing"),
    "Reconciling": ("True", "Progressing"),
}


def failed(error: OcistateError, *, served: bool = False) -> Failed:
    return Failed(error=error, digest=A, served=served)


def is_not(reason: str, *, stalled: bool = False, **others: tuple[str, str]) -> Conditions:
    found = {"Ready": ("False", reason), **others}
    return found | {"Stalled": ("True", reason)} if stalled else found


TABLE: list[tuple[str, tuple[Outcome, ...], Conditions]] = [
    ("suspended", (Suspended(),), {"Ready": ("Unknown", "Suspended")}),
    ("suspended while under way", (*PROGRESSING, Suspended()), {
        "Applied": ("True", "Applied"),
        "Healthy": ("Unknown", "Progressing"),
        "Ready": ("Unknown", "Suspended"),
    }),
    ("waiting", (Waiting(dependencies=("n/db",)),), is_not("DependencyNotReady")),
    ("waiting after it was stalled", (failed(NotSigned("x")), Waiting(dependencies=("n/db",))),
     is_not("DependencyNotReady", Verified=("False", "NotSigned"))),
    ("resolved", (Resolved(digest=A),), {}),
    ("chosen", (Chosen(digest=A, tag=""),), {}),
    ("verified", (Verification(trust=trust()),), {"Verified": ("True", "Verified")}),
    ("warned", (Verification(trust=trust("warn", satisfied=False)),),
     {"Verified": ("False", "NotEnforced")}),
    ("not verified", (Verification(trust=trust("off")),),
     {"Verified": ("Unknown", "VerificationOff")}),
    ("about to be applied", (BEGAN,), {"Reconciling": ("True", "Progressing")}),
    ("repaired only", (Began(digest=A, kinds=None),), {}),
    ("applied", (BEGAN, executed(created=1)),
     {"Applied": ("True", "Applied"), "Reconciling": ("True", "Progressing")}),
    ("partly applied, the rest later", (BEGAN, executed(waiting="wave 2")),
     {"Applied": ("Unknown", "Progressing"), "Reconciling": ("True", "Progressing")}),
    ("under way", PROGRESSING, UNDER_WAY),
    ("healthy", READY, RUNS),
    ("suspended objects", (BEGAN, executed(created=1), observed("True", "Suspended")),
     {**RUNS, "Healthy": ("True", "Suspended")}),
    ("degraded", (*PROGRESSING, observed("False", "Degraded")), {
        "Applied": ("True", "Applied"),
        "Healthy": ("False", "Degraded"),
        "Ready": ("False", "Degraded"),
    }),
    ("late", (*PROGRESSING, observed("False", "HealthTimeout")), {
        "Applied": ("True", "Applied"),
        "Healthy": ("False", "HealthTimeout"),
        "Ready": ("False", "HealthTimeout"),
    }),
    ("of what runs while the newer is refused",
     (*READY, failed(NotSigned("x")), observed("False", "Degraded", wanted=False)),
     is_not("NotSigned", stalled=True, Applied=("True", "Applied"),
            Healthy=("False", "Degraded"), Verified=("False", "NotSigned"))),
    ("unchanged", (*READY, Unchanged(digest=A)), RUNS),
    ("refused objects", (BEGAN, executed(errors=("x",)), failed(ApplyFailed("x"))),
     is_not("ApplyFailed", Applied=("False", "ApplyFailed"),
            Reconciling=("True", "Progressing"))),
    ("unchanged after an error", (*READY, failed(ApplyFailed("x")), Unchanged(digest=A),
                                  observed("True", "Healthy")), RUNS),
    ("not signed", (failed(NotSigned("x")),),
     is_not("NotSigned", stalled=True, Verified=("False", "NotSigned"))),
    ("stalled while under way", (*PROGRESSING, failed(NotSigned("x"))),
     is_not("NotSigned", stalled=True, Verified=("False", "NotSigned"),
            Applied=("True", "Applied"), Healthy=("Unknown", "Progressing"))),
    ("stalled, and then another error", (failed(NotSigned("x")), failed(NotFound("y"))),
     is_not("NotFound", Verified=("False", "NotSigned"))),
    ("too much to prune", (failed(MassPrune("x")),),
     is_not("MassPrune", stalled=True, Applied=("False", "MassPrune"))),
    ("a bug", (failed(InternalError("x")),), is_not("InternalError")),
    ("out of reach from the start", (failed(Unavailable("x")),), is_not("RegistryUnavailable")),
    ("out of reach while it runs", (*READY, failed(Unavailable("x"))),
     {**RUNS, "Ready": ("True", "RegistryUnavailable")}),
    ("out of reach while under way", (*PROGRESSING, failed(Unavailable("x"), served=True)),
     UNDER_WAY),
    ("out of reach, and what runs is not known",
     (*PROGRESSING, failed(Unavailable("x"))),
     {**UNDER_WAY, "Ready": ("False", "RegistryUnavailable")}),
    ("done", (*READY, Done(digest=A)), RUNS),
    ("repaired", (*READY, Repaired(applied=Applied(drifted=("x",)))), RUNS),
]  # fmt: skip


@pytest.mark.parametrize(
    ("outcomes", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_the_outcome_of_each_phase_makes_the_conditions(
    outcomes: tuple[Outcome, ...], expected: Conditions
) -> None:
    assert conditions(after(*outcomes)) == expected


@pytest.mark.parametrize("outcomes", [row[1] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_stack_is_never_both_reconciling_and_stalled(outcomes: tuple[Outcome, ...]) -> None:
    found = conditions(after(*outcomes))
    assert not ("Reconciling" in found and "Stalled" in found)
    assert "Reconciling" not in found or found.get("Ready", ("", ""))[0] != "True"


def test_the_same_outcomes_again_write_nothing() -> None:
    once = after(*READY)
    later = NOW + timedelta(hours=1)
    again = once
    for outcome in (Unchanged(digest=A), observed("True", "Healthy"), Done(digest=A)):
        again, found = fold(again, outcome, stack=STACK, now=later)
        assert not found
    assert again == once


def test_what_is_applied_is_current_and_in_the_history() -> None:
    status = after(*READY)
    assert status.current == Current(
        digest=A, tag="prod", revision="r1", signed_by=("key",), applied_at="2026-01-02T03:04:05Z"
    )
    assert [(each.digest, each.outcome) for each in status.history] == [(A, "healthy")]
    assert status.last_healthy == LastHealthy(digest=A, tag="prod")
    assert status.kinds == ("ConfigMap",)
    assert status.resources == {"total": 1}


def test_kinds_are_remembered_before_the_first_object_is_there() -> None:
    status = after(BEGAN, start=StackStatus(kinds=("Secret",)))
    assert status.kinds == ("ConfigMap", "Secret")
    assert status.last_attempt is not None
    assert (status.last_attempt.digest, status.last_attempt.error) == (A, "applying")


def test_an_error_stays_the_last_attempt_until_one_succeeds() -> None:
    broken = after(BEGAN, executed(errors=("x",)), failed(ApplyFailed("x was refused")))
    again = after(BEGAN, start=broken)
    assert again.last_attempt == broken.last_attempt
    assert again == broken
    done = after(executed(created=1), Done(digest=A), start=again)
    assert done.last_attempt is not None
    assert done.last_attempt.error == ""


def test_the_target_is_remembered_and_a_change_of_it_is_an_event() -> None:
    remote = parse_stack(
        stack("app", "layout:/registry", target={"kubeconfigSecretRef": {"name": "edge"}})
    )
    status = after(Began(digest=A, kinds=()), of=remote)
    assert status.target == RemoteTarget(secret="edge")
    back = replace(status, current=Current(digest=A))
    assert events(Began(digest=A, kinds=()), back) == [("Warning", "TargetChanged")]
    assert events(Began(digest=A, kinds=()), after(BEGAN)) == []


@pytest.mark.parametrize(
    ("drift", "different", "expected", "total"),
    [
        ("correct", ("x",), ("True", "Applied"), None),
        ("ignore", ("x",), ("True", "Applied"), None),
        ("report", ("x", "y"), ("False", "Drifted"), 2),
        ("report", (), ("True", "Applied"), None),
    ],
)
def test_drift_is_reported_where_the_stack_asks_for_that(
    drift: str, different: tuple[str, ...], expected: tuple[str, str], total: int | None
) -> None:
    of = parse_stack(stack("app", "layout:/registry", drift=drift))
    status = after(Compared(digest=A, different=different), start=after(*READY), of=of)
    assert conditions(status)["Applied"] == expected
    assert (status.drift.total if status.drift else None) == total
    gone = after(Compared(digest=A), start=status, of=of)
    assert (conditions(gone)["Applied"], gone.drift) == (("True", "Applied"), None)


def test_a_rollback_holds_the_digest_back_and_stalls() -> None:
    left = RolledBack(
        digest=B, revision="r2", back_to=LastHealthy(digest=A), error=HealthTimeout("too late")
    )
    assert events(left, after(*READY)) == [("Warning", "RolledBack")]
    status = after(left, BEGAN, executed(created=1), observed("True", "Healthy"),
                   start=after(*READY))  # fmt: skip
    assert conditions(status)["Ready"] == ("False", "RolledBack")
    assert conditions(status)["Stalled"] == ("True", "RolledBack")
    assert "Reconciling" not in conditions(status)
    assert isinstance(status.held_back, HeldBack)
    assert status.held_back.digest == B
    held = after(Chosen(digest=A, tag="", held_back=True), start=status)
    assert held == status
    newer = after(Chosen(digest=B, tag=""), start=status)
    assert newer.held_back is None


def test_out_of_reach_keeps_what_runs_in_the_message_and_reads_none_back() -> None:
    status = after(*READY, failed(Unavailable("no answer; none at all")))
    status = after(failed(Unavailable("refused")), start=status)
    ready = status.condition("Ready")
    assert ready is not None
    assert ready.message == f"running {A}; last look failed: refused"


def test_an_error_that_comes_again_keeps_its_message_and_is_one_event() -> None:
    first = failed(Unavailable("10.0.0.1:40001 refused"))
    again = failed(Unavailable("10.0.0.1:40002 refused"))
    status = after(first)
    assert events(first) == [("Warning", "RegistryUnavailable")]
    assert fold(status, again, stack=STACK, now=NOW + timedelta(hours=1)) == (status, ())


def test_health_is_an_event_when_it_changes() -> None:
    status = after(*PROGRESSING)
    assert events(observed("Unknown", "Progressing"), status) == []
    assert events(observed("False", "Degraded"), status) == [("Warning", "Degraded")]
    assert events(observed("True", "Healthy"), status) == [("Normal", "Healthy")]


@pytest.mark.parametrize(
    ("standing", "verified", "found"),
    [
        (RunningTrust(trust()), "True", []),
        (RunningTrust(trust("off")), "Unknown", []),
        (RunningTrust(trust("warn", satisfied=False)), "False", [("Warning", "RunsUnverified")]),
        (RunningTrust(refusal=NotSigned("x")), "False", [("Warning", "RunsUnverified")]),
        (RunningTrust(), "Unknown", []),
    ],
)
def test_what_runs_says_whether_the_current_policies_trust_it(
    standing: RunningTrust, verified: str, found: list[tuple[str, str]]
) -> None:
    outcome = RunningVerified(standing=standing, newer=False)
    start = after(*READY)
    status = after(outcome, start=start)
    assert status.current is not None
    assert status.current.verified == verified
    assert events(outcome, start) == found
    assert events(outcome, status) == [], "once"


def test_under_other_policies_others_may_count_as_signers_of_what_runs() -> None:
    start = after(*READY)
    other = replace(trust(), signers=("other",))
    status = after(RunningVerified(standing=RunningTrust(other), newer=False), start=start)
    assert status.current is not None
    assert status.current.signed_by == ("other",)
    refused = RunningVerified(standing=RunningTrust(refusal=NotSigned("x")), newer=False)
    status = after(refused, start=status)
    assert status.current is not None
    assert status.current.signed_by == ("other",), "who signed it is known all the same"


def test_what_could_not_be_verified_again_is_unknown_unless_a_newer_one_was() -> None:
    start = after(Verification(trust=trust()), *READY)
    unknown = after(RunningVerified(standing=RunningTrust(), newer=False), start=start)
    assert conditions(unknown)["Verified"] == ("Unknown", "NotVerifiedYet")
    newer = after(RunningVerified(standing=RunningTrust(), newer=True), start=start)
    assert conditions(newer)["Verified"] == ("True", "Verified")


def test_repairs_are_an_event_and_no_change_of_the_status() -> None:
    status = after(*READY)
    repaired = Repaired(applied=Applied(drifted=("a", "b")))
    new, found = fold(status, repaired, stack=STACK, now=NOW)
    assert new is status
    assert found == (PassEvent("Normal", "DriftCorrected", "put back: a, b"),)


def test_messages_with_what_differs_each_time_are_the_same_trouble() -> None:
    assert same_trouble("request 0a1b2c3d-0000-1111-2222-0a1b2c3d4e5f", "request "
                        "ffffffff-0000-1111-2222-0a1b2c3d4e5f")  # fmt: skip
    assert not same_trouble("2 of 3 objects failed", "1 of 3 objects failed")
