"""The cache of blobs and manifests: read once, checked each time, bounded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocistate.errors import NotFound
from ocistate.oci.cached import CachedFetcher, cache_folder
from ocistate.oci.model import (
    EMPTY_CONFIG,
    Descriptor,
    Index,
    Manifest,
    build_index,
    build_manifest,
    describe,
)
from ocistate.reference import parse_reference
from tests.support.loop import in_loop

BLOB = describe(b"content", "text/plain")
MANIFEST = build_manifest(config=EMPTY_CONFIG, layers=(BLOB,))


class Origin:
    reference = parse_reference("oci://registry.example.com/shop")

    def __init__(self, **manifests: Manifest | Index) -> None:
        self.manifests = {MANIFEST.descriptor.digest: MANIFEST, **manifests}
        self.asked: list[str] = []

    async def fetch_manifest(self, target: str) -> Manifest | Index:
        self.asked.append(target)
        if target not in self.manifests:
            raise NotFound(target)
        return self.manifests[target]

    async def fetch_blob(self, descriptor: Descriptor, *, limit: int) -> bytes:
        self.asked.append(descriptor.digest)
        return b"content"


@in_loop
async def test_what_has_a_digest_is_asked_for_once(tmp_path: Path) -> None:
    origin = Origin()
    for _ in range(2):
        fetcher = CachedFetcher(origin, tmp_path)
        assert await fetcher.fetch_manifest(MANIFEST.descriptor.digest) == MANIFEST
        assert await fetcher.fetch_blob(BLOB, limit=100) == b"content"
    assert origin.asked == [MANIFEST.descriptor.digest, BLOB.digest]


@in_loop
async def test_a_tag_is_asked_for_each_time(tmp_path: Path) -> None:
    origin = Origin(v1=MANIFEST)
    fetcher = CachedFetcher(origin, tmp_path)
    await fetcher.fetch_manifest("v1")
    await fetcher.fetch_manifest("v1")
    assert origin.asked == ["v1", "v1"]


@in_loop
async def test_an_index_is_not_kept(tmp_path: Path) -> None:
    index = build_index((MANIFEST.descriptor,))
    origin = Origin(**{index.descriptor.digest: index})
    fetcher = CachedFetcher(origin, tmp_path)
    for _ in range(2):
        assert await fetcher.fetch_manifest(index.descriptor.digest) == index
    assert len(origin.asked) == 2


@in_loop
async def test_a_damaged_file_costs_a_request_and_no_more(tmp_path: Path) -> None:
    origin = Origin()
    fetcher = CachedFetcher(origin, tmp_path)
    await fetcher.fetch_blob(BLOB, limit=100)
    kept = tmp_path / BLOB.digest.replace(":", "-")
    kept.write_bytes(b"damaged")
    assert await fetcher.fetch_blob(BLOB, limit=100) == b"content"
    assert kept.read_bytes() == b"content"


@in_loop
async def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    assert await CachedFetcher(Origin(), blocked / "cache").fetch_blob(BLOB, limit=9) == b"content"


def test_the_blobs_not_used_for_longest_go_first(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "old", "oldest")):
        (tmp_path / name).write_bytes(b"x" * 10)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    CachedFetcher(Origin(), tmp_path).shrink(most=25)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_the_folder_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("blobs") == tmp_path / "ocistate" / "blobs"
