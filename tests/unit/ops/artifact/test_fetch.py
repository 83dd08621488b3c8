"""Fetching an artifact: files that match the inventory, and no index."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from ocistate.artifact.unpack import DEFAULT_LIMITS
from ocistate.errors import ArtifactError, NotFound
from ocistate.oci.local.layout import LayoutStore
from ocistate.oci.model import build_index
from ocistate.ops.artifact.fetch import Content, fetch_content, fetch_inventory, fetch_manifest
from ocistate.reference import parse_reference
from tests.support.environments.shop import REVISIONS, Shop


def fetch(shop: Shop, target: str) -> Content:
    async def run() -> Content:
        async with LayoutStore(parse_reference(shop.store)) as store:
            return await fetch_content(store, await fetch_manifest(store, target))

    return asyncio.run(run())


def test_content_has_files_and_resources(shop: Shop) -> None:
    content = fetch(shop, "v2")
    assert content.digest == shop.digests[1]
    assert content.inventory.revision == REVISIONS[2]
    assert {id.kind for id in content.resources()} == {"ConfigMap", "Secret", "Deployment"}
    files = content.files
    content.rest()
    assert content.files == files


def test_the_inventory_needs_no_layer(shop: Shop) -> None:
    async def run() -> int:
        async with LayoutStore(parse_reference(shop.store)) as store:
            manifest = await fetch_manifest(store, "v2")
            bare = replace(manifest, layers=(replace(manifest.layers[0], digest="sha256:0"),))
            return len((await fetch_inventory(store, bare)).resources)

    assert asyncio.run(run()) == 3


def test_limits_hold_for_what_is_unpacked(shop: Shop) -> None:
    async def run() -> Content:
        async with LayoutStore(parse_reference(shop.store)) as store:
            limits = replace(DEFAULT_LIMITS, total_bytes=10)
            return await fetch_content(store, await fetch_manifest(store, "v2"), limits=limits)

    with pytest.raises(ArtifactError):
        _ = asyncio.run(run()).files


def test_an_unknown_tag_is_not_found(shop: Shop) -> None:
    with pytest.raises(NotFound):
        fetch(shop, "v9")


def test_an_index_is_no_artifact(shop: Shop, tmp_path: object) -> None:
    async def run() -> None:
        async with LayoutStore(parse_reference(f"layout:{tmp_path}/store")) as store:
            await store.push_manifest(build_index(()), "many")
            await fetch_manifest(store, "many")

    with pytest.raises(ArtifactError, match="is an index"):
        asyncio.run(run())
