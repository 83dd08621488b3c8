"""Copying between two registries, layouts and archives: whole, signed, and only what is missing."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ocistate.errors import DigestMismatch, LimitExceeded, NotFound
from ocistate.oci import open_store
from ocistate.oci.copy import CopyItem, CopyReport, copy
from ocistate.oci.model import (
    EMPTY_CONFIG,
    Descriptor,
    Index,
    Manifest,
    build_index,
    build_manifest,
    describe,
)
from ocistate.oci.registry.store import RegistryStore
from ocistate.oci.store import Store
from ocistate.oci.tags import legacy_tag
from ocistate.reference import parse_reference
from testbed.registries import Distribution, ReferrersRegistry, Registry
from tests.support.command import ROOT, ocistate, run
from tests.support.factories.artifacts import put

Opener = Callable[[], Store]


async def put_family(store: Store, name: str) -> Index:
    """An index of two artifacts; signatures of all three, one of a signature, an older one."""
    parts = [await put(store, f"{name} {n}".encode()) for n in range(2)]
    index = build_index(tuple(part.descriptor for part in parts))
    await store.push_manifest(index)
    await store.push_manifest(index, name)
    family: tuple[Manifest | Index, ...] = (*parts, index)
    for part in family:
        signature = await put(store, b"signed", subject=part.descriptor)
        await put(store, b"signed that it is signed", subject=signature.descriptor)
        await put(store, f"older of {part.descriptor.digest}".encode(),
                  legacy_tag(part.descriptor.digest))  # fmt: skip
    return index


async def check_family(store: Store, index: Index, tag: str) -> None:
    assert (await store.fetch_manifest(tag)).raw == index.raw
    for digest in (index.descriptor.digest, *[part.digest for part in index.manifests]):
        manifest = await store.fetch_manifest(digest)
        if isinstance(manifest, Manifest):
            for blob in (manifest.config, *manifest.layers):
                await store.fetch_blob(blob, limit=1000)
        (signature,) = await store.referrers(digest)
        (nested,) = await store.referrers(signature.digest)
        await store.fetch_manifest(nested.digest)
        await store.fetch_manifest(legacy_tag(digest))


@pytest.fixture(params=["distribution", "referrers", "layout", "archive"])
def far(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """A store to copy into and out of."""
    if request.param in ("layout", "archive"):
        text = f"{request.param}:{tmp_path}/far"
    else:
        name = "distribution" if request.param == "distribution" else "referrers_registry"
        text = f"{request.getfixturevalue(name).host}/far/{tmp_path.name}"
    return lambda: open_store(parse_reference(text.lower() if "/far/" in text else text))


def near(registry: Registry, tmp_path: Path) -> Opener:
    name = hashlib.sha256(str(tmp_path).encode()).hexdigest()[:16]
    reference = parse_reference(f"{registry.host}/near/{name}")
    return lambda: open_store(reference)


async def copy_between(
    source: Opener, target: Opener, *names: str, dry_run: bool = False
) -> CopyReport:
    async with source() as one, target() as other:
        wanted = [CopyItem(target=name, tags=(name,)) for name in names]
        return await copy(one, other, [wanted], dry_run=dry_run)


def test_all_referrers_are_copied_there_and_back(
    distribution: Distribution, far: Opener, tmp_path: Path
) -> None:
    here = near(distribution, tmp_path)
    back = near(distribution, tmp_path / "Back")

    async def story() -> None:
        async with here() as store:
            index = await put_family(store, "v1")
        planned = await copy_between(here, far, "v1", dry_run=True)
        with pytest.raises(NotFound):
            async with far() as store:
                await store.resolve("v1")
        first = await copy_between(here, far, "v1")
        assert planned == first
        # 3 manifests, for each a signature, one of that, and an older one.
        assert (first.manifests_sent, first.manifests_present, first.referrers) == (12, 0, 9)
        async with far() as store:
            await check_family(store, index, "v1")
        again = await copy_between(here, far, "v1")
        assert (again.manifests_sent, again.blobs_sent, again.blobs_mounted) == (0, 0, 0)
        assert again.artifacts[0].unchanged == ("v1",)
        await copy_between(far, back, "v1")
        async with back() as store:
            await check_family(store, index, "v1")

    asyncio.run(story())


def test_only_what_is_new_is_sent(distribution: Distribution, far: Opener, tmp_path: Path) -> None:
    here = near(distribution, tmp_path)

    async def story() -> None:
        async with here() as store:
            made = await put(store, b"content", "v1")
        await copy_between(here, far, "v1")
        async with here() as store:
            await put(store, b"a signature made later", subject=made.descriptor)
        later = await copy_between(here, far, "v1")
        assert later.blobs_sent + later.blobs_mounted == 1
        assert (later.manifests_sent, later.manifests_present) == (1, 1)
        async with far() as store:
            assert len(await store.referrers(made.descriptor.digest)) == 1

    asyncio.run(story())


def test_a_signature_that_a_killed_writer_sent_but_did_not_list_is_listed(
    distribution: Distribution, tmp_path: Path
) -> None:
    here, there = near(distribution, tmp_path), near(distribution, tmp_path / "There")

    async def story() -> None:
        async with here() as store:
            made = await put(store, b"content", "v1")
            signature = await put(store, b"signed", subject=made.descriptor)
        async with there() as store:
            assert isinstance(store, RegistryStore)
            await put(store, b"content")
            await store.push_blob(signature.layers[0], b"signed")
            await store._put_manifest(signature, signature.descriptor.digest)
            assert await store.referrers(made.descriptor.digest) == []
        await copy_between(here, there, "v1")
        async with there() as store:
            (found,) = await store.referrers(made.descriptor.digest)
            assert found.digest == signature.descriptor.digest

    asyncio.run(story())


def test_a_listed_referrer_that_is_gone_or_of_another_artifact_is_left_out_and_named(
    distribution: Distribution, referrers_registry: ReferrersRegistry, tmp_path: Path
) -> None:
    here = near(distribution, tmp_path)
    target = parse_reference(f"{referrers_registry.host}/dangling")

    async def story() -> CopyReport:
        async with here() as store:
            made = await put(store, b"content", "v1")
            gone = await put(store, b"gone", subject=made.descriptor)
            other = await put(store, b"other")
            foreign = await put(store, b"foreign", subject=other.descriptor)
            listing = build_index((gone.descriptor, foreign.descriptor))
            await store.push_manifest(listing, made.descriptor.digest.replace(":", "-"))
            assert isinstance(store, RegistryStore)
            # As a client would that leaves the listing as it is.
            path = f"manifests/{gone.descriptor.digest}"
            await store._send("DELETE", path, "deleting", accept=(202,), delete=True)
        return await copy_between(here, lambda: open_store(target), "v1")

    report = asyncio.run(story())
    assert report.referrers == 0
    assert sorted(what.partition(", but ")[2] for what in report.passed_over) == [
        "does not", "not there",
    ]  # fmt: skip


def test_older_signatures_of_the_target_are_kept(
    distribution: Distribution, tmp_path: Path
) -> None:
    here, there = near(distribution, tmp_path), near(distribution, tmp_path / "There")

    async def story() -> list[CopyReport]:
        async with here() as store:
            made = await put(store, b"content", "v1")
            tag = legacy_tag(made.descriptor.digest)
            first = await put(store, b"signed here", tag)
        reports = [await copy_between(here, there, "v1")]
        more = describe(b"signed there", "text/plain")
        both = build_manifest(config=EMPTY_CONFIG, layers=(*first.layers, more))
        for opener in (there, here):
            async with opener() as store:
                await store.push_blob(more, b"signed there")
                await store.push_manifest(both, tag)
            reports.append(await copy_between(here, there, "v1"))
            async with there() as store:
                assert (await store.fetch_manifest(tag)).raw == both.raw
        return reports

    first, second, third = asyncio.run(story())
    assert (first.passed_over, third.passed_over) == ([], [])
    assert len(second.passed_over) == 1


def test_a_chain_of_referrers_without_end_is_not_followed(tmp_path: Path) -> None:
    async def story() -> None:
        source = open_store(parse_reference(f"layout:{tmp_path}/source"))
        made = first = await put(source, b"content", "v1")
        for number in range(40):
            made = await put(source, str(number).encode(), subject=made.descriptor)
        async with open_store(parse_reference(f"archive:{tmp_path}/target.tar")) as target:
            await copy(source, target, [[CopyItem(target=first.descriptor.digest)]])

    with pytest.raises(LimitExceeded, match="nested"):
        asyncio.run(story())
    assert not (tmp_path / "target.tar").exists()


def test_an_artifact_that_is_damaged_gets_no_tag(
    distribution: Distribution, tmp_path: Path
) -> None:
    there = near(distribution, tmp_path)

    async def story() -> None:
        source = open_store(parse_reference(f"layout:{tmp_path}/source"))
        large = b"0123456789" * 300_000
        made = await put(source, large, "v1")
        path = tmp_path / "source" / "blobs" / "sha256" / made.layers[0].digest[7:]
        path.write_bytes(large[:-1] + b"X")
        async with there() as target:
            with pytest.raises(DigestMismatch):
                await copy(source, target, [[CopyItem(target="v1", tags=("v1",))]])
            for name in ("v1", made.descriptor.digest):
                with pytest.raises(NotFound):
                    await target.resolve(name)

    asyncio.run(story())


def test_a_killed_copy_resumes_where_it_stopped(distribution: Distribution, tmp_path: Path) -> None:
    """Killed in the middle of many artifacts: whole tags, and the rest the next time."""
    here = near(distribution, tmp_path)
    tags = [f"v{number}" for number in range(30)]

    async def fill() -> None:
        async with here() as store:
            for tag in tags:
                made = await put(store, tag.encode() * 10_000, tag)
                await put(store, b"signed", subject=made.descriptor)

    asyncio.run(fill())
    source = str(here().reference)
    for target in (f"layout:{tmp_path}/far", f"{distribution.host}/killed/{os.getpid()}"):
        process = subprocess.Popen(
            [sys.executable, "-m", "ocistate", "copy", "--all-tags", "-j", "2", source, target],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        asyncio.run(wait_for_tags(target, 5))
        process.send_signal(signal.SIGKILL)
        process.wait()

        async def check(target: str = target) -> int:
            async with open_store(parse_reference(target)) as store:
                found = [tag for tag in await store.tags() if tag in tags]
                for tag in found:
                    manifest = await store.fetch_manifest(tag)
                    assert isinstance(manifest, Manifest)
                    await store.fetch_blob(manifest.layers[0], limit=10**6)
                    assert len(await store.referrers(manifest.descriptor.digest)) == 1
                return len(found)

        before = asyncio.run(check())
        assert before >= 5
        done = ocistate("copy", "--all-tags", source, target, "-o", "json")
        facts = json.loads(done.out)
        assert facts["manifests"]["present"] >= before
        assert asyncio.run(check()) == len(tags)


async def wait_for_tags(target: str, count: int) -> None:
    async with asyncio.timeout(120), open_store(parse_reference(target)) as store:
        while True:
            try:
                if len([t for t in await store.tags() if t.startswith("v")]) >= count:
                    return
            except NotFound:
                pass
            await asyncio.sleep(0.01)


MEASURED = r"""
import re, sys
from pathlib import Path
from ocistate.cli.main import main

assert main(sys.argv[1:]) == 0
print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


def test_large_blobs_are_never_held_whole(distribution: Distribution, tmp_path: Path) -> None:
    size = 160 * 1024**2
    source = parse_reference(f"layout:{tmp_path}/source")

    async def fill() -> None:
        path = tmp_path / "large"
        with path.open("wb") as stream:
            stream.truncate(size)
        digest = hashlib.sha256()
        for _ in range(160):
            digest.update(b"\0" * 1024**2)
        blob = Descriptor(media_type="text/plain", digest=f"sha256:{digest.hexdigest()}", size=size)
        store = open_store(source)
        await store.push_blob(EMPTY_CONFIG, b"{}")
        await store.push_blob(blob, path)
        await store.push_manifest(build_manifest(config=EMPTY_CONFIG, layers=(blob,)), "v1")

    asyncio.run(fill())
    far = f"{distribution.host}/large/{os.getpid()}"
    for start, end in (
        (str(source.with_tag("v1")), far),
        (f"{far}:v1", f"archive:{tmp_path}/far.tar"),
        (f"archive:{tmp_path}/far.tar:v1", f"layout:{tmp_path}/back"),
    ):
        done = run(
            sys.executable, "-c", MEASURED, "copy", start, end, environ={"PYTHONPATH": str(ROOT)}
        )  # fmt: skip
        megabytes = int(done.out.splitlines()[-1]) / 1024
        assert megabytes < 100, f"{start} to {end} took {megabytes:.0f} MB"
    (tmp_path / "far.tar").unlink()


def test_blobs_of_one_registry_are_mounted_and_not_sent(
    distribution: Distribution, tmp_path: Path
) -> None:
    here, there = near(distribution, tmp_path), near(distribution, tmp_path / "There")

    async def story() -> CopyReport:
        async with here() as store:
            index = await put_family(store, "v1")
        report = await copy_between(here, there, "v1")
        async with there() as store:
            await check_family(store, index, "v1")
        return report

    report = asyncio.run(story())
    assert (report.blobs_sent, report.blobs_present, report.bytes_sent) == (0, 0, 0)
    assert report.blobs_mounted > 0
