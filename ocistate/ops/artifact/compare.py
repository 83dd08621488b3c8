"""What one artifact has that another has not, object by object and field by field."""

from __future__ import annotations

from dataclasses import dataclass

from ocistate.artifact.content import (
    MAX_COMPRESSED_BYTES,
    is_ours,
    plan_layers,
    read_own_files,
)
from ocistate.artifact.diff import (
    Difference,
    FieldChange,
    diff_inventories,
    diff_objects,
    mask_secrets,
)
from ocistate.artifact.inventory import Inventory
from ocistate.artifact.pick import pick_resources
from ocistate.objects import ObjectId, Resource
from ocistate.oci.model import Manifest
from ocistate.oci.store import Fetcher
from ocistate.ops.artifact.fetch import fetch_content, fetch_inventory, fetch_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two artifacts: its manifest and inventory."""

    store: Fetcher
    manifest: Manifest
    inventory: Inventory

    @property
    def digest(self) -> str:
        """The artifact's name."""
        return self.manifest.descriptor.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectDiff:
    """One object that differs, and its fields where both artifacts have it. Secrets are masked."""

    difference: Difference
    fields: tuple[FieldChange, ...] = ()


async def open_side(store: Fetcher, target: str) -> Side:
    """One side of a comparison: manifest and inventory, no files."""
    manifest = await fetch_manifest(store, target)
    return Side(store=store, manifest=manifest, inventory=await fetch_inventory(store, manifest))


async def compare(before: Side, after: Side, *, fields: bool = True) -> tuple[ObjectDiff, ...]:
    """The objects that differ. Layers are only fetched where fields are to be compared."""
    differences = diff_inventories(before.inventory, after.inventory)
    changed = [d for d in differences if d.change == "changed"] if fields else []
    if not changed:
        return tuple(ObjectDiff(difference=difference) for difference in differences)
    left = await _pick(before, [d.id for d in changed])
    right = await _pick(after, [d.id for d in changed])
    return tuple(
        ObjectDiff(
            difference=d,
            fields=tuple(diff_objects(*mask_secrets(left[d.id].object, right[d.id].object)))
            if d.id in left
            else (),
        )
        for d in differences
    )


async def _pick(side: Side, ids: list[ObjectId]) -> dict[ObjectId, Resource]:
    listed = {entry.id: entry for entry in side.inventory.resources}
    entries = [listed[key] for key in ids]
    if not is_ours(side.manifest):
        return pick_resources((await fetch_content(side.store, side.manifest)).files, entries)
    (plan,) = plan_layers(side.manifest)
    data = await side.store.fetch_blob(plan.descriptor, limit=MAX_COMPRESSED_BYTES)
    files = read_own_files(data, side.inventory, {entry.path for entry in entries})
    return pick_resources(files, entries)
