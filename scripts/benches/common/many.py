"""Many small artifacts, listed and looked into at once, beside crane that takes them one by one."""

from __future__ import annotations

import asyncio
import subprocess

from benches.common.measure import Figures, against, measure, median, ocistate
from ocistate.concurrency import each
from ocistate.oci import open_store
from ocistate.oci.model import EMPTY_CONFIG, build_manifest, describe
from ocistate.reference import parse_reference
from testbed.registries import Distribution
from testbed.tools import ensure

_SAMPLE = 200
"""So many of them crane is given; one takes it as long as the next."""


def list_many(registry: Distribution, count: int = 2000) -> Figures:
    """What one of ``count`` artifacts takes; crane reads its manifest, we its signatures too."""
    repository = f"{registry.host}/many"
    asyncio.run(_fill(repository, count))
    crane = str(ensure("crane")["crane"])
    tags = subprocess.run(
        [crane, "ls", "--insecure", repository], check=True, capture_output=True, text=True
    ).stdout.split()
    assert len(tags) == count
    ours, theirs = [], []
    for turn in range(3):
        some = tags[turn * _SAMPLE : (turn + 1) * _SAMPLE]
        one_by_one = (
            f"for t in {' '.join(some)}; do {crane} manifest --insecure {repository}:$t; done"
        )
        theirs.append(measure(["sh", "-ec", f"{crane} ls --insecure {repository}; {one_by_one}"]))
        ours.append(measure(ocistate("ls", repository, "-o", "json")))
    return {
        f"list and inspect {count} artifacts, each": against(
            median([run.wall for run in ours]) / count * 1000,
            median([run.wall for run in theirs]) / _SAMPLE * 1000,
            unit="ms",
            most=1,
        )
    }


async def _fill(repository: str, count: int) -> None:
    layer = describe(b"x" * 1000, "text/plain")
    async with open_store(parse_reference(repository)) as store:
        await store.push_blob(EMPTY_CONFIG, b"{}")
        await store.push_blob(layer, b"x" * 1000)

        async def one(number: int) -> None:
            notes = {"org.opencontainers.image.revision": f"main@sha1:{number}"}
            manifest = build_manifest(config=EMPTY_CONFIG, layers=(layer,), annotations=notes)
            await store.push_manifest(manifest, f"v{number}")

        await each(range(count), one)
