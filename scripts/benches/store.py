"""A large blob to and from a registry, beside oras; many small artifacts, beside crane.

Whole processes, start-up included.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

from benches.common.many import list_many
from benches.common.measure import Figures, Run, against, below, measure, median
from testbed.registries import Distribution
from testbed.tools import ensure

_SLOWEST = 1 / 0.7
"""As a ratio of times: at least 0.7 times oras's throughput."""

_PUSH = """
import asyncio, sys
from pathlib import Path
from ocistate.oci import open_store
from ocistate.oci.model import Descriptor
from ocistate.reference import parse_reference

async def main(reference, path, digest):
    blob = Descriptor(media_type="application/octet-stream", digest=digest,
                      size=Path(path).stat().st_size)
    async with open_store(parse_reference(reference)) as store:
        assert await store.push_blob(blob, Path(path))

asyncio.run(main(*sys.argv[1:]))
"""

_PULL = """
import asyncio, sys
from ocistate.oci import open_store
from ocistate.oci.model import Descriptor
from ocistate.reference import parse_reference

async def main(reference, path, digest, size):
    blob = Descriptor(media_type="application/octet-stream", digest=digest, size=int(size))
    async with open_store(parse_reference(reference)) as store:
        with open(path, "wb") as out:
            async for piece in store.stream_blob(blob):
                out.write(piece)

asyncio.run(main(*sys.argv[1:]))
"""


def run(size: int | None = None) -> Figures:
    """``size`` is the blob's, in MB; 200 by default."""
    megabytes = size or 200
    oras = str(ensure("oras")["oras"])
    with tempfile.TemporaryDirectory() as name, Distribution() as registry:
        path, out = Path(name) / "blob", Path(name) / "out"
        digest = _random_file(path, megabytes)
        environ = {"DOCKER_CONFIG": name}
        python = [sys.executable, "-c"]
        times: dict[str, list[Run]] = {what: [] for what in ("push", "pull", "their push", "their")}
        for turn in range(3):
            ours, theirs = f"{registry.host}/ours/{turn}", f"{registry.host}/oras/{turn}"
            for what, command in {
                "their push": [oras, "blob", "push", "--plain-http", theirs, str(path)],
                "push": [*python, _PUSH, ours, str(path), digest],
                "their": [oras, "blob", "fetch", "--plain-http", "-o", str(out),
                          f"{theirs}@{digest}"],
                "pull": [*python, _PULL, ours, str(out), digest, str(path.stat().st_size)],
            }.items():  # fmt: skip
                out.unlink(missing_ok=True)
                # What was written before is not to be written back at the cost of this one.
                os.sync()
                times[what].append(measure(command, environ=environ))
        figures = list_many(registry)
    for what, floor in (("push", "their push"), ("pull", "their")):
        figures[f"{what} a blob of {megabytes} MB"] = against(
            median([r.wall for r in times[what]]),
            median([r.wall for r in times[floor]]),
            unit="s",
            most=_SLOWEST,
        )
        figures[f"{what} a blob of {megabytes} MB, memory"] = below(
            max(r.megabytes for r in times[what]), unit="MB", most=100
        )
    return figures


def _random_file(path: Path, megabytes: int) -> str:
    """Write random bytes and return their digest."""
    hasher = hashlib.sha256()
    with path.open("wb") as stream:
        for _ in range(megabytes):
            piece = os.urandom(1_000_000)
            hasher.update(piece)
            stream.write(piece)
    return f"sha256:{hasher.hexdigest()}"
