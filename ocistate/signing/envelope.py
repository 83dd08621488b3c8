"""DSSE envelopes and sigstore bundles, built and strictly parsed.

What is verified are the payload's very bytes; they are read only afterwards. Anything that two
readers might read differently is refused: duplicate keys, other base64 alphabets, several
signatures, a key and a certificate side by side.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ocistate.canonical import DIGEST_PATTERN, canonical_json, parse_json
from ocistate.errors import InvalidSignature

BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
ENVELOPE_TYPE: Final = "application/vnd.dsse.envelope.v1+json"
SIGN_PREDICATE: Final = "https://sigstore.dev/cosign/sign/v1"
MAX_BUNDLE_BYTES: Final = 8 * 1024 * 1024

# Far above any bundle's: text stays as large as it is when it is read, but structure grows much.
_MAX_PARTS: Final = 20_000

_STATEMENT_TYPES: Final = (
    "https://in-toto.io/Statement/v1",
    "https://in-toto.io/Statement/v0.1",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """An in-toto statement: a claim (``predicate``) about subjects (``digests``).

    ``names`` are the subjects' names, in the same order; empty for one that has none.
    """

    predicate_type: str
    digests: tuple[str, ...]
    predicate: Any
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A sigstore bundle with a DSSE envelope: signed by a key (``hint``) or by a certificate.

    ``payload`` is not to be believed before ``signature`` over ``signed`` has been verified.
    """

    payload: bytes
    signature: bytes
    hint: str
    has_certificate: bool
    raw: bytes

    @property
    def signed(self) -> bytes:
        """The bytes that are signed: DSSE's pre-authentication encoding."""
        return pae(PAYLOAD_TYPE, self.payload)

    def statement(self) -> Statement:
        """The statement, once the signature has been verified. Raises InvalidSignature."""
        return parse_statement(self.payload)


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE v1, "Signature definition": the encoding that type and payload are signed in."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def build_statement(digest: str, predicate_type: str, predicate: Any) -> bytes:
    """An in-toto statement v1 about one digest, in cosign's form: a subject without a name."""
    return build_named_statement((("", digest),), predicate_type, predicate)


def build_named_statement(
    subjects: Sequence[tuple[str, str]], predicate_type: str, predicate: Any
) -> bytes:
    """An in-toto statement v1 about several subjects: (name or nothing, digest) each."""
    return canonical_json(
        {
            "_type": _STATEMENT_TYPES[0],
            "subject": [_subject(name, digest) for name, digest in subjects],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def build_bundle(payload: bytes, signature: bytes, hint: str) -> bytes:
    """A bundle v0.3 of one signature by a key, named by its hint."""
    return canonical_json(
        {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": hint}},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": base64.b64encode(signature).decode()}],
            },
        }
    )


def parse_bundle(raw: bytes) -> Bundle:
    """Read a bundle. Raises InvalidSignature saying what is wrong with its form."""
    if len(raw) > MAX_BUNDLE_BYTES:
        raise InvalidSignature(f"a bundle of {len(raw)} bytes is too large")
    _check_parts(raw, "the bundle")
    value = as_mapping(_json(raw, "the bundle"), "the bundle")
    if value.get("mediaType") != BUNDLE_TYPE:
        raise InvalidSignature(f"the bundle's mediaType is {value.get('mediaType')!r}")
    if "messageSignature" in value:
        raise InvalidSignature("the bundle signs a message, not a statement")
    material = as_mapping(value.get("verificationMaterial"), "verificationMaterial")
    by_key = material.get("publicKey") is not None
    by_certificate = any(
        material.get(name) is not None for name in ("certificate", "x509CertificateChain")
    )
    if by_key == by_certificate:
        raise InvalidSignature("the bundle must name a key or a certificate, and not both")
    hint = ""
    if by_key:
        hint = _text(as_mapping(material["publicKey"], "publicKey").get("hint", ""), "hint")
        if not hint.isprintable():
            raise InvalidSignature("the hint has control characters")
    payload, signature = _envelope(as_mapping(value.get("dsseEnvelope"), "dsseEnvelope"))
    return Bundle(
        payload=payload, signature=signature, hint=hint, has_certificate=by_certificate, raw=raw
    )


def parse_envelope(raw: bytes, *, has_certificate: bool = False) -> Bundle:
    """Read a bare DSSE envelope, the older form of an attestation. Raises InvalidSignature."""
    if len(raw) > MAX_BUNDLE_BYTES:
        raise InvalidSignature(f"an envelope of {len(raw)} bytes is too large")
    _check_parts(raw, "the envelope")
    payload, signature = _envelope(as_mapping(_json(raw, "the envelope"), "the envelope"))
    return Bundle(
        payload=payload, signature=signature, hint="", has_certificate=has_certificate, raw=raw
    )


def parse_statement(payload: bytes) -> Statement:
    """Read a payload whose signature has been verified. Raises InvalidSignature."""
    value = as_mapping(_json(payload, "the statement"), "the statement")
    if value.get("_type") not in _STATEMENT_TYPES:
        raise InvalidSignature(f"the statement's type is {value.get('_type')!r}")
    subjects = value.get("subject")
    if not isinstance(subjects, list) or not subjects:
        raise InvalidSignature("the statement has no subject")
    predicate_type = _text(value.get("predicateType"), "predicateType")
    if not predicate_type.isprintable():
        raise InvalidSignature("the predicateType has control characters")
    return Statement(
        predicate_type=predicate_type,
        digests=tuple(_subject_digest(subject) for subject in subjects),
        predicate=value.get("predicate"),
        names=tuple(_text(subject.get("name", ""), "subject.name") for subject in subjects),
    )


def _envelope(value: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The payload and the one signature of a DSSE envelope."""
    if value.get("payloadType") != PAYLOAD_TYPE:
        raise InvalidSignature(f"the payloadType is {value.get('payloadType')!r}")
    signatures = value.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise InvalidSignature("the envelope must have exactly one signature")
    signature = as_mapping(signatures[0], "signatures[0]").get("sig")
    return decode_base64(value.get("payload"), "payload"), decode_base64(signature, "sig")


def _subject(name: str, digest: str) -> dict[str, Any]:
    algorithm, _, value = digest.partition(":")
    subject: dict[str, Any] = {"digest": {algorithm: value}}
    return subject | ({"name": name} if name else {})


def _subject_digest(subject: Any) -> str:
    digests = as_mapping(as_mapping(subject, "subject").get("digest"), "subject.digest")
    digest = f"sha256:{digests.get('sha256')}"
    if not DIGEST_PATTERN.fullmatch(digest):
        raise InvalidSignature("a subject has no sha256 digest")
    return digest


def _check_parts(raw: bytes, what: str) -> None:
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > _MAX_PARTS:
        raise InvalidSignature(f"{what} has more than {_MAX_PARTS} parts")


def _json(raw: bytes, what: str) -> Any:
    try:
        return parse_json(raw)
    except ValueError as error:
        raise InvalidSignature(f"{what} is not valid JSON: {error}") from None


def as_mapping(value: Any, what: str) -> Mapping[str, Any]:
    """A JSON object; ``what`` names it in errors. Raises InvalidSignature."""
    if not isinstance(value, dict):
        raise InvalidSignature(f"{what} is not an object")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidSignature(f"{what} is not text")
    return value


def decode_base64(value: Any, what: str) -> bytes:
    """Bytes from canonical base64; ``what`` names it in errors. Raises InvalidSignature."""
    try:
        decoded = base64.b64decode(_text(value, what), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidSignature(f"{what} is not base64") from None
    # Python passes over stray bits at the end; only the one canonical form is accepted.
    if base64.b64encode(decoded).decode() != value:
        raise InvalidSignature(f"{what} is not base64 in its canonical form")
    return decoded
