"""What is found of signatures in a store where anyone may have written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ocistate.errors import UsageError
from ocistate.oci import open_store
from ocistate.oci.model import (
    EMPTY_CONFIG,
    Descriptor,
    Manifest,
    build_index,
    build_manifest,
    describe,
)
from ocistate.oci.store import Store
from ocistate.oci.tags import legacy_tag
from ocistate.ops.signing.gather import MAX_SIGNATURES, MAX_TOTAL_BYTES, gather_signatures
from ocistate.ops.signing.legacy import lacks_bundle, sign_legacy
from ocistate.ops.signing.sign import sign_artifact
from ocistate.reference import parse_reference
from ocistate.signing.decide import decide
from ocistate.signing.envelope import BUNDLE_TYPE
from ocistate.signing.found import FoundSignature
from ocistate.signing.keys import KeySigner
from ocistate.signing.policy.model import policy_of_flags
from ocistate.signing.simple import SIMPLE_TYPE, build_payload, signature_annotation
from tests.support.factories.keys import make_signer

ALICE, MALLORY = make_signer(), make_signer()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(parse_reference(f"layout:{tmp_path}/store"))


async def subject_in(store: Store) -> Descriptor:
    await store.push_blob(EMPTY_CONFIG, b"{}")
    return await store.push_manifest(build_manifest(config=EMPTY_CONFIG, layers=()), "v1")


async def put_layers(store: Store, tag: str, contents: Sequence[tuple[bytes, Descriptor]]) -> None:
    for content, layer in contents:
        await store.push_blob(layer, content)
    layers = tuple(layer for _, layer in contents)
    await store.push_manifest(build_manifest(config=EMPTY_CONFIG, layers=layers), tag)


def simple(by: KeySigner, digest: str, name: str = "host/shop") -> tuple[bytes, Descriptor]:
    payload = build_payload(name, digest)
    annotations = dict(signature_annotation(by.sign(payload)))
    return payload, replace(describe(payload, SIMPLE_TYPE), annotations=annotations)


def gathered(store: Store, digest: str) -> list[FoundSignature]:
    return asyncio.run(gather_signatures(store, digest, legacy=True))


def trusted(found: Sequence[FoundSignature], digest: str) -> bool:
    policy = policy_of_flags([ALICE.public_key], allow_legacy=True)
    return decide(policy, digest, found).error is None


def test_the_older_formats_are_read_only_when_asked_for(store: Store) -> None:
    subject = asyncio.run(subject_in(store))
    digest = subject.digest
    asyncio.run(put_layers(store, legacy_tag(digest), [simple(ALICE, digest)]))
    assert asyncio.run(gather_signatures(store, digest)) == []
    assert trusted(gathered(store, digest), digest)


def test_junk_beside_a_good_signature_does_not_hide_it(store: Store) -> None:
    subject = asyncio.run(subject_in(store))
    digest = subject.digest
    odd = b"odd"
    layers = [
        (odd, describe(odd, "application/octet-stream")),
        (odd, describe(odd, SIMPLE_TYPE)),
        simple(MALLORY, digest),
        simple(ALICE, "sha256:" + "0" * 64),
        simple(ALICE, digest),
    ]
    asyncio.run(put_layers(store, legacy_tag(digest), layers))
    found = gathered(store, digest)
    assert [bool(item.error) for item in found] == [True, False, False, False, False]
    assert trusted(found, digest)


def test_a_layer_that_is_not_there_is_told_and_hides_nothing(store: Store) -> None:
    subject = asyncio.run(subject_in(store))
    digest = subject.digest
    _, missing = simple(ALICE, digest, "host/elsewhere")
    payload, good = simple(ALICE, digest)
    asyncio.run(store.push_blob(good, payload))
    manifest = build_manifest(config=EMPTY_CONFIG, layers=(missing, good))
    asyncio.run(store.push_manifest(manifest, legacy_tag(digest)))
    found = gathered(store, digest)
    assert "no blob" in found[0].error
    assert trusted(found, digest)


def test_more_signatures_than_are_read_are_told_and_the_newest_are_read(store: Store) -> None:
    subject = asyncio.run(subject_in(store))
    digest = subject.digest
    payload, junk = simple(MALLORY, digest)
    layers = [(payload, junk)] * MAX_SIGNATURES + [simple(ALICE, digest)]
    asyncio.run(put_layers(store, legacy_tag(digest), layers))
    found = gathered(store, digest)
    assert f"there are {MAX_SIGNATURES + 1}" in found[-1].error
    assert len(found) == MAX_SIGNATURES + 1
    assert trusted(found, digest)


def test_a_tag_that_points_at_an_index_even_at_itself_is_told(store: Store) -> None:
    subject = asyncio.run(subject_in(store))
    digest = subject.digest
    asyncio.run(store.push_manifest(build_index((subject,)), legacy_tag(digest)))
    asyncio.run(store.push_manifest(build_index((subject,)), legacy_tag(digest, ".att")))
    assert [item.error for item in gathered(store, digest)] == ["is an index, not a manifest"] * 2


def test_a_good_signature_among_400_junk_bundles_is_found(store: Store) -> None:
    async def fill() -> Descriptor:
        subject = await subject_in(store)
        await sign_artifact(store, subject, ALICE)
        for number in range(400):
            junk = b"junk %d" % number
            layer = describe(junk, BUNDLE_TYPE)
            await store.push_blob(layer, junk)
            await store.push_manifest(
                build_manifest(
                    config=EMPTY_CONFIG,
                    layers=(layer,),
                    artifact_type=BUNDLE_TYPE,
                    subject=subject,
                    annotations={"org.opencontainers.image.created": "9999-01-01T00:00:00Z"},
                )
            )
        return subject

    subject = asyncio.run(fill())
    found = gathered(store, subject.digest)
    assert len(found) == 401
    assert trusted(found, subject.digest)


def test_large_junk_fills_no_memory_and_hides_no_small_signature(store: Store) -> None:
    async def fill() -> Descriptor:
        subject = await subject_in(store)
        await sign_artifact(store, subject, ALICE)
        junk = b"x" * (8 << 20)
        layer = describe(junk, BUNDLE_TYPE)
        await store.push_blob(layer, junk)
        for number in range(12):
            await store.push_manifest(
                build_manifest(
                    config=EMPTY_CONFIG,
                    layers=(layer,),
                    artifact_type=BUNDLE_TYPE,
                    subject=subject,
                    annotations={"number": str(number)},
                )
            )
        return subject

    subject = asyncio.run(fill())
    found = gathered(store, subject.digest)
    assert sum(len(item.raw) for item in found) <= MAX_TOTAL_BYTES
    assert sum("is not read" in item.error for item in found) == 5
    assert trusted(found, subject.digest)


def test_a_bundle_is_lacking_only_where_others_stand(store: Store) -> None:
    async def lacking() -> list[bool]:
        subject = await subject_in(store)
        answers = [await lacks_bundle(store, subject.digest, ALICE.public_key)]
        await sign_artifact(store, subject, MALLORY)
        answers.append(await lacks_bundle(store, subject.digest, ALICE.public_key))
        # An attestation of ours is no signature of ours.
        await sign_artifact(store, subject, ALICE, predicate_type="https://example.com/tests")
        answers.append(await lacks_bundle(store, subject.digest, ALICE.public_key))
        await sign_artifact(store, subject, ALICE)
        answers.append(await lacks_bundle(store, subject.digest, ALICE.public_key))
        return answers

    assert asyncio.run(lacking()) == [False, True, True, False]


def test_a_layout_is_not_signed_in_the_older_format(store: Store) -> None:
    subject = asyncio.run(subject_in(store))
    with pytest.raises(UsageError, match="not in a registry"):
        asyncio.run(sign_legacy(store, subject, ALICE))
    assert isinstance(asyncio.run(store.fetch_manifest("v1")), Manifest)
