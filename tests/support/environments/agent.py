"""Handles for the parts of an integration test, in few words."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ocistate.channel.change import Why, begun, promoted
from ocistate.channel.record import Record, RecordProvenance
from ocistate.channel.trust import ChannelTrust, Trusted
from ocistate.kube.client import KubeClient
from ocistate.oci import open_store
from ocistate.ops.channel.reader import Channel
from ocistate.ops.channel.writer import Writer
from ocistate.reference import parse_reference
from ocistate.signing.policy.model import TrustedKey
from testbed.controlplane import ControlPlane
from testbed.registries import Registry
from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.command import Done, ocistate
from tests.support.environments.agent_process import AgentProcess
from tests.support.factories.keys import Key
from tests.support.factories.stacks import Publisher, stack
from tests.support.fakes.relay import Relay

NAMESPACE = "ocistate-system"
WEBHOOK_SECRET = "look-now"
GROUP_PATHS = {
    "v1": "/api/v1",
    "apps/v1": "/apis/apps/v1",
    "batch/v1": "/apis/batch/v1",
    "ocistate.dev/v1alpha1": "/apis/ocistate.dev/v1alpha1",
    "coordination.k8s.io/v1": "/apis/coordination.k8s.io/v1",
    "rbac.authorization.k8s.io/v1": "/apis/rbac.authorization.k8s.io/v1",
    "apiextensions.k8s.io/v1": "/apis/apiextensions.k8s.io/v1",
}
CLUSTER_SCOPED = {
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "StorageClass",
    "TrustPolicy",
}
PLURALS = {
    "StorageClass": "storageclasses",
    "TrustPolicy": "trustpolicies",
    "OCIRepository": "ocirepositories",
}


def path_of(api_version: str, kind: str, namespace: str, name: str = "") -> str:
    """The URL path of an object, or of a kind's collection."""
    base = GROUP_PATHS.get(api_version) or f"/apis/{api_version}"
    scope = "" if kind in CLUSTER_SCOPED else f"/namespaces/{namespace}"
    plural = PLURALS.get(kind, kind.lower() + "s")
    return f"{base}{scope}/{plural}" + (f"/{name}" if name else "")


def install(cluster: ControlPlane, objects: Sequence[dict[str, Any]]) -> None:
    """Apply objects as the administrator, as `kubectl apply --server-side` does."""
    for obj in objects:
        metadata = obj["metadata"]
        path = path_of(
            obj["apiVersion"], obj["kind"], metadata.get("namespace", "default"), metadata["name"]
        )

        def apply(path: str = path, obj: dict[str, Any] = obj) -> bool:
            answer = cluster.request("PATCH", f"{path}?fieldManager=test&force=true", obj)
            # A CRD is served some moments after it was applied.
            assert answer.status in (200, 201, 404), (answer.status, answer.body)
            return answer.status != 404

        wait_for(f"{path} applied", apply)


@dataclass
class Tenant:
    """A namespace with an applier, a repository, and what its Stacks do."""

    world: World
    namespace: str
    publisher: Publisher

    @property
    def repository(self) -> str:
        return self.publisher.reference

    def push(self, *objects: dict[str, Any], **options: Any) -> str:
        return self.publisher.push(objects, **options)

    def create(self, name: str = "app", **spec: Any) -> dict[str, Any]:
        """Create a Stack that follows the repository's tag ``prod``."""
        obj = stack(name, self.repository, namespace=self.namespace, **spec)
        answer = self.world.cluster.request(
            "POST", path_of(obj["apiVersion"], "Stack", self.namespace), obj
        )
        assert answer.status == 201, answer.body
        made: dict[str, Any] = answer.body
        return made

    def edit(self, name: str = "app", **spec: Any) -> None:
        """Change fields of a Stack's spec; None removes one."""
        self.world.merge(self.stack_path(name), {"spec": spec})

    def stack_path(self, name: str = "app") -> str:
        return path_of("ocistate.dev/v1alpha1", "Stack", self.namespace, name)

    def status(self, name: str = "app") -> dict[str, Any]:
        answer = self.world.cluster.request("GET", self.stack_path(name))
        assert answer.status == 200, answer.body
        status: dict[str, Any] = answer.body.get("status") or {}
        return status

    def wait_condition(
        self,
        type_: str,
        status: str,
        reason: str = "",
        *,
        name: str = "app",
        seconds: float = 60.0,
        digest: str = "",
    ) -> str:
        """Wait for a condition (and for a digest to be the current one); its message."""
        seen: dict[str, Any] = {}

        def look() -> bool:
            seen.clear()
            seen.update(self.status(name))
            truth, why, _ = condition(seen, type_)
            current = (seen.get("current") or {}).get("digest", "")
            return truth == status and reason in ("", why) and digest in ("", current)

        try:
            wait_for(f"{type_} {status} {reason} {digest}", look, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; last seen: {seen}") from None
        return condition(seen, type_)[2]

    def wait_ready(self, digest: str = "", *, name: str = "app", seconds: float = 60.0) -> None:
        self.wait_condition("Ready", "True", "Ready", name=name, digest=digest, seconds=seconds)

    def get(self, kind: str, name: str, api_version: str = "v1") -> dict[str, Any] | None:
        answer = self.world.cluster.request("GET", path_of(api_version, kind, self.namespace, name))
        return answer.body if answer.status == 200 else None

    def data(self, name: str) -> dict[str, str]:
        """A ConfigMap's data; empty when there is none."""
        return (self.get("ConfigMap", name) or {}).get("data") or {}

    def wait_data(self, name: str, seconds: float = 60.0, **data: str) -> None:
        wait_for(f"{name} holds {data}", lambda: self.data(name) == data, seconds=seconds)

    def wait_gone(self, kind: str, name: str, api_version: str = "v1") -> None:
        wait_for(f"{kind} {name} gone", lambda: self.get(kind, name, api_version) is None)

    def change(self, name: str, patch: dict[str, Any]) -> None:
        """Edit a ConfigMap as somebody else."""
        self.world.merge(path_of("v1", "ConfigMap", self.namespace, name), patch)

    def delete(self, kind: str, name: str, api_version: str = "v1") -> None:
        answer = self.world.cluster.request(
            "DELETE", path_of(api_version, kind, self.namespace, name)
        )
        assert answer.status in (200, 202), answer.body

    def clear(self) -> None:
        """Let the Stacks go, without waiting for what they leave behind."""
        collection = path_of("ocistate.dev/v1alpha1", "Stack", self.namespace)
        for obj in self.world.cluster.request("GET", collection).body["items"]:
            self.world.cluster.request("DELETE", f"{collection}/{obj['metadata']['name']}")

    def events(self, name: str = "app") -> list[dict[str, Any]]:
        answer = self.world.cluster.request("GET", path_of("v1", "Event", self.namespace))
        return [e for e in answer.body["items"] if e["involvedObject"]["name"] == name]


@dataclass
class World:
    """Everything there is."""

    cluster: ControlPlane
    registry: Registry
    key: Key
    agent: AgentProcess
    relay: Relay
    port: int
    tenants: list[Tenant] = field(default_factory=list)
    _numbers: Any = field(default_factory=itertools.count)

    def apply(self, *objects: dict[str, Any]) -> None:
        install(self.cluster, objects)

    def merge(self, path: str, patch: dict[str, Any], manager: str = "somebody") -> None:
        """A merge patch as the administrator, under another field manager than the agent's."""
        seen: dict[str, Any] = {}

        def attempt() -> bool:
            live = self.cluster.request("GET", path)
            assert live.status == 200, live.body
            answer = self.cluster.request(
                "PUT", f"{path}?fieldManager={manager}", _merged(live.body, patch)
            )
            seen["answer"] = answer
            return answer.status == 200

        wait_for(f"{path} changed", attempt)

    def tenant(
        self, *, role: str = "cluster-admin", applier: bool = True, everywhere: bool = False
    ) -> Tenant:
        """A new namespace; its applier may do what the ClusterRole allows, in it alone unless
        ``everywhere``."""
        name = f"team-{next(self._numbers)}"
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        if applier:
            account, binding = applier_objects(name, role)
            self.apply(account, binding)
            if everywhere:
                metadata = {"name": f"{name}-everywhere"}
                self.apply({**binding, "kind": "ClusterRoleBinding", "metadata": metadata})
        publisher = Publisher(f"oci://{self.registry.host}/{name}", self.key)
        tenant = Tenant(self, name, publisher)
        self.tenants.append(tenant)
        return tenant


def applier_objects(namespace: str, role: str, account: str = "ocistate-applier") -> list[Any]:
    """A service account that may do what a ClusterRole allows, in its namespace."""
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": account, "namespace": namespace},
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": account, "namespace": namespace},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": role,
            },
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        },
    ]


def _merged(value: Any, patch: Any) -> Any:
    if not isinstance(patch, dict) or not isinstance(value, dict):
        return patch
    merged = dict(value)
    for key, change in patch.items():
        if change is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key, {}), change)
    return merged


def applier_binding(account: str, namespace: str) -> list[dict[str, Any]]:
    """One namespace's applier may do everything in another one."""
    binding = applier_objects(namespace, "cluster-admin")[1]
    binding["metadata"] = {"name": "foreign", "namespace": namespace}
    binding["subjects"][0]["namespace"] = account
    return [binding]


def tool(team: Tenant, *arguments: str | Path, check: bool = True) -> Done:
    environ = {"KUBECONFIG": str(team.world.cluster.kubeconfig)}
    return ocistate(*arguments, "-n", team.namespace, environ=environ, check=check)


def move(tenant: Tenant, key: Key, digest: str, *, lifetime: timedelta | None = None) -> Trusted:
    """Write the next record of the channel ``prod``."""
    reference = parse_reference(tenant.repository)
    pins = {reference.name: (digest, RecordProvenance())}
    why = Why(now=datetime.now(UTC), reason="test", lifetime=lifetime)
    trust = ChannelTrust(keys=(TrustedKey(name="k", key=key.signer.public_key),))

    def make(newest: Trusted | None) -> Record | None:
        if newest is None:
            return begun("prod", reference.name, pins, why)
        return promoted(newest, pins, why)

    async def write() -> Trusted:
        async with open_store(reference) as store:
            channel = Channel(name="prod", repository=reference.name, trust=trust)
            return await Writer(store=store, channel=channel, signer=key.signer, settle=0.02).write(
                make
            )

    return asyncio.run(write())


def versions(world: World, namespace: str) -> dict[str, str]:
    """The ConfigMaps' resourceVersions."""
    answer = world.cluster.request("GET", path_of("v1", "ConfigMap", namespace))
    return {o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in answer.body["items"]}


def equal(team: Tenant, version: str, count: int) -> bool:
    listed = world_objects(team)
    return listed == {f"app-{number}": {"v": version} for number in range(count)}


def world_objects(team: Tenant) -> dict[str, dict[str, str]]:
    answer = team.world.cluster.request(
        "GET", f"/api/v1/namespaces/{team.namespace}/configmaps?labelSelector=ocistate.dev%2Fstack"
    )
    return {obj["metadata"]["name"]: obj.get("data") or {} for obj in answer.body["items"]}


def side_by_side(
    world: World,
    items: Iterable[dict[str, Any]],
    send: Callable[[KubeClient, dict[str, Any]], Awaitable[Any]],
) -> None:
    """Send many requests as the administrator, some at a time."""

    async def run() -> None:
        limit = asyncio.Semaphore(16)
        async with KubeClient.open(world.cluster.kubeconfig) as client:

            async def one(item: dict[str, Any]) -> None:
                async with limit:
                    await send(client, item)

            await asyncio.gather(*(one(item) for item in items))

    asyncio.run(run())
