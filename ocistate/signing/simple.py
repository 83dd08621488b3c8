"""Simple signing, cosign's older format: the signature of a small JSON that names a digest.

The payload is signed as it is, without DSSE. It names one digest, and that is what is bound; the
reference in it is where the artifact was signed, and a copy elsewhere is the same artifact.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ocistate.canonical import DIGEST_PATTERN, canonical_json, parse_json
from ocistate.errors import InvalidSignature
from ocistate.signing.envelope import SIGN_PREDICATE, Statement, as_mapping, decode_base64

SIMPLE_TYPE: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_ANNOTATION: Final = "dev.cosignproject.cosign/signature"
CERTIFICATE_ANNOTATION: Final = "dev.sigstore.cosign/certificate"
MAX_PAYLOAD_BYTES: Final = 256 * 1024

_KIND: Final = "cosign container image signature"
_MAX_SIGNATURE: Final = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class SimpleSignature:
    """A payload and its signature; not to be believed before it has been verified."""

    payload: bytes
    signature: bytes
    has_certificate: bool
    hint: str = ""
    """Always empty: this format does not say which key signed."""

    @property
    def signed(self) -> bytes:
        """The bytes that are signed."""
        return self.payload

    def statement(self) -> Statement:
        """The statement, once the signature has been verified. Raises InvalidSignature."""
        return parse_payload(self.payload)


def build_payload(repository: str, digest: str) -> bytes:
    """The payload about a digest, in cosign's form. ``repository`` has no tag and no digest."""
    return canonical_json(
        {
            "critical": {
                "identity": {"docker-reference": repository},
                "image": {"docker-manifest-digest": digest},
                "type": _KIND,
            },
            "optional": None,
        }
    )


def parse_simple(payload: bytes, annotations: Mapping[str, str]) -> SimpleSignature:
    """A layer of a ``.sig`` manifest and its annotations. Raises InvalidSignature."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise InvalidSignature(f"a payload of {len(payload)} bytes is too large")
    text = annotations.get(SIGNATURE_ANNOTATION, "")
    if not text or len(text) > _MAX_SIGNATURE:
        raise InvalidSignature(f"the annotation {SIGNATURE_ANNOTATION} holds no signature")
    return SimpleSignature(
        payload=payload,
        signature=decode_base64(text, SIGNATURE_ANNOTATION),
        has_certificate=bool(annotations.get(CERTIFICATE_ANNOTATION)),
    )


def signature_annotation(signature: bytes) -> Mapping[str, str]:
    """The annotations that carry a signature."""
    return {SIGNATURE_ANNOTATION: base64.b64encode(signature).decode()}


def parse_payload(payload: bytes) -> Statement:
    """Read a payload, as the statement a bundle would hold: signed, about one digest.

    The predicate is what the signer added under ``optional``. Raises InvalidSignature.
    """
    try:
        value = parse_json(payload)
    except ValueError as error:
        raise InvalidSignature(f"the payload is not valid JSON: {error}") from None
    critical = as_mapping(as_mapping(value, "the payload").get("critical"), "critical")
    if critical.keys() != {"identity", "image", "type"} or critical["type"] != _KIND:
        raise InvalidSignature("critical is not that of a signature of an artifact")
    identity = as_mapping(critical["identity"], "critical.identity")
    if not isinstance(identity.get("docker-reference"), str):
        raise InvalidSignature("critical.identity has no docker-reference")
    digest = as_mapping(critical["image"], "critical.image").get("docker-manifest-digest")
    if not isinstance(digest, str) or not DIGEST_PATTERN.fullmatch(digest):
        raise InvalidSignature("critical.image has no sha256 digest")
    return Statement(
        predicate_type=SIGN_PREDICATE,
        digests=(digest,),
        predicate=as_mapping(value.get("optional") or {}, "optional"),
    )
