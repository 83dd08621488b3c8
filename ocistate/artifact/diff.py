"""Inventory against inventory: what a release would change, field by field where asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ocistate.artifact.inventory import Inventory, InventoryEntry
from ocistate.objects import ObjectId

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

ChangeType = Literal["added", "changed", "removed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One resource that is not the same in both."""

    id: ObjectId
    change: ChangeType
    before: InventoryEntry | None
    after: InventoryEntry | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One field that differs: its JSON pointer, and the values (``None`` where it is absent)."""

    pointer: str
    before: Any
    after: Any


def diff_inventories(before: Inventory, after: Inventory) -> tuple[Difference, ...]:
    """The resources that differ, in the order of their identity. Costs no object."""
    old = {entry.id: entry for entry in before.resources}
    new = {entry.id: entry for entry in after.resources}
    return tuple(_differences(old, new))


def _differences(
    old: Mapping[ObjectId, InventoryEntry], new: Mapping[ObjectId, InventoryEntry]
) -> Iterator[Difference]:
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before is None:
            yield Difference(id=key, change="added", before=None, after=after)
        elif after is None:
            yield Difference(id=key, change="removed", before=before, after=None)
        elif before.digest != after.digest:
            yield Difference(id=key, change="changed", before=before, after=after)


def diff_objects(before: Any, after: Any, pointer: str = "") -> Iterator[FieldChange]:
    """The fields that differ between two objects; lists of equal length item by item."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted(before.keys() | after.keys()):
            below = f"{pointer}/{_escape(str(key))}"
            left, right = before.get(key), after.get(key)
            if left is right is None and (key in before) != (key in after):
                yield FieldChange(pointer=below, before=None, after=None)
            yield from diff_objects(left, right, below)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (left, right) in enumerate(zip(before, after, strict=True)):
            yield from diff_objects(left, right, f"{pointer}/{place}")
    elif before != after or type(before) is not type(after):
        yield FieldChange(pointer=pointer, before=before, after=after)


def mask_secret(obj: Mapping[str, Any]) -> dict[str, Any]:
    """A Secret with its values replaced by a mark; any other object as it is."""
    if not _is_secret(obj):
        return dict(obj)
    return _masked(obj, {}, "***")


def mask_secrets(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two states of one object, a Secret's values masked; those that differ still differ."""
    if not _is_secret(before) and not _is_secret(after):
        return dict(before), dict(after)
    return _masked(before, after, "*** (before)"), _masked(after, before, "*** (after)")


def _is_secret(obj: Mapping[str, Any]) -> bool:
    return obj.get("kind") == "Secret" and obj.get("apiVersion") == "v1"


def _masked(obj: Mapping[str, Any], other: Mapping[str, Any], mark: str) -> dict[str, Any]:
    masked = dict(obj)
    for field in ("data", "stringData"):
        values, others = masked.get(field), other.get(field)
        if isinstance(values, Mapping):
            others = others if isinstance(others, Mapping) else {}
            masked[field] = {
                key: "***" if others.get(key) == value else mark for key, value in values.items()
            }
        elif values is not None:
            masked[field] = mark
    metadata = masked.get("metadata")
    if isinstance(metadata, Mapping):
        annotations = metadata.get("annotations")
        if isinstance(annotations, Mapping) and _LAST_APPLIED in annotations:
            # kubectl's copy of the whole object holds the values once more.
            masked["metadata"] = {**metadata, "annotations": {**annotations, _LAST_APPLIED: mark}}
    return masked


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
