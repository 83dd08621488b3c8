"""Who must have signed: the decision, signature by signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ocistate.errors import (
    AttestationNotMet,
    NotSigned,
    ThresholdNotMet,
    Untrusted,
)
from ocistate.signing.decide import decide, is_costly
from ocistate.signing.envelope import SIGN_PREDICATE, build_bundle, build_statement
from ocistate.signing.found import FoundSignature
from ocistate.signing.keys import KeySigner
from ocistate.signing.policy.model import TrustPolicy
from tests.support.factories.signatures import ALICE, BOB, DIGEST, MALLORY, OTHER, policy, signed


def both(**spec: Any) -> TrustPolicy:
    keys = [
        {"name": "alice", "pem": ALICE.public_key.pem},
        {"name": "bob", "pem": BOB.public_key.pem},
    ]
    return policy(keys=keys, **spec)


def reasons(found: Sequence[FoundSignature], under: TrustPolicy) -> str:
    return "; ".join(v.reason for v in decide(under, DIGEST, found).verdicts if not v.counts)


def test_a_trusted_signature_satisfies() -> None:
    decision = decide(policy(), DIGEST, [signed()])
    assert decision.error is None
    assert decision.signers == ("alice",)
    assert [(v.signer, v.reason) for v in decision.verdicts] == [
        ("alice", "signed by a trusted key")
    ]


def test_nothing_found_is_not_signed() -> None:
    assert isinstance(decide(policy(), DIGEST, []).error, NotSigned)


def test_a_stranger_is_not_trusted_whatever_the_hint_says() -> None:
    lying = signed(MALLORY, hint=ALICE.public_key.fingerprint)
    decision = decide(policy(), DIGEST, [signed(MALLORY), lying])
    assert isinstance(decision.error, Untrusted)
    assert decision.signers == ()


def test_a_hint_that_lies_does_not_hide_a_trusted_signature() -> None:
    decision = decide(policy(), DIGEST, [signed(ALICE, hint=MALLORY.public_key.fingerprint)])
    assert decision.error is None


def test_a_signature_moved_from_another_artifact_does_not_count() -> None:
    assert "statement about" in reasons([signed(digest=OTHER)], policy())


def test_a_statement_of_another_type_does_not_count() -> None:
    for other in ("https://ocistate.dev/channel/v1", "https://slsa.dev/provenance/v1"):
        assert other in reasons([signed(kind=other)], policy())


def test_a_payload_changed_after_signing_does_not_count() -> None:
    good = signed().raw
    payload = build_statement(DIGEST, SIGN_PREDICATE, {})
    forged = build_bundle(payload.replace(b"ab" * 32, b"cd" * 32), b"x", "")
    assert decide(policy(), OTHER, [FoundSignature(origin="x", raw=forged)]).error is not None
    assert (
        decide(policy(), DIGEST, [FoundSignature(origin="x", raw=good + b" x")]).error is not None
    )


def test_one_signer_counts_once() -> None:
    decision = decide(both(threshold=2), DIGEST, [signed(), signed()])
    assert isinstance(decision.error, ThresholdNotMet)
    assert "already" in reasons([signed(), signed()], both(threshold=2))


def test_two_signers_meet_a_threshold_of_two() -> None:
    decision = decide(both(threshold=2), DIGEST, [signed(), signed(BOB)])
    assert decision.error is None
    assert decision.signers == ("alice", "bob")


def test_why_nothing_was_found_is_passed_on() -> None:
    assert reasons([FoundSignature(origin="x", error="the manifest is gone")], policy()) == (
        "the manifest is gone"
    )


def test_what_blocks_for_long_is_known_beforehand() -> None:
    who = [{"issuer": "https://i", "subject": "s"}]
    assert not is_costly(policy(attestations=[{"predicateType": "t"}]))
    assert is_costly(policy(identities=who))
    assert is_costly(policy(attestations=[{"predicateType": "t", "identities": who}]))
    assert is_costly(policy(attestations=[{"predicateType": "t", "conditions": ["true"]}]))


def test_a_good_signature_among_junk_is_found() -> None:
    junk = [FoundSignature(origin=str(i), raw=b"junk") for i in range(300)]
    broken = [FoundSignature(origin=str(i), error="gone") for i in range(200)]
    assert decide(policy(), DIGEST, [*junk, signed(), *broken]).error is None


def test_an_attestation_counts_for_who_may_make_it_and_as_its_conditions_say() -> None:
    tests = "https://example.com/tests"
    under = both(
        attestations=[
            {
                "predicateType": tests,
                "keys": [{"name": "bob", "pem": BOB.public_key.pem}],
                "conditions": ["predicate.passed"],
            }
        ]
    )
    signature = signed()

    def attested(by: KeySigner, passed: Any, digest: str = DIGEST) -> FoundSignature:
        return signed(by, digest, kind=tests, predicate={"passed": passed}, hint="")

    assert decide(under, DIGEST, [signature, attested(BOB, True)]).error is None
    for found, reason in (
        ([], "lacks the attestation"),
        ([attested(BOB, False)], "is false"),
        ([attested(BOB, "yes")], "neither true nor false"),
        ([attested(ALICE, True)], f"not for {tests}"),
        ([attested(MALLORY, True)], "does not name"),
        ([attested(BOB, True, OTHER)], OTHER),
    ):
        error = decide(under, DIGEST, [signature, *found]).error
        assert isinstance(error, AttestationNotMet)
        assert reason in error.message
    # One good one is enough, whatever lies beside it; and it is no signature.
    assert (
        decide(under, DIGEST, [attested(BOB, False), signature, attested(BOB, True)]).error is None
    )
    assert isinstance(decide(under, DIGEST, [attested(BOB, True)]).error, NotSigned)


def test_a_key_for_attestations_or_channels_signs_no_artifact() -> None:
    apart = policy(
        attestations=[{"predicateType": "t", "keys": [{"pem": BOB.public_key.pem}]}],
        channelKeys=[{"pem": MALLORY.public_key.pem}],
    )
    for key in (BOB, MALLORY):
        decision = decide(apart, DIGEST, [signed(key)])
        assert isinstance(decision.error, Untrusted)


def test_what_a_stranger_wrote_is_harmless_to_a_terminal_and_short() -> None:
    found = [
        *(signed(MALLORY, hint=str(n) + "x" * 5000) for n in range(99)),
        FoundSignature(origin="x", error="\x1b[2J" + "y" * 5000),
    ]
    decision = decide(policy(), DIGEST, found)
    assert isinstance(decision.error, Untrusted)
    assert all(v.reason.isprintable() and len(v.reason) == 400 for v in decision.verdicts)
    assert len(decision.error.message) < 2500
    assert decision.error.message.endswith("; and 95 other reasons")
    few = decide(policy(), DIGEST, found[-5:]).error
    assert few is not None
    assert few.message.endswith("y…")
