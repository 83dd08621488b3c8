"""How a fleet of many clusters is, from their signed reports alone."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benches.common.bare import manifests
from benches.common.measure import Figures, against, below, measure, median, ocistate
from ocistate.channel.change import Why, begun
from ocistate.channel.record import RecordProvenance
from ocistate.channel.report import Report, report_tag
from ocistate.channel.trust import ChannelTrust
from ocistate.concurrency import each
from ocistate.oci import open_store
from ocistate.ops.channel.reader import Channel
from ocistate.ops.channel.reports import write_report
from ocistate.ops.channel.writer import Writer
from ocistate.reference import parse_reference
from ocistate.signing.keys import KeySigner, load_private_key
from ocistate.signing.policy.model import TrustedKey
from testbed.registries import Distribution

_STACK = "default/shop"
_DIGEST = f"sha256:{1:064x}"


def run(size: int | None = None) -> Figures:
    """Whole processes, start-up and the verification of every report included."""
    count = size or 1000
    clusters = {f"cluster-{number}": _key() for number in range(count)}
    with tempfile.TemporaryDirectory() as name, Distribution() as registry:
        repository = f"{registry.host}/shop"
        channels = _key()
        policy = Path(name) / "policy.yaml"
        policy.write_text(_policy(channels, clusters))
        asyncio.run(_fill(repository, channels, clusters))
        command = ocistate("fleet", "status", repository, "prod", "--policy", str(policy))
        tags = [report_tag("prod", cluster, _STACK) for cluster in clusters]
        runs, floors = [], []
        for _ in range(3):
            floors.append(manifests(registry.host, "shop", tags).wall)
            runs.append(measure([*command, "--exit-code"]))
    floor = median(floors)
    seconds = median([run.wall for run in runs])
    return {
        f"fleet status of {count} clusters (floor: fetching and parsing their reports)": against(
            seconds, floor, unit="s", most=6
        ),
        f"fleet status of {count} clusters, memory": below(
            max(run.megabytes for run in runs), unit="MB", most=150
        ),
    }


def _key() -> KeySigner:
    private = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    return load_private_key(private, lambda: b"")


def _policy(channels: KeySigner, clusters: dict[str, KeySigner]) -> str:
    return yaml.dump(
        {
            "apiVersion": "ocistate.dev/v1alpha1",
            "kind": "TrustPolicy",
            "metadata": {"name": "bench"},
            "spec": {
                "repositories": ["**"],
                "keys": [{"pem": _key().public_key.pem}],
                "channelKeys": [{"pem": channels.public_key.pem}],
                "reporters": [
                    {"name": name, "pem": signer.public_key.pem}
                    for name, signer in clusters.items()
                ],
            },
        },
        Dumper=yaml.CSafeDumper,
    )


async def _fill(repository: str, channels: KeySigner, clusters: dict[str, KeySigner]) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    trust = ChannelTrust(keys=(TrustedKey(name="bench", key=channels.public_key),))
    first = begun(
        "prod", repository, {repository: (_DIGEST, RecordProvenance())}, Why(now=now, reason="")
    )
    async with open_store(parse_reference(repository)) as store:
        channel = Channel(name="prod", repository=repository, trust=trust)
        await Writer(store=store, channel=channel, signer=channels).write(lambda _: first)

        async def tell(name: str) -> None:
            said = Report(
                cluster=name,
                stack=_STACK,
                channel="prod",
                records=repository,
                repository=repository,
                digest=_DIGEST,
                epoch=1,
                sequence=1,
                state="Healthy",
                since=now - timedelta(hours=1),
                at=now,
                every=3600,
            )
            await write_report(store, said, clusters[name])

        await each(clusters, tell)
