"""The agent in a cluster, beside bare loops of lightkube over the same objects.

Parts, to be run alone with --only: objects (first sync, idle pass, memory, change, drift, restart,
deletion; of 1,000 and 10,000 objects, or --size) and stacks (1,000 Stacks of 10 objects).
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from benches.common.field import Field, condition, open_field, stack_id
from benches.common.floor import apply_and_delete, lists, repairs, sixteen
from benches.common.measure import Figures, against, below, median, waited
from benches.common.objects import mixed
from ocistate.objects import ObjectId

PARTS = ("objects", "stacks")
_MEMORY = {1000: 80.0, 10_000: 150.0}
_TRIES = 200
_STACKS = 1000


def run(size: int | None = None, only: str = "") -> Figures:
    """``size`` objects, by default 1,000 and then 10,000, and 1,000 Stacks."""
    figures: Figures = {}
    if only in ("", "objects"):
        for count in [size] if size else [1000, 10_000]:
            figures |= asyncio.run(_measured(_objects, count))
    if only in ("", "stacks"):
        figures |= asyncio.run(_measured(_stacks, size or _STACKS))
    return figures


async def _measured(part: Any, count: int) -> Figures:
    with tempfile.TemporaryDirectory() as name:
        async with open_field(Path(name)) as field:
            try:
                found: Figures = await part(field, count)
            except Exception:
                print(field.agent.log.read_text()[-4000:], file=sys.stderr)
                raise
            return found


def _say(text: str) -> None:
    print(f"  {text} …", file=sys.stderr, flush=True)


async def _objects(field: Field, count: int) -> Figures:
    kubeconfig = field.plane.kubeconfig
    _say("floor")
    await apply_and_delete(kubeconfig, 500, "warm")
    floors, syncs, deletions = [], [], []
    # What takes a second is measured more than once.
    for name in ("first", "second", "bench") if count <= 1000 else ("bench",):
        floors.append(await apply_and_delete(kubeconfig, count, f"floor-{name}"))
        objects = [_namespace(name), *mixed(count, name)]
        field.push(objects, name)
        field.agent.start()
        await _until("the agent has begun", lambda: field.agent.passes() == 0)
        await asyncio.sleep(2)
        _say("first sync")
        begun = time.perf_counter()
        await field.client.create(
            field.stack(name, name, source={"interval": "1s"}), manager="bench"
        )
        syncs.append(await field.wait("applied", _applied, name) - begun)
        if name != "bench":
            deletions.append(await _deletion(field, name))
            field.agent.stop()
    if await _present(field, "bench") != count:
        raise RuntimeError("not everything is there")
    await field.play_deployment_controller()
    await field.wait("ready", _ready, "bench")
    await asyncio.sleep(5)
    memory = field.agent.megabytes()

    _say("idle passes")
    requests, passes, cpu = field.object_requests(), field.agent.passes(), field.agent.cpu()
    await asyncio.sleep(20)
    cpu = field.agent.cpu() - cpu
    passes = field.agent.passes() - passes
    requests = field.object_requests() - requests
    poll = await _bare_polls(field, max(passes, 1)) / max(passes, 1)

    _say("one object changed")
    await field.edit("bench", {"spec": {"source": {"interval": "1h"}}})
    await asyncio.sleep(3)
    changes = [
        await _change(field, objects, f"{turn}", _ask(field, f"{turn}")) for turn in range(3)
    ]
    hooked = [
        await _change(field, objects, f"hook-{turn}", asyncio.to_thread(field.notify, "bench"))
        for turn in range(3)
    ]
    _say("drift")
    drifts = sorted(await _drift(field, count))
    bare = await repairs(kubeconfig, _TRIES, "floor-drift")
    _say("restart")
    memory_later, peak = field.agent.megabytes(), field.agent.highest()
    field.agent.stop()
    begun = time.perf_counter()
    field.agent.start()
    await _until("a pass", lambda: field.agent.passes("Ready") > 0)
    restarted = time.perf_counter() - begun
    listed = lists(kubeconfig, "bench")
    await asyncio.sleep(3)
    _say("deletion")
    deletions.append(await _deletion(field, "bench"))
    field.agent.stop()
    _say("floor")
    floors.append(await apply_and_delete(kubeconfig, count, "floor-last"))
    applies, deletes = ([floor[place] for floor in floors] for place in (0, 1))
    bar = _MEMORY.get(count, 150.0)
    return {
        f"first sync of {count} objects": against(
            median(syncs), median(applies), unit="s", most=1.25
        ),
        f"idle pass over {count} objects, CPU (floor: a bare poll)": against(
            1000 * cpu / max(passes, 1), 1000 * poll, unit="ms", most=5
        ),
        f"idle passes over {count} objects ({passes}), object requests": below(
            requests, unit="requests", most=0
        ),
        f"one of {count} changed: seen to applied": waited(median(changes), unit="s", most=1),
        f"one of {count} changed: webhook to applied": waited(median(hooked), unit="s", most=1),
        f"drift of {count} repaired, p50 of {_TRIES} (floor: bare edit and apply)": against(
            1000 * drifts[len(drifts) // 2], 1000 * bare[len(bare) // 2], unit="ms", most=8
        ),
        f"drift of {count} repaired, p99 of {_TRIES}": against(
            drifts[int(len(drifts) * 0.99)], bare[int(len(bare) * 0.99)], unit="s", most=10
        ),
        f"restart with {count} objects, to a clean pass (floor: bare lists)": against(
            restarted, listed, unit="s", most=4
        ),
        f"memory with {count} objects": below(memory, unit="MB", most=bar),
        f"memory with {count} objects, after changes": below(memory_later, unit="MB", most=bar),
        f"memory with {count} objects, at its highest": below(peak, unit="MB", most=bar),
        f"deletion of {count} objects": against(
            median(deletions), median(deletes), unit="s", most=1.25
        ),
    }


async def _deletion(field: Field, name: str) -> float:
    """Delete a Stack; the seconds until it, and everything that it brought, is gone."""
    begun = time.perf_counter()
    await field.client.delete(stack_id(name))
    deleted = await field.wait("gone", lambda status: False, name) - begun
    if await _present(field, name):
        raise RuntimeError("not everything is gone")
    return deleted


async def _change(
    field: Field, objects: Sequence[dict[str, Any]], value: str, tell: Awaitable[None]
) -> float:
    """From telling the agent to look, to the object being changed; the push is made before."""
    obj = next(each for each in objects[1:] if each["kind"] == "ConfigMap")
    obj["data"]["changed"] = value
    field.push(objects, "bench")
    id = _id(obj)
    resource = await field.client.kind("", "ConfigMap")
    listing = await field.client.list(
        resource, id.namespace, field_selector=f"metadata.name={id.name}"
    )
    watch = field.client.watch(
        resource,
        id.namespace,
        since=listing.resource_version,
        field_selector=f"metadata.name={id.name}",
    )
    async with asyncio.timeout(120), aclosing(watch) as events:
        waiting = asyncio.ensure_future(_first_with(events, "changed", value))
        begun = time.perf_counter()
        await tell
        return await waiting - begun


async def _ask(field: Field, value: str) -> None:
    await field.edit("bench", {"metadata": {"annotations": {"ocistate.dev/reconcile": value}}})


async def _first_with(events: Any, key: str, value: str) -> float:
    async for _, obj in events:
        if (obj.get("data") or {}).get(key) == value:
            break
    return time.perf_counter()


async def _drift(field: Field, count: int) -> list[float]:
    """Edit or delete single objects, one after the other; the seconds until each is as it was."""
    rng = random.Random(7)
    resource = await field.client.kind("", "ConfigMap")
    listing = await field.client.list(resource, "bench")
    chosen = rng.sample(listing.items, min(_TRIES, len(listing.items)))
    taken = []
    watch = field.client.watch(resource, "bench", since=listing.resource_version)
    async with asyncio.timeout(600), aclosing(watch) as events:
        for number, obj in enumerate(chosen):
            id = _id(obj)
            begun = time.perf_counter()
            if number % 2:
                await field.client.delete(id)
            else:
                await field.client.patch(id, {"data": {"key-0": "edited"}}, manager="somebody")
            disturbed = False
            async for type_, seen in events:
                if type_ == "BOOKMARK" or seen["metadata"]["name"] != id.name:
                    continue
                right = type_ != "DELETED" and seen["data"] == obj["data"]
                if disturbed and right:
                    break
                disturbed = disturbed or not right
            else:
                raise RuntimeError(f"{id} was not put back")
            taken.append(time.perf_counter() - begun)
    return taken


async def _stacks(field: Field, count: int) -> Figures:
    """Many Stacks of ten objects each, when there is nothing to do for a minute."""
    field.push([*mixed(10, "bench")], "bench")
    spaces = [_namespace(f"bench-{number}") for number in range(count)]
    await sixteen(spaces, lambda each: field.client.apply(each, manager="bench"))
    field.agent.start()
    _say("rollout")
    begun = time.perf_counter()
    stacks = [
        field.stack(f"s{n}", "bench", namespace=f"bench-{n}", forceNamespace=True)
        for n in range(count)
    ]
    await sixteen(stacks, lambda each: field.client.create(each, manager="bench"))
    await _stacks_are(field, _applied, count)
    rolled_out = time.perf_counter() - begun
    await field.play_deployment_controller()
    await _stacks_are(field, _ready, count)
    _say(f"all ready after {rolled_out:.1f} s; idle for two minutes")
    await asyncio.sleep(70)
    cpu, passes = field.agent.cpu(), field.agent.passes()
    await asyncio.sleep(60)
    cpu, passes = field.agent.cpu() - cpu, field.agent.passes() - passes
    memory, peak = field.agent.megabytes(), field.agent.highest()
    _say("the same polls, bare")
    polls = await _bare_polls(field, passes)
    return {
        f"{count} Stacks of 10 objects, idle (floor: {passes} bare polls a minute)": against(
            100 * cpu / 60, 100 * polls / 60, unit="% of a core", most=2
        ),
        f"{count} Stacks of 10 objects, memory": below(memory, unit="MB", most=150),
        f"{count} Stacks of 10 objects, memory at its highest": below(peak, unit="MB", most=150),
    }


async def _bare_polls(field: Field, count: int) -> float:
    """CPU seconds of as many HEAD requests by httpx over one connection, at the agent's pace.

    One that comes alone costs three times as much as one of many in a row: nothing is warm.
    """
    tries = max(count // 4, 1)
    import httpx2

    url = f"http://{field.registry.host}/v2/bench/manifests/v1"
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    async with httpx2.AsyncClient(trust_env=False, headers=accept) as client:
        await client.head(url)
        begun = time.process_time()
        for _ in range(tries):
            (await client.head(url)).raise_for_status()
            await asyncio.sleep(60 / count)
        return (time.process_time() - begun) / tries * count


async def _stacks_are(field: Field, holds: Any, count: int) -> None:
    resource = await field.client.kind("ocistate.dev", "Stack")
    for _ in range(600):
        listing = await field.client.list(resource)
        if sum(bool(holds(obj.get("status") or {})) for obj in listing.items) == count:
            return
        await asyncio.sleep(1)
    raise RuntimeError("the Stacks do not get there")


def _applied(status: Mapping[str, Any]) -> bool:
    return condition(status, "Applied")[0] == "True"


def _ready(status: Mapping[str, Any]) -> bool:
    return condition(status, "Ready") == ("True", "Ready")


async def _present(field: Field, namespace: str) -> int:
    kinds = (("", "ConfigMap"), ("", "Service"), ("apps", "Deployment"))
    found = 0
    for group, kind in kinds:
        resource = await field.client.kind(group, kind)
        selector = "ocistate.dev/stack"
        listing = await field.client.list(
            resource, namespace, label_selector=selector, metadata_only=True
        )
        found += len(listing.items)
    return found


async def _until(what: str, holds: Any, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not in time: {what}")
        await asyncio.sleep(0.02)


def _id(obj: Mapping[str, Any]) -> ObjectId:
    metadata = obj["metadata"]
    return ObjectId("", obj["kind"], metadata["namespace"], metadata["name"])


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
