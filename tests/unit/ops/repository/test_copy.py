"""Copying channels: records as they are, never one under another's number, never back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ocistate.errors import ChannelFork
from ocistate.oci.copy import CopyItem, CopyReport
from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.repository.copy import copy_artifacts, read_records
from ocistate.reference import parse_reference
from tests.support.environments.shop import Shop
from tests.support.factories.artifacts import put


def copy(shop: Shop, to: Path, *wanted: CopyItem, channels: bool = True) -> CopyReport:
    async def run() -> CopyReport:
        source = LayoutStore(parse_reference(shop.store))
        target = LayoutStore(parse_reference(f"layout:{to}/store"))
        async with source, target:
            return await copy_artifacts(source, target, wanted, channels=channels)

    return asyncio.run(run())


def tags(to: Path) -> set[str]:
    async def run() -> list[str]:
        async with LayoutStore(parse_reference(f"layout:{to}/store")) as store:
            return await store.tags()

    return set(asyncio.run(run()))


def test_channels_come_with_records_and_what_the_newest_pin(shop: Shop, tmp_path: Path) -> None:
    report = copy(shop, tmp_path)
    assert {artifact.digest for artifact in report.artifacts} >= set(shop.digests[1:])
    assert report.passed_over == []
    assert len([tag for tag in tags(tmp_path) if "prod" in tag]) == 3


def test_without_channels_only_what_is_asked_for_is_copied(shop: Shop, tmp_path: Path) -> None:
    copy(shop, tmp_path, CopyItem(target="v1", tags=("v1",)), channels=False)
    assert tags(tmp_path) == {"v1"}


def test_another_record_under_a_number_is_a_fork(shop: Shop, tmp_path: Path) -> None:
    copy(shop, tmp_path)
    (number,) = (tag for tag in tags(tmp_path) if "prod" in tag and tag.endswith("1"))

    async def overwrite() -> None:
        async with LayoutStore(parse_reference(f"layout:{tmp_path}/store")) as store:
            await put(store, b"other", number)

    asyncio.run(overwrite())
    with pytest.raises(ChannelFork, match="another record"):
        copy(shop, tmp_path)


def test_a_tag_that_holds_no_record_is_none(shop: Shop, tmp_path: Path) -> None:
    async def run() -> list[bool]:
        async with LayoutStore(parse_reference(f"layout:{tmp_path}/store")) as store:
            await put(store, b"other", "channel-x")
            return [item.record is None for item in await read_records(store, ["channel-x"])]

    assert asyncio.run(run()) == [True]
