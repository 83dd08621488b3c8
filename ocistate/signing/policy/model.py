"""TrustPolicy: who must have signed what. Its fields, and the flags that set them.

    policy = policy_of_flags([key], [parse_identity("issuer=https://…,subject=ci@example.com")])

The object of the cluster, or of a file, that has it is read by ``policy_object``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Literal

from ocistate.caches import bounded_cache
from ocistate.canonical import parse_json
from ocistate.errors import ConfigError
from ocistate.signing.keys import PublicKey

API_VERSION: Final = "ocistate.dev/v1alpha1"

PolicyMode = Literal["enforce", "warn", "off"]

RE2_HINT: Final = "the syntax is RE2's"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A key that may sign, and how it is called where a signer is shown."""

    name: str
    key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A text to be equal to, or a regular expression (RE2) that must match the whole of it."""

    text: str
    regexp: bool = False

    def __call__(self, value: str) -> bool:
        if not self.regexp:
            return value == self.text
        return _re2(self.text).fullmatch(value) is not None

    def __str__(self) -> str:
        return f"/{self.text}/" if self.regexp else self.text

    @property
    def fault(self) -> str:
        """What is wrong with it; empty for a text, or a regular expression that is one."""
        if self.regexp:
            try:
                _re2(self.text)
            except ValueError as error:
                return f"{self.text!r} is not a regular expression: {error}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRoot:
    """Whose certificates and logs are believed: a trusted_root.json, or Sigstore's public one."""

    data: bytes = field(default=b"", repr=False)
    digest: str = ""
    """SHA-256 of ``data`` in hex; empty for the public-good root, which is fetched when needed."""


PUBLIC_GOOD: Final = TrustRoot()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIdentity:
    """Who may sign without a key: an OIDC issuer's subject, as certified under a root."""

    name: str
    issuer: Match
    subject: Match
    root: TrustRoot = PUBLIC_GOOD


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiredAttestation:
    """A statement that must have been made about the artifact, and what must be true in it.

    ``conditions`` are CEL expressions over ``predicate``; all must be true of the same statement.
    """

    predicate_type: str
    keys: tuple[TrustedKey, ...] = ()
    identities: tuple[TrustedIdentity, ...] = ()
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPolicy:
    """Who must have signed the artifacts of some repositories.

    ``threshold`` distinct ones of ``keys`` and ``identities`` must have signed. ``mode`` warn
    applies all the same and says so; off does not even look. ``channel_keys`` sign channels'
    records, in ``epoch`` and from ``min_sequence`` on; ``reporters`` are clusters by name, with the
    key each signs its reports with. ``fault`` says why the policy can't be
    read: it then refuses all that its globs match, and without globs everything.
    """

    name: str
    repositories: tuple[str, ...]
    keys: tuple[TrustedKey, ...] = ()
    identities: tuple[TrustedIdentity, ...] = ()
    threshold: int = 1
    attestations: tuple[RequiredAttestation, ...] = ()
    channel_keys: tuple[TrustedKey, ...] = ()
    reporters: tuple[TrustedKey, ...] = ()
    epoch: int = 1
    min_sequence: int = 0
    allow_legacy: bool = False
    mode: PolicyMode = "enforce"
    fault: str = ""


_ROOT_TYPE: Final = "application/vnd.dev.sigstore.trustedroot"


def policy_of_flags(
    keys: Sequence[PublicKey],
    identities: Sequence[TrustedIdentity] = (),
    *,
    allow_legacy: bool = False,
) -> TrustPolicy:
    """The policy that ``--key`` and ``--identity`` make: any one of them, for any repository."""
    trusted = tuple(trusted_key("", key) for key in keys)
    name = " or ".join(
        flag for flag, given in (("--key", keys), ("--identity", identities)) if given
    )
    return TrustPolicy(
        name=name,
        repositories=("**",),
        keys=trusted,
        identities=tuple(identities),
        allow_legacy=allow_legacy,
    )


_IDENTITY_PART: Final = re.compile(r"(?:^|,)\s*(issuer|subject)(-regexp)?=")


def parse_identity(text: str, root: TrustRoot = PUBLIC_GOOD) -> TrustedIdentity:
    """``issuer=URL,subject=TEXT``, either one also as ``issuer-regexp=``. Raises ConfigError."""
    starts = list(_IDENTITY_PART.finditer(text))
    found: dict[str, Match] = {}
    for place, start in enumerate(starts):
        end = starts[place + 1].start() if place + 1 < len(starts) else len(text)
        value = text[start.end() : end]
        if start[1] in found or not value:
            starts = []
            break
        found[start[1]] = match = Match(text=value, regexp=bool(start[2]))
        if match.fault:
            raise ConfigError(f"--identity: {match.fault}", hint=RE2_HINT)
    if set(found) != {"issuer", "subject"} or not starts or starts[0].start() != 0:
        raise ConfigError(
            f"--identity {text!r} is not issuer=…,subject=…",
            hint="write issuer=URL,subject=WHO; issuer-regexp= and subject-regexp= match wholly",
        )
    return trusted_identity("", found["issuer"], found["subject"], root)


def trust_root(data: bytes, origin: str) -> TrustRoot:
    """A root from the bytes of a trusted_root.json. Raises ConfigError when it is none."""
    try:
        value = parse_json(data)
    except ValueError:
        value = None
    if not isinstance(value, dict) or not str(value.get("mediaType")).startswith(_ROOT_TYPE):
        raise ConfigError(
            f"{origin} is not a Sigstore trusted root",
            hint="'cosign trusted-root create' or your Sigstore instance makes trusted_root.json",
        )
    return TrustRoot(data=data, digest=sha256(data).hexdigest())


def trusted_identity(name: str, issuer: Match, subject: Match, root: TrustRoot) -> TrustedIdentity:
    """An identity under its name, or else under what it must match."""
    name = name or f"{subject} of {issuer}"
    return TrustedIdentity(name=name, issuer=issuer, subject=subject, root=root)


@bounded_cache("policy_patterns", most=256)
def _re2(pattern: str) -> Any:
    # Linear in the subject's length, which a stranger chooses; Python's own engine is not.
    import re2  # type: ignore[import-untyped]

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        text = error.args[0] if error.args else ""
        raise ValueError(text.decode() if isinstance(text, bytes) else str(text)) from None


def trusted_key(name: str, key: PublicKey) -> TrustedKey:
    """A key under its name, or else under the beginning of its fingerprint."""
    return TrustedKey(name=name or f"key {key.fingerprint[:12]}", key=key)
