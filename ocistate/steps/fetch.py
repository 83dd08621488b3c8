"""Fetch an artifact: its manifest, its inventory, and its files only when they are needed."""

from __future__ import annotations

from dataclasses import dataclass

from ocistate.artifact.content import (
    MAX_COMPRESSED_BYTES,
    compute_inventory,
    is_ours,
    plan_layers,
    read_layers,
    read_own_layer,
    resources_of,
)
from ocistate.artifact.inventory import Inventory, parse_inventory
from ocistate.artifact.known import KnownDocuments
from ocistate.errors import ArtifactError
from ocistate.objects import ObjectId, Resource
from ocistate.oci.model import Index, Manifest
from ocistate.oci.store import Fetcher

MAX_CONFIG_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """An artifact in hand: every byte of it has been checked against its digest."""

    manifest: Manifest
    inventory: Inventory
    files: dict[str, bytes]

    @property
    def digest(self) -> str:
        """The artifact's name."""
        return self.manifest.descriptor.digest

    def resources(self, known: KnownDocuments | None = None) -> dict[ObjectId, Resource]:
        """The resources, proven to be those of the inventory. Raises ArtifactError.

        Documents that are ``known`` are not parsed again.
        """
        return resources_of(self.files, self.inventory, known)


async def fetch_manifest(store: Fetcher, target: str) -> Manifest:
    """The manifest of an artifact. Raises ArtifactError when the target is an index."""
    found = await store.fetch_manifest(target)
    if isinstance(found, Index):
        raise ArtifactError(
            f"{target} in {store.reference} is an index, not an artifact",
            hint="name one of the manifests in it by digest",
        )
    return found


async def fetch_inventory(store: Fetcher, manifest: Manifest) -> Inventory:
    """What an artifact holds, from its config when ocistate packed it, else from its layers."""
    if is_ours(manifest):
        return parse_inventory(await store.fetch_blob(manifest.config, limit=MAX_CONFIG_BYTES))
    return (await fetch_content(store, manifest)).inventory


async def fetch_content(store: Fetcher, manifest: Manifest) -> Content:
    """Everything an artifact holds. Raises StoreError, ArtifactError, InvalidManifest."""
    layers = plan_layers(manifest)
    ours = is_ours(manifest)
    if ours:
        inventory = await fetch_inventory(store, manifest)
        data = await store.fetch_blob(layers[0].descriptor, limit=MAX_COMPRESSED_BYTES)
        files = read_own_layer(data, inventory)
        return Content(manifest=manifest, inventory=inventory, files=files)
    parts = []
    budget = MAX_COMPRESSED_BYTES
    for layer in layers:
        data = await store.fetch_blob(layer.descriptor, limit=budget)
        budget -= len(data)
        parts.append((layer, data))
    files = read_layers(parts)
    return Content(manifest=manifest, inventory=compute_inventory(files, manifest), files=files)
