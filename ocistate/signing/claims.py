"""What a signature claims, before anyone believes it: for showing what is there.

Nothing here verifies anything. What is wrong and needs no key to be seen is reported all
the same: a malformed signature, and one about another artifact.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from ocistate.canonical import parse_json
from ocistate.errors import InvalidSignature
from ocistate.signing.envelope import SIGN_PREDICATE
from ocistate.signing.found import FoundSignature, open_signature
from ocistate.signing.simple import CERTIFICATE_ANNOTATION

_CREATED: Final = "org.opencontainers.image.created"
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[0-9.]{0,10}(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Who says what, and when, by the signature's own account; each empty where it says nothing.

    ``key`` is the hint of a key, ``identity`` whom a certificate names. ``fault`` says what is
    certainly wrong with it.
    """

    kind: Literal["signature", "attestation", ""] = ""
    predicate_type: str = ""
    key: str = ""
    identity: str = ""
    created: str = ""
    fault: str = ""


def read_claims(found: FoundSignature, digest: str) -> Claims:
    """What is claimed by a signature that was found for an artifact."""
    if found.error:
        return Claims(fault=found.error)
    try:
        signature = open_signature(found)
        identity = _identity(found) if signature.has_certificate else ""
        statement = signature.statement()
    except InvalidSignature as error:
        return Claims(fault=error.message)
    about = statement.digests == (digest,)
    return Claims(
        kind="signature" if statement.predicate_type == SIGN_PREDICATE else "attestation",
        predicate_type=statement.predicate_type,
        key=signature.hint,
        identity=identity,
        created=_created(found),
        fault="" if about else f"is a statement about {statement.digests[0]}",
    )


def _created(found: FoundSignature) -> str:
    text = found.annotations.get(_CREATED, "")
    return text if _TIME.fullmatch(text) else ""


def _identity(found: FoundSignature) -> str:
    """Whom the certificate names; empty when it can't be read."""
    from cryptography import x509

    from ocistate.signing.keyless import certificate_faults, named_in

    try:
        if found.format == "bundle":
            certificate = x509.load_der_x509_certificate(_certificate_of(found.raw))
        else:
            pem = found.annotations[CERTIFICATE_ANNOTATION]
            certificate = x509.load_pem_x509_certificate(pem.encode())
        name = str(named_in(certificate))
    except InvalidSignature:
        return ""
    except certificate_faults():
        return ""
    return name if name.isprintable() else ""


def _certificate_of(bundle: bytes) -> bytes:
    material: Any = parse_json(bundle)["verificationMaterial"]
    certificate = material.get("certificate") or material["x509CertificateChain"]["certificates"][0]
    return base64.b64decode(certificate["rawBytes"])
