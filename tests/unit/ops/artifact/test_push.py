"""Pushing an artifact: blobs, manifest, then tags; what is there already is left alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ocistate.artifact.pack import Packed, PackOptions, Provenance, pack
from ocistate.errors import NotFound, StoreError
from ocistate.oci.local.layout import LayoutStore
from ocistate.oci.model import Descriptor
from ocistate.ops.artifact.push import push_artifact
from ocistate.reference import parse_reference


def packed(version: str) -> Packed:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{v: '{version}'}}\n"
    return pack({"a.yaml": text.encode()}, provenance=Provenance(), options=PackOptions())


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    return LayoutStore(parse_reference(f"layout:{tmp_path}/store"))


def test_a_tag_with_the_same_content_is_unchanged(store: LayoutStore) -> None:
    first = asyncio.run(push_artifact(store, packed("1"), ["v1", "prod"]))
    assert (first.tags, first.unchanged) == (("v1", "prod"), ())
    again = asyncio.run(push_artifact(store, packed("1"), ["v1", "new"]))
    assert again.descriptor.digest == first.descriptor.digest
    assert again.unchanged == ("v1",)


def test_a_tag_moves_to_other_content(store: LayoutStore) -> None:
    asyncio.run(push_artifact(store, packed("1"), ["prod"]))
    second = asyncio.run(push_artifact(store, packed("2"), ["prod"]))
    assert second.unchanged == ()
    assert asyncio.run(store.resolve("prod")).digest == second.descriptor.digest


def test_before_runs_when_the_artifact_is_there_and_no_tag_names_it(store: LayoutStore) -> None:
    seen: list[bool] = []

    async def before(subject: Descriptor, held: bool) -> None:
        await store.fetch_manifest(subject.digest)
        with pytest.raises(NotFound):
            await store.resolve("v1")
        seen.append(held)

    asyncio.run(push_artifact(store, packed("1"), ["v1"], before=before))
    assert seen == [False]


def test_a_push_that_fails_before_the_tags_moves_none(store: LayoutStore) -> None:
    async def before(subject: Descriptor, held: bool) -> None:
        raise StoreError("no signature")

    with pytest.raises(StoreError):
        asyncio.run(push_artifact(store, packed("1"), ["v1"], before=before))
    with pytest.raises(NotFound):
        asyncio.run(store.resolve("v1"))
