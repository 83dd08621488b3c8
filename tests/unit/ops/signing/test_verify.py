"""Verifying an artifact in a store: the policy's mode decides what a refusal means."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ocistate.errors import NoPolicy, NotSigned, Untrusted
from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.signing.verify import Verified, verify_artifact
from ocistate.reference import parse_reference
from ocistate.signing.policy.model import TrustPolicy
from tests.support.environments.shop import Shop
from tests.support.factories.signatures import policy


def of(shop: Shop, name: str = "art", **spec: Any) -> TrustPolicy:
    return policy(keys=[{"name": "ci", "pem": Path(shop.pub(name)).read_text()}], **spec)


def verify(shop: Shop, tag: str, *policies: TrustPolicy) -> Verified:
    async def run() -> Verified:
        async with LayoutStore(parse_reference(shop.store)) as store:
            return await verify_artifact(store, (await store.resolve(tag)).digest, policies)

    return asyncio.run(run())


def test_a_trusted_signature_satisfies_the_policy(shop: Shop) -> None:
    found = verify(shop, "v1", of(shop))
    assert (found.satisfied, found.signers, found.digest) == (True, ("ci",), shop.digests[0])
    assert found.summary == "signed by ci, as the TrustPolicy 'p' asks"


def test_an_enforced_policy_refuses(shop: Shop) -> None:
    with pytest.raises(NotSigned):
        verify(shop, "raw", of(shop))
    with pytest.raises(Untrusted):
        verify(shop, "v1", of(shop, "other"))
    with pytest.raises(NoPolicy):
        verify(shop, "v1")


def test_a_policy_that_warns_lets_it_pass_and_says_so(shop: Shop) -> None:
    found = verify(shop, "raw", of(shop, mode="warn"))
    assert (found.satisfied, found.signers) == (False, ())
    assert found.summary.startswith("not enforced by the TrustPolicy 'p'")


def test_a_policy_that_is_off_checks_nothing(shop: Shop) -> None:
    found = verify(shop, "raw", of(shop, mode="off"))
    assert (found.satisfied, found.verdicts) == (False, ())
