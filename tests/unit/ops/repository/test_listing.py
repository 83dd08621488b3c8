"""Listing a repository: newest first, and each row as far as it can be read."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.repository.listing import CREATED, Row, list_artifacts, read_created
from ocistate.reference import parse_reference
from tests.support.environments.shop import Shop
from tests.support.factories.artifacts import put


def rows(reference: str, *, everything: bool = False) -> list[Row]:
    async def run() -> list[Row]:
        async with LayoutStore(parse_reference(reference)) as store:
            return await list_artifacts(store, everything=everything)

    return asyncio.run(run())


def test_records_and_signatures_are_listed_only_when_asked(shop: Shop) -> None:
    assert {row.tag for row in rows(shop.store)} == {"v1", "v2", "v3", "raw"}
    assert {row.tag for row in rows(shop.store)} < {
        row.tag for row in rows(shop.store, everything=True)
    }


def test_the_newest_come_first_and_undated_ones_by_version(tmp_path: Path) -> None:
    async def write() -> None:
        async with LayoutStore(parse_reference(f"layout:{tmp_path}/store")) as store:
            for tag, created in (
                ("a", "2026-01-01T00:00:00Z"),
                ("b", "2026-01-02T00:00:00+01:00"),
                ("v1.2", ""),
                ("v1.10", ""),
            ):
                annotations = {CREATED: created} if created else {}
                await put(store, tag.encode(), tag, annotations=annotations)

    asyncio.run(write())
    assert [row.tag for row in rows(f"layout:{tmp_path}/store")] == ["b", "a", "v1.10", "v1.2"]


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-01", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_none(text: str) -> None:
    assert read_created(text) is None


def test_a_time_is_read_with_its_zone() -> None:
    assert read_created("2026-01-01T01:00:00+01:00") == datetime(2026, 1, 1, tzinfo=UTC)
