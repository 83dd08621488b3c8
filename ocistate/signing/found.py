"""A signature as it was found, in any of the formats, and taken apart.

signature = open_signature(found)
if key.verify(signature.signature, signature.signed):
    statement = signature.statement()      # only now does the signer vouch for it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from ocistate.signing.envelope import Bundle, parse_bundle, parse_envelope
from ocistate.signing.simple import CERTIFICATE_ANNOTATION, SimpleSignature, parse_simple

SignatureFormat = Literal["bundle", "simple", "dsse"]
"""A sigstore bundle; or cosign's older two: simple signing, and a bare DSSE attestation."""

Signature = Bundle | SimpleSignature

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSignature:
    """A signature as it was found: where, and its bytes, or why they could not be had.

    ``origin`` is the digest of its manifest; for the older formats the tag and the layer's place
    in it. ``annotations`` are the layer's (older formats) or the manifest's (bundles): no one has
    signed them.
    """

    origin: str
    format: SignatureFormat = "bundle"
    raw: bytes = b""
    annotations: Mapping[str, str] = field(default_factory=lambda: _NONE, hash=False)
    error: str = ""

    @property
    def legacy(self) -> bool:
        """Whether it is in one of the older formats, which a policy must allow."""
        return self.format != "bundle"


def open_signature(found: FoundSignature) -> Signature:
    """Take a signature apart by its format. Raises InvalidSignature; verifies nothing."""
    if found.format == "simple":
        return parse_simple(found.raw, found.annotations)
    if found.format == "dsse":
        certified = bool(found.annotations.get(CERTIFICATE_ANNOTATION))
        return parse_envelope(found.raw, has_certificate=certified)
    return parse_bundle(found.raw)
