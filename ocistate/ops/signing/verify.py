"""Verify an artifact: gather its signatures from the store, and let the policy decide."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from ocistate.oci.store import Store
from ocistate.ops.signing.gather import gather_signatures
from ocistate.signing.decide import Decision, Verdict, decide, is_costly
from ocistate.signing.policy.model import PolicyMode, TrustPolicy
from ocistate.signing.policy.select import select_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """An artifact that may be used, and on whose word.

    ``satisfied`` is False when the policy is not, and its mode lets the artifact pass all the same.
    """

    digest: str
    policy: str
    mode: PolicyMode
    satisfied: bool
    signers: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    summary: str


async def verify_artifact(
    store: Store,
    digest: str,
    policies: Iterable[TrustPolicy],
    *,
    policy_name: str | None = None,
) -> Verified:
    """Whether an artifact may be used, by the most specific of the policies or by the one named.

    ``digest`` must have been resolved before: what is verified is what is then fetched. Raises
    TrustError (NotSigned, Untrusted, ThresholdNotMet, NoPolicy), ConfigError, StoreError.
    """
    policy = select_policy(policies, store.reference.name, policy_name)
    if policy.mode == "off":
        return Verified(
            digest=digest,
            policy=policy.name,
            mode="off",
            satisfied=False,
            signers=(),
            verdicts=(),
            summary=f"verification is turned off by the TrustPolicy {policy.name!r}",
        )
    decision = await explain(store, digest, policy)
    if decision.error is not None and policy.mode == "enforce":
        raise decision.error
    return Verified(
        digest=digest,
        policy=policy.name,
        mode=policy.mode,
        satisfied=decision.error is None,
        signers=decision.signers,
        verdicts=decision.verdicts,
        summary=_summary(policy, decision),
    )


async def explain(
    store: Store, digest: str, policy: TrustPolicy, *, attestation: str = ""
) -> Decision:
    """What a policy makes of an artifact's signatures, or of its attestations of one type.

    Raises StoreError, ConfigError.
    """
    found = await gather_signatures(store, digest, legacy=policy.allow_legacy)
    if is_costly(policy):
        return await asyncio.to_thread(decide, policy, digest, found, attestation=attestation)
    return decide(policy, digest, found, attestation=attestation)


def _summary(policy: TrustPolicy, decision: Decision) -> str:
    if decision.error is not None:
        return f"not enforced by the TrustPolicy {policy.name!r}: {decision.error.message}"
    return f"signed by {', '.join(decision.signers)}, as the TrustPolicy {policy.name!r} asks"
