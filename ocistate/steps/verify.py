"""Verify an artifact: gather its signatures from the store, and let the policy decide."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ocistate.errors import (
    DigestMismatch,
    LimitExceeded,
    NotFound,
    ProtocolError,
)
from ocistate.oci.model import Descriptor, Manifest
from ocistate.oci.store import Store
from ocistate.signing.decide import Decision, Found, Verdict, decide
from ocistate.signing.envelope import BUNDLE_TYPE, MAX_BUNDLE_BYTES
from ocistate.signing.policy import Mode, TrustPolicy
from ocistate.signing.select import select_policy

MAX_SIGNATURES: Final = 512
"""How many signatures of one artifact are read; a listing that has more is said to have more."""

_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """An artifact that may be used, and on whose word.

    ``satisfied`` is False when the policy is not, and its mode lets the artifact pass all the same.
    """

    digest: str
    policy: str
    mode: Mode
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


async def explain(store: Store, digest: str, policy: TrustPolicy) -> Decision:
    """What a policy makes of an artifact's signatures; raises only StoreError."""
    return decide(policy, digest, await gather_signatures(store, digest))


async def gather_signatures(store: Store, digest: str) -> list[Found]:
    """All signatures that refer to an artifact, bounded in number and size.

    One that cannot be read is returned with its error: junk beside a good signature must not hide
    it. A registry that is out of reach raises Unavailable or Unauthorized.
    """
    listed = await store.referrers(digest, BUNDLE_TYPE)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(descriptor: Descriptor) -> Found:
        async with gate:
            return await _read(store, digest, descriptor)

    found = list(await asyncio.gather(*(one(item) for item in _newest(listed))))
    if len(listed) > MAX_SIGNATURES:
        found.append(
            Found(
                origin=digest,
                error=f"there are {len(listed)} signatures, and only {MAX_SIGNATURES} were read",
            )
        )
    return found


def _newest(listed: Sequence[Descriptor]) -> list[Descriptor]:
    def created(descriptor: Descriptor) -> str:
        return descriptor.annotations.get("org.opencontainers.image.created", "")

    return sorted(listed, key=created, reverse=True)[:MAX_SIGNATURES]


async def _read(store: Store, digest: str, descriptor: Descriptor) -> Found:
    try:
        manifest = await store.fetch_manifest(descriptor.digest)
        if not isinstance(manifest, Manifest) or len(manifest.layers) != 1:
            return Found(origin=descriptor.digest, error="is not a manifest with one layer")
        if manifest.subject is None or manifest.subject.digest != digest:
            return Found(origin=descriptor.digest, error="is listed, but refers to something else")
        raw = await store.fetch_blob(manifest.layers[0], limit=MAX_BUNDLE_BYTES)
    except (NotFound, DigestMismatch, ProtocolError, LimitExceeded) as error:
        return Found(origin=descriptor.digest, error=error.message)
    return Found(origin=descriptor.digest, raw=raw)


def _summary(policy: TrustPolicy, decision: Decision) -> str:
    if decision.error is not None:
        return f"not enforced by the TrustPolicy {policy.name!r}: {decision.error.message}"
    return f"signed by {', '.join(decision.signers)}, as the TrustPolicy {policy.name!r} asks"
