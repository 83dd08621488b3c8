"""`ocistate verify` as a process: exit codes, explanations, and attacks on a real registry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocistate.errors import NotSigned, ThresholdNotMet, Untrusted
from ocistate.oci import open_store
from ocistate.oci.model import EMPTY_CONFIG, Descriptor, build_index, build_manifest, describe
from ocistate.oci.store import Store
from ocistate.ops.signing.legacy import sign_legacy
from ocistate.ops.signing.sign import sign_artifact
from ocistate.ops.signing.verify import explain
from ocistate.reference import parse_reference
from ocistate.signing.envelope import (
    BUNDLE_TYPE,
    PAYLOAD_TYPE,
    SIGN_PREDICATE,
    build_bundle,
    build_statement,
    pae,
)
from ocistate.signing.policy.model import TrustPolicy
from ocistate.signing.policy.parse import parse_policy
from testbed.registries import Registry
from tests.support.command import Done, ocistate
from tests.support.factories.keys import Key
from tests.support.factories.stacks import Publisher, config_map, policy
from tests.support.fakes import faulty_registry as faulty
from tests.support.fakes.faulty_registry import on

TESTS = "https://example.com/tests"
CHANNEL = "https://ocistate.dev/channel/v1"


class Shop:
    """A repository, a policy file, and keys of three people."""

    def __init__(self, folder: Path, repository: str) -> None:
        self.folder, self.repository = folder, repository
        self.alice, self.bob, self.mallory = Key.make(), Key.make(), Key.make()

    def push(self, *by: Key, v: str = "1") -> str:
        publisher = Publisher(self.repository, self.alice)
        digest = publisher.push([config_map("app", v=v)], sign=None)
        for key in by:
            self.sign(digest, key)
        return digest

    def sign(
        self, digest: str, key: Key, kind: str = SIGN_PREDICATE, predicate: Any = None
    ) -> None:
        async def write(store: Store) -> None:
            subject = await store.resolve(digest)
            await sign_artifact(
                store, subject, key.signer, predicate_type=kind, predicate=predicate
            )

        self.do(write)

    def do(self, what: Any) -> Any:
        async def run() -> Any:
            async with open_store(parse_reference(self.repository)) as store:
                return await what(store)

        return asyncio.run(run())

    def verify(self, digest: str, *arguments: str, **spec: Any) -> Done:
        spec = {"name": "shop", "repositories": "**", **spec}
        file = self.folder / "policy.yaml"
        file.write_text(yaml.safe_dump(policy(self.alice, self.bob, **spec)))
        return ocistate(
            "verify", f"{self.repository}@{digest}", "--policy", file, *arguments, check=False
        )

    def decide(self, digest: str, trust: TrustPolicy) -> Any:
        return self.do(lambda store: explain(store, digest, trust))


def trusting(*keys: Key, **spec: Any) -> TrustPolicy:
    return parse_policy(policy(*keys, **spec))


@pytest.fixture
def local(tmp_path: Path) -> Shop:
    return Shop(tmp_path, f"layout:{tmp_path / 'store'}")


def test_each_outcome_has_an_exit_code_and_an_explanation(local: Shop) -> None:
    unsigned, foreign = local.push(v="0"), local.push(local.mallory, v="1")
    once, twice = local.push(local.alice, v="2"), local.push(local.alice, local.bob, v="3")

    def codes(digest: str, **spec: Any) -> tuple[int, str]:
        done = local.verify(digest, "-o", "json", **spec)
        facts = json.loads(done.out) if done.out else {"reason": ""}
        assert facts["reason"] in ("", *done.err.split(), facts["reason"])
        return done.code, facts["reason"]

    attested = {"attestations": [{"predicateType": TESTS, "conditions": ["predicate.passed"]}]}
    assert codes(twice, threshold=2) == (0, "")
    assert codes(unsigned) == (41, "NotSigned")
    assert codes(foreign) == (42, "UntrustedSigner")
    assert codes(once, threshold=2) == (43, "ThresholdNotMet")
    assert codes(once, repositories="elsewhere.example.com/*")[0] == 44
    assert codes(once, **attested) == (46, "AttestationNotMet")
    local.sign(once, local.alice, TESTS, {"passed": False})
    failed = local.verify(once, "-v", **attested)
    assert failed.code == 46
    assert "'predicate.passed' is false" in failed.err
    local.sign(once, local.bob, TESTS, {"passed": True})
    assert codes(once, **attested) == (0, "")
    assert codes(unsigned, mode="warn") == (0, "NotSigned")
    assert codes(once, threshold="many")[0] == 4
    (local.folder / "policy.yaml").write_text(yaml.safe_dump(policy(local.alice)))
    down = on("/", lambda h: h.answer(status=503, headers={"Retry-After": "0"}))
    registry = faulty.Registry(down, "")
    try:
        away = f"{registry.host}/shop@{once}"
        untrusted = ocistate("verify", away, "--policy", local.folder / "policy.yaml", check=False)
    finally:
        registry.close()
    assert untrusted.code == 13

    shown = local.verify(once, "-v", threshold=2, **attested)
    assert shown.code == 43
    lines = shown.err.splitlines()
    assert sum(line.startswith("✓ sha256:") for line in lines) == 2
    assert any("✗" in line and "is false" in line for line in lines)
    assert any(line.startswith(f"✗ {SIGN_PREDICATE} by 2: key ") for line in lines)
    assert any(line.startswith(f"✓ {TESTS} by 1: key ") for line in lines)

    facts = json.loads(local.verify(once, "-o", "json", **attested).out)
    assert [(d["predicateType"], d["met"]) for d in facts["demands"]] == [
        (SIGN_PREDICATE, True),
        (TESTS, True),
    ]
    assert sorted(s["counts"] for s in facts["signatures"]) == [False, True, True]


# Attacks


@pytest.fixture
def shop(any_registry: Registry, tmp_path: Path) -> Shop:
    return Shop(tmp_path, f"oci://{any_registry.host}/{tmp_path.name.replace('_', '-').lower()}")


def bundle_manifest(subject: Descriptor, raw: bytes, **annotations: str) -> Any:
    return build_manifest(
        artifact_type=BUNDLE_TYPE,
        config=EMPTY_CONFIG,
        layers=(describe(raw, BUNDLE_TYPE),),
        subject=subject,
        annotations=annotations,
    )


async def refer(store: Store, subject: Descriptor, raw: bytes) -> None:
    """Push a bundle that refers to an artifact."""
    await store.push_blob(EMPTY_CONFIG, b"{}")
    await store.push_blob(describe(raw, BUNDLE_TYPE), raw)
    await store.push_manifest(bundle_manifest(subject, raw))


def test_a_good_signature_among_five_hundred_others_is_found(
    referrers_registry: Registry, tmp_path: Path
) -> None:
    shop = Shop(tmp_path, f"oci://{referrers_registry.host}/flood")
    digest = shop.push(shop.alice)
    payload = build_statement(digest, SIGN_PREDICATE, {})
    foreign = shop.mallory.signer.sign(pae(PAYLOAD_TYPE, payload))
    raws = [b"junk", *(build_bundle(payload, foreign, f"hint {n}") for n in range(20))]

    async def subject_of(store: Store) -> Descriptor:
        for raw in raws:
            await store.push_blob(describe(raw, BUNDLE_TYPE), raw)
        return await store.resolve(digest)

    subject: Descriptor = shop.do(subject_of)

    def flood(numbers: Iterable[int]) -> None:
        """Bare requests: what an attacker sends, and quicker than our careful writer."""
        connection = HTTPConnection(referrers_registry.host)
        for number in numbers:
            manifest = bundle_manifest(
                subject,
                raws[number % len(raws)],
                # Claiming to be newer than any other: what is read first is the flood.
                **{"org.opencontainers.image.created": "2999-01-01T00:00:00Z", "n": str(number)},
            )
            path = f"/v2/flood/manifests/{manifest.descriptor.digest}"
            kind = {"Content-Type": manifest.descriptor.media_type}
            connection.request("PUT", path, manifest.raw, kind)
            answer = connection.getresponse()
            assert answer.status == 201, answer.read()
            answer.read()
        connection.close()

    flood(range(500))
    found = shop.decide(digest, trusting(shop.alice))
    assert found.error is None
    assert len(found.verdicts) == 501
    refused = shop.decide(digest, trusting(shop.bob)).error
    assert isinstance(refused, Untrusted)
    assert "other reasons" in refused.message
    assert len(refused.message) < 4000

    flood(range(500, 520))
    pushed_out = shop.decide(digest, trusting(shop.alice))
    assert isinstance(pushed_out.error, Untrusted)
    assert "521 signatures, and only 512 were read" in pushed_out.verdicts[-1].reason


def test_signatures_moved_between_artifacts_repositories_and_types_do_not_count(shop: Shop) -> None:
    good, bad = shop.push(shop.alice, v="good"), shop.push(v="bad")
    shop.sign(bad, shop.alice, TESTS, {})
    shop.sign(bad, shop.alice, CHANNEL, {})

    async def move(store: Store) -> None:
        (listed,) = await store.referrers(good, BUNDLE_TYPE)
        manifest = await store.fetch_manifest(listed.digest)
        raw = await store.fetch_blob(manifest.layers[0], limit=1 << 20)  # type: ignore[union-attr]
        await refer(store, await store.resolve(bad), raw)

    shop.do(move)
    decision = shop.decide(bad, trusting(shop.alice))
    assert isinstance(decision.error, Untrusted)
    reasons = [v.reason for v in decision.verdicts]
    assert len(reasons) == 3
    for what in (good, TESTS, CHANNEL):
        assert any(what in reason for reason in reasons)
    # The reverse: a signature is no attestation.
    wanted = trusting(shop.alice, attestations=[{"predicateType": TESTS}])
    assert shop.decide(good, wanted).demands[1].met is False
    # The same artifact elsewhere is the same artifact: what was signed is its digest. Whether
    # that place may run it is for the policy of that place to say.
    elsewhere = trusting(shop.alice, repositories=f"{shop.repository[6:]}-evil")
    assert elsewhere.repositories == (f"{shop.repository[6:]}-evil",)
    refused = ocistate(
        "verify", f"{shop.repository}@{good}", "--policy", _written(shop, elsewhere_spec(shop)),
        check=False,
    )  # fmt: skip
    assert refused.code == 44


def elsewhere_spec(shop: Shop) -> dict[str, Any]:
    spec: dict[str, Any] = policy(shop.alice, repositories=f"{shop.repository[6:]}-evil")
    return spec


def _written(shop: Shop, obj: dict[str, Any]) -> Path:
    file = shop.folder / "elsewhere.yaml"
    file.write_text(yaml.safe_dump(obj))
    return file


def test_one_key_in_two_formats_is_one_signer(shop: Shop) -> None:
    digest = shop.push(shop.alice)

    async def again(store: Store) -> None:
        await sign_legacy(store, await store.resolve(digest), shop.alice.signer)

    shop.do(again)
    trust = trusting(shop.alice, shop.bob, threshold=2, allowLegacy=True)
    assert isinstance(shop.decide(digest, trust).error, ThresholdNotMet)
    shop.sign(digest, shop.bob)
    assert shop.decide(digest, trust).error is None


def test_a_listing_that_hides_or_adds_entries_proves_nothing(
    distribution: Registry, tmp_path: Path
) -> None:
    """Where the listing is a tag that anyone who may push can write."""
    shop = Shop(tmp_path, f"oci://{distribution.host}/listing")
    digest, other = shop.push(shop.alice, v="1"), shop.push(shop.alice, v="2")
    tag = digest.replace(":", "-")
    trust = trusting(shop.alice)

    async def write(store: Store) -> None:
        (own,) = await store.referrers(digest, BUNDLE_TYPE)
        (foreign,) = await store.referrers(other, BUNDLE_TYPE)
        lying = replace(own, size=own.size + 1)
        loop = await store.resolve(tag)
        for entries, expected in (
            ((), NotSigned),
            ((foreign,), Untrusted),
            ((loop, foreign), Untrusted),
            ((lying,), (Untrusted, NotSigned, type(None))),
            ((loop, foreign, own), type(None)),
        ):
            typed = tuple(replace(e, artifact_type=BUNDLE_TYPE) for e in entries)
            await store.push_manifest(build_index(typed), tag)
            decision = await explain(store, digest, trust)
            assert isinstance(decision.error, expected), (entries, decision.error)

    shop.do(write)
