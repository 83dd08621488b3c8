"""What signatures are worth under a TrustPolicy: a decision over plain data.

A policy asks for one thing or several: signatures by ``threshold`` of its signers, and each of its
attestations. Every signature found is judged once, with the reason why it counts or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ocistate.errors import (
    AttestationNotMet,
    InvalidSignature,
    NotSigned,
    ThresholdNotMet,
    TrustError,
    Untrusted,
)
from ocistate.signing.envelope import SIGN_PREDICATE, Bundle, Statement
from ocistate.signing.found import FoundSignature, Signature, open_signature
from ocistate.signing.keyless import Certified, certify
from ocistate.signing.policy.model import (
    RequiredAttestation,
    TrustedIdentity,
    TrustedKey,
    TrustPolicy,
    TrustRoot,
)
from ocistate.text import plain

_AGAIN: Final = "the same signer has been counted already"

Certify = Callable[[Bundle, TrustRoot], Certified]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one signature is worth: ``signer`` names who made it where that is known.

    ``statement`` is what it says: only where a trusted signer made it, about this artifact, and
    it was asked for. Two by one signer count once. ``people`` are who really made it,
    whatever the policy calls them: a key's fingerprint, or whom certificates name; given with
    ``statement``, and where the policy names its signer, but for something else.
    """

    origin: str
    counts: bool
    signer: str
    reason: str
    statement: Statement | None = None
    people: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """One thing that a policy asks for, and who has met it: ``threshold`` of them are enough."""

    predicate_type: str
    threshold: int
    signers: tuple[str, ...]

    @property
    def met(self) -> bool:
        """Whether enough have."""
        return len(self.signers) >= self.threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The outcome for one artifact. ``error`` is what enforcing raises, None when satisfied.

    ``signers`` are those of the signature; ``demands`` are all that was asked for, it first.
    """

    policy: TrustPolicy
    verdicts: tuple[Verdict, ...]
    signers: tuple[str, ...]
    demands: tuple[Demand, ...]
    error: TrustError | None


def is_costly(policy: TrustPolicy) -> bool:
    """Whether deciding may block for long: on a library's import, the network or conditions."""
    return bool(
        policy.identities
        or any(needed.identities or needed.conditions for needed in policy.attestations)
    )


def decide(
    policy: TrustPolicy,
    digest: str,
    found: Sequence[FoundSignature],
    *,
    attestation: str = "",
    certify: Certify = certify,
) -> Decision:
    """What the signatures found for an artifact are worth under a policy.

    With ``attestation`` the question is not whether the artifact is signed, but whether a trusted
    signer made a statement of that predicate type: as the policy has it for that type, else as it
    has it for signatures. Raises ConfigError, Unavailable when a trusted root can't be used.
    """
    wanted = [
        needed for needed in policy.attestations if attestation in ("", needed.predicate_type)
    ]
    tallies = [_Tally(needed, 1) for needed in wanted]
    if not attestation or not wanted:
        signature = RequiredAttestation(
            predicate_type=attestation or SIGN_PREDICATE,
            keys=policy.keys,
            identities=policy.identities,
        )
        tallies.insert(0, _Tally(signature, policy.threshold))
    judge = _Judge(policy, digest, tallies, certify)
    verdicts = tuple(judge.verdict(item) for item in found)
    demands = tuple(
        Demand(
            predicate_type=tally.needed.predicate_type,
            threshold=tally.threshold,
            signers=tuple(sorted(tally.entries.values())),
        )
        for tally in tallies
    )
    return Decision(
        policy=policy,
        verdicts=verdicts,
        signers=demands[0].signers,
        demands=demands,
        error=_error(policy, digest, verdicts, demands, attestation),
    )


@dataclass(frozen=True, slots=True)
class _Signed:
    """Who signed something: a key, or whom certificates name under each of the roots."""

    fingerprint: str = ""
    certified: tuple[tuple[TrustRoot, Certified], ...] = ()

    @property
    def people(self) -> tuple[str, ...]:
        """The signer, as one who must not count twice."""
        return (self.fingerprint,) if self.fingerprint else tuple(str(c) for _, c in self.certified)


@dataclass(slots=True)
class _Tally:
    """One demand being met. No one counts twice, and no entry of the policy does: one identity's
    pattern must not be two signers, only because it matches two branches."""

    needed: RequiredAttestation
    threshold: int
    entries: dict[str, str] = field(default_factory=dict)
    people: set[str] = field(default_factory=set)

    def candidates(self, signed: _Signed) -> list[TrustedKey | TrustedIdentity]:
        """The policy's entries that the signer is one of."""
        keys = [k for k in self.needed.keys if k.key.fingerprint == signed.fingerprint]
        identities = [
            identity
            for identity in self.needed.identities
            for root, who in signed.certified
            if identity.root == root
            and identity.issuer(who.issuer)
            and identity.subject(who.subject)
        ]
        return [*keys, *identities]

    def count(self, signed: _Signed) -> str:
        """Count a signer, and return how the policy calls it; empty when it was counted before."""
        if self.people & set(signed.people):
            return ""
        for entry in self.candidates(signed):
            if (place := _place(entry)) not in self.entries:
                self.entries[place] = entry.name
                self.people |= set(signed.people)
                return entry.name
        return ""


@dataclass(frozen=True, slots=True)
class _Judge:
    policy: TrustPolicy
    digest: str
    tallies: Sequence[_Tally]
    certify: Certify

    def verdict(self, found: FoundSignature) -> Verdict:
        def no(reason: str, signer: str = "") -> Verdict:
            reason = plain(reason, most=_LONGEST_REASON)
            return Verdict(origin=found.origin, counts=False, signer=signer, reason=reason)

        if found.error:
            return no(found.error)
        if found.legacy and not self.policy.allow_legacy:
            return no("is in the older format, which the policy does not allow (allowLegacy)")
        try:
            signature = open_signature(found)
            signed = self._signed(signature)
            # Only now is the payload known to be the signer's, and read.
            statement = signature.statement()
        except InvalidSignature as error:
            return no(error.message)
        name = self._name(signed)
        if not name:
            who = " and ".join(signed.people)
            return no(f"the policy does not name who signed it: {who}")
        if statement.digests != (self.digest,):
            return no(f"is a statement about {statement.digests[0]}", name)
        asked = [t for t in self.tallies if t.needed.predicate_type == statement.predicate_type]
        if not asked:
            types = " or ".join(dict.fromkeys(t.needed.predicate_type for t in self.tallies))
            return no(f"says {statement.predicate_type}, not {types}", name)
        reasons = []
        for tally in asked:
            reason, counted = self._count(tally, signed, statement)
            if counted:
                return Verdict(
                    origin=found.origin,
                    counts=True,
                    signer=counted,
                    reason=reason,
                    statement=statement,
                    people=signed.people,
                )
            reasons.append(reason)
        verdict = replace(no("; ".join(dict.fromkeys(reasons)), name), people=signed.people)
        return replace(verdict, statement=statement) if _AGAIN in reasons else verdict

    def _count(self, tally: _Tally, signed: _Signed, statement: Statement) -> tuple[str, str]:
        """Why it counts and for whom, or why not and no one."""
        if not tally.candidates(signed):
            return f"is trusted, but not for {statement.predicate_type}", ""
        if tally.needed.conditions:
            from ocistate.signing.policy.conditions import first_unmet

            if fault := first_unmet(tally.needed.conditions, statement.predicate):
                return f"its predicate is not as required: {fault}", ""
        counted = tally.count(signed)
        if not counted:
            return _AGAIN, ""
        how = "a trusted key" if signed.fingerprint else f"{signed.people[0]}, who is trusted"
        return f"signed by {how}", counted

    def _signed(self, signature: Signature) -> _Signed:
        """Who signed, of those that the policy names anywhere. Raises InvalidSignature."""
        if signature.has_certificate:
            return self._certified(signature)
        keys = {k.key.fingerprint: k.key for tally in self.tallies for k in tally.needed.keys}
        # The hint only orders the tries: it is not signed, and may lie.
        for key in sorted(keys.values(), key=lambda key: key.fingerprint != signature.hint):
            if key.verify(signature.signature, signature.signed):
                return _Signed(fingerprint=key.fingerprint)
        raise InvalidSignature(
            f"signed by a key the policy does not name (hint {signature.hint or 'none'})"
        )

    def _certified(self, signature: Signature) -> _Signed:
        roots = dict.fromkeys(
            identity.root for tally in self.tallies for identity in tally.needed.identities
        )
        if not roots:
            raise InvalidSignature("signed by identity, and the policy trusts keys only")
        if not isinstance(signature, Bundle):
            raise InvalidSignature("signed by identity, which is taken from bundles only")
        certified, faults = [], []
        for root in roots:
            try:
                certified.append((root, self.certify(signature, root)))
            except InvalidSignature as error:
                faults.append(error)
        if not certified:
            raise faults[0]
        return _Signed(certified=tuple(certified))

    def _name(self, signed: _Signed) -> str:
        """How the policy calls the signer; empty when it names it nowhere."""
        return next((c.name for tally in self.tallies for c in tally.candidates(signed)), "")


def _place(entry: TrustedKey | TrustedIdentity) -> str:
    if isinstance(entry, TrustedKey):
        return entry.key.fingerprint
    return f"{entry.issuer} {entry.subject} {entry.root.digest}"


_MOST_REASONS: Final = 5
_LONGEST_REASON: Final = 400


def _summary(reasons: Iterable[str]) -> str:
    """The different reasons, few enough for a message: strangers decide how many there are."""
    different = list(dict.fromkeys(reasons))
    more = len(different) - _MOST_REASONS
    return "; ".join(different[:_MOST_REASONS]) + (
        f"; and {more} other reasons" if more > 0 else ""
    )


_NOT_SIGNED_HINT: Final = "sign it: 'ocistate sign REF --key FILE'"


def _error(
    policy: TrustPolicy,
    digest: str,
    verdicts: Sequence[Verdict],
    demands: Sequence[Demand],
    attestation: str,
) -> TrustError | None:
    refused = [verdict for verdict in verdicts if not verdict.counts]
    reasons = _summary(verdict.reason for verdict in refused)
    if attestation:
        if all(demand.met for demand in demands):
            return None
        because = reasons or "there is none at all"
        return AttestationNotMet(
            f"{digest} has no attestation {attestation} that the TrustPolicy {policy.name!r} "
            f"trusts: {because}",
            hint="attest it: 'ocistate attest REF --type TYPE --predicate FILE --key FILE'",
        )
    signature, *attestations = demands
    if not signature.met and not signature.signers:
        if not refused:
            return NotSigned(f"{digest} is not signed", hint=_NOT_SIGNED_HINT)
        return Untrusted(
            f"{digest} is signed by no one the TrustPolicy {policy.name!r} trusts: {reasons}",
            hint="sign it with a trusted key, or add the signer's key to the policy",
        )
    if not signature.met:
        return ThresholdNotMet(
            f"{digest} is signed by {len(signature.signers)} of the {signature.threshold} signers "
            f"that the TrustPolicy {policy.name!r} asks for",
            hint="have another trusted signer sign it",
        )
    missing = dict.fromkeys(demand.predicate_type for demand in attestations if not demand.met)
    if missing:
        because = f": {reasons}" if reasons else ""
        return AttestationNotMet(
            f"{digest} lacks the attestation {' and '.join(missing)} that the TrustPolicy "
            f"{policy.name!r} asks for{because}",
            hint="'ocistate verify REF --policy FILE -v' shows for each why it counts or not",
        )
    return None
