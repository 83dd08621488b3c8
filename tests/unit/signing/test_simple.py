"""Simple signing: the payload cosign signs, and what is refused."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from ocistate.errors import InvalidSignature, Untrusted
from ocistate.signing.decide import decide
from ocistate.signing.envelope import (
    PAYLOAD_TYPE,
    SIGN_PREDICATE,
    Bundle,
    build_statement,
    pae,
)
from ocistate.signing.found import FoundSignature, open_signature
from ocistate.signing.keyless import Certified
from ocistate.signing.keys import KeySigner
from ocistate.signing.policy.model import TrustPolicy, TrustRoot, policy_of_flags
from ocistate.signing.simple import (
    CERTIFICATE_ANNOTATION,
    MAX_PAYLOAD_BYTES,
    SIGNATURE_ANNOTATION,
    build_payload,
    parse_payload,
    parse_simple,
    signature_annotation,
)
from tests.support.factories.signatures import ALICE, DIGEST, MALLORY, OTHER, signed
from tests.support.factories.signatures import policy as parts_policy


def policy(*, allow_legacy: bool = True) -> TrustPolicy:
    return policy_of_flags([ALICE.public_key], allow_legacy=allow_legacy)


def simple(by: KeySigner = ALICE, digest: str = DIGEST) -> FoundSignature:
    payload = build_payload("host/shop", digest)
    annotations = signature_annotation(by.sign(payload))
    return FoundSignature(origin="tag[0]", format="simple", raw=payload, annotations=annotations)


def value(**critical: Any) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(build_payload("host/shop", DIGEST))
    payload["critical"].update(critical)
    return payload


def test_the_payload_is_the_one_cosign_signs() -> None:
    assert build_payload("host/shop", DIGEST) == (
        b'{"critical":{"identity":{"docker-reference":"host/shop"},'
        b'"image":{"docker-manifest-digest":"sha256:' + b"ab" * 32 + b'"},'
        b'"type":"cosign container image signature"},"optional":null}'
    )


def test_a_payload_is_read_as_a_statement_about_its_digest() -> None:
    statement = parse_payload(json.dumps({**value(), "optional": {"creator": "me"}}).encode())
    assert (statement.digests, statement.predicate_type) == ((DIGEST,), SIGN_PREDICATE)
    assert statement.predicate == {"creator": "me"}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ([], "payload is not an object"),
        ({}, "critical is not an object"),
        (value(type="atomic container signature"), "critical is not that"),
        (value(more=1), "critical is not that"),
        (value(image=None), "critical.image is not"),
        (value(image={"docker-manifest-digest": "sha512:" + "ab" * 64}), "no sha256 digest"),
        (value(image={"docker-manifest-digest": DIGEST.upper()}), "no sha256 digest"),
        (value(image={"docker-manifest-digest": [DIGEST]}), "no sha256 digest"),
        (value(identity={}), "no docker-reference"),
        ({**value(), "optional": [1]}, "optional is not an object"),
    ],
)
def test_a_payload_of_another_shape_is_refused(payload: Any, reason: str) -> None:
    with pytest.raises(InvalidSignature, match=reason):
        parse_payload(json.dumps(payload).encode())


def test_a_payload_that_reads_two_ways_is_refused() -> None:
    twice = build_payload("host/shop", DIGEST).replace(
        b'{"docker-manifest-digest":', b'{"docker-manifest-digest":"x","docker-manifest-digest":'
    )
    for raw in (twice, build_payload("host/shop", DIGEST) + b" {}", b"\xff", b""):
        with pytest.raises(InvalidSignature, match="JSON"):
            parse_payload(raw)


@pytest.mark.parametrize("text", ["", "!", "AA", "AB==", "A" * 9000, "-_8="])
def test_an_annotation_that_is_no_signature_is_refused(text: str) -> None:
    with pytest.raises(InvalidSignature, match=r"signature|base64"):
        parse_simple(b"{}", {SIGNATURE_ANNOTATION: text})


def test_a_legacy_signature_counts_only_where_the_policy_allows_it() -> None:
    assert decide(policy(), DIGEST, [simple()]).error is None
    refused = decide(policy(allow_legacy=False), DIGEST, [simple()])
    assert isinstance(refused.error, Untrusted)
    assert "allowLegacy" in refused.error.message


def test_a_legacy_signature_moved_to_another_artifact_does_not_count() -> None:
    (verdict,) = decide(policy(), DIGEST, [simple(digest=OTHER)]).verdicts
    assert not verdict.counts
    assert OTHER in verdict.reason


def test_a_legacy_signature_of_a_stranger_does_not_count() -> None:
    assert decide(policy(), DIGEST, [simple(MALLORY)]).error is not None


def test_a_legacy_signature_by_certificate_does_not_count_as_one_by_key() -> None:
    certified = {**simple().annotations, CERTIFICATE_ANNOTATION: "-----BEGIN CERTIFICATE-----"}
    found = replace(simple(), annotations=certified)
    assert decide(policy(), DIGEST, [found]).error is not None


def test_what_is_too_large_is_no_signature() -> None:
    notes = simple().annotations
    assert len(parse_simple(b" " * MAX_PAYLOAD_BYTES, notes).payload) == MAX_PAYLOAD_BYTES
    with pytest.raises(InvalidSignature, match="too large"):
        parse_simple(b" " * (MAX_PAYLOAD_BYTES + 1), notes)
    with pytest.raises(InvalidSignature, match="holds no signature"):
        parse_simple(b"x", {SIGNATURE_ANNOTATION: "A" * 8196})


def test_a_certificate_counts_in_a_bundle_only() -> None:
    certified = {**simple().annotations, CERTIFICATE_ANNOTATION: "-----BEGIN CERTIFICATE-----"}
    under = parts_policy(
        allowLegacy=True, identities=[{"issuer": "https://i", "subjectRegExp": ".*"}]
    )

    def certify(bundle: Bundle, root: TrustRoot) -> Certified:
        raise AssertionError("it is no bundle")

    decision = decide(
        under, DIGEST, [replace(simple(MALLORY), annotations=certified)], certify=certify
    )
    assert [verdict.reason for verdict in decision.verdicts] == [
        "signed by identity, which is taken from bundles only"
    ]


def test_one_key_in_two_formats_is_one_signer() -> None:
    decision = decide(policy(), DIGEST, [signed(), simple()])
    assert [verdict.counts for verdict in decision.verdicts] == [True, False]


def test_a_payload_offered_as_an_envelope_and_the_reverse_is_refused() -> None:
    payload = build_statement(DIGEST, SIGN_PREDICATE, {})
    envelope = json.dumps(
        {
            "payloadType": PAYLOAD_TYPE,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [
                {"sig": base64.b64encode(ALICE.sign(pae(PAYLOAD_TYPE, payload))).decode()}
            ],
        }
    ).encode()
    bare = FoundSignature(origin="tag[0]", format="dsse", raw=envelope)
    assert open_signature(bare).statement().digests == (DIGEST,)
    # A statement that was signed as DSSE is no simple-signing payload, whoever signed it.
    signature = signature_annotation(ALICE.sign(payload))
    as_simple = FoundSignature(origin="tag[0]", format="simple", raw=payload, annotations=signature)
    (verdict,) = decide(policy(), DIGEST, [as_simple]).verdicts
    assert not verdict.counts
    with pytest.raises(InvalidSignature):
        open_signature(FoundSignature(origin="tag[0]", format="dsse", raw=simple().raw))
