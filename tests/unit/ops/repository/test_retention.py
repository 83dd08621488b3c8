"""What is kept of a repository: whatever anything speaks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ocistate.ops.repository.retention import Artifact, RetentionRules, decide_retention, show_age

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def made(name: str, days: int | None, *tags: str, needs: tuple[str, ...] = ()) -> Artifact:
    created = None if days is None else NOW - timedelta(days=days)
    return Artifact(digest=name, tags=tags or (name,), created=created, needs=needs)


def lost(name: str, days: int | None) -> Artifact:
    """One that has no tag any more."""
    return replace(made(name, days), tags=())


def kept(
    rules: RetentionRules, *artifacts: Artifact, pinned: Mapping[str, str] | None = None
) -> dict[str, str]:
    """By digest, why each kept artifact is."""
    decisions = decide_retention(artifacts, rules, pinned or {}, NOW)
    assert len(decisions) == len(artifacts)
    assert all(decision.reason for decision in decisions)
    return {d.artifact.digest: d.reason for d in decisions if d.keep}


OLD = [made(f"a{days}", days) for days in (40, 10, 50, 20, 30)]


def test_the_newest_are_kept() -> None:
    assert list(kept(RetentionRules(keep=2), *OLD)) == ["a10", "a20"]


def test_the_young_are_kept_and_the_newest_however_old() -> None:
    assert list(kept(RetentionRules(keep=1, keep_for=timedelta(days=25)), *OLD)) == ["a10", "a20"]
    assert kept(RetentionRules(keep=1, keep_for=timedelta(days=1)), *OLD) == {"a10": "the newest"}
    assert list(kept(RetentionRules(keep=3, keep_for=timedelta(days=25)), *OLD)) == [
        "a10",
        "a20",
        "a30",
    ]


def test_what_a_record_names_is_kept() -> None:
    reasons = kept(RetentionRules(keep=1), *OLD, pinned={"a50": "the channel record prod@7"})
    assert reasons["a50"] == "the channel record prod@7 names it"
    assert list(reasons) == ["a10", "a50"]


def test_what_has_a_kept_tag_is_kept() -> None:
    artifacts = [*OLD, made("live", 90, "1.0.0", "prod"), made("b", 80, "2.1.0")]
    assert list(kept(RetentionRules(keep=1, keep_tags=("prod",)), *artifacts)) == ["a10", "live"]
    assert list(kept(RetentionRules(keep=1, keep_tags=("^2",)), *artifacts)) == ["a10", "b"]


def test_what_does_not_say_its_age_is_kept_and_does_not_count_as_new() -> None:
    assert list(kept(RetentionRules(keep=1), *OLD, made("x", None))) == ["a10", "x"]


def test_what_does_not_say_its_age_is_older_than_all_that_do_where_that_is_asked_for() -> None:
    rules = RetentionRules(keep=1, keep_for=timedelta(days=15), undated_oldest=True)
    undated = [made("x", None), made("y", None, "prod")]
    assert list(kept(rules, *OLD, *undated)) == ["a10"]
    assert list(kept(replace(rules, keep_tags=("prod",)), *OLD, *undated)) == ["a10", "y"]
    assert list(kept(rules, *OLD, *undated, pinned={"x": "prod@7"})) == ["a10", "x"]
    # Where there are not enough others it is one of the newest all the same.
    assert list(kept(replace(rules, keep=6), *OLD, made("x", None))) == [
        "a10", "a20", "a30", "a40", "a50", "x",
    ]  # fmt: skip


def test_what_has_no_tag_is_none_of_the_newest() -> None:
    artifacts = [*OLD, lost("new", 1), lost("old", 60), lost("undated", None)]
    reasons = kept(RetentionRules(keep=2, untagged=True), *artifacts)
    assert list(reasons) == ["a10", "a20", "undated"]
    young = kept(RetentionRules(keep=1, keep_for=timedelta(days=5), untagged=True), *artifacts)
    assert young["new"] == "younger than 5d"
    assert list(young) == ["new", "a10", "undated"]
    assert "old" in kept(RetentionRules(keep=1), *artifacts, pinned={"old": "prod@7"})
    assert "old" in kept(RetentionRules(keep=1), *artifacts, made("a", 2, needs=("old",)))


def test_what_a_kept_one_needs_is_kept_and_what_that_needs() -> None:
    artifacts = [
        made("index", 1, needs=("part",)),
        made("part", 90, needs=("deeper",)),
        made("deeper", 95),
        made("other", 90, needs=("deeper",)),
    ]
    reasons = kept(RetentionRules(keep=1), *artifacts)
    assert reasons == {
        "index": "the newest", "part": "index needs it", "deeper": "part needs it",
    }  # fmt: skip


def test_what_is_needed_may_be_kept_anyway_or_be_no_artifact_at_all() -> None:
    given = [made("a", 1, needs=("b", "elsewhere")), made("b", 2, needs=("a",)), made("c", 3)]
    assert kept(RetentionRules(keep=2), *given) == {
        "a": "one of the 2 newest", "b": "one of the 2 newest",
    }  # fmt: skip
    holder = replace(lost("x", 4), needs=("old",))
    reasons = kept(
        RetentionRules(keep=1), made("a", 1), holder, made("old", 99), pinned={"x": "prod@7"}
    )
    assert reasons == {"a": "the newest", "x": "prod@7 names it", "old": "x needs it"}


def test_what_is_as_old_as_that_is_not_younger() -> None:
    rules = RetentionRules(keep=1, keep_for=timedelta(days=20))
    assert list(kept(rules, *OLD)) == ["a10"]


def test_why_something_goes_is_said() -> None:
    (decision,) = [
        d
        for d in decide_retention(
            [made("a", 1), made("b", 99)], RetentionRules(keep_for=timedelta(days=30)), {}, NOW
        )
        if not d.keep
    ]
    assert decision.reason == "not the newest and older than 30d"
    rules = RetentionRules(keep=2, undated_oldest=True)
    given = [made("a", 1), made("b", 2), made("c", None), lost("d", 3), lost("e", None)]
    reasons = {d.artifact.digest: d.reason for d in decide_retention(given, rules, {}, NOW)}
    assert reasons == {
        "a": "one of the 2 newest",
        "b": "one of the 2 newest",
        "c": "not one of the 2 newest and does not say when it was created",
        "d": "it has no tag",
        "e": "it has no tag and does not say when it was created",
    }


@pytest.mark.parametrize(("hours", "text"), [(36, "36h"), (24, "1d"), (720, "30d"), (1, "1h")])
def test_an_age_is_shown_as_it_is_written(hours: int, text: str) -> None:
    assert show_age(timedelta(hours=hours)) == text
