"""From ``push`` to applied, beside a bare loop of lightkube's server-side applies."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benches.common.cluster import kubectl, make_keys, push, write_manifests
from benches.common.measure import Figures, against, measure, median, ocistate
from testbed.controlplane import ControlPlane
from testbed.registries import Distribution

# What the API server can take from one client of the same stack: the file read, then one connection
# pool and 16 requests at a time; nothing verified, compared, waited for or remembered. Both sides
# are measured as whole processes, their start included.
_FLOOR = """
import asyncio, sys, yaml
from lightkube import AsyncClient, KubeConfig
from lightkube.codecs import from_dict

async def main():
    config = KubeConfig.from_file(sys.argv[1])
    client = AsyncClient(config=config, field_manager="floor")
    with open(sys.argv[2]) as stream:
        objects = [from_dict(o) for o in yaml.load_all(stream, Loader=yaml.CSafeLoader)]
    await client.apply(objects[0], force=True)
    queue = objects[1:]
    async def work():
        while queue:
            await client.apply(queue.pop(), force=True)
    await asyncio.gather(*(work() for _ in range(16)))
    await client.close()

asyncio.run(main())
"""


def run(size: int | None = None) -> Figures:
    """``size`` mixed objects, 1,000 by default, three times each way in turn."""
    count = size or 1000
    floors, syncs, again = [], [], []
    with tempfile.TemporaryDirectory() as name, Distribution() as registry:
        folder = Path(name)
        key = make_keys(folder)
        with ControlPlane(controllers=False, nodes=0) as plane:
            for turn in range(3):
                manifests = write_manifests(folder, count, f"floor-{turn}")
                floors.append(_floor(plane.kubeconfig, manifests))
                manifests = write_manifests(folder, count, f"sync-{turn}")
                reference = f"{registry.host}/sync-{turn}:v1"
                pushed = push(manifests, reference, key)
                apply = ocistate(
                    "apply", reference, "--key", str(key.with_suffix(".pub")), "--no-wait",
                    "--kubeconfig", str(plane.kubeconfig),
                )  # fmt: skip
                syncs.append(pushed + measure(apply).wall)
                again.append(measure(apply).wall)
            _check(plane.kubeconfig, count)
    return {
        f"push and apply {count} objects": against(
            median(syncs), median(floors), unit="s", most=1.5
        ),
        f"apply again, {count} unchanged": against(median(again), median(floors), unit="s", most=1),
    }


def _floor(kubeconfig: Path, manifests: Path) -> float:
    command = [sys.executable, "-c", _FLOOR, str(kubeconfig), str(manifests)]
    return measure(command).wall


def _check(kubeconfig: Path, count: int) -> None:
    """A sync that did not happen would be the fastest."""
    kinds = "configmaps,services,deployments"
    names = kubectl(kubeconfig, "get", kinds, "-n", "sync-2", "-o", "name").split()
    ours = [name for name in names if b"kube-root-ca" not in name]
    if len(ours) != count:
        raise RuntimeError(f"{len(ours)} of {count} objects are there")
