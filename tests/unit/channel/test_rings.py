"""Rings: who is in which, what a record says of them, and when a rollout moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocistate.channel.change import (
    held,
    promoted,
    refreshed,
    ring_opened,
    rolled_back,
    rollout_aborted,
    rollout_ended,
)
from ocistate.channel.fleet import TaggedReport, assess
from ocistate.channel.progress import RolloutStep, decide
from ocistate.channel.record import Record
from ocistate.channel.report import Report, sign_report, verify_report
from ocistate.channel.rings import (
    Cluster,
    Ring,
    Rollout,
    draw,
    parse_rings,
    parse_rings_text,
)
from ocistate.channel.trust import authenticate
from ocistate.errors import ConfigError, ForeignRecord, InvalidRecord, InvalidReport
from ocistate.signing.policy.model import TrustedKey
from tests.support.factories.records import (
    ALICE,
    DIGESTS,
    NOW,
    SHOP,
    pins,
    raw_record,
    record,
    trust,
    trusted,
    why,
)

OLD, NEW = DIGESTS[1], DIGESTS[2]
MINUTE = timedelta(minutes=1)
RINGS = (
    Ring(name="canary", labels={"tier": "canary"}, soak=600, patience=300),
    Ring(name="all", percent=100, soak=0, patience=300),
)
CANARY = {"tier": "canary"}


def rolling(opened: int = 1, **fields: Any) -> Record:
    """A record that rolls NEW out, OLD being stable."""
    rollout = Rollout(stable={SHOP: OLD}, rings=RINGS, opened_at=NOW, open=opened)
    return record(5, **{"subjects": {SHOP: NEW}, "rollout": rollout, **fields})


def names(count: int) -> list[str]:
    return [f"cluster-{number}" for number in range(count)]


# Who is in which ring


@given(st.text(min_size=1), st.text(min_size=1), st.data())
def test_rings_nest_and_the_last_takes_everybody(seed: str, name: str, data: Any) -> None:
    bounds = sorted(data.draw(st.sets(st.integers(1, 99), max_size=6)))
    rings = tuple(Ring(name=f"r{n}", percent=n) for n in (*bounds, 100))
    place = Rollout(stable={}, rings=rings, opened_at=NOW).ring_of(Cluster(name=name), seed=seed)
    drawn = draw(seed, name)
    assert 0 <= drawn < 100
    assert [drawn < ring.percent for ring in rings] == [n >= place for n in range(len(rings))]


def test_what_is_drawn_is_uniform_and_each_channels_own() -> None:
    count = 20_000
    for seed in ("a", "b"):
        tenths = [0] * 10
        for name in names(count):
            tenths[int(draw(seed, name) // 10)] += 1
        # Chi-square with 9 degrees of freedom: 27.9 is passed once in a thousand draws.
        assert sum((n - count / 10) ** 2 / (count / 10) for n in tenths) < 27.9
    first, second = ({n for n in names(count) if draw(s, n) < 5} for s in ("a", "b"))
    assert len(first & second) < count * 0.005


def test_a_cluster_without_a_name_is_last_and_one_keeps_its_ring() -> None:
    now = rolling(rollout=Rollout(stable={SHOP: OLD}, rings=RINGS, opened_at=NOW))
    assert now.ring_of(Cluster()) == 1
    assert now.ring_of(Cluster(labels=CANARY)) == 1
    assert now.ring_of(Cluster(name="east", labels=CANARY)) == 0
    later = replace(now, sequence=9, subjects={SHOP: DIGESTS[7]})
    percent = (Ring(name="canary", percent=30), Ring(name="all", percent=100))
    assert now.rollout is not None
    both = [replace(r, rollout=replace(now.rollout, rings=percent)) for r in (now, later)]
    for name in names(50):
        assert len({r.ring_of(Cluster(name=name)) for r in both}) == 1


def test_only_open_rings_get_the_new_digest() -> None:
    canary, other = Cluster(name="east", labels=CANARY), Cluster(name="west")
    assert rolling().digest_of(SHOP, canary) == NEW
    assert rolling().digest_of(SHOP, other) == rolling().digest_of(SHOP, Cluster()) == OLD
    assert rolling(2).digest_of(SHOP, other) == NEW
    assert rolling().digest_of(SHOP) == NEW
    assert rolling().digests == {OLD, NEW}
    added = rolling(subjects={SHOP: NEW, "example.com/db": NEW})
    with pytest.raises(ForeignRecord):
        added.digest_of("example.com/db", other)  # it is not stable anywhere yet


# How rings are written down


def test_rings_are_read_from_a_text_and_from_a_file() -> None:
    assert parse_rings_text("canary=5%/10m, early=25%/1h30m,all=100%") == (
        Ring(name="canary", percent=5, soak=600),
        Ring(name="early", percent=25, soak=5400),
        Ring(name="all", percent=100),
    )
    written = {"name": "canary", "labels": CANARY, "soak": "10m", "patience": "1m"}
    found = parse_rings({"rings": [written, {"name": "all", "percent": 100}]})
    assert found[0] == Ring(name="canary", labels=CANARY, soak=600, patience=60)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "no ring"),
        ("canary", "no ring"),
        ("canary=5", "no ring"),
        ("canary=5%", "the last one, canary"),
        ("a=50%,b=20%,all=100%", "b must take in more"),
        ("a=0%,all=100%", "a must have either"),
        ("a=5%,a=100%", "a name of its own"),
        ("a=5%/soon,all=100%", "soak"),
        ("a=101%", "percent"),
        (",".join(f"r{n}={n}%" for n in range(1, 20)) + ",all=100%", "from 1 to 16"),
    ],
)
def test_wrong_rings_are_refused_by_name(text: str, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        parse_rings_text(text)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"rings": [{"name": "all", "percent": 100, "soakTime": "1h"}]},
        {"rings": [{"name": "a", "percent": 5, "labels": CANARY}, {"name": "b", "percent": 100}]},
        {"rings": [{"name": "a", "labels": {"k": 1}}, {"name": "b", "percent": 100}]},
        {"rings": [{"name": "a", "labels": ["k"]}, {"name": "b", "percent": 100}]},
        {"rings": [{"name": "all", "percent": 100, "soak": "1500ms"}]},
    ],
)
def test_a_wrong_file_of_rings_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError):
        parse_rings(value)


# What a record says


def test_a_rollout_comes_back_as_it_was_signed() -> None:
    assert trusted(rolling()).record == rolling()


def test_a_record_with_an_unknown_critical_field_is_refused() -> None:
    def check(**fields: Any) -> Record:
        raw = raw_record(ALICE, **fields)
        return authenticate(raw, DIGESTS[0], trust()).record

    assert check(later="x").extra == {"later": "x"}
    with pytest.raises(InvalidRecord, match="'later', which is not known here"):
        check(later="x", critical=["later"])
    with pytest.raises(InvalidRecord, match="'rollout', which is missing"):
        check(critical=["rollout"])
    malformed: list[Any] = ["rollout", [1], {}]
    for wrong in malformed:
        with pytest.raises(InvalidRecord):
            check(critical=wrong)


GOOD: dict[str, Any] = {
    "stable": {SHOP: OLD},
    "open": 1,
    "openedAt": "2026-05-01T12:00:00Z",
    "rings": [{"name": "all", "percent": 100, "soakSeconds": 0, "patienceSeconds": 1}],
}


@pytest.mark.parametrize(
    "change",
    [
        {"stable": {SHOP: "latest"}},
        {"stable": []},
        {"open": 0},
        {"open": 2},
        {"open": True},
        {"openedAt": "now"},
        {"rings": []},
        {"rings": [{"name": "all", "percent": 99}]},
        {"rings": [{"name": 1, "percent": 100}]},
        {"rings": [{"name": "all", "percent": "100"}]},
        {"rings": [{"name": "all", "percent": 100, "until": "x"}]},
        {"rings": [{"name": "all", "percent": 100, "soakSeconds": -1}]},
        {"paused": True},
    ],
)
def test_a_malformed_rollout_is_refused(change: dict[str, Any]) -> None:
    authenticate(raw_record(ALICE, rollout=GOOD), DIGESTS[0], trust())
    with pytest.raises(InvalidRecord, match="rollout"):
        authenticate(raw_record(ALICE, rollout={**GOOD, **change}), DIGESTS[0], trust())


def test_what_is_made_of_a_rollout() -> None:
    newest = trusted(record(4, subjects={SHOP: OLD}))
    made = promoted(newest, pins(2), why(), rings=RINGS)
    assert made is not None
    assert made.rollout is not None
    assert made.rollout.stable == {SHOP: OLD}
    assert made.rollout.open == 1
    at = trusted(replace(made, sequence=5, previous=DIGESTS[0]))
    assert promoted(at, pins(2), why()) is None
    with pytest.raises(ConfigError, match="under way"):
        promoted(at, pins(3), why())
    hotfix = promoted(at, pins(3), why(), rings=RINGS)
    assert hotfix is not None
    assert hotfix.rollout is not None
    assert hotfix.rollout.stable == {SHOP: OLD}  # what only canaries had is not stable
    assert refreshed(at, why(days=1)).rollout == at.record.rollout
    opened = ring_opened(at, why(now=NOW + MINUTE))
    assert opened.rollout is not None
    assert (opened.rollout.open, opened.rollout.opened_at) == (2, NOW + MINUTE)
    with pytest.raises(ConfigError, match="all rings"):
        ring_opened(trusted(replace(opened, issued_at=NOW)), why())
    assert rollout_ended(at, why()).rollout is None
    back = rollout_aborted(at, {SHOP: pins(1)[SHOP][1], "x": pins(1)[SHOP][1]}, why())
    assert (back.subjects, back.rollout, back.hold) == ({SHOP: OLD}, None, True)
    assert list(back.artifacts) == [SHOP]
    assert rolled_back(at, newest.record, why()).rollout is None
    for change in (ring_opened, rollout_ended):
        with pytest.raises(ConfigError, match="no rollout"):
            change(newest, why())


def test_lifting_a_hold_begins_no_rollout_anew() -> None:
    paused = held(trusted(rolling(opened=2)), why())
    assert paused is not None
    lifted = promoted(trusted(paused), pins(2), why(), release=True, rings=RINGS)
    assert lifted is not None
    assert lifted.rollout is not None
    assert lifted.rollout.open == 2


# When it moves


def report(cluster: str = "east", **fields: Any) -> Report:
    given: dict[str, Any] = {
        "cluster": cluster,
        "stack": "shop/shop",
        "channel": "prod",
        "records": SHOP,
        "repository": SHOP,
        "digest": NEW,
        "epoch": 1,
        "sequence": 5,
        "state": "Healthy",
        "since": NOW + MINUTE,
        "at": NOW + MINUTE,
        "every": 300,
        "labels": CANARY if cluster == "east" else {},
    }
    return Report(**{**given, **fields})


def step(
    *reports: Report,
    after: float = 2,
    at: Record | None = None,
    enrolled: tuple[str, ...] = ("east", "west"),
) -> RolloutStep:
    newest, now = at or rolling(), NOW + after * MINUTE
    seen = [TaggedReport(tag=r.cluster, report=r) for r in reports]
    assert newest.rollout is not None
    return decide(newest, newest.rollout, assess(seen, enrolled, record=newest, now=now), now)


WEST = report("west", digest=OLD)


@pytest.mark.parametrize(
    ("given", "verdict", "text"),
    [
        ({"reports": [report(), WEST]}, "wait", "until 2026-05-01T12:11:00Z"),
        ({"reports": [report(at=NOW + 10 * MINUTE), WEST], "after": 11}, "advance", "since"),
        ({"reports": [report(digest=OLD), WEST], "after": 11}, "wait", "behind"),
        ({"reports": [report(sequence=4), WEST], "after": 11}, "wait", "behind"),
        ({"reports": [WEST]}, "wait", "no cluster reports that is in canary"),
        ({"reports": [report(state="Degraded"), WEST], "after": 5}, "wait", "Degraded"),
        ({"reports": [report(state="Degraded"), WEST], "after": 6}, "back", "east/shop/shop"),
        ({"reports": [report(state="Refused", digest=OLD), WEST], "after": 6}, "back", "Refused"),
        # It was ill before, or reports on what was before.
        ({"reports": [report(state="Degraded", sequence=4, digest=OLD)], "after": 60}, "wait", "e"),
        # Silent for less, and for more, than its patience; and since before the rollout.
        ({"reports": [report(), WEST], "after": 22}, "wait", "Silent"),
        ({"reports": [report(), WEST], "after": 27}, "back", "Silent"),
        ({"reports": [report(sequence=4, digest=OLD)], "after": 60}, "wait", "Silent"),
        # Trouble outside of the open rings is none of this release.
        (
            {"reports": [report(at=NOW + 10 * MINUTE), replace(WEST, state="Degraded")],
             "after": 11}, "advance", "all 1",
        ),
        # Everywhere: one that was never heard of holds the end up.
        ({"reports": [report()], "at": rolling(2)}, "wait", "west is NeverSeen"),
        ({"reports": [report(), WEST], "at": rolling(2)}, "wait", "behind"),
        ({"reports": [report(), report("west")], "at": rolling(2)}, "finish", "all 2"),
        ({"reports": [report(), report("west")], "at": rolling(2, hold=True)}, "wait", "hold"),
        (
            {"reports": [report(), report("west", state="Degraded")], "at": rolling(2),
             "after": 6}, "back", "west",
        ),
    ],
)  # fmt: skip
def test_a_rollout_moves_by_reports(given: dict[str, Any], verdict: str, text: str) -> None:
    found = step(*given.pop("reports"), **given)
    assert (found.verdict, text in "; ".join(found.why)) == (verdict, True), found


def test_a_percentage_that_takes_nobody_in_is_passed_over() -> None:
    rings = (Ring(name="few", percent=1), Ring(name="all", percent=100))
    enrolled = tuple(n for n in names(40) if draw(f"{SHOP}\nprod", n) >= 1)
    begun = Rollout(stable={SHOP: OLD}, rings=rings, opened_at=NOW)
    found = step(at=rolling(rollout=begun), enrolled=enrolled)
    assert (found.verdict, found.why) == ("advance", ("no enrolled cluster is in few",))
    last = rolling(rollout=replace(begun, open=2))
    assert step(at=last, enrolled=()).verdict == "wait"


def test_a_part_that_was_ill_before_and_is_not_changed_brings_nothing_back() -> None:
    both = {SHOP: NEW, "example.com/db": OLD}
    rollout = Rollout(stable={**both, SHOP: OLD}, rings=RINGS, opened_at=NOW)
    at = rolling(subjects=both, rollout=rollout)
    ill = report(stack="shop/db", repository="example.com/db", digest=OLD, state="Degraded")
    before = replace(ill, since=NOW - MINUTE)
    assert step(report(), before, after=10, at=at).verdict == "wait"
    assert step(report(), ill, after=10, at=at).verdict == "back"


def test_a_report_says_its_labels_signed() -> None:
    key = (TrustedKey(name="east", key=ALICE.public_key),)

    def check(said: Report) -> Report:
        raw = sign_report(said, ALICE)
        return verify_report(raw, channel="prod", records=SHOP, reporters=key)

    assert check(report()) == report()
    for labels in ({"": "x"}, {"k": "a b"}, {"k": "x" * 64}):
        with pytest.raises(InvalidReport, match="labels"):
            check(report(labels=labels))


@given(st.lists(st.sampled_from(["Healthy", "Progressing", "Degraded", "Refused"]), max_size=5),
       st.integers(0, 60))  # fmt: skip
def test_nothing_advances_while_one_is_not_well(states: list[Any], after: int) -> None:
    at = NOW + after * MINUTE
    reports = [
        report(f"c{n}", state=state, labels=CANARY, at=at, since=NOW)
        for n, state in enumerate(states)
    ]
    found = step(*reports, after=after, enrolled=())
    if found.verdict == "advance":
        assert states
        assert set(states) == {"Healthy"}
        assert after >= 10
    if found.verdict == "back":
        assert {"Degraded", "Refused"} & set(states)
        assert after >= 5
