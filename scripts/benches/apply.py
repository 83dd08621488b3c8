"""A plan carried out, repeated and undone, beside bare loops of lightkube (16 at a time)."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from pathlib import Path
from typing import Any

from benches.common.floor import apply_and_delete
from benches.common.measure import Figures, against, median
from benches.common.objects import mixed
from testbed.controlplane import ControlPlane

OWNER = "bench"


def run(size: int | None = None) -> Figures:
    """``size`` mixed objects, 1,000 by default, three times each way in turn."""
    count = size or 1000
    turns = 3 if count <= 2000 else 1
    with ControlPlane(controllers=False, nodes=0) as plane:
        return asyncio.run(_measure(plane.kubeconfig, count, turns))


async def _measure(kubeconfig: Path, count: int, turns: int) -> Figures:
    seconds: dict[str, list[float]] = {}
    for turn in range(turns):
        for name, taken in (
            *zip(
                ("bare apply", "bare delete"),
                await apply_and_delete(kubeconfig, count, f"floor-{turn}"),
                strict=True,
            ),
            *(await _ours(kubeconfig, count, f"ours-{turn}")).items(),
        ):
            seconds.setdefault(name, []).append(taken)
    middle = {name: median(values) for name, values in seconds.items()}
    apply, delete = middle["bare apply"], middle["bare delete"]
    return {
        f"apply {count} objects": against(middle["apply"], apply, unit="s", most=1.25),
        f"look and plan, {count} unchanged": against(middle["look"], apply, unit="s", most=1),
        f"plan {count} watched, unchanged, CPU (floor: parsing them)": against(
            middle["plan"], _parsing(count), unit="s", most=1
        ),
        f"delete {count} objects": against(middle["delete"], delete, unit="s", most=1.25),
    }


def _parsing(count: int) -> float:
    """CPU seconds to parse as many objects from JSON."""
    texts = [json.dumps(obj) for obj in mixed(count, "bench")]
    taken = []
    for _ in range(5):
        begun = time.process_time()
        for text in texts:
            json.loads(text)
        taken.append(time.process_time() - begun)
    return median(taken)


async def _ours(kubeconfig: Path, count: int, namespace: str) -> dict[str, float]:
    from ocistate.apply.desired.prepare import prepare
    from ocistate.apply.executor import apply
    from ocistate.apply.observe import observe
    from ocistate.apply.plan import make_plan, plan_deletion
    from ocistate.kube.client import KubeClient
    from ocistate.objects import Resource

    resources = [
        Resource.of(obj, path="all.yaml")
        for obj in (_namespace(namespace), *mixed(count, namespace))
    ]
    gc.collect()
    async with KubeClient.open(kubeconfig) as client:
        begun = time.perf_counter()
        served = await client.kinds()
        desired = prepare(
            resources,
            owner=f"{OWNER}-{namespace}",
            artifact="sha256:0",
            namespaced=served.namespaced,
        )
        mine, others = await observe(client, desired)
        outcome = await apply(client, make_plan(desired, mine, others))
        applied = time.perf_counter() - begun
        if error := outcome.error():
            raise error
        begun = time.perf_counter()
        mine, others = await observe(client, desired)
        plan = make_plan(desired, mine, others)
        looked = time.perf_counter() - begun
        if not plan.empty or len(plan.keep) != count + 1:
            raise RuntimeError(f"not unchanged: {plan.counts()}")
        cpu = time.process_time()
        make_plan(desired, mine, others)
        planned = time.process_time() - cpu
        begun = time.perf_counter()
        outcome = await apply(client, plan_deletion(desired.owner, mine))
        deleted = time.perf_counter() - begun
        if error := outcome.error():
            raise error
    return {"apply": applied, "look": looked, "plan": planned, "delete": deleted}


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
