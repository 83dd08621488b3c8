"""Keyless: who a certificate says signed a bundle, checked with sigstore against a trusted root.

sigstore takes 0.2 s and 30 MB to import, so that happens in the functions, where an identity is in
play. They block, on CPU and (Sigstore's public root) on the network: call them in a thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from ocistate.errors import ConfigError, InvalidSignature, Unavailable
from ocistate.signing.envelope import PAYLOAD_TYPE, Bundle
from ocistate.signing.policy.model import TrustRoot

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from sigstore.verify import Verifier

_ISSUER_V2: Final = "1.3.6.1.4.1.57264.1.8"
_ISSUER_V1: Final = "1.3.6.1.4.1.57264.1.1"
_OTHER_NAME: Final = "1.3.6.1.4.1.57264.1.7"
_REFRESH_SECONDS: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """Whom a certificate names: the OIDC issuer, and its subject."""

    issuer: str
    subject: str

    def __str__(self) -> str:
        return f"{self.subject} of {self.issuer}"


def certify(bundle: Bundle, root: TrustRoot) -> Certified:
    """Who signed a bundle with a certificate, as the root's authorities and logs witness it.

    Checked are the certificate's chain at the time of signing, that a CT log has it, the
    transparency log's entry with its inclusion proof and promise, signed timestamps, and the
    signature. Raises InvalidSignature; ConfigError, Unavailable when the root can't be used.
    """
    trusted = _root(root)
    from sigstore.errors import Error
    from sigstore.models import Bundle as SigstoreBundle

    named = _Named()
    try:
        parsed = SigstoreBundle.from_json(bundle.raw)
        verifier = _verifier(trusted, parsed.signing_certificate)
        kind, payload = verifier.verify_dsse(parsed, named)
    except Error as error:
        raise InvalidSignature(f"the certificate or its log entry does not hold: {error}") from None
    except certificate_faults() as error:
        # What the library stumbles over is junk it did not foresee, and no signature.
        raise InvalidSignature(f"the certificate's material is malformed: {error}") from None
    if (kind, payload) != (PAYLOAD_TYPE, bundle.payload) or named.certified is None:
        raise InvalidSignature("the bundle can be read in two ways")
    return named.certified


def certificate_faults() -> tuple[type[Exception], ...]:
    """What the libraries stumble with over certificates that are none."""
    from cryptography import x509

    return (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.ExtensionNotFound,
        x509.UnsupportedGeneralNameType,
    )


@dataclass(slots=True)
class _Named:
    """sigstore's view of a policy: whom the certificate names is judged later, and only kept."""

    certified: Certified | None = None

    def verify(self, cert: Certificate) -> None:
        self.certified = named_in(cert)


def named_in(certificate: Certificate) -> Certified:
    """Whom a certificate names, by any issuer. Raises InvalidSignature, and what
    ``certificate_faults`` names."""
    from cryptography import x509

    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    subjects = [
        *names.get_values_for_type(x509.RFC822Name),
        *names.get_values_for_type(x509.UniformResourceIdentifier),
        *(
            _text(other.value)
            for other in names.get_values_for_type(x509.OtherName)
            if other.type_id.dotted_string == _OTHER_NAME
        ),
    ]
    if len(subjects) != 1 or len(list(names)) != 1:
        raise InvalidSignature(f"the certificate names {len(list(names))} subjects, not one")
    return Certified(issuer=_issuer_of(certificate), subject=subjects[0])


def _issuer_of(certificate: Certificate) -> str:
    values = {
        extension.oid.dotted_string: extension.value.value
        for extension in certificate.extensions
        if extension.oid.dotted_string in (_ISSUER_V1, _ISSUER_V2)
        and hasattr(extension.value, "value")
    }
    issuers = {
        _text(value) if oid == _ISSUER_V2 else value.decode() for oid, value in values.items()
    }
    if len(issuers) != 1:
        raise InvalidSignature("the certificate names no issuer, or several")
    return issuers.pop()


def _text(der: bytes) -> str:
    """A DER UTF8String. Raises InvalidSignature."""
    if len(der) < 2 or der[0] != 0x0C:
        raise InvalidSignature("the certificate has a name that is not a UTF8String")
    start, length = 2, der[1]
    if length & 0x80:
        start = 2 + (length & 0x7F)
        length = int.from_bytes(der[2:start], "big")
    if start > 4 or len(der) != start + length:
        raise InvalidSignature("the certificate has a name of another length")
    return der[start:].decode()


@dataclass(slots=True)
class _Root:
    """A root as sigstore reads it, and what verifies under it: one verifier for each set of
    authorities and logs that were valid together."""

    trusted: Any
    made_at: float
    verifiers: dict[tuple[tuple[int, ...], ...], Verifier] = field(default_factory=dict)


_lock: Final = Lock()
_roots: Final[dict[str, _Root]] = {}
_MOST_ROOTS: Final = 64


def _root(root: TrustRoot) -> _Root:
    """The root, read once. The public one is refreshed once a day."""
    with _lock:
        known = _roots.get(root.digest)
        if known and (root.data or time.monotonic() - known.made_at < _REFRESH_SECONDS):
            return known
        trusted = _parsed(root) if root.data else _public_good(known)
        made = _roots[root.digest] = _Root(trusted, time.monotonic())
        while len(_roots) > _MOST_ROOTS:
            del _roots[next(iter(_roots))]
        return made


def _verifier(root: _Root, certificate: Certificate) -> Verifier:
    """What verifies with those of a root's authorities and logs that were valid at the time.

    sigstore looks at their certificates only, and not at how long the root trusts them.
    """
    from sigstore.errors import VerificationError
    from sigstore.models import TrustedRoot
    from sigstore.verify import Verifier

    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc

    def valid(periods: Iterable[Any]) -> tuple[int, ...]:
        return tuple(
            place
            for place, period in enumerate(periods)
            if period is None
            or (
                (period.start is None or period.start <= last)
                and (period.end is None or first <= period.end)
            )
        )

    trusted = root.trusted
    authorities = valid(a.valid_for for a in trusted.certificate_authorities)
    logs = valid(log.public_key.valid_for for log in trusted.tlogs)
    ct_logs = valid(log.public_key.valid_for for log in trusted.ctlogs)
    if not authorities or not logs or not ct_logs:
        raise VerificationError("the trusted root had no valid authority and logs at that time")
    known = root.verifiers.get((authorities, logs, ct_logs))
    if known is None:
        then = trusted.model_copy(
            update={
                "certificate_authorities": [
                    trusted.certificate_authorities[i] for i in authorities
                ],
                "tlogs": [trusted.tlogs[i] for i in logs],
                "ctlogs": [trusted.ctlogs[i] for i in ct_logs],
            }
        )
        known = Verifier(trusted_root=TrustedRoot(then))
        root.verifiers[authorities, logs, ct_logs] = known
    return known


def _parsed(root: TrustRoot) -> Any:
    from sigstore.errors import Error
    from sigstore.models import TrustedRoot
    from sigstore.verify import Verifier
    from sigstore_models.trustroot.v1 import TrustedRoot as Model

    try:
        trusted = Model.from_json(root.data)
        Verifier(trusted_root=TrustedRoot(trusted))  # complete, or an error here
    except (Error, ValueError) as error:
        raise ConfigError(
            f"the trusted root {root.digest[:12]} can't be used: {error}",
            hint="give a complete trusted_root.json: authorities, CT logs and transparency logs",
        ) from None
    return trusted


def _public_good(before: _Root | None) -> Any:
    from sigstore.errors import Error
    from sigstore.models import ClientTrustConfig

    try:
        return ClientTrustConfig.production().trusted_root._inner
    except (Error, OSError, ValueError) as error:
        if before is not None:
            return before.trusted
        raise Unavailable(
            f"Sigstore's public trusted root can't be fetched: {error}",
            hint="give a trusted_root.json: --trusted-root FILE, or trustedRoot in the policy",
        ) from None
