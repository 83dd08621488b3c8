"""Read a TrustPolicy object, of the cluster or of a file.

    policy = parse_policy(obj, origin="trust.yaml:1", read=read_beside(Path("trust.yaml")))

What a policy takes from elsewhere (a Secret, a ConfigMap, a file) is read by ``read``, so that
parsing is pure: ``references`` lists beforehand what that will be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from ocistate.documents import shapes
from ocistate.documents.fields import Fields
from ocistate.errors import ConfigError, KeyFileError, OcistateError
from ocistate.signing.keys import load_public_key
from ocistate.signing.policy.globs import glob_fault
from ocistate.signing.policy.model import (
    PUBLIC_GOOD,
    RE2_HINT,
    Match,
    RequiredAttestation,
    TrustedIdentity,
    TrustedKey,
    TrustPolicy,
    trust_root,
    trusted_identity,
    trusted_key,
)

MAX_CONDITION: Final = 4096
"""Characters of one condition: CEL beyond that is a program, and not a condition."""
MAX_NAME: Final = 253
MAX_PEM: Final = 64 * 1024
MAX_ROOT: Final = 1024 * 1024
MAX_THRESHOLD: Final = 100
MAX_ENTRIES: Final = 1000
"""Of the list of clusters; all others are shorter."""


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
_KEY_ENTRY: Final = "cosign.pub"
_ROOT_ENTRY: Final = "trusted_root.json"


def parse_policy(
    obj: Mapping[str, Any], *, origin: str = "", read: Reader | None = None
) -> TrustPolicy:
    """Read a TrustPolicy object. Raises ConfigError naming the field that is wrong."""
    top = Fields(obj, path="", origin=origin)
    name = top.mapping("metadata").text("name", most=MAX_NAME)
    spec = Fields(top.raw("spec"), path="spec", origin=origin)
    reading = _Reading(read or _nowhere)
    policy = TrustPolicy(
        name=name,
        repositories=_parse_globs(spec),
        keys=reading.keys(spec, "keys"),
        identities=reading.identities(spec),
        threshold=spec.integer("threshold", 1, least=1, most=MAX_THRESHOLD),
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
    empty = TrustPolicy(name="", repositories=())
    required = _Reading(read or _nowhere).attestation(fields, empty)
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


def faulty_policy(obj: Mapping[str, Any], error: OcistateError) -> TrustPolicy:
    """What replaces a policy that can't be read: a refusal, and not the next wider policy."""
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
            found = ref.get("name") if isinstance(ref, Mapping) else None
            if isinstance(found, str) and shapes.NAME.fits(found):
                yield Material(kind, found)
        for value in obj.values():
            yield from references(value)
    elif isinstance(obj, list):
        for value in obj:
            yield from references(value)


@dataclass(slots=True)
class _Reading:
    """Parses the parts that may be kept elsewhere."""

    read: Reader

    def keys(self, spec: Fields, name: str) -> tuple[TrustedKey, ...]:
        return tuple(self._key(item) for item in spec.items(name))

    def identities(self, spec: Fields) -> tuple[TrustedIdentity, ...]:
        return tuple(self._identity(item) for item in spec.items("identities"))

    def attestation(self, fields: Fields, policy: TrustPolicy) -> RequiredAttestation:
        conditions = fields.texts("conditions", most_characters=MAX_CONDITION, lines=True)
        for place, condition in enumerate(conditions):
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
        name = fields.text("name", "", most=MAX_NAME)
        data, where = self._material(fields, "pem", _KEY_ENTRY)
        fields.finish()
        try:
            key = load_public_key(data, origin=where)
        except KeyFileError as error:
            prefix = f"{fields.origin}: " if fields.origin else ""
            raise ConfigError(f"{prefix}{error.message}", hint=error.hint) from None
        return trusted_key(name, key)

    def _identity(self, fields: Fields) -> TrustedIdentity:
        root = PUBLIC_GOOD
        if fields.has("trustedRoot"):
            inner = fields.mapping("trustedRoot")
            data, where = self._material(inner, "json", _ROOT_ENTRY)
            inner.finish()
            root = trust_root(data, where)
        identity = trusted_identity(
            fields.text("name", "", most=MAX_NAME),
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
                "is required" if not given else f"excludes {given[0]}: give one of them",
                hint=f"give one of {inline}, secretRef, configMapRef and file",
            )
        if given[0] == inline:
            most = MAX_PEM if inline == "pem" else MAX_ROOT
            return fields.text(inline, most=most, lines=True).encode(), f"{fields.path}.{inline}"
        if given[0] == "file":
            material = Material("file", fields.text("file"))
        else:
            ref = fields.mapping(given[0])
            kind = dict(_REFERENCES)[given[0]]
            key = ref.text("key", entry, shape=shapes.DATA_KEY) or entry
            material = Material(kind, ref.text("name", shape=shapes.NAME), key)
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
            "is required" if not given else f"excludes {name}RegExp: give one of them",
            hint=f"give {name}, or {name}RegExp, which must match the whole",
        )
    match = Match(text=fields.text(given[0]), regexp=given[0] != name)
    if match.fault:
        raise fields.error(given[0], match.fault, hint=RE2_HINT)
    return match


def _nowhere(material: Material) -> bytes:
    raise ConfigError(f"the {material} can't be read here", hint="give the PEM itself")
