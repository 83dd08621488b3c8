"""Listing a repository and removing what is old, in registries of both kinds, layouts, archives."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ocistate.channel.record import Record, name_tag, number_tag, sign_record
from ocistate.errors import ArtifactError, NotFound
from ocistate.oci import open_store
from ocistate.oci.model import Descriptor, Manifest
from ocistate.oci.store import Store
from ocistate.oci.tags import fallback_tag, legacy_tag
from ocistate.ops.repository.gc import plan_gc
from ocistate.ops.repository.retention import RetentionRules
from ocistate.reference import parse_reference
from ocistate.signing.envelope import BUNDLE_TYPE
from testbed.registries import Distribution, Registry
from tests.support.command import ROOT, ocistate
from tests.support.factories import artifacts
from tests.support.factories.keys import make_signer

NOW = datetime.now(UTC)
CREATED = "org.opencontainers.image.created"
SIGNER = make_signer()
RECORD_TYPE = "application/vnd.ocistate.channel.v1"


@pytest.fixture(params=["distribution", "referrers", "layout", "archive"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty repository."""
    if request.param in ("layout", "archive"):
        return f"{request.param}:{tmp_path}/place"
    name = "distribution" if request.param == "distribution" else "referrers_registry"
    return f"{request.getfixturevalue(name).host}/keeping/{tmp_path.name.lower()}"


def work(place: str, story: Callable[[Store], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with open_store(parse_reference(place)) as store:
            return await story(store)

    return asyncio.run(main())


async def put(
    store: Store,
    text: str,
    *tags: str,
    days: int | None = None,
    kind: str = "application/vnd.example",
    subject: Descriptor | None = None,
    content: bytes | None = None,
) -> Manifest:
    notes = {"org.opencontainers.image.revision": f"main@sha1:{text}"}
    if days is not None:
        notes[CREATED] = (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    data = text.encode() if content is None else content
    return await artifacts.put(store, data, *tags, kind=kind, subject=subject, annotations=notes)


async def put_record(store: Store, number: int, digest: str) -> None:
    repository = store.reference.name
    record = Record(
        channel="prod", repository=repository, epoch=1, sequence=number, previous="",
        issued_at=NOW, subjects={repository: digest},
    )  # fmt: skip
    tags = (number_tag("prod", 1, number), name_tag("prod"))
    signed = sign_record(record, SIGNER)
    await put(store, f"record {number}", *tags, kind=RECORD_TYPE, content=signed)


async def fill(store: Store) -> dict[str, Manifest]:
    """Ten artifacts, the oldest first; each with a signature, one of that, and an older one."""
    made = {}
    for number in range(10):
        artifact = await put(store, f"a{number}", f"v{number}", days=100 - 10 * number)
        made[f"v{number}"] = artifact
        digest = artifact.descriptor
        signature = await put(store, f"signed {number}", kind=BUNDLE_TYPE, subject=digest)
        await put(store, f"nested {number}", subject=signature.descriptor)
        await put(store, f"older {number}", legacy_tag(digest.digest))
    return made


def test_ls_lists_the_newest_artifacts_first(place: str) -> None:
    async def story(store: Store) -> dict[str, str]:
        old = await put(store, "old", "v9", days=5)
        new = await put(store, "new", "v10", "v11", days=1)
        await put(store, "undated", "x")
        await put(store, "signed", kind=BUNDLE_TYPE, subject=old.descriptor)
        await put_record(store, 1, new.descriptor.digest)
        return {"old": old.descriptor.digest, "new": new.descriptor.digest}

    digests = work(place, story)
    rows = json.loads(ocistate("ls", place, "-o", "json").out)
    assert [row["tag"] for row in rows] == ["v11", "v10", "v9", "x"]
    assert [row["digest"] for row in rows[:3]] == [digests["new"]] * 2 + [digests["old"]]
    assert [row["signed"] for row in rows] == [False, False, True, False]
    assert rows[2]["revision"] == "main@sha1:old"
    assert rows[2]["reference"] == f"{place}:v9"
    everything = json.loads(ocistate("ls", place, "--all", "-o", "json").out)
    tags = {row["tag"] for row in everything}
    assert {"channel-prod", "channel-prod-1", "v9"} <= tags
    assert ocistate("ls", place, "-o", "name").out.splitlines()[0] == f"{place}:v11"
    table = ocistate("ls", place).out.splitlines()
    assert table[0].split() == ["TAG", "DIGEST", "CREATED", "SIGNED", "REVISION"]
    assert len(table) == 5


def test_the_repositories_of_a_registry_are_listed(distribution: Distribution) -> None:
    for name in ("catalog/b", "catalog/a"):
        work(f"{distribution.host}/{name}", lambda store: put(store, "x", "v1"))
    for text in (distribution.host, f"oci://{distribution.host}/"):
        names = ocistate("ls", text, "-o", "name").out.splitlines()
        found = [name for name in names if "/catalog/" in name]
        assert found == [f"{distribution.host}/catalog/a", f"{distribution.host}/catalog/b"]


def test_old_artifacts_go_with_all_that_refers_to_them_and_the_rest_stays(place: str) -> None:
    async def prepare(store: Store) -> dict[str, Manifest]:
        made = await fill(store)
        await put_record(store, 1, made["v1"].descriptor.digest)
        await put_record(store, 2, made["v2"].descriptor.digest)
        await store.push_manifest(made["v4"], "live")
        return made

    made = work(place, prepare)
    arguments = ("gc", place, "--keep", "2", "--keep-for", "35d", "--keep-tag", "live")
    looked = json.loads(ocistate(*arguments, "--dry-run", "-o", "json").out)
    everything = work(place, lambda store: store.tags())
    assert len(ocistate("ls", place, "-o", "name").out.splitlines()) == 11
    done = json.loads(ocistate(*arguments, "--yes", "-o", "json").out)
    assert {**looked, "dryRun": False, "freed": done["freed"]} == done
    gone = {tag for item in done["removed"] for tag in item["tags"] if tag.startswith("v")}
    # v1 and v2 are named by the channel's history, v4 by a kept tag, v7 to v9 are young.
    assert gone == {"v0", "v3", "v5", "v6"}

    async def check(store: Store) -> None:
        tags = await store.tags()
        for tag, manifest in made.items():
            digest = manifest.descriptor.digest
            if tag in gone:
                for target in (tag, digest, legacy_tag(digest), fallback_tag(digest)):
                    with pytest.raises(NotFound):
                        await store.resolve(target)
                assert await store.referrers(digest) == []
            else:
                assert (await store.fetch_manifest(tag)).raw == manifest.raw
                await store.fetch_blob(manifest.layers[0], limit=100)
                (signature,) = await store.referrers(digest)
                (nested,) = await store.referrers(signature.digest)
                await store.fetch_manifest(nested.digest)
                await store.fetch_manifest(legacy_tag(digest))
        assert {"channel-prod", "channel-prod-1", "channel-prod-2", "live"} <= set(tags)
        # Each artifact that went took its tag and its older signature's, and its listings.
        taken = set(everything) - set(tags)
        assert {tag for tag in taken if tag.startswith("v")} == gone

    work(place, check)
    for removed in done["removed"]:
        assert len(removed["with"]) >= 3
    again = json.loads(ocistate(*arguments, "--yes", "-o", "json").out)
    assert again["removed"] == []


def test_deletion_from_a_layout_removes_its_blobs(tmp_path: Path) -> None:
    place = f"layout:{tmp_path}/place"
    made = work(place, fill)
    blobs = tmp_path / "place" / "blobs" / "sha256"
    torn = blobs / ".tmp-of-a-killed-writer"
    torn.write_bytes(b"torn")
    for path in blobs.iterdir():
        long_ago = time.time() - 7200
        os.utime(path, (long_ago, long_ago))
    done = json.loads(ocistate("gc", place, "--keep", "4", "--yes", "-o", "json").out)
    assert done["freed"] > 0
    left = {path.name for path in blobs.iterdir()}
    assert torn.name not in left
    for tag, manifest in made.items():
        there = manifest.layers[0].digest[7:] in left
        assert there == (tag in ("v6", "v7", "v8", "v9"))
    # 4 artifacts and for each 3 things that refer to it: a manifest and a layer, one config.
    assert len(left) == 4 * 4 * 2 + 1


def test_gc_removes_untagged_artifacts_on_request(place: str, tmp_path: Path) -> None:
    async def prepare(store: Store) -> Manifest:
        await put(store, "old", "moves", days=50)
        lost = await put(store, "lost", "moves", days=40)
        await put(store, "signature", kind=BUNDLE_TYPE, subject=lost.descriptor)
        pinned = await put(store, "pinned", "moves", days=30)
        await put_record(store, 1, pinned.descriptor.digest)
        await put(store, "new", "moves", days=20)
        return lost

    lost = work(place, prepare)
    arguments = ("gc", place, "--keep", "1", "--untagged", "-o", "json")
    if not place.startswith(("layout:", "archive:")):
        refused = ocistate(*arguments, "--yes", check=False)
        assert refused.code == 2
        assert "lists tags only" in refused.err
        return
    if place.startswith("layout:"):
        facts = json.loads(ocistate(*arguments, "--yes").out)
        assert facts["removed"] == [], "its writer may be about to tag it"
        for blob in (tmp_path / "place" / "blobs" / "sha256").iterdir():
            os.utime(blob, (0, 0))
    assert json.loads(ocistate(*arguments[:-3], "--yes", "-o", "json").out)["removed"] == []
    facts = json.loads(ocistate(*arguments, "--yes").out)
    assert [(item["tags"], item["reason"], len(item["with"])) for item in facts["removed"]] == [
        ([], "it has no tag", 1),
        ([], "it has no tag", 0),
    ]
    assert facts["removed"][0]["digest"] == lost.descriptor.digest
    assert (facts["freed"] > 0) == place.startswith("layout:")
    assert [item["tags"] for item in facts["kept"]] == [["moves"], []]
    assert "channel record prod@1" in facts["kept"][1]["reason"]


def test_gc_removes_artifacts_without_a_creation_time_first_on_request(tmp_path: Path) -> None:
    place = f"layout:{tmp_path}/place"

    async def prepare(store: Store) -> None:
        await put(store, "undated", "undated")
        await put(store, "old", "old", days=9)
        await put(store, "new", "new", days=1)

    work(place, prepare)
    arguments = ("gc", place, "--keep", "2", "--yes", "-o", "name")
    assert ocistate(*arguments).out == ""
    ocistate(*arguments, "--undated", "oldest")
    names = ocistate("ls", place, "-o", "name").out.splitlines()
    assert [name.rpartition(":")[2] for name in names] == ["new", "old"]


def test_a_part_of_a_kept_artifact_is_not_removed(place: str) -> None:
    """An old artifact that has a tag, but is what a kept statement is about."""

    async def prepare(store: Store) -> Manifest:
        old = await put(store, "old", "old", days=90)
        await put(store, "new", "new", days=1)
        await put(store, "statement", "kept", days=2, subject=old.descriptor)
        return old

    work(place, prepare)
    done = json.loads(ocistate("gc", place, "--keep", "2", "--yes", "-o", "json").out)
    assert done["removed"] == []
    assert done["kept"][2]["reason"] == "kept needs it"


def test_a_record_that_cannot_be_read_stops_everything(place: str) -> None:
    async def story(store: Store) -> None:
        await fill(store)
        await put(store, "nonsense", "channel-prod", kind=RECORD_TYPE)
        with pytest.raises(ArtifactError, match="nothing is removed"):
            await plan_gc(store, RetentionRules(keep=1), NOW)

    work(place, story)
    refused = ocistate("gc", place, "--keep", "1", "--yes", check=False)
    assert refused.code == 20
    assert len(ocistate("ls", place, "-o", "name").out.splitlines()) == 10


def test_gc_without_a_terminal_requires_yes(tmp_path: Path) -> None:
    place = f"layout:{tmp_path}/place"
    work(place, fill)
    for arguments, said in (
        (("--keep", "1"), "--yes"),
        ((), "--keep"),
        (("--keep", "0", "--yes"), "0"),
        (("--keep-for", "30", "--yes"), "30d"),
    ):
        refused = ocistate("gc", place, *arguments, stdin="y\n", check=False)
        assert refused.code == 2
        assert said in refused.err
    assert len(ocistate("ls", place, "-o", "name").out.splitlines()) == 10


def test_a_promotion_during_confirmation_is_kept(tmp_path: Path) -> None:
    place = f"layout:{tmp_path}/place"
    made = work(place, fill)
    terminal, ours = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ocistate", "gc", place, "--keep", "7"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=ours,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    os.close(ours)
    assert process.stderr is not None
    asked = b""
    while b"Remove 3 of 10 artifacts?" not in asked:
        piece = os.read(process.stderr.fileno(), 4096)
        assert piece, asked
        asked += piece
    work(place, lambda store: put_record(store, 1, made["v1"].descriptor.digest))
    work(place, lambda store: put(store, "brand new", "v10", days=0))
    os.write(terminal, b"y\n")
    said = process.communicate()[1]
    os.close(terminal)
    assert process.returncode == 0, said
    # v3 became too old by v10, but no one was asked about it.
    names = ocistate("ls", place, "-o", "name").out.splitlines()
    tags = {name.rpartition(":")[2] for name in names}
    assert tags == {"v1", *(f"v{number}" for number in range(3, 11))}


def test_a_run_that_was_killed_is_finished_by_the_next(any_registry: Registry) -> None:
    place = f"{any_registry.host}/keeping/killed"
    made = work(place, fill)
    arguments = ("gc", place, "--keep", "2", "--yes")
    process = subprocess.Popen(
        [sys.executable, "-m", "ocistate", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"Removed ")
    process.kill()
    process.communicate()
    ocistate(*arguments)

    async def check(store: Store) -> None:
        wanted = set()
        for number in (8, 9):
            digest = made[f"v{number}"].descriptor.digest
            (signature,) = await store.referrers(digest)
            wanted |= {f"v{number}", legacy_tag(digest)}
            # The registry with the API does not say so when something is pushed: both have these.
            wanted |= {fallback_tag(digest), fallback_tag(signature.digest)}
        assert set(await store.tags()) == wanted
        for number in range(8):
            digest = made[f"v{number}"].descriptor.digest
            assert await store.referrers(digest) == []

    work(place, check)


def test_a_registry_that_refuses_deletion_is_named_in_the_error() -> None:
    with Distribution(delete=False) as registry:
        place = f"{registry.host}/x"
        work(place, fill)
        refused = ocistate("gc", place, "--keep", "1", "--yes", check=False)
        assert refused.code == 10
        assert "does not allow this" in refused.err
        assert len(ocistate("ls", place, "-o", "name").out.splitlines()) == 10
