"""The legacy signature format: where it is possible, and where a bundle hides it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ocistate.errors import UsageError
from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.signing.gather import gather_signatures
from ocistate.ops.signing.legacy import is_signed_by, lacks_bundle, sign_legacy
from ocistate.ops.signing.sign import sign_artifact
from ocistate.reference import parse_reference
from tests.support.factories.artifacts import put
from tests.support.factories.keys import make_signer

MINE, OTHER = make_signer(), make_signer()
TYPE = "https://example.com/tested/v1"


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    return LayoutStore(parse_reference(f"layout:{tmp_path}/store"))


def test_a_layout_has_no_name_that_the_format_could_sign(store: LayoutStore) -> None:
    async def run() -> None:
        subject = (await put(store, b"a", "v1")).descriptor
        with pytest.raises(UsageError, match="not in a registry"):
            await sign_legacy(store, subject, MINE)

    asyncio.run(run())


def test_a_bundle_is_lacking_only_beside_others(store: LayoutStore) -> None:
    async def run() -> list[bool]:
        subject = (await put(store, b"a", "v1")).descriptor
        found = [await lacks_bundle(store, subject.digest, MINE.public_key)]
        for signer in (OTHER, MINE):
            await sign_artifact(store, subject, signer)
            found.append(await lacks_bundle(store, subject.digest, MINE.public_key))
        return found

    assert asyncio.run(run()) == [False, True, False]


def test_only_a_signature_by_the_key_counts(store: LayoutStore) -> None:
    async def run() -> list[bool]:
        subject = (await put(store, b"a", "v1")).descriptor
        await sign_artifact(store, subject, MINE, predicate_type=TYPE, predicate={})
        await sign_artifact(store, subject, OTHER)
        found = await gather_signatures(store, subject.digest)
        return [is_signed_by(item, MINE.public_key, subject.digest) for item in found]

    assert asyncio.run(run()) == [False, False]
