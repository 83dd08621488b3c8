"""Comparing two artifacts: objects by inventory, fields by content, Secrets masked."""

from __future__ import annotations

import asyncio

import pytest

from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.artifact.compare import ObjectDiff, compare, open_side
from ocistate.reference import parse_reference
from tests.support.environments.shop import Shop


def diff(shop: Shop, before: str, after: str, *, fields: bool = True) -> dict[str, ObjectDiff]:
    async def run() -> tuple[ObjectDiff, ...]:
        async with LayoutStore(parse_reference(shop.store)) as store:
            sides = [await open_side(store, target) for target in (before, after)]
            return await compare(*sides, fields=fields)

    return {item.difference.id.name: item for item in asyncio.run(run())}


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ("v1", "v1", {}),
        ("v1", "v2", {"app": "changed", "api": "added"}),
        ("v2", "v3", {"app": "removed", "api": "changed"}),
        ("v3", "v1", {"app": "added", "api": "removed"}),
    ],
)
def test_objects_differ_by_inventory(
    shop: Shop, before: str, after: str, changes: dict[str, str]
) -> None:
    found = diff(shop, before, after)
    assert {name: item.difference.change for name, item in found.items()} == changes


def test_only_changed_objects_have_fields(shop: Shop) -> None:
    found = diff(shop, "v1", "v2")
    (field,) = found["app"].fields
    assert (field.pointer, field.before, field.after) == ("/data/v", "1", "2")
    assert found["api"].fields == ()
    assert diff(shop, "v1", "v2", fields=False)["app"].fields == ()
