"""What signatures are worth under a TrustPolicy: a pure decision over plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ocistate.errors import InvalidSignature, NotSigned, ThresholdNotMet, TrustError, Untrusted
from ocistate.signing.envelope import SIGN_PREDICATE, Statement
from ocistate.signing.found import Found, Signature, open_signature
from ocistate.signing.policy import TrustedKey, TrustPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one signature is worth: ``signer`` names who made it where that is known.

    ``statement`` is what it says: only where it counts, since only then somebody trusted says it.
    """

    origin: str
    counts: bool
    signer: str
    reason: str
    statement: Statement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The outcome for one artifact. ``error`` is what enforcing raises, None when satisfied."""

    policy: TrustPolicy
    verdicts: tuple[Verdict, ...]
    signers: tuple[str, ...]
    error: TrustError | None


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
    if found.legacy and not policy.allow_legacy:
        return no("is in the older format, which the policy does not allow (allowLegacy)")
    try:
        signature = open_signature(found)
        if signature.has_certificate:
            return no("signed by identity, and the policy trusts keys only")
        trusted = _signer(policy, signature)
        if trusted is None:
            return no(f"signed by a key the policy does not name (hint {signature.hint or 'none'})")
        # Only now is the payload known to be the signer's, and read.
        statement = signature.statement()
    except InvalidSignature as error:
        return no(error.message)
    if statement.digests != (digest,):
        return no(f"is a statement about {statement.digests[0]}", trusted.name)
    if statement.predicate_type != predicate_type:
        return no(f"says {statement.predicate_type}, not {predicate_type}", trusted.name)
    verdict = Verdict(
        origin=found.origin,
        counts=True,
        signer=trusted.name,
        reason="signed by a trusted key",
        statement=statement,
    )
    return verdict, trusted.key.fingerprint


def _signer(policy: TrustPolicy, signature: Signature) -> TrustedKey | None:
    # The hint only orders the tries: it is not signed, and may lie.
    ordered = sorted(policy.keys, key=lambda trusted: trusted.key.fingerprint != signature.hint)
    signed = signature.signed
    return next((t for t in ordered if t.key.verify(signature.signature, signed)), None)


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
