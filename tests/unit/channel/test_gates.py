"""Gates: what opens them, what does not, and what they say."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from ocistate.artifact.inventory import Image, Inventory, InventoryEntry
from ocistate.channel.approval import PREDICATE, Approval
from ocistate.channel.fleet import TaggedReport, assess
from ocistate.channel.gates import (
    Approvals,
    Attested,
    Changes,
    Facts,
    GateOutcome,
    Healthy,
    InventoryCheck,
    Opening,
    evaluate,
)
from ocistate.channel.window import Freeze, TimeWindow
from ocistate.objects import ObjectId
from ocistate.signing.envelope import (
    PAYLOAD_TYPE,
    SIGN_PREDICATE,
    Bundle,
    build_bundle,
    build_statement,
    pae,
)
from ocistate.signing.found import FoundSignature
from ocistate.signing.keyless import Certified
from ocistate.signing.keys import KeySigner
from ocistate.signing.policy.model import (
    PUBLIC_GOOD,
    Match,
    RequiredAttestation,
    TrustedIdentity,
    TrustedKey,
    TrustPolicy,
    TrustRoot,
)
from tests.support.factories.keys import make_signer
from tests.support.factories.records import ALICE, DIGESTS, MALLORY, NOW, SHOP, record
from tests.support.factories.reports import MINUTE, report

BOB = make_signer()
DIGEST = DIGESTS[1]
HOUR = timedelta(hours=1)


def named(*signers: tuple[str, KeySigner]) -> tuple[TrustedKey, ...]:
    return tuple(TrustedKey(name=name, key=signer.public_key) for name, signer in signers)


TWO = Approvals(count=2, keys=named(("alice", ALICE), ("bob", BOB)), identities=())
ONE = replace(TWO, count=1)


def inventory(*names: str, images: Sequence[Image] = (), version: int = 1) -> Inventory:
    entries = tuple(
        InventoryEntry(
            id=ObjectId("", "ConfigMap", "", name),
            api_version="v1",
            digest=DIGESTS[version],
            path="a.yaml",
            index=place,
        )
        for place, name in enumerate(names)
    )
    return Inventory(
        content_digest=DIGESTS[0],
        source="",
        revision="main@sha1:1",
        resources=entries,
        images=tuple(images),
    )


def facts(**fields: Any) -> Facts:
    given: dict[str, Any] = {
        "now": NOW,
        "repository": SHOP,
        "channel": "prod",
        "digest": DIGEST,
        "feeder": "staging",
        "inventory": inventory("a"),
        "current": inventory("a"),
    }
    return Facts(**{**given, **fields})


def attested(signer: KeySigner, predicate: Any, kind: str, digest: str = DIGEST) -> FoundSignature:
    payload = build_statement(digest, kind, predicate)
    raw = build_bundle(
        payload, signer.sign(pae(PAYLOAD_TYPE, payload)), signer.public_key.fingerprint
    )
    return FoundSignature(origin="sha256:" + "0" * 64, raw=raw)


def approval(
    signer: KeySigner, *, about: str = DIGEST, extra: Any = None, **fields: Any
) -> FoundSignature:
    given: dict[str, Any] = {
        "channel": "prod",
        "repository": SHOP,
        "digest": DIGEST,
        "reason": "tested",
        "at": NOW - HOUR,
    }
    predicate = {**Approval(**{**given, **fields}).predicate(), **(extra or {})}
    return attested(signer, predicate, PREDICATE, about)


def approve(gate: Approvals, *found: FoundSignature) -> GateOutcome:
    return evaluate(gate, facts(found=found))


def test_two_named_keys_approve() -> None:
    outcome = approve(TWO, approval(ALICE), approval(BOB, expires=NOW + HOUR))
    assert outcome.open
    assert outcome.reason == "approved by alice, bob"
    assert not approve(TWO).open
    assert "0 of 2 approvals for prod" in approve(TWO).reason


def test_one_approver_counts_once() -> None:
    outcome = approve(TWO, approval(ALICE), approval(ALICE, reason="again"))
    assert not outcome.open
    assert "approved by alice, 1 of 2" in outcome.reason
    twice = named(("alice", ALICE), ("alice's second name", ALICE))
    same_key = replace(TWO, keys=twice)
    assert not approve(same_key, approval(ALICE), approval(ALICE, reason="again")).open


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (approval(ALICE, digest=DIGESTS[2]), "is for sha256:0202"),
        (approval(ALICE, about=DIGESTS[2], digest=DIGESTS[2]), "is a statement about"),
        (approval(ALICE, about=DIGESTS[2]), "is a statement about"),
        (approval(ALICE, channel="staging"), "is for the channel staging"),
        (approval(ALICE, repository="registry.example.com/db"), "example.com/db"),
        (approval(MALLORY), "signed by a key the policy does not name"),
        (approval(ALICE, expires=NOW), "expired at 2026-05-01T12:00:00Z"),
        (approval(ALICE, at=NOW + HOUR), "is from the future"),
        (approval(ALICE, extra={"unless": "x"}), "unknown field 'unless'"),
        (approval(ALICE, extra={"at": 7}), "no text as its at"),
        (approval(ALICE, extra={"expires": "soon"}), "wrong time"),
        (attested(ALICE, [], PREDICATE), "is no object"),
    ],
)
def test_what_approves_something_else_or_is_not_to_be_believed_does_not_count(
    found: FoundSignature, said: str
) -> None:
    outcome = approve(ONE, found)
    assert not outcome.open
    assert said in outcome.reason
    # Beside a good one it does no harm, by the same signer neither.
    assert approve(ONE, found, approval(ALICE)).open


def test_an_attestation_is_no_approval_and_an_approval_no_attestation() -> None:
    kind = "https://example.com/tests/v1"
    good = Approval(channel="prod", repository=SHOP, digest=DIGEST, reason="", at=NOW).predicate()
    assert not approve(ONE, attested(ALICE, good, kind)).open
    gate = Attested(needed=RequiredAttestation(predicate_type=kind, keys=ONE.keys))
    assert not evaluate(gate, facts(found=(approval(ALICE),))).open


def test_a_changed_byte_is_no_approval() -> None:
    good = approval(ALICE)
    payload = build_statement(DIGEST, PREDICATE, {"channel": "prod"})
    forged = build_bundle(payload, ALICE.sign(b"something else"), ALICE.public_key.fingerprint)
    outcome = approve(ONE, replace(good, raw=forged), FoundSignature(origin="x", raw=b"junk"))
    assert not outcome.open


def test_an_attestation_opens_where_its_conditions_are_true() -> None:
    kind = "https://example.com/tests/v1"
    needed = RequiredAttestation(
        predicate_type=kind, keys=named(("ci", BOB)), conditions=("predicate.failed == 0",)
    )
    gate = Attested(needed=needed)

    def look(*found: FoundSignature) -> GateOutcome:
        return evaluate(gate, facts(found=found))

    assert look(attested(BOB, {"failed": 0}, kind)).reason == f"{kind} is attested by ci"
    red = look(attested(BOB, {"failed": 1}, kind))
    assert not red.open
    assert "'predicate.failed == 0' is false" in red.reason
    assert not look(attested(ALICE, {"failed": 0}, kind)).open
    assert not look(attested(BOB, {"failed": 0}, kind, DIGESTS[2])).open
    assert not look().open


def health(gate: Healthy, *seen: Any, fed_since: datetime = NOW - 24 * HOUR) -> GateOutcome:
    fleet = assess(
        [TaggedReport(tag="t", report=item) for item in seen],
        ("east", "west"),
        record=record(1, channel="staging", subjects={SHOP: DIGEST}),
        now=NOW,
    )
    return evaluate(gate, facts(fleet=fleet, fed_since=fed_since))


def test_all_clusters_must_be_healthy_for_the_soak_time() -> None:
    gate = Healthy(soak=HOUR)
    old, young = NOW - 2 * HOUR, NOW - 10 * MINUTE
    both = (report(since=old), report(cluster="west", since=old))
    assert health(gate, *both).open
    soaking = health(gate, both[0], report(cluster="west", since=young))
    assert not soaking.open
    assert soaking.opens_at == young + HOUR
    assert "1 of 2 clusters healthy for 1h in staging, and 2 are asked for" in soaking.reason
    silent = health(gate, both[0])
    assert (silent.open, silent.opens_at) == (False, None)
    assert "west is NeverSeen" in silent.reason
    assert "west is Degraded" in health(gate, both[0], replace(both[1], state="Degraded")).reason
    assert "west is behind" in health(gate, both[0], replace(both[1], digest=DIGESTS[3])).reason
    gone = replace(both[1], at=NOW - 3 * HOUR)
    assert "west is Silent" in health(gate, both[0], gone).reason
    # Two Stacks of one cluster: both must be well.
    other = replace(both[0], stack="shop/other", state="Degraded")
    assert not health(gate, *both, other).open


def test_a_share_or_some_of_the_clusters_may_be_enough() -> None:
    east = report(since=NOW - 2 * HOUR)
    assert health(Healthy(soak=HOUR, share=50), east).open
    assert not health(Healthy(soak=HOUR, share=51), east).open
    assert health(Healthy(soak=HOUR, clusters=("east",)), east).open
    assert not health(Healthy(soak=HOUR, clusters=("west",)), east).open


def test_a_soak_begins_when_the_channel_names_the_digest_whatever_a_cluster_says() -> None:
    east = report(since=datetime(1999, 1, 1, tzinfo=UTC))
    gate = Healthy(soak=HOUR, clusters=("east",))
    young = health(gate, east, fed_since=NOW - MINUTE)
    assert not young.open
    assert young.opens_at == NOW - MINUTE + HOUR
    assert health(gate, east, fed_since=NOW - HOUR).open


def test_a_gate_of_health_without_reports_is_closed() -> None:
    assert not evaluate(Healthy(soak=HOUR), facts()).open


def test_a_check_reads_the_inventory() -> None:
    pinned, loose = Image(name="a@sha256:1", pinned=True), Image(name="b:latest", pinned=False)
    gate = InventoryCheck(expression="images.all(i, i.pinned)", message="pin images")
    assert evaluate(gate, facts(inventory=inventory("a", images=[pinned]))).open
    outcome = evaluate(gate, facts(inventory=inventory("a", images=[pinned, loose])))
    assert not outcome.open
    assert outcome.reason == "'images.all(i, i.pinned)' is false (pin images)"
    kinds = InventoryCheck(expression="resources.all(r, r.kind != 'ClusterRole' && r.name == 'a')")
    assert evaluate(kinds, facts()).open
    for expression in ("nothing.here", "revision"):
        assert not evaluate(InventoryCheck(expression=expression), facts()).open


def test_changes_are_counted_by_inventories() -> None:
    now = facts(inventory=inventory("a", "b", "c", version=2), current=inventory("a", "d"))
    # a changed, b and c added, d removed.
    assert evaluate(Changes(most=4), now).open
    assert evaluate(Changes(most=4), now).reason.startswith("4 objects change")
    few = evaluate(Changes(most=3, share=100), now)
    assert not few.open
    assert "at most 3 may and at most 100 % may" in few.reason
    half = facts(inventory=inventory("a", "b", "c"), current=inventory("a", "b"))
    assert evaluate(Changes(share=50), half).open
    assert not evaluate(Changes(share=49), half).open
    assert not evaluate(Changes(most=9), facts(current=None)).open


ZURICH = TimeWindow(
    zone="Europe/Zurich", days=frozenset(range(5)), start=time(9), end=time(16),
    freezes=(Freeze(date(2026, 12, 24), date(2027, 1, 3)),),
)  # fmt: skip


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_a_window_goes_by_the_wall_clock_of_its_zone() -> None:
    # The same hour in UTC is in the window in summer, and before it in winter.
    assert ZURICH.is_open(at("2026-07-01T07:00:00+00:00"))
    assert not ZURICH.is_open(at("2026-12-01T07:59:00+00:00"))
    assert ZURICH.is_open(at("2026-12-01T08:00:00+00:00"))
    assert not ZURICH.is_open(at("2026-12-01T15:00:00+00:00"))
    # Friday evening: until Monday; before the freeze: until it is over.
    assert ZURICH.opens_at(at("2026-11-06T18:00:00+00:00")) == at("2026-11-09T09:00:00+01:00")
    assert ZURICH.opens_at(at("2026-12-23T18:00:00+00:00")) == at("2027-01-04T09:00:00+01:00")
    outcome = evaluate(Opening(window=ZURICH), facts(now=at("2026-12-25T12:00:00+00:00")))
    assert not outcome.open
    assert "2027-01-04T08:00:00Z" in outcome.reason
    assert evaluate(Opening(window=ZURICH), facts(now=at("2026-12-01T08:00:00+00:00"))).open


def test_an_hour_left_out_is_never_open_and_one_that_comes_twice_is_open_twice() -> None:
    night = TimeWindow(zone="Europe/Zurich", start=time(2), end=time(3))
    # 29 March 2026: from 02:00 to 03:00 at once. 25 October: back from 03:00 to 02:00.
    spring = at("2026-03-29T01:30:00+01:00")
    assert night.opens_at(spring) == at("2026-03-30T02:00:00+02:00")
    assert not any(night.is_open(spring + minute * MINUTE) for minute in range(120))
    autumn = at("2026-10-25T02:00:00+02:00")
    assert [night.is_open(autumn + half * 30 * MINUTE) for half in range(-1, 6)] == [
        False, True, True, True, True, False, False,
    ]  # fmt: skip
    # A window that begins in the hour left out begins behind it.
    late = TimeWindow(zone="Europe/Zurich", start=time(2, 30), end=time(5))
    assert late.opens_at(spring) == at("2026-03-29T03:00:00+02:00")
    # One that ends in the hour that comes twice opens again in it.
    early = TimeWindow(zone="Europe/Zurich", start=time(1), end=time(2, 30))
    again = early.opens_at(at("2026-10-25T02:45:00+02:00"))
    assert again == at("2026-10-25T02:00:00+01:00")


def test_a_window_over_midnight_belongs_to_the_day_it_starts_on() -> None:
    friday = TimeWindow(days=frozenset({4}), start=time(22), end=time(4))
    assert friday.is_open(at("2026-05-01T23:00:00+00:00"))
    assert friday.is_open(at("2026-05-02T03:59:00+00:00"))
    assert not friday.is_open(at("2026-05-02T04:00:00+00:00"))
    assert not friday.is_open(at("2026-05-01T03:00:00+00:00"))
    assert friday.opens_at(at("2026-05-02T12:00:00+00:00")) == at("2026-05-08T22:00:00+00:00")


def test_a_window_that_never_opens_says_so() -> None:
    never = TimeWindow(freezes=(Freeze(date(2026, 1, 1), date(2030, 1, 1)),))
    outcome = evaluate(Opening(window=never), facts())
    assert (outcome.open, outcome.opens_at) == (False, None)
    assert "does not open within a year" in outcome.reason


ISSUER = Match(text="https://accounts.example.com")
CAROL = Certified(issuer=ISSUER.text, subject="carol@example.com")
DAVE = Certified(issuer=ISSUER.text, subject="dave@example.com")
ANYONE = Match(text=r".*@example\.com", regexp=True)


def by_identity(payload: bytes, who: Certified) -> FoundSignature:
    """A bundle with a certificate that `certified` reads as somebody's."""
    bundle = json.loads(build_bundle(payload, b"signature", ""))
    name = base64.b64encode(who.subject.encode()).decode()
    bundle["verificationMaterial"] = {"certificate": {"rawBytes": name}}
    return FoundSignature(origin="sha256:" + "1" * 64, raw=json.dumps(bundle).encode())


def certified(bundle: Bundle, root: TrustRoot) -> Certified:
    name = json.loads(bundle.raw)["verificationMaterial"]["certificate"]["rawBytes"]
    return Certified(issuer=ISSUER.text, subject=base64.b64decode(name).decode())


def word(who: Certified) -> FoundSignature:
    said = Approval(
        channel="prod", repository=SHOP, digest=DIGEST, reason="tested", at=NOW - HOUR
    ).predicate()
    return by_identity(build_statement(DIGEST, PREDICATE, said), who)


def release(who: Certified) -> FoundSignature:
    return by_identity(build_statement(DIGEST, SIGN_PREDICATE, {}), who)


@pytest.mark.parametrize("subject", [Match(text=CAROL.subject), ANYONE])
@pytest.mark.parametrize("signs", [Match(text=CAROL.subject), ANYONE])
@pytest.mark.parametrize("root", [PUBLIC_GOOD, TrustRoot(data=b"{}", digest="0" * 64)])
def test_who_signed_the_artifact_does_not_approve_it_under_any_name(
    subject: Match, signs: Match, root: TrustRoot
) -> None:
    def entry(name: str, subject: Match, root: TrustRoot = PUBLIC_GOOD) -> TrustedIdentity:
        return TrustedIdentity(name=name, issuer=ISSUER, subject=subject, root=root)

    gate = Approvals(count=1, keys=(), identities=(entry("reviewer", subject, root),))
    policy = TrustPolicy(name="p", repositories=("**",), identities=(entry("the build", signs),))

    def outcome(*found: FoundSignature) -> GateOutcome:
        return evaluate(gate, facts(found=found, policy=policy), certify=certified)

    assert outcome(word(CAROL)).open
    assert outcome(release(DAVE), word(CAROL)).open
    closed = outcome(release(CAROL), word(CAROL))
    assert not closed.open
    assert "by who signed the artifact" in closed.reason
    # Behind others of the same pattern, in any order, and beside a second signature.
    assert not outcome(release(DAVE), release(CAROL), word(CAROL)).open
    assert not outcome(word(CAROL), release(CAROL), release(CAROL)).open
    if subject is ANYONE:
        assert outcome(release(CAROL), word(CAROL), word(DAVE)).open


def test_a_key_that_signed_the_artifact_does_not_approve_it() -> None:
    signed = attested(ALICE, {}, SIGN_PREDICATE)
    assert not approve(ONE, signed, approval(ALICE)).open
    assert approve(ONE, signed, approval(BOB)).open
    assert "by who signed" in approve(TWO, signed, approval(ALICE), approval(BOB)).reason
