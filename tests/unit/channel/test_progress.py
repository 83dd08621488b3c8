"""The next step of a rollout, by what clusters report."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ocistate.channel.fleet import Fleet, Member
from ocistate.channel.progress import RolloutStep, decide, members_inside
from ocistate.channel.rings import Rollout, parse_rings_text
from tests.support.factories.records import DIGESTS, NOW, SHOP, record
from tests.support.factories.reports import report

MINUTE = timedelta(minutes=1)
OLD, NEW = DIGESTS[1], DIGESTS[2]


def rollout(rings: str = "canary=10%/10m,all=100%", opened: int = 1) -> Rollout:
    return Rollout(
        stable={SHOP: OLD}, rings=parse_rings_text(rings), opened_at=NOW - 30 * MINUTE, open=opened
    )


def member(standing: str = "Healthy", *, ring: int = 0, **fields: Any) -> Member:
    given = {"digest": NEW, "sequence": 2, "since": NOW - 20 * MINUTE, "at": NOW, **fields}
    current = given["digest"] == NEW
    return Member(
        cluster=given.get("cluster", "east"),
        stack="shop/shop",
        standing=standing,  # type: ignore[arg-type]
        current=current,
        report=report(state=standing if standing != "Silent" else "Healthy", **given),
        ring=ring,
    )


def step(*members: Member, of: Rollout | None = None, **fields: Any) -> RolloutStep:
    of = of or rollout()
    found = record(2, subjects={SHOP: NEW}, rollout=of, **fields)
    return decide(found, of, Fleet(members=members), NOW)


def test_a_ring_that_was_healthy_for_its_soak_opens_the_next() -> None:
    assert step(member()) == RolloutStep(
        verdict="advance", why=("all 1 are healthy since 2026-05-01T11:40:00Z",)
    )


def test_a_ring_is_waited_for_until_its_soak_is_over() -> None:
    found = step(member(since=NOW - 5 * MINUTE))
    assert found.verdict == "wait"
    assert "must stay so until 2026-05-01T12:05:00Z" in found.why[0]


def test_the_last_ring_finishes_the_rollout() -> None:
    assert step(member(ring=1), of=rollout(opened=2)).verdict == "finish"


def test_a_cluster_in_trouble_for_longer_than_the_patience_takes_it_back() -> None:
    found = step(member("Degraded"), member(cluster="west"))
    assert (found.verdict, len(found.why)) == ("back", 1)
    assert "east/shop/shop is Degraded since" in found.why[0]


def test_trouble_within_the_patience_is_waited_for() -> None:
    assert step(member("Degraded", since=NOW - MINUTE)).verdict == "wait"


def test_a_cluster_that_has_not_come_to_the_release_is_waited_for() -> None:
    found = step(member("Degraded", digest=OLD, sequence=1))
    assert found.verdict == "wait"
    assert "and behind" in found.why[0]


def test_clusters_of_rings_that_are_not_open_do_not_count() -> None:
    members = (member(), member("Degraded", ring=1, cluster="west"))
    assert step(*members).verdict == "advance"
    assert members_inside(rollout(), Fleet(members=members)) == [members[0]]


def test_a_hold_stops_what_would_go_on_but_not_what_goes_back() -> None:
    assert step(member(), hold=True).why == ("the channel is on hold: because",)
    assert step(member("Degraded"), hold=True).verdict == "back"


def test_a_ring_without_clusters_proves_nothing_and_opens_the_next() -> None:
    assert step().verdict == "advance"
    assert step(of=rollout(opened=2)).verdict == "wait"
