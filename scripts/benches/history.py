"""The history of a channel with many records: from the registry, and from the cache on disk."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benches.common.bare import manifests
from benches.common.measure import Figures, against, measure, median, ocistate
from ocistate.channel.record import (
    RECORD_TYPE,
    Record,
    RecordProvenance,
    name_tag,
    number_tag,
    sign_record,
)
from ocistate.oci import open_store
from ocistate.oci.model import EMPTY_CONFIG, Manifest, build_manifest, describe
from ocistate.oci.store import Store
from ocistate.reference import parse_reference
from ocistate.signing.envelope import BUNDLE_TYPE
from ocistate.signing.keys import KeySigner, generate, load_private_key
from testbed.registries import Distribution

_AT_ONCE = 16


def run(size: int | None = None) -> Figures:
    """Whole processes, start-up and the verification of every signature included."""
    count = size or 1000
    private, public = generate(b"")
    signer = load_private_key(private, lambda: b"")
    with tempfile.TemporaryDirectory() as name, Distribution() as registry:
        folder = Path(name)
        (folder / "key.pub").write_bytes(public)
        repository = f"{registry.host}/shop"
        asyncio.run(_fill(repository, signer, count))
        cold, warm, floors = [], [], []
        command = ocistate("history", repository, "prod", "--channel-key", f"{name}/key.pub")
        command += ["-o", "json"]
        tags = [number_tag("prod", 1, number) for number in range(1, count + 1)]
        for turn in range(3):
            floors.append(manifests(registry.host, "shop", tags).wall)
            environ = {"XDG_CACHE_HOME": f"{name}/cache-{turn}"}
            cold.append(measure(command, environ=environ).wall)
            warm.append(measure(command, environ=environ).wall)
    floor = median(floors)
    return {
        f"history of {count} records, cold (floor: fetching and parsing them)": against(
            median(cold), floor, unit="s", most=5
        ),
        f"history of {count} records, warm (floor: the same)": against(
            median(warm), floor, unit="s", most=0.75
        ),
    }


async def _fill(repository: str, signer: KeySigner, count: int) -> None:
    """A line of records, made at once and pushed side by side."""
    begin, previous, manifests = datetime(2026, 1, 1, tzinfo=UTC), "", []
    for number in range(1, count + 1):
        record = Record(
            channel="prod",
            repository=repository,
            epoch=1,
            sequence=number,
            previous=previous,
            issued_at=begin + timedelta(minutes=number),
            reason=f"CHG-{number}",
            actor="bench",
            subjects={repository: f"sha256:{number:064x}"},
            artifacts={repository: RecordProvenance(revision=f"main@sha1:{number:040x}")},
        )
        layer = describe(sign_record(record, signer), BUNDLE_TYPE, embed=True)
        manifest = build_manifest(artifact_type=RECORD_TYPE, config=EMPTY_CONFIG, layers=(layer,))
        manifests.append(manifest)
        previous = manifest.descriptor.digest
    async with open_store(parse_reference(repository)) as store:
        await store.push_blob(EMPTY_CONFIG, b"{}")
        for start in range(0, count, _AT_ONCE):
            batch = manifests[start : start + _AT_ONCE]
            await asyncio.gather(*(_push(store, m, start + n + 1) for n, m in enumerate(batch)))
        await store.push_manifest(manifests[-1], name_tag("prod"))


async def _push(store: Store, manifest: Manifest, number: int) -> None:
    await store.push_blob(manifest.layers[0], manifest.layers[0].data)
    await store.push_manifest(manifest, number_tag("prod", 1, number))
