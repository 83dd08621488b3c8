"""Inventory against inventory: what a release would change, field by field where asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ocistate.artifact.inventory import Entry, Inventory
from ocistate.objects import ObjectId

Change = Literal["added", "changed", "removed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One resource that is not the same in both."""

    id: ObjectId
    change: Change
    before: Entry | None
    after: Entry | None


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
    old: Mapping[ObjectId, Entry], new: Mapping[ObjectId, Entry]
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
            yield from diff_objects(
                before.get(key), after.get(key), f"{pointer}/{_escape(str(key))}"
            )
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (left, right) in enumerate(zip(before, after, strict=True)):
            yield from diff_objects(left, right, f"{pointer}/{place}")
    elif before != after or type(before) is not type(after):
        yield FieldChange(pointer=pointer, before=before, after=after)


def mask_secret(obj: Mapping[str, Any]) -> dict[str, Any]:
    """A Secret with its values replaced by a mark; any other object as it is."""
    if obj.get("kind") != "Secret" or obj.get("apiVersion") != "v1":
        return dict(obj)
    masked = dict(obj)
    for field in ("data", "stringData"):
        if isinstance(masked.get(field), Mapping):
            masked[field] = dict.fromkeys(masked[field], "***")
    return masked


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
