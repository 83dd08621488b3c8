"""TrustPolicy: who must have signed what, as an object of the cluster, a file or flags say it.

    policy = parse_policy(obj, origin="trust.yaml:1", read=read_beside(Path("trust.yaml")))

What a policy takes from elsewhere (a Secret, a ConfigMap, a file) is read by ``read``, so that
parsing is pure: ``references`` tells beforehand what that will be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, Literal

from ocistate.canonical import parse_json
from ocistate.errors import ConfigError, KeyFileError
from ocistate.fields import Fields
from ocistate.signing.globs import glob_fault
from ocistate.signing.keys import PublicKey, load_public_key

API_VERSION: Final = "ocistate.dev/v1alpha1"

Mode = Literal["enforce", "warn", "off"]

_MAX_CONDITION: Final = 4096
"""Characters of one condition: CEL beyond that is a program, and not a condition."""


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
    mode: Mode = "enforce"
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Material:
    """Where a key or a root is kept: a ``Secret``'s or ``ConfigMap``'s key, or a ``file``."""

    kind: Literal["Secret", "ConfigMap", "file"]
    name: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f", key {self.key}" if self.key else "")


Reader = Callable[[Material], bytes]
"""Gives what is kept somewhere. Raises ConfigError."""

_REFERENCES: Final[tuple[tuple[str, Literal["Secret", "ConfigMap"]], ...]] = (
    ("secretRef", "Secret"),
    ("configMapRef", "ConfigMap"),
)
_ROOT_TYPE: Final = "application/vnd.dev.sigstore.trustedroot"
_KEY_ENTRY: Final = "cosign.pub"
_ROOT_ENTRY: Final = "trusted_root.json"


def parse_policy(
    obj: Mapping[str, Any], *, origin: str = "", read: Reader | None = None
) -> TrustPolicy:
    """Read a TrustPolicy object. Raises ConfigError naming the field that is wrong."""
    top = Fields(obj, path="", origin=origin)
    name = top.mapping("metadata").text("name")
    spec = Fields(top.raw("spec"), path="spec", origin=origin)
    reading = _Reading(read or _nowhere)
    policy = TrustPolicy(
        name=name,
        repositories=_parse_globs(spec),
        keys=reading.keys(spec, "keys"),
        identities=reading.identities(spec),
        threshold=spec.integer("threshold", 1, least=1, most=100),
        channel_keys=reading.keys(spec, "channelKeys"),
        reporters=_parse_reporters(reading, spec),
        epoch=spec.integer("epoch", 1, least=1),
        min_sequence=spec.integer("minSequence", 0),
        allow_legacy=spec.boolean("allowLegacy", False),
        mode=spec.choice("mode", ("enforce", "warn", "off"), "enforce"),
    )
    policy = replace(
        policy,
        attestations=tuple(
            reading.attestation(item, policy) for item in spec.items("attestations")
        ),
    )
    count = len({trusted.key.fingerprint for trusted in policy.keys}) + len(policy.identities)
    if policy.mode != "off" and count < policy.threshold:
        raise spec.error(
            "threshold",
            f"asks for {policy.threshold} signers, but there are {count} keys and identities",
            hint="add keys or identities, or lower the threshold",
        )
    shared = {trusted.key.fingerprint for trusted in policy.keys} & {
        trusted.key.fingerprint for trusted in policy.channel_keys
    }
    if shared:
        raise spec.error(
            "channelKeys",
            f"the key {min(shared)[:12]} is one of keys too",
            hint="who signs artifacts must not move channels: make a key pair of its own",
        )
    spec.finish()
    return policy


def parse_signers(
    fields: Fields, read: Reader | None = None
) -> tuple[tuple[TrustedKey, ...], tuple[TrustedIdentity, ...]]:
    """The ``keys`` and ``identities`` of a mapping, as policies have them. Raises ConfigError."""
    reading = _Reading(read or _nowhere)
    return reading.keys(fields, "keys"), reading.identities(fields)


def parse_attestation(fields: Fields, read: Reader | None = None) -> RequiredAttestation:
    """A required attestation as policies have it, with signers of its own. Raises ConfigError."""
    nobody = TrustPolicy(name="", repositories=())
    required = _Reading(read or _nowhere).attestation(fields, nobody)
    if not required.keys and not required.identities:
        raise fields.error("keys", "is empty, and so is identities", hint="name who may attest it")
    return required


def _parse_reporters(reading: _Reading, spec: Fields) -> tuple[TrustedKey, ...]:
    """Clusters and their keys: each with a name, and each with a key of its own."""
    reporters = reading.keys(spec, "reporters")
    for place, item in enumerate(spec.items("reporters")):
        if not item.text("name", ""):
            raise spec.error(f"reporters[{place}].name", "is missing", hint="the cluster's name")
    for what, found in (
        ("name", [reporter.name for reporter in reporters]),
        ("key", [reporter.key.fingerprint for reporter in reporters]),
    ):
        twice = next((value for value in found if found.count(value) > 1), None)
        if twice is not None:
            raise spec.error("reporters", f"has the {what} {twice[:40]} twice")
    return reporters


def faulty_policy(obj: Mapping[str, Any], error: ConfigError) -> TrustPolicy:
    """What stands for a policy that can't be read: a refusal, and not the next wider policy."""
    metadata, spec = obj.get("metadata"), obj.get("spec")
    globs = spec.get("repositories") if isinstance(spec, Mapping) else None
    good = (
        isinstance(globs, list)
        and bool(globs)
        and all(isinstance(glob, str) and not glob_fault(glob) for glob in globs)
    )
    return TrustPolicy(
        name=str(metadata.get("name", "")) if isinstance(metadata, Mapping) else "",
        repositories=tuple(globs) if good and isinstance(globs, list) else (),
        fault=str(error),
    )


def references(obj: Any) -> Iterator[Material]:
    """The Secrets and ConfigMaps, whole, that a TrustPolicy object takes something from."""
    if isinstance(obj, Mapping):
        for name, kind in _REFERENCES:
            ref = obj.get(name)
            if isinstance(ref, Mapping) and isinstance(ref.get("name"), str):
                yield Material(kind, ref["name"])
        for value in obj.values():
            yield from references(value)
    elif isinstance(obj, list):
        for value in obj:
            yield from references(value)


def policy_of_flags(
    keys: Sequence[PublicKey],
    identities: Sequence[TrustedIdentity] = (),
    *,
    allow_legacy: bool = False,
) -> TrustPolicy:
    """The policy that ``--key`` and ``--identity`` make: any one of them, for any repository."""
    trusted = tuple(TrustedKey(name=_short(key), key=key) for key in keys)
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
        found[start[1]] = _checked(Match(text=value, regexp=bool(start[2])), "--identity")
    if set(found) != {"issuer", "subject"} or not starts or starts[0].start() != 0:
        raise ConfigError(
            f"--identity {text!r} is not issuer=…,subject=…",
            hint="write issuer=URL,subject=WHO; issuer-regexp= and subject-regexp= match wholly",
        )
    return _identity("", found["issuer"], found["subject"], root)


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


@dataclass(slots=True)
class _Reading:
    """Parses the parts that may be kept elsewhere."""

    read: Reader

    def keys(self, spec: Fields, name: str) -> tuple[TrustedKey, ...]:
        return tuple(self._key(item) for item in spec.items(name))

    def identities(self, spec: Fields) -> tuple[TrustedIdentity, ...]:
        return tuple(self._identity(item) for item in spec.items("identities"))

    def attestation(self, fields: Fields, policy: TrustPolicy) -> RequiredAttestation:
        conditions = fields.texts("conditions")
        for place, condition in enumerate(conditions):
            if len(condition) > _MAX_CONDITION:
                raise fields.error(
                    f"conditions[{place}]", f"is longer than {_MAX_CONDITION} characters"
                )
            from ocistate.cel import check_syntax

            if fault := check_syntax(condition):
                raise fields.error(f"conditions[{place}]", fault, hint="see docs/trust.md")
        keys, identities = self.keys(fields, "keys"), self.identities(fields)
        if not keys and not identities:
            keys, identities = policy.keys, policy.identities
        required = RequiredAttestation(
            predicate_type=fields.text("predicateType"),
            keys=keys,
            identities=identities,
            conditions=conditions,
        )
        fields.finish()
        return required

    def _key(self, fields: Fields) -> TrustedKey:
        name = fields.text("name", "")
        data, where = self._material(fields, "pem", _KEY_ENTRY)
        fields.finish()
        try:
            key = load_public_key(data, origin=where)
        except KeyFileError as error:
            prefix = f"{fields.origin}: " if fields.origin else ""
            raise ConfigError(f"{prefix}{error.message}", hint=error.hint) from None
        return TrustedKey(name=name or _short(key), key=key)

    def _identity(self, fields: Fields) -> TrustedIdentity:
        root = PUBLIC_GOOD
        if fields.has("trustedRoot"):
            inner = fields.mapping("trustedRoot")
            data, where = self._material(inner, "json", _ROOT_ENTRY)
            inner.finish()
            root = trust_root(data, where)
        identity = _identity(
            fields.text("name", ""),
            _parse_match(fields, "issuer"),
            _parse_match(fields, "subject"),
            root,
        )
        fields.finish()
        return identity

    def _material(self, fields: Fields, inline: str, entry: str) -> tuple[bytes, str]:
        """The bytes that one of the fields gives, and where they were found."""
        given = [name for name in (inline, "secretRef", "configMapRef", "file") if fields.has(name)]
        if len(given) != 1:
            raise fields.error(
                inline if not given else given[1],
                "is required" if not given else f"stands beside {given[0]}",
                hint=f"give one of {inline}, secretRef, configMapRef and file",
            )
        if given[0] == inline:
            return fields.text(inline).encode(), f"{fields.path}.{inline}"
        if given[0] == "file":
            material = Material("file", fields.text("file"))
        else:
            ref = fields.mapping(given[0])
            kind = dict(_REFERENCES)[given[0]]
            material = Material(kind, ref.text("name"), ref.text("key", entry) or entry)
            ref.finish()
        try:
            return self.read(material), f"{fields.path}.{given[0]}: {material}"
        except ConfigError as error:
            raise fields.error(given[0], error.message, hint=error.hint) from None


def _parse_globs(spec: Fields) -> tuple[str, ...]:
    globs = spec.texts("repositories")
    if not globs:
        raise spec.error(
            "repositories", "is empty", hint="name at least one, such as 'host/team/**'"
        )
    for place, glob in enumerate(globs):
        if fault := glob_fault(glob):
            raise spec.error(f"repositories[{place}]", fault)
    return globs


def _parse_match(fields: Fields, name: str) -> Match:
    given = [key for key in (name, f"{name}RegExp") if fields.has(key)]
    if len(given) != 1:
        raise fields.error(
            name,
            "is required" if not given else f"stands beside {name}RegExp",
            hint=f"give {name}, or {name}RegExp, which must match the whole",
        )
    return _checked(
        Match(text=fields.text(given[0]), regexp=given[0] != name), "", fields, given[0]
    )


def _identity(name: str, issuer: Match, subject: Match, root: TrustRoot) -> TrustedIdentity:
    name = name or f"{subject} of {issuer}"
    return TrustedIdentity(name=name, issuer=issuer, subject=subject, root=root)


def _checked(match: Match, where: str, fields: Fields | None = None, key: str = "") -> Match:
    """The match itself, if its regular expression is one. Raises ConfigError."""
    if match.regexp:
        try:
            _re2(match.text)
        except ValueError as error:
            message = f"{match.text!r} is not a regular expression: {error}"
            if fields is not None:
                raise fields.error(key, message, hint="the syntax is RE2's") from None
            raise ConfigError(f"{where}: {message}", hint="the syntax is RE2's") from None
    return match


@lru_cache(maxsize=256)
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


def _short(key: PublicKey) -> str:
    return f"key {key.fingerprint[:12]}"


def _nowhere(material: Material) -> bytes:
    raise ConfigError(f"the {material} can't be read here", hint="give the PEM itself")
