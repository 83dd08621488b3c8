"""The agent beside Flux's own controllers: the same objects, registry, API server and run.

Flux is measured first, then stopped, then the agent. What Flux does at every interval is asked of
both by annotation. Flux writes as an administrator, the agent as ``install`` sets it up; both
verify a signature.
"""

from __future__ import annotations

import asyncio
import base64
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benches.common.field import NAMESPACE, Field, condition, open_field, stack_id
from benches.common.measure import Figures, cpu_seconds, megabytes, times
from benches.common.objects import mixed
from ocistate.objects import ObjectId
from testbed.flux_controllers import Flux

_SOURCE = ObjectId("source.toolkit.fluxcd.io", "OCIRepository", NAMESPACE, "bench")
_KUSTOMIZATION = ObjectId("kustomize.toolkit.fluxcd.io", "Kustomization", NAMESPACE, "bench")
_PASSES = 5


def run(size: int | None = None) -> Figures:
    """Both with ``size`` objects, 1,000 by default."""
    return asyncio.run(_measured(size or 1000))


@dataclass(frozen=True, slots=True)
class _Taken:
    """Seconds, CPU seconds and MB."""

    first: float
    idle: float
    idle_cpu: float
    change: float
    deletion: float
    memory: float


async def _measured(count: int) -> Figures:
    with tempfile.TemporaryDirectory() as name:
        async with open_field(Path(name)) as field:
            with Flux(field.plane) as flux:
                theirs = await _take(_Theirs(field, flux), count)
            field.agent.start()
            ours = await _take(_Ours(field), count)
    return {
        f"first sync of {count} objects": times(ours.first, theirs.first, "s", most=0.6),
        "a pass with nothing to do": times(ours.idle, theirs.idle, "s", most=0.2),
        "a pass with nothing to do, CPU": times(ours.idle_cpu, theirs.idle_cpu, "s", most=0.05),
        "one object changed, from the look on": times(ours.change, theirs.change, "s", most=0.2),
        "deletion": times(ours.deletion, theirs.deletion, "s", most=1.0),
        "memory at the end": times(ours.memory, theirs.memory, "MB", most=0.7),
    }


async def _take(tool: _Theirs | _Ours, count: int) -> _Taken:
    """Have one tool do everything."""
    field, space = tool.field, tool.space
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}},
        *mixed(count, space),
    ]
    field.push(objects, space)
    await asyncio.sleep(3)
    begun = time.perf_counter()
    await tool.begin()
    await _until("synced", tool.is_applied)
    first = time.perf_counter() - begun
    await field.play_deployment_controller()
    await asyncio.sleep(5)

    begun, cpu = time.perf_counter(), _cpu(tool.pids())
    for turn in range(_PASSES):
        await tool.ask(f"idle-{turn}")
    idle, cpu = time.perf_counter() - begun, _cpu(tool.pids()) - cpu

    changed: Mapping[str, Any] = next(o for o in objects[1:] if o["kind"] == "ConfigMap")
    changed["data"]["changed"] = "yes"
    field.push(objects, space)
    id = ObjectId("", "ConfigMap", space, changed["metadata"]["name"])

    async def is_changed() -> bool:
        live = await field.client.get(id)
        return live is not None and "changed" in live["data"]

    begun = time.perf_counter()
    await tool.look("changed")
    await _until("changed", is_changed)
    change = time.perf_counter() - begun
    memory = sum(megabytes(pid) for pid in tool.pids())

    await asyncio.sleep(3)
    begun = time.perf_counter()
    await tool.end()
    deletion = time.perf_counter() - begun
    return _Taken(first, idle / _PASSES, cpu / _PASSES, change, deletion, memory)


@dataclass(slots=True)
class _Theirs:
    field: Field
    flux: Flux
    space: str = "flux"

    def pids(self) -> Sequence[int]:
        return self.flux.source.pid, self.flux.kustomize.pid

    async def begin(self) -> None:
        field = self.field
        public = field.key.with_suffix(".pub").read_bytes()
        metadata = {"name": "bench", "namespace": NAMESPACE}
        for obj in (
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {**metadata, "name": "cosign"},
                "data": {"cosign.pub": base64.b64encode(public).decode()},
            },
            {
                "apiVersion": f"{_SOURCE.group}/v1",
                "kind": _SOURCE.kind,
                "metadata": metadata,
                "spec": {
                    "url": f"oci://{field.registry.host}/{self.space}",
                    "ref": {"tag": "v1"},
                    "interval": "1h",
                    "insecure": True,
                    "verify": {"provider": "cosign", "secretRef": {"name": "cosign"}},
                },
            },
            {
                "apiVersion": f"{_KUSTOMIZATION.group}/v1",
                "kind": _KUSTOMIZATION.kind,
                "metadata": metadata,
                "spec": {
                    "sourceRef": {"kind": _SOURCE.kind, "name": "bench"},
                    "path": "./",
                    "interval": "1h",
                    "prune": True,
                },
            },
        ):
            await field.client.create(obj, manager="bench")

    async def is_applied(self) -> bool:
        status = await _status(self.field, _KUSTOMIZATION)
        return condition(status, "Ready")[0] == "True"

    async def ask(self, value: str) -> None:
        """Have it look at everything, and wait until it has."""
        await self._annotate(_KUSTOMIZATION, value)

        async def is_done() -> bool:
            status = await _status(self.field, _KUSTOMIZATION)
            done = status.get("lastHandledReconcileAt") == value
            return done and condition(status, "Ready")[0] == "True"

        await _until("looked", is_done)

    async def look(self, value: str) -> None:
        """Have it look at the registry."""
        await self._annotate(_SOURCE, value)

    async def end(self) -> None:
        await self.field.client.delete(_KUSTOMIZATION)
        await _until("gone", _is_gone(self.field, _KUSTOMIZATION))

    async def _annotate(self, id: ObjectId, value: str) -> None:
        await _annotate(self.field, id, "reconcile.fluxcd.io/requestedAt", value)


@dataclass(slots=True)
class _Ours:
    field: Field
    space: str = "bench"

    def pids(self) -> Sequence[int]:
        return (self.field.agent.pid,)

    async def begin(self) -> None:
        stack = self.field.stack("bench", self.space, source={"interval": "1h"})
        await self.field.client.create(stack, manager="bench")

    async def is_applied(self) -> bool:
        return condition(await self.field.status("bench"), "Applied")[0] == "True"

    async def ask(self, value: str) -> None:
        await self.look(value)

        async def is_done() -> bool:
            status = await self.field.status("bench")
            return status.get("lastHandledReconcileAt") == value

        await _until("looked", is_done)

    async def look(self, value: str) -> None:
        await _annotate(self.field, stack_id("bench"), "ocistate.dev/reconcile", value)

    async def end(self) -> None:
        await self.field.client.delete(stack_id("bench"))
        await _until("gone", _is_gone(self.field, stack_id("bench")))


async def _annotate(field: Field, id: ObjectId, name: str, value: str) -> None:
    await field.client.patch(id, {"metadata": {"annotations": {name: value}}}, manager="bench")


async def _status(field: Field, id: ObjectId) -> dict[str, Any]:
    live = await field.client.get(id)
    return (live or {}).get("status") or {}


def _is_gone(field: Field, id: ObjectId) -> Callable[[], Awaitable[bool]]:
    async def is_gone() -> bool:
        return await field.client.get(id) is None

    return is_gone


async def _until(what: str, holds: Callable[[], Awaitable[bool]]) -> None:
    """Look fifty times a second: the same for both."""
    deadline = time.monotonic() + 900
    while not await holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not in time: {what}")
        await asyncio.sleep(0.02)


def _cpu(pids: Sequence[int]) -> float:
    return sum(map(cpu_seconds, pids))
