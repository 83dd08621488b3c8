"""TrustPolicy: who must have signed what, as an object of the cluster, a file or flags say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ocistate.errors import ConfigError, KeyFileError
from ocistate.fields import Fields
from ocistate.signing.globs import glob_fault
from ocistate.signing.keys import PublicKey, load_public_key

API_VERSION: Final = "ocistate.dev/v1alpha1"

Mode = Literal["enforce", "warn", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A key that may sign, and how it is called where a signer is shown."""

    name: str
    key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPolicy:
    """Who must have signed the artifacts of some repositories.

    ``threshold`` distinct keys must have signed. ``mode`` warn applies all the same and says so;
    off does not even look. Signatures in the older formats count with ``allow_legacy`` only.
    """

    name: str
    repositories: tuple[str, ...]
    keys: tuple[TrustedKey, ...] = ()
    threshold: int = 1
    mode: Mode = "enforce"
    allow_legacy: bool = False


def parse_policy(obj: Mapping[str, Any], *, origin: str = "") -> TrustPolicy:
    """Read a TrustPolicy object. Raises ConfigError naming the field that is wrong."""
    top = Fields(obj, path="", origin=origin)
    name = top.mapping("metadata").text("name")
    spec = Fields(top.raw("spec"), path="spec", origin=origin)
    repositories = spec.texts("repositories")
    if not repositories:
        raise spec.error(
            "repositories", "is empty", hint="name at least one, such as 'host/team/**'"
        )
    for place, glob in enumerate(repositories):
        if fault := glob_fault(glob):
            raise spec.error(f"repositories[{place}]", fault)
    keys = tuple(_parse_key(item, origin) for item in spec.items("keys"))
    mode: Mode = spec.choice("mode", ("enforce", "warn", "off"), "enforce")
    threshold = spec.integer("threshold", 1, least=1, most=100)
    if mode != "off" and len({trusted.key.fingerprint for trusted in keys}) < threshold:
        raise spec.error(
            "threshold",
            f"asks for {threshold} signers, but there are {len(keys)} keys",
            hint="add keys, or lower the threshold",
        )
    allow_legacy = spec.boolean("allowLegacy", False)
    spec.finish()
    return TrustPolicy(
        name=name,
        repositories=repositories,
        keys=keys,
        threshold=threshold,
        mode=mode,
        allow_legacy=allow_legacy,
    )


def policy_of_keys(keys: Sequence[PublicKey], *, allow_legacy: bool = False) -> TrustPolicy:
    """The policy that ``--key`` options make: any one of the keys, for any repository."""
    trusted = tuple(TrustedKey(name=f"key {key.fingerprint[:12]}", key=key) for key in keys)
    return TrustPolicy(name="--key", repositories=("**",), keys=trusted, allow_legacy=allow_legacy)


def _parse_key(fields: Fields, origin: str) -> TrustedKey:
    pem = fields.text("pem")
    name = fields.text("name", "")
    fields.finish()
    try:
        key = load_public_key(pem.encode(), origin=f"{fields.path}.pem")
    except KeyFileError as error:
        prefix = f"{origin}: " if origin else ""
        raise ConfigError(f"{prefix}{error.message}", hint=error.hint) from None
    return TrustedKey(name=name or f"key {key.fingerprint[:12]}", key=key)
