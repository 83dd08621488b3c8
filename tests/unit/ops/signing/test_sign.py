"""Signing an artifact: a bundle that refers to it, in one manifest."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ocistate.errors import InputError
from ocistate.oci.local.layout import LayoutStore
from ocistate.oci.model import Manifest
from ocistate.ops.signing.gather import gather_signatures
from ocistate.ops.signing.sign import sign_artifact
from ocistate.reference import parse_reference
from ocistate.signing.claims import read_claims
from ocistate.signing.envelope import BUNDLE_TYPE, MAX_BUNDLE_BYTES
from tests.support.factories.artifacts import put
from tests.support.factories.keys import make_signer

SIGNER = make_signer()
TYPE = "https://example.com/tested/v1"


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    return LayoutStore(parse_reference(f"layout:{tmp_path}/store"))


def test_a_signature_refers_to_the_artifact(store: LayoutStore) -> None:
    async def run() -> tuple[Manifest, str, str]:
        subject = (await put(store, b"a", "v1")).descriptor
        now = datetime(2026, 1, 1, tzinfo=UTC)
        written = await sign_artifact(store, subject, SIGNER, now=now)
        manifest = await store.fetch_manifest(written.digest)
        assert isinstance(manifest, Manifest)
        (found,) = await gather_signatures(store, subject.digest)
        return manifest, subject.digest, read_claims(found, subject.digest).kind

    manifest, digest, kind = asyncio.run(run())
    assert manifest.subject is not None
    assert (manifest.subject.digest, manifest.artifact_type) == (digest, BUNDLE_TYPE)
    assert manifest.annotations["org.opencontainers.image.created"] == "2026-01-01T00:00:00Z"
    assert kind == "signature"


def test_an_attestation_carries_its_predicate(store: LayoutStore) -> None:
    async def run() -> str:
        subject = (await put(store, b"a", "v1")).descriptor
        await sign_artifact(store, subject, SIGNER, predicate_type=TYPE, predicate={"ok": True})
        (found,) = await gather_signatures(store, subject.digest)
        return read_claims(found, subject.digest).predicate_type

    assert asyncio.run(run()) == TYPE


def test_one_that_no_verifier_would_read_is_not_written(store: LayoutStore) -> None:
    async def run() -> int:
        subject = (await put(store, b"a", "v1")).descriptor
        large = {"text": "x" * MAX_BUNDLE_BYTES}
        with pytest.raises(InputError, match="no verifier accepts more"):
            await sign_artifact(store, subject, SIGNER, predicate_type=TYPE, predicate=large)
        return len(await gather_signatures(store, subject.digest))

    assert asyncio.run(run()) == 0
