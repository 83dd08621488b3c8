"""Status is plain data: conditions keep their times, history its length, and all survives JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ocistate.agent.reconcile.fold_rollout import with_contested
from ocistate.api.status import (
    HISTORY_LENGTH,
    MOST_CONTESTS,
    Attempt,
    Condition,
    Current,
    HeldBack,
    HistoryEntry,
    LastHealthy,
    StackStatus,
    refused,
    status_from_dict,
    status_to_dict,
)
from ocistate.errors import ConfigError
from ocistate.objects import ObjectId
from ocistate.watch.conflicts import Contest, ContestReason

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)

TEXT = st.text(max_size=20)
NUMBER = st.integers(0, 2**53 - 1)
STATUSES = st.builds(
    StackStatus,
    observed_generation=NUMBER,
    conditions=st.lists(
        st.builds(
            Condition,
            type=TEXT,
            status=st.sampled_from(("True", "False", "Unknown")),
            reason=TEXT,
            message=TEXT,
            since=TEXT,
            generation=NUMBER,
        ),
        max_size=5,
    ).map(tuple),
    current=st.none()
    | st.builds(
        Current,
        digest=TEXT,
        tag=TEXT,
        revision=TEXT,
        signed_by=st.lists(TEXT).map(tuple),
        applied_at=TEXT,
    ),
    last_attempt=st.none() | st.builds(Attempt, digest=TEXT, error=TEXT, at=TEXT, begun=TEXT),
    last_healthy=st.none() | st.builds(LastHealthy, digest=TEXT, tag=TEXT),
    held_back=st.none()
    | st.builds(HeldBack, digest=TEXT, reason=TEXT, at=TEXT, generation=NUMBER, reconcile_at=TEXT),
    history=st.lists(
        st.builds(HistoryEntry, digest=TEXT, revision=TEXT, at=TEXT, outcome=TEXT), max_size=3
    ).map(tuple),
    resources=st.dictionaries(TEXT, NUMBER),
    kinds=st.lists(TEXT).map(tuple),
    last_handled_reconcile_at=TEXT,
    contested=st.lists(
        st.builds(
            Contest,
            id=st.builds(ObjectId, TEXT, TEXT, TEXT, TEXT),
            reason=st.sampled_from(ContestReason),
            by=TEXT,
            fields=st.lists(TEXT, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


def entry(digest: str, outcome: str = "applied") -> HistoryEntry:
    return HistoryEntry(digest=digest, revision="", at="", outcome=outcome)


@given(STATUSES)
def test_what_is_written_is_read_back(status: StackStatus) -> None:
    assert status_from_dict(json.loads(json.dumps(status_to_dict(status)))) == status


@given(
    st.dictionaries(
        st.sampled_from(
            sorted(status_to_dict(StackStatus()).keys() | {"current", "lastAttempt", "contested"})
        ),
        ANYTHING,
    )
)
def test_whatever_somebody_wrote_there_is_read_as_something(value: dict[str, Any]) -> None:
    assert isinstance(status_from_dict(value), StackStatus)


def test_a_conditions_time_moves_only_when_the_truth_changes() -> None:
    status = StackStatus().with_condition("Ready", "False", "A", "a", now=NOW, generation=1)
    same = status.with_condition("Ready", "False", "B", "b", now=LATER, generation=2)
    other = same.with_condition("Ready", "True", "C", "c", now=LATER, generation=2)

    (condition,) = same.conditions
    assert (condition.since, condition.reason, condition.generation) == (
        "2026-01-02T03:04:05Z",
        "B",
        2,
    )
    assert [c.since for c in other.conditions] == ["2026-01-02T03:09:05Z"]


def test_the_same_again_is_the_same_status() -> None:
    status = StackStatus().with_condition("Ready", "True", "A", "a", now=NOW, generation=1)
    assert status.with_condition("Ready", "True", "A", "a", now=LATER, generation=1) == status


def test_long_messages_are_cut_to_what_the_api_server_takes() -> None:
    status = StackStatus().with_condition("Ready", "True", "A", "x" * 5000, now=NOW, generation=1)
    assert len(status.conditions[0].message) == 1024


def test_history_has_the_newest_first_and_an_end() -> None:
    status = StackStatus()
    for number in range(HISTORY_LENGTH + 5):
        status = status.with_history(entry(str(number)))
    assert len(status.history) == HISTORY_LENGTH
    assert status.history[0].digest == str(HISTORY_LENGTH + 4)


def test_the_same_digest_again_replaces_its_entry_but_not_an_older_one() -> None:
    status = StackStatus().with_history(entry("a")).with_history(entry("b"))
    status = status.with_history(entry("b", "healthy")).with_history(entry("a"))
    assert [(e.digest, e.outcome) for e in status.history] == [
        ("a", "applied"),
        ("b", "healthy"),
        ("a", "applied"),
    ]


def test_a_refused_spec_is_neither_ready_nor_forgotten() -> None:
    known = StackStatus(current=Current(digest="d"))
    status = refused(known, ConfigError("spec.source: no"), now=NOW, generation=7)
    assert status.current == known.current
    assert status.observed_generation == 7
    assert {c.type: (c.status, c.reason) for c in status.conditions} == {
        "Ready": ("False", "InvalidConfiguration"),
        "Stalled": ("True", "InvalidConfiguration"),
    }


def contest(name: str, reason: ContestReason = ContestReason.OVERRULED) -> Contest:
    fields = (".data.v",) if reason is ContestReason.OVERRULED else ()
    return Contest(id=ObjectId("", "ConfigMap", "n", name), reason=reason, fields=fields)


def test_a_contest_is_told_once_and_ends() -> None:
    quiet, news = with_contested(StackStatus(), [], now=NOW, generation=1)
    assert (quiet, news) == (StackStatus(), "")
    first, news = with_contested(quiet, [contest("a")], now=NOW, generation=1)
    assert news == "ConfigMap/n/a: admission overrules .data.v"
    assert first.is_true("Contested")
    again, news = with_contested(first, [contest("a")], now=LATER, generation=1)
    assert (again, news) == (first, "")
    both = [contest("a"), contest("b", ContestReason.FLIPPED)]
    second, news = with_contested(again, both, now=LATER, generation=1)
    assert news == "ConfigMap/n/b is changed again and again"
    over, news = with_contested(second, [], now=LATER, generation=1)
    assert (over.contested, news) == ((), "")
    (condition,) = over.conditions
    assert (condition.status, condition.reason) == ("False", "Settled")


def test_many_contests_are_counted_and_few_are_told() -> None:
    many = [contest(f"{number:04}") for number in range(1000)]
    status, news = with_contested(StackStatus(), many, now=NOW, generation=1)
    assert len(status.contested) == MOST_CONTESTS
    assert "and 997 more" in status.conditions[0].message
    assert len(news) < 400
