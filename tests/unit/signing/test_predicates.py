"""Attestations: their types, their forms, and whether somebody trusted made them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ocistate.errors import AttestationNotMet, InputError, NotSigned, UsageError
from ocistate.signing.decide import decide
from ocistate.signing.envelope import (
    SIGN_PREDICATE,
)
from ocistate.signing.found import FoundSignature
from ocistate.signing.keys import KeySigner
from ocistate.signing.policy.model import TrustPolicy
from ocistate.signing.predicates import SHORTHANDS, build_predicate, predicate_type
from tests.support.factories.keys import make_signer
from tests.support.factories.signatures import ALICE, DIGEST, MALLORY, OTHER, policy, signed

TESTS = "https://example.com/tests"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


TESTER = make_signer()


def required() -> TrustPolicy:
    tester = [{"name": "tester", "pem": TESTER.public_key.pem}]
    return policy(attestations=[{"predicateType": TESTS, "keys": tester}])


def attested(
    by: KeySigner = ALICE, kind: str = TESTS, *, digest: str = DIGEST, predicate: Any = None
) -> FoundSignature:
    return signed(by, digest, kind=kind, predicate=predicate)


def test_an_attestation_by_a_signer_holds_and_is_given_out() -> None:
    found = [attested(predicate={"passed": 7})]
    decision = decide(policy(), DIGEST, found, attestation=TESTS)
    assert decision.error is None
    assert decision.signers == ("alice",)
    (verdict,) = decision.verdicts
    assert verdict.statement is not None
    assert verdict.statement.predicate == {"passed": 7}


@pytest.mark.parametrize(
    "found",
    [
        [],
        [attested(MALLORY)],
        [attested(kind="https://example.com/other")],
        [attested(kind=SIGN_PREDICATE)],
        [attested(digest=OTHER)],
        [FoundSignature(origin="x", raw=b"junk"), FoundSignature(origin="y", error="gone")],
    ],
)
def test_what_is_no_attestation_of_the_type_is_refused_and_not_given_out(
    found: list[FoundSignature],
) -> None:
    decision = decide(policy(), DIGEST, found, attestation=TESTS)
    assert isinstance(decision.error, AttestationNotMet)
    assert TESTS in decision.error.message
    assert not any(verdict.statement for verdict in decision.verdicts)


def test_what_somebody_says_who_is_trusted_with_other_things_is_not_given_out() -> None:
    decision = decide(required(), DIGEST, [signed(), attested(ALICE, predicate={"passed": 7})])
    assert isinstance(decision.error, AttestationNotMet)
    assert decision.verdicts[1].reason == f"is trusted, but not for {TESTS}"
    assert decision.verdicts[1].statement is None
    # What somebody trusted says twice counts once, and is given out both times.
    twice = decide(required(), DIGEST, [signed(), attested(TESTER), attested(TESTER)])
    assert [v.counts for v in twice.verdicts] == [True, True, False]
    assert twice.verdicts[2].statement is not None


def test_who_asks_for_one_attestation_is_not_asked_for_the_others() -> None:
    other = "https://example.com/other"
    under = policy(attestations=[{"predicateType": TESTS}, {"predicateType": other}])
    decision = decide(under, DIGEST, [attested()], attestation=TESTS)
    assert decision.error is None
    assert [demand.predicate_type for demand in decision.demands] == [TESTS]


def test_an_attestation_is_no_signature_of_the_artifact() -> None:
    assert decide(policy(), DIGEST, [attested()]).error is not None
    assert isinstance(decide(policy(), DIGEST, []).error, NotSigned)


def test_whom_the_policy_names_for_a_type_alone_may_attest_it() -> None:
    assert decide(required(), DIGEST, [attested(TESTER)], attestation=TESTS).error is None
    by_alice = decide(required(), DIGEST, [attested(ALICE)], attestation=TESTS)
    assert isinstance(by_alice.error, AttestationNotMet)


def test_the_threshold_for_signatures_holds_for_types_that_the_policy_does_not_name() -> None:
    keys = [{"name": n, "pem": s.public_key.pem} for n, s in (("a", ALICE), ("b", TESTER))]
    two = policy(keys=keys, threshold=2)
    assert decide(two, DIGEST, [attested(ALICE)], attestation=TESTS).error is not None
    both = [attested(ALICE), attested(TESTER)]
    assert decide(two, DIGEST, both, attestation=TESTS).error is None


def test_all_that_a_signer_says_is_given_out_and_counts_once() -> None:
    found = [attested(predicate={"run": 1}), attested(predicate={"run": 2})]
    verdicts = decide(policy(), DIGEST, found, attestation=TESTS).verdicts
    assert [verdict.counts for verdict in verdicts] == [True, False]
    assert [v.statement.predicate for v in verdicts if v.statement] == [{"run": 1}, {"run": 2}]


def test_short_names_are_those_of_cosign() -> None:
    assert predicate_type("slsaprovenance") == "https://slsa.dev/provenance/v0.2"
    assert predicate_type("slsaprovenance1") == "https://slsa.dev/provenance/v1"
    assert predicate_type(TESTS) == TESTS
    assert all(predicate_type(uri) == uri for uri in SHORTHANDS.values())


@pytest.mark.parametrize("text", ["", "tests", "https:// x", "a:" + "b" * 2000, "ü:x", "x:\n"])
def test_what_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="predicate type"):
        predicate_type(text)


def test_a_signature_is_not_written_as_an_attestation() -> None:
    with pytest.raises(UsageError, match="signature"):
        predicate_type(SIGN_PREDICATE)


def test_predicates_have_the_forms_that_cosign_gives_them() -> None:
    def build(kind: str, content: bytes) -> Any:
        return build_predicate(kind, content, now=NOW, origin="f")

    assert build("custom", b"any text") == {"Data": "any text", "Timestamp": "2026-01-02T03:04:05Z"}
    for kind in ("spdx", "spdxjson", "vuln", TESTS):
        assert build(kind, b'{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("cyclonedx", b"<xml/>"),
        ("vuln", b"[]"),
        ("vuln", b'{"a": 1, "a": 2}'),
        (TESTS, b'{"a": NaN}'),
        ("custom", b"\xff"),
        ("spdx", b"SPDXVersion: 2.3"),
    ],
)
def test_a_predicate_of_another_form_is_refused_by_its_file(kind: str, content: bytes) -> None:
    with pytest.raises(InputError, match=r"sbom\.txt"):
        build_predicate(kind, content, now=NOW, origin="sbom.txt")
