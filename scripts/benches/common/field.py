"""A control plane, a registry and an agent as ``install`` sets it up, to be measured."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import secrets
import signal
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benches.common.cluster import kubectl, make_keys, push
from benches.common.floor import sixteen
from benches.common.measure import cpu_seconds, megabytes, ocistate
from ocistate.errors import OcistateError
from ocistate.kube.client import KubeClient
from ocistate.objects import ObjectId
from testbed.controlplane import ControlPlane
from testbed.process import free_port
from testbed.registries import Distribution

NAMESPACE = "ocistate-system"
_WEBHOOK_SECRET = secrets.token_hex(16)


@dataclass(slots=True)
class AgentProcess:
    """An agent as a process of its own."""

    command: Sequence[str]
    log: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            env = {**os.environ, "OCISTATE_WEBHOOK_SECRET": _WEBHOOK_SECRET}
            self.process = subprocess.Popen(self.command, stderr=log, env=env)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
            self.process = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"the agent ended: {self.log.read_text()[-4000:]}")
        return self.process.pid

    def cpu(self) -> float:
        """CPU seconds used so far."""
        return cpu_seconds(self.pid)

    def megabytes(self) -> float:
        """Resident memory now."""
        return megabytes(self.pid)

    def highest(self) -> float:
        """The most memory that was ever resident."""
        return megabytes(self.pid, "VmHWM")

    def passes(self, reason: str = "") -> int:
        """Passes ended since its start (with this reason on Ready), by its own metrics."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/metrics", timeout=5
            ) as reply:
                text = reply.read().decode()
        except OSError:
            return 0
        return sum(
            int(float(line.rpartition(" ")[2]))
            for line in text.splitlines()
            if line.startswith("ocistate_stack_passes_total{") and f'outcome="{reason}' in line
        )


@dataclass(slots=True)
class Field:
    """Where the agent is measured. ``client`` is the administrator's."""

    folder: Path
    plane: ControlPlane
    registry: Distribution
    client: KubeClient
    agent: AgentProcess
    key: Path = field(init=False)

    def __post_init__(self) -> None:
        self.key = make_keys(self.folder)

    def push(self, objects: Sequence[Mapping[str, Any]], name: str) -> None:
        """Push objects as one file, signed, to the tag ``v1``."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.dump_all(objects, Dumper=yaml.CSafeDumper))
        push(path, f"{self.registry.host}/{name}:v1", self.key)

    def notify(self, name: str) -> None:
        """Send the agent a webhook about the repository."""
        body = json.dumps({"repository": f"{self.registry.host}/{name}"}).encode()
        signature = hmac.new(_WEBHOOK_SECRET.encode(), body, hashlib.sha256).hexdigest()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.agent.port}/hooks/generic",
            data=body,
            headers={"X-Signature": f"sha256={signature}"},
        )
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
            answer = json.load(reply)
        if answer != {"stacks": 1}:
            raise RuntimeError(f"the webhook reached {answer}")

    def stack(self, name: str, repository: str, **spec: Any) -> dict[str, Any]:
        source = {"repository": f"oci://{self.registry.host}/{repository}", "tag": "v1"}
        return {
            "apiVersion": "ocistate.dev/v1alpha1",
            "kind": "Stack",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"source": source | spec.pop("source", {}), **spec},
        }

    async def status(self, name: str) -> dict[str, Any]:
        live = await self.client.get(stack_id(name))
        return (live or {}).get("status") or {}

    async def edit(self, name: str, patch: Mapping[str, Any]) -> None:
        await self.client.patch(stack_id(name), patch, manager="bench")

    async def wait(self, what: str, holds: Callable[[dict[str, Any]], bool], name: str) -> float:
        """Wait until the Stack's status is so, or it is gone, by a watch; the time it was."""
        resource = await self.client.kind("ocistate.dev", "Stack")
        listing = await self.client.list(resource, NAMESPACE)
        found = next((o for o in listing.items if o["metadata"]["name"] == name), None)
        if found is None or holds(found.get("status") or {}):
            return time.perf_counter()
        try:
            async with (
                asyncio.timeout(900),
                aclosing(
                    self.client.watch(resource, NAMESPACE, since=listing.resource_version)
                ) as events,
            ):
                async for type_, obj in events:
                    if type_ == "BOOKMARK" or obj["metadata"]["name"] != name:
                        continue
                    if type_ == "DELETED" or holds(obj.get("status") or {}):
                        return time.perf_counter()
        except TimeoutError:
            pass
        raise RuntimeError(f"{name} is not {what}: {await self.status(name)}")

    async def play_deployment_controller(self) -> int:
        """Mark every Deployment as healthy, as its controller would; how many there are.

        The real one makes a ReplicaSet for each, twenty a second.
        """
        resource = await self.client.kind("apps", "Deployment")
        listing = await self.client.list(resource, label_selector="ocistate.dev/stack")
        conditions = [
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
        ]

        async def speak(metadata: dict[str, Any]) -> None:
            status = {"observedGeneration": metadata["generation"], "conditions": conditions}
            id = ObjectId("apps", "Deployment", metadata["namespace"], metadata["name"])
            await self.client.patch(
                id, {"status": status}, subresource="status", manager="bench", metadata_only=True
            )

        await sixteen([obj["metadata"] for obj in listing.items], speak)
        return len(listing.items)

    def object_requests(self) -> int:
        """Requests about objects that the API server has answered, but for watches."""
        text = kubectl(self.plane.kubeconfig, "get", "--raw", "/metrics").decode()
        kinds = ("configmaps", "services", "deployments", "stacks", "customresourcedefinitions")
        return sum(
            int(float(line.rpartition(" ")[2]))
            for line in text.splitlines()
            if line.startswith("apiserver_request_total{")
            and 'verb="WATCH"' not in line
            and any(f'resource="{kind}"' in line for kind in kinds)
        )


def stack_id(name: str) -> ObjectId:
    return ObjectId("ocistate.dev", "Stack", NAMESPACE, name)


def condition(status: Mapping[str, Any], type_: str) -> tuple[str, str]:
    """A condition's truth and reason."""
    for each in status.get("conditions") or ():
        if each["type"] == type_:
            return each["status"], each["reason"]
    return "", ""


@asynccontextmanager
async def open_field(folder: Path) -> AsyncIterator[Field]:
    """Everything started; controllers run until the rights are there, and are then stopped."""
    async with AsyncExitStack() as stack:
        registry = stack.enter_context(Distribution())
        plane = stack.enter_context(ControlPlane(nodes=0))
        install = install_manifests()
        kubectl(plane.kubeconfig, "apply", "--server-side", "-f", "-", stdin=install)
        own = plane.kubeconfig_for(NAMESPACE, "ocistate-agent")
        client = await stack.enter_async_context(KubeClient.open(plane.kubeconfig))
        port = free_port()
        command = ocistate(
            "agent", "--kubeconfig", str(own), "--state", str(folder / "state"),
            "--listen", f"127.0.0.1:{port}", "--allow-hosts=127.0.0.1",
        )  # fmt: skip
        agent = AgentProcess(command, folder / "agent.log", port)
        stack.callback(agent.stop)
        found = Field(folder, plane, registry, client, agent)
        policy = {
            "apiVersion": "ocistate.dev/v1alpha1",
            "kind": "TrustPolicy",
            "metadata": {"name": "bench"},
            "spec": {
                "repositories": ["**"],
                "keys": [{"pem": found.key.with_suffix(".pub").read_text()}],
            },
        }
        kubectl(plane.kubeconfig, "apply", "-f", "-", stdin=yaml.safe_dump(policy).encode())
        await _wait_rights(own)
        for part in (plane.controller_manager, plane.scheduler):
            part.stop()
        yield found


def install_manifests() -> bytes:
    """What ``install`` prints, with an applier that may do everything."""
    return subprocess.check_output(ocistate("install", "--applier", "cluster-admin"))


async def _wait_rights(kubeconfig: Path) -> None:
    """Until the aggregated roles have been put together."""
    async with KubeClient.open(kubeconfig) as client:
        deployments = await client.kind("apps", "Deployment")
        for _ in range(200):
            try:
                await client.list(deployments)
            except OcistateError:
                await asyncio.sleep(0.1)
            else:
                return
    raise RuntimeError("the agent does not get its rights")
