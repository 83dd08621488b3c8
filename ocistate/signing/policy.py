"""TrustPolicy: who must have signed what. A pure decision over plain data.

No policy for a repository means no: what nobody vouches for is not applied. The most specific glob
decides; two that are equally specific are an error and not a choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

from ocistate.errors import (
    ConfigError,
    InvalidSignature,
    KeyFileError,
    NoPolicy,
    NotSigned,
    ThresholdNotMet,
    TrustError,
    Untrusted,
)
from ocistate.fields import Fields
from ocistate.signing.envelope import SIGN_PREDICATE, Bundle, parse_bundle, parse_statement
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
    off does not even look.
    """

    name: str
    repositories: tuple[str, ...]
    keys: tuple[TrustedKey, ...] = ()
    threshold: int = 1
    mode: Mode = "enforce"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A signature as it was found: where, and its bytes, or why they could not be had."""

    origin: str
    raw: bytes = b""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one signature is worth: ``signer`` names who made it where that is known."""

    origin: str
    counts: bool
    signer: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The outcome for one artifact. ``error`` is what enforcing raises, None when satisfied."""

    policy: TrustPolicy
    verdicts: tuple[Verdict, ...]
    signers: tuple[str, ...]
    error: TrustError | None


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
        if not _GLOB.fullmatch(glob):
            raise spec.error(f"repositories[{place}]", f"{glob!r} is not a repository glob")
    keys = tuple(_parse_key(item, origin) for item in spec.items("keys"))
    mode: Mode = spec.choice("mode", ("enforce", "warn", "off"), "enforce")
    threshold = spec.integer("threshold", 1, least=1, most=100)
    if mode != "off" and len({trusted.key.fingerprint for trusted in keys}) < threshold:
        raise spec.error(
            "threshold",
            f"asks for {threshold} signers, but there are {len(keys)} keys",
            hint="add keys, or lower the threshold",
        )
    spec.finish()
    return TrustPolicy(
        name=name, repositories=repositories, keys=keys, threshold=threshold, mode=mode
    )


def policy_of_keys(keys: Sequence[PublicKey]) -> TrustPolicy:
    """The policy that ``--key`` options make: any one of the keys, for any repository."""
    trusted = tuple(TrustedKey(name=f"key {key.fingerprint[:12]}", key=key) for key in keys)
    return TrustPolicy(name="--key", repositories=("**",), keys=trusted)


def select_policy(
    policies: Iterable[TrustPolicy], repository: str, name: str | None = None
) -> TrustPolicy:
    """The policy for a repository, named as ``Reference.name`` has it: the most specific one.

    With ``name``, that one, and it must speak of the repository. Raises NoPolicy, ConfigError.
    """
    policies = tuple(policies)
    if name is not None and not any(policy.name == name for policy in policies):
        raise NoPolicy(f"there is no TrustPolicy {name!r}", hint="create it, or name another")
    best: list[tuple[tuple[int, int], TrustPolicy]] = []
    for policy in policies:
        if name is not None and policy.name != name:
            continue
        ranks = [_rank(glob) for glob in policy.repositories if _matches(glob, repository)]
        if ranks:
            best.append((max(ranks), policy))
    if not best:
        which = f"the TrustPolicy {name!r} does not speak" if name else "no TrustPolicy speaks"
        raise NoPolicy(
            f"{which} of {repository}", hint="add the repository to a policy's spec.repositories"
        )
    top = max(rank for rank, _ in best)
    winners = [policy for rank, policy in best if rank == top]
    if len(winners) > 1:
        names = " and ".join(sorted(policy.name for policy in winners))
        raise ConfigError(
            f"the TrustPolicies {names} speak of {repository} equally specifically",
            hint="make one of their globs more specific, or name one in spec.trust.policy",
        )
    return winners[0]


def decide(
    policy: TrustPolicy,
    digest: str,
    found: Sequence[Found],
    *,
    predicate_type: str = SIGN_PREDICATE,
) -> Decision:
    """What the signatures found for an artifact are worth under a policy."""
    verdicts: list[Verdict] = []
    signers: dict[str, str] = {}
    for item in found:
        verdict, fingerprint = _judge(policy, digest, item, predicate_type)
        if verdict.counts and fingerprint in signers:
            verdict = Verdict(
                origin=item.origin,
                counts=False,
                signer=verdict.signer,
                reason="the same key has been counted already",
            )
        elif verdict.counts:
            signers[fingerprint] = verdict.signer
        verdicts.append(verdict)
    return Decision(
        policy=policy,
        verdicts=tuple(verdicts),
        signers=tuple(sorted(signers.values())),
        error=_error(policy, digest, verdicts, len(signers)),
    )


def _judge(
    policy: TrustPolicy, digest: str, found: Found, predicate_type: str
) -> tuple[Verdict, str]:
    def no(reason: str, signer: str = "") -> tuple[Verdict, str]:
        return Verdict(origin=found.origin, counts=False, signer=signer, reason=reason), ""

    if found.error:
        return no(found.error)
    try:
        bundle = parse_bundle(found.raw)
        if bundle.has_certificate:
            return no("signed by identity, and the policy trusts keys only")
        trusted = _signer(policy, bundle)
        if trusted is None:
            return no(f"signed by a key the policy does not name (hint {bundle.hint or 'none'})")
        # Only now is the payload known to be the signer's, and read.
        statement = parse_statement(bundle.payload)
    except InvalidSignature as error:
        return no(error.message)
    if statement.digests != (digest,):
        return no(f"is a statement about {statement.digests[0]}", trusted.name)
    if statement.predicate_type != predicate_type:
        return no(f"says {statement.predicate_type}, not {predicate_type}", trusted.name)
    verdict = Verdict(
        origin=found.origin, counts=True, signer=trusted.name, reason="signed by a trusted key"
    )
    return verdict, trusted.key.fingerprint


def _signer(policy: TrustPolicy, bundle: Bundle) -> TrustedKey | None:
    # The hint only orders the tries: it is not signed, and may lie.
    ordered = sorted(policy.keys, key=lambda trusted: trusted.key.fingerprint != bundle.hint)
    signed = bundle.signed
    return next((t for t in ordered if t.key.verify(bundle.signature, signed)), None)


def _error(
    policy: TrustPolicy, digest: str, verdicts: Sequence[Verdict], count: int
) -> TrustError | None:
    if count >= policy.threshold:
        return None
    reasons = "; ".join(dict.fromkeys(verdict.reason for verdict in verdicts if not verdict.counts))
    if not verdicts:
        return NotSigned(f"{digest} is not signed", hint="sign it: 'ocistate sign REF --key FILE'")
    if count == 0:
        return Untrusted(
            f"{digest} is signed by nobody the TrustPolicy {policy.name!r} trusts: {reasons}",
            hint="sign it with a trusted key, or add the signer's key to the policy",
        )
    return ThresholdNotMet(
        f"{digest} is signed by {count} of the {policy.threshold} signers that the TrustPolicy "
        f"{policy.name!r} asks for",
        hint="have another trusted signer sign it",
    )


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


# Letters of the repository grammar, ports, and paths of layouts; nothing that looks like them.
_GLOB: Final = re.compile(r"[A-Za-z0-9._:\[\]/*~+ @-]+")


def _matches(glob: str, repository: str) -> bool:
    return _compiled(glob).fullmatch(repository) is not None


@lru_cache(maxsize=1024)
def _compiled(glob: str) -> re.Pattern[str]:
    """``**`` is any number of characters, ``*`` any but a slash; all others are themselves."""
    pieces = re.split(r"(\*\*|\*)", glob)
    pattern = "".join({"**": ".*", "*": "[^/]*"}.get(piece, re.escape(piece)) for piece in pieces)
    return re.compile(pattern, re.DOTALL)


def _rank(glob: str) -> tuple[int, int]:
    """How specific a glob is: by its literal characters, then by how few stars it has."""
    stars = glob.count("*")
    return (len(glob) - stars, -stars)
