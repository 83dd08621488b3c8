"""What signatures claim, before anyone believes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ocistate.signing.claims import Claims, read_claims
from ocistate.signing.envelope import SIGN_PREDICATE, build_bundle, build_statement
from ocistate.signing.found import FoundSignature
from ocistate.signing.simple import CERTIFICATE_ANNOTATION, build_payload, signature_annotation

DIGEST = "sha256:" + "ab" * 32
CREATED = "org.opencontainers.image.created"


def bundle(kind: str = SIGN_PREDICATE, digest: str = DIGEST, created: str = "") -> FoundSignature:
    raw = build_bundle(build_statement(digest, kind, {}), b"anything", "a key")
    return FoundSignature(origin="o", raw=raw, annotations={CREATED: created})


def test_a_signature_and_an_attestation_are_told_apart() -> None:
    claims = read_claims(bundle(created="2026-01-02T03:04:05Z"), DIGEST)
    assert claims == Claims(
        kind="signature",
        predicate_type=SIGN_PREDICATE,
        key="a key",
        created="2026-01-02T03:04:05Z",
    )
    assert read_claims(bundle("https://example.com/x"), DIGEST).kind == "attestation"


@pytest.mark.parametrize("created", ["now", "2026-01-02T03:04:05Z\x1b[2J", "", "2026-01-02"])
def test_a_time_that_is_none_is_not_shown(created: str) -> None:
    assert read_claims(bundle(created=created), DIGEST).created == ""


def test_what_is_certainly_wrong_is_said_without_a_key() -> None:
    assert "statement about" in read_claims(bundle(digest="sha256:" + "0" * 64), DIGEST).fault
    assert read_claims(FoundSignature(origin="o", raw=b"junk"), DIGEST).fault
    assert read_claims(FoundSignature(origin="o", error="gone"), DIGEST).fault == "gone"


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\u202e"])
def test_what_a_terminal_would_obey_is_refused(text: str) -> None:
    assert "control" in read_claims(bundle(f"https://x/{text}"), DIGEST).fault
    raw = build_bundle(build_statement(DIGEST, SIGN_PREDICATE, {}), b"s", text)
    assert "control" in read_claims(FoundSignature(origin="o", raw=raw), DIGEST).fault


def certificate(subject: str) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    issuer = x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), b"https://issuer.example"
    )
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(subject)])
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(minutes=10))
        .add_extension(names, critical=True)
        .add_extension(issuer, critical=False)
        .sign(key, hashes.SHA256())
    )


def test_whom_a_certificate_names_is_shown_in_every_format() -> None:
    import base64

    made = certificate("https://ci.example/build")
    value = json.loads(bundle().raw)
    der = base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()
    value["verificationMaterial"] = {"certificate": {"rawBytes": der}}
    by_bundle = FoundSignature(origin="o", raw=json.dumps(value).encode())
    pem = made.public_bytes(serialization.Encoding.PEM).decode()
    simple = FoundSignature(
        origin="o",
        format="simple",
        raw=build_payload("host/shop", DIGEST),
        annotations={**signature_annotation(b"s"), CERTIFICATE_ANNOTATION: pem},
    )
    for found in (by_bundle, simple):
        claims = read_claims(found, DIGEST)
        assert claims.identity == "https://ci.example/build of https://issuer.example"


@pytest.mark.parametrize(
    "material",
    [
        {"certificate": {"rawBytes": "AA=="}},
        {"certificate": {}},
        {"certificate": 1},
        {"x509CertificateChain": {"certificates": []}},
        {"x509CertificateChain": []},
    ],
)
def test_a_certificate_that_cannot_be_read_names_nobody(material: object) -> None:
    value = json.loads(bundle().raw)
    value["verificationMaterial"] = material
    claims = read_claims(FoundSignature(origin="o", raw=json.dumps(value).encode()), DIGEST)
    assert claims.identity == ""
