"""Health by a Stack's own CEL expressions: order, words, and expressions that go wrong."""

from __future__ import annotations

from typing import Any

import pytest

from ocistate.health.cel_rules import CelCheck
from ocistate.health.evaluate import health_of
from ocistate.health.model import HealthStatus
from ocistate.objects import GroupKind

CHECK = CelCheck(
    group="ex.io",
    kind="Database",
    healthy="status.phase == 'Up' && status.replicas.all(r, r.ok)",
    progressing="status.phase == 'Starting'",
    failed="status.phase in ['Broken', 'Lost'] || has(status.fault)",
)


def database(**status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "ex.io/v1",
        "kind": "Database",
        "metadata": {"name": "db", "generation": 2},
        "spec": {"size": 3},
        **({"status": status} if status else {}),
    }


@pytest.mark.parametrize(
    ("obj", "status", "words"),
    [
        (database(phase="Up", replicas=[{"ok": True}, {"ok": True}]), HealthStatus.HEALTHY, ""),
        (
            database(phase="Up", replicas=[{"ok": True}, {"ok": False}]),
            HealthStatus.PROGRESSING,
            "not yet",
        ),
        (database(phase="Up"), HealthStatus.PROGRESSING, "replicas"),
        (database(phase="Starting"), HealthStatus.PROGRESSING, "'Starting'"),
        (database(phase="Broken", message="disk is full"), HealthStatus.DEGRADED, "disk is full"),
        (database(phase="Up", fault="x", replicas=[]), HealthStatus.DEGRADED, "status.fault"),
        (
            database(phase="Up", observedGeneration=1, replicas=[]),
            HealthStatus.PROGRESSING,
            "1 of 2",
        ),
        (database(), HealthStatus.PROGRESSING, "not yet"),
        (
            database(phase="Lost", conditions=[{"type": "Ready", "message": "no quorum"}]),
            HealthStatus.DEGRADED,
            "no quorum",
        ),
    ],
)
def test_the_expressions_decide(obj: dict[str, Any], status: HealthStatus, words: str) -> None:
    found = health_of(obj, checks={GroupKind("ex.io", "Database"): CHECK})
    assert found.status is status
    assert words in found.message


@pytest.mark.parametrize(
    GroupKind("expression", "words"),
    [
        GroupKind("status.phase", "neither true nor false"),
        GroupKind("1 / 0 == 1", "evaluated"),
        GroupKind("nothing.there", "evaluated"),
        GroupKind("timestamp('2026-01-01T00:00:00Z').getHours('No/Where') == 1", "evaluated"),
        GroupKind(
            "timestamp('2026-01-01T00:00:00Z').getHours('../../etc/passwd') == 1", "evaluated"
        ),
        GroupKind("[1].map(1, 1) == []", "evaluated"),
        GroupKind("[1].map(a) == []", "evaluated"),
        GroupKind("dyn()", "evaluated"),
        GroupKind("[1, 2].reduce() == 1", "evaluated"),
        ("(" * 800 + "1" + ")" * 800 + " == 1", "nested too deeply"),
        ("['xxxxxxxxxx']" + ".map(a, a + a)" * 60 + " == []", "more than 2000 steps"),
        ("[[1, 1, 1]]" + ".map(a, a + a)" * 60 + " == []", "more than 2000 steps"),
        GroupKind(
            "status.replicas.all(a, status.replicas.all(b, status.replicas.all(c, a.ok)))",
            "more than 2000 steps",
        ),
    ],
)
def test_an_expression_without_a_truth_is_not_true_and_says_why(
    expression: str, words: str
) -> None:
    check = CelCheck(group="ex.io", kind="Database", healthy=expression, failed=expression)
    found = check(database(phase="Up", replicas=[{"ok": True}] * 50))
    assert found.status is HealthStatus.PROGRESSING
    assert words in found.message


def test_the_whole_object_can_be_asked() -> None:
    check = CelCheck(
        group="ex.io",
        kind="Database",
        healthy="object.kind == 'Database' && spec.size == 3 && metadata.name == 'db'",
    )
    assert check(database(phase="x")).status is HealthStatus.HEALTHY


def test_what_is_being_deleted_is_not_asked() -> None:
    obj = database(phase="Broken")
    obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    found = health_of(obj, checks={GroupKind("ex.io", "Database"): CHECK})
    assert "being deleted" in found.message


def test_an_object_too_deep_for_cel_is_not_the_end_of_a_watch() -> None:
    status: dict[str, Any] = {}
    for _ in range(700):
        status = {"a": status}
    check = CelCheck(group="ex.io", kind="Database", healthy="status == status")
    found = health_of(database(**status), checks={GroupKind("ex.io", "Database"): check})
    assert found.status in (HealthStatus.PROGRESSING, HealthStatus.UNKNOWN)
