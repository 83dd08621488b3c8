"""Reports in a registry: each verified, and one that is wrong hides no other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ocistate.channel.fleet import TaggedReport
from ocistate.channel.report import report_tag
from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.channel.reader import Channel
from ocistate.ops.channel.reports import read_reports, write_report
from ocistate.reference import parse_reference
from tests.support.factories.artifacts import put
from tests.support.factories.records import SHOP, trust
from tests.support.factories.reports import EAST, REPORTERS, WEST, report

CHANNEL = Channel(name="prod", repository=SHOP, trust=trust())


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    return LayoutStore(parse_reference(f"layout:{tmp_path}/store"))


def read(store: LayoutStore) -> dict[str, TaggedReport]:
    return {each.tag: each for each in asyncio.run(read_reports(store, CHANNEL, REPORTERS))}


def test_a_report_is_read_back_from_its_tag(store: LayoutStore) -> None:
    tag = asyncio.run(write_report(store, report(), EAST))
    assert tag == report_tag("prod", "east", "shop/shop")
    assert read(store) == {tag: TaggedReport(tag=tag, report=report())}


def test_a_newer_report_replaces_the_older(store: LayoutStore) -> None:
    asyncio.run(write_report(store, report(), EAST))
    tag = asyncio.run(write_report(store, report(state="Degraded"), EAST))
    assert [each.report and each.report.state for each in read(store).values()] == ["Degraded"]
    assert set(read(store)) == {tag}


def test_a_report_by_another_cluster_is_a_problem(store: LayoutStore) -> None:
    tag = asyncio.run(write_report(store, report(), WEST))
    assert read(store)[tag].report is None
    assert read(store)[tag].problem


def test_junk_hides_no_other_report(store: LayoutStore) -> None:
    good = asyncio.run(write_report(store, report(), EAST))
    junk = report_tag("prod", "west", "shop/shop")

    async def write() -> None:
        await put(store, b"junk", junk)
        await store.push_manifest(
            await store.fetch_manifest(good), report_tag("prod", "east", "a/b")
        )

    asyncio.run(write())
    found = read(store)
    assert found[junk].problem == "it is no report"
    assert "own tag" in found[report_tag("prod", "east", "a/b")].problem
    assert found[good].report == report()
