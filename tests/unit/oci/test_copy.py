"""Copying between stores: order, what is sent again, and what is passed over."""

from __future__ import annotations

from pathlib import Path

from ocistate.oci.copy import CopyItem, copy
from ocistate.oci.local.layout import LayoutStore
from ocistate.oci.model import (
    EMPTY_CONFIG,
    Descriptor,
    Index,
    Manifest,
    build_index,
    build_manifest,
    describe,
)
from ocistate.reference import Reference
from tests.support.loop import in_loop

BLOB = describe(b"content", "text/plain")
ARTIFACT = build_manifest(config=EMPTY_CONFIG, layers=(BLOB,))
SIGNATURE = build_manifest(
    config=EMPTY_CONFIG, layers=(), artifact_type="signature", subject=ARTIFACT.descriptor
)
COUNTERSIGNATURE = build_manifest(
    config=EMPTY_CONFIG, layers=(), artifact_type="signature", subject=SIGNATURE.descriptor
)


class Store(LayoutStore):
    """A layout that keeps the order in which manifests and tags came."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Reference(scheme="layout", registry="", repository=str(folder)))
        self.pushed: list[str] = []

    async def push_manifest(self, manifest: Manifest | Index, tag: str | None = None) -> Descriptor:
        self.pushed.append(tag or manifest.descriptor.digest)
        return await super().push_manifest(manifest, tag)


async def source(folder: Path) -> Store:
    store = Store(folder)
    await store.push_blob(EMPTY_CONFIG, b"{}")
    await store.push_blob(BLOB, b"content")
    for manifest in (ARTIFACT, SIGNATURE, COUNTERSIGNATURE):
        await store.push_manifest(manifest)
    await store.push_manifest(ARTIFACT, "v1")
    return store


@in_loop
async def test_signatures_and_theirs_go_along_and_the_tag_comes_last(tmp_path: Path) -> None:
    target = Store(tmp_path / "b")
    report = await copy(
        await source(tmp_path / "a"), target, [[CopyItem(target="v1", tags=("v1", "prod"))]]
    )
    digests = [each.descriptor.digest for each in (ARTIFACT, SIGNATURE, COUNTERSIGNATURE)]
    assert target.pushed == [*digests, "v1", "prod"]
    assert (report.manifests_sent, report.blobs_sent, report.referrers) == (3, 2, 2)
    assert report.artifacts[0].unchanged == ()


@in_loop
async def test_what_is_there_is_not_sent_again(tmp_path: Path) -> None:
    origin, target = await source(tmp_path / "a"), Store(tmp_path / "b")
    items = [[CopyItem(target="v1", tags=("v1",))]]
    await copy(origin, target, items)
    target.pushed.clear()
    report = await copy(origin, target, items)
    assert target.pushed == []
    assert (report.manifests_present, report.blobs_sent, report.bytes_sent) == (3, 0, 0)
    assert report.artifacts[0].unchanged == ("v1",)


@in_loop
async def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    target = Store(tmp_path / "b")
    report = await copy(
        await source(tmp_path / "a"),
        target,
        [[CopyItem(target="v1", tags=("v1",))]],
        dry_run=True,
    )
    assert target.pushed == []
    assert (report.manifests_sent, report.blobs_sent) == (3, 2)


@in_loop
async def test_an_index_comes_after_the_manifests_it_lists(tmp_path: Path) -> None:
    origin, target = await source(tmp_path / "a"), Store(tmp_path / "b")
    index = build_index((ARTIFACT.descriptor,))
    await origin.push_manifest(index, "all")
    await copy(origin, target, [[CopyItem(target="all", tags=("all",))]])
    order = [target.pushed.index(d) for d in (ARTIFACT.descriptor.digest, index.descriptor.digest)]
    assert order == sorted(order)
    assert target.pushed[-1] == "all"


@in_loop
async def test_a_shared_blob_is_sent_once(tmp_path: Path) -> None:
    origin, target = await source(tmp_path / "a"), Store(tmp_path / "b")
    other = build_manifest(config=EMPTY_CONFIG, layers=(BLOB,), annotations={"n": "2"})
    await origin.push_manifest(other, "v2")
    items = [CopyItem(target=tag, tags=(tag,)) for tag in ("v1", "v2")]
    report = await copy(origin, target, [items])
    assert (report.blobs_sent, len(report.artifacts)) == (2, 2)
