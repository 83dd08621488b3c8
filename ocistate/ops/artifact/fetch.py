"""Fetch an artifact: its manifest, its inventory, and its files only when they are needed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ocistate.artifact.content import (
    MAX_COMPRESSED_BYTES,
    LayerPlan,
    compute_inventory,
    is_ours,
    plan_layers,
    read_layers,
    read_own_layer,
    resources_of,
)
from ocistate.artifact.inventory import Inventory, parse_inventory
from ocistate.artifact.known import KnownDocuments
from ocistate.artifact.unpack import DEFAULT_LIMITS, Limits
from ocistate.errors import ArtifactError
from ocistate.objects import ObjectId, Resource
from ocistate.oci.model import Index, Manifest
from ocistate.oci.store import Fetcher

MAX_CONFIG_BYTES = 64 * 1024 * 1024


Layers = Sequence[tuple[LayerPlan, bytes]]


@dataclass(slots=True, kw_only=True)
class Content:
    """An artifact in hand: every byte of it has been checked against its digest."""

    manifest: Manifest
    inventory: Inventory
    layers: Layers = field(repr=False)
    """As the store served them."""
    limits: Limits = DEFAULT_LIMITS
    _files: Mapping[str, bytes] | None = field(default=None, repr=False)

    @property
    def files(self) -> Mapping[str, bytes]:
        """The files by path."""
        if self._files is None:
            self._files = _unpack(self.manifest, self.layers, self.inventory, self.limits)
        return self._files

    def rest(self) -> None:
        """Let go of the files, which can be unpacked again: compressed they take a tenth."""
        self._files = None

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
        raw = await store.fetch_blob(manifest.config, limit=MAX_CONFIG_BYTES)
        return await asyncio.to_thread(parse_inventory, raw)
    return (await fetch_content(store, manifest)).inventory


async def fetch_content(
    store: Fetcher, manifest: Manifest, *, limits: Limits = DEFAULT_LIMITS
) -> Content:
    """Everything an artifact holds. Raises StoreError, ArtifactError, InvalidManifest."""
    plans = plan_layers(manifest)
    inventory = await fetch_inventory(store, manifest) if is_ours(manifest) else None
    layers = []
    budget = MAX_COMPRESSED_BYTES
    for plan in plans:
        data = await store.fetch_blob(plan.descriptor, limit=budget)
        budget -= len(data)
        layers.append((plan, data))
    # In threads: a large artifact takes seconds, and others share the event loop.
    files = await asyncio.to_thread(_unpack, manifest, layers, inventory, limits)
    if inventory is None:
        inventory = await asyncio.to_thread(compute_inventory, files, manifest)
    return Content(
        manifest=manifest,
        inventory=inventory,
        layers=layers,
        limits=limits,
        _files=files,
    )


def _unpack(
    manifest: Manifest, layers: Layers, inventory: Inventory | None, limits: Limits
) -> dict[str, bytes]:
    if inventory is not None and is_ours(manifest):
        return read_own_layer(layers[0][1], inventory, limits=limits)
    return read_layers(layers, limits=limits)
