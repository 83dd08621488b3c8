"""The agent in a cluster: Stacks and TrustPolicies as objects, status and Events on them."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ocistate.agent.backends.feed import Feed
from ocistate.agent.backends.policy_source import PolicySource
from ocistate.agent.backends.refusals import Refusals, departed, key_of, status_of
from ocistate.agent.backends.tenants import check_reach
from ocistate.agent.contain import unexpected
from ocistate.agent.runtime import Agent
from ocistate.agent.sharding.lease import shard_of
from ocistate.agent.telemetry.events import Events
from ocistate.api.stack import API_VERSION, FINALIZER, GROUP, RECONCILE, Stack, parse_stack
from ocistate.api.status import StackStatus, status_to_dict
from ocistate.errors import ClusterError, ConfigError, OcistateError
from ocistate.kube.client import KubeClient
from ocistate.kube.errors import StatusError
from ocistate.objects import ObjectId, StackKey
from ocistate.oci import ClientCertificate, StoreOptions
from ocistate.reach import Reach

log = logging.getLogger("ocistate.agent")

MANAGER: Final = "ocistate-agent"


def stack_id(stack: Stack) -> ObjectId:
    """The Stack object's identity."""
    return ObjectId(GROUP, "Stack", stack.namespace, stack.name)


@dataclass(slots=True)
class ClusterStatusStore:
    """Status, finalizer and Events on the Stack object; credentials from its own namespace."""

    client: KubeClient
    reader: Callable[[Stack], KubeClient]
    """The client that reads a Stack's secrets: as the Stack's own service account."""
    fence: Callable[[StackKey], None] | None = None
    """Raises before a write that is another agent's to do."""
    reach: Reach = field(default_factory=Reach)
    """Where a Stack's references may lead."""
    events: Events = field(init=False)

    def __post_init__(self) -> None:
        self.events = Events(self.client)

    async def prepare(self, stack: Stack) -> None:
        """Add our finalizer, unless it is there."""
        live = await self.client.get(stack_id(stack), metadata_only=True)
        if live is None or live["metadata"].get("uid") != stack.uid:
            raise ClusterError(f"Stack {stack} is gone", hint="its objects stay as they are")
        finalizers = live["metadata"].get("finalizers") or []
        if FINALIZER in finalizers or live["metadata"].get("deletionTimestamp"):
            return
        await self._writer(stack).patch(
            stack_id(stack),
            {
                "metadata": {
                    "finalizers": [*finalizers, FINALIZER],
                    "resourceVersion": live["metadata"]["resourceVersion"],
                }
            },
            manager=MANAGER,
            metadata_only=True,
        )

    async def save(self, stack: Stack, status: StackStatus) -> None:
        """Write the status; a Stack that is gone meanwhile has none."""
        obj = {
            "apiVersion": API_VERSION,
            "kind": "Stack",
            "metadata": {"namespace": stack.namespace, "name": stack.name, "uid": stack.uid},
            "status": status_to_dict(status),
        }
        try:
            await self._writer(stack).apply(
                obj, manager=MANAGER, subresource="status", metadata_only=True
            )
        except StatusError as error:
            if error.status not in (404, 409):
                raise

    async def event(self, stack: Stack, kind: str, reason: str, message: str) -> None:
        await self.events.emit(stack, kind, reason, message)

    async def ask(self, stack: Stack) -> None:
        """Ask for a pass by annotation: the agent that has the Stack sees it at once."""
        annotation = {RECONCILE: datetime.now(UTC).isoformat(timespec="milliseconds")}
        try:
            await self.client.patch(
                stack_id(stack),
                {"metadata": {"uid": stack.uid, "annotations": annotation}},
                manager=MANAGER,
                metadata_only=True,
            )
        except OcistateError as error:
            log.warning("cannot pass a webhook on: %s", error, extra={"stack": str(stack)})

    def _writer(self, stack: Stack) -> KubeClient:
        fence = self.fence
        return self.client.guarded(lambda: fence(stack.key)) if fence is not None else self.client

    async def connect_options(self, stack: Stack) -> StoreOptions:
        source = stack.spec.source
        docker_config = ca_data = certificate = None
        if source.pull_secret:
            docker_config = await self._secret(stack, source.pull_secret, ".dockerconfigjson")
        if source.ca_secret:
            ca_data = await self._secret(stack, source.ca_secret, "ca.crt")
        if source.cert_secret:
            certificate = ClientCertificate(
                certificate=await self._secret(stack, source.cert_secret, "tls.crt"),
                key=await self._secret(stack, source.cert_secret, "tls.key"),
            )
        return StoreOptions(
            insecure=source.insecure,
            docker_config=docker_config,
            ca_data=ca_data,
            client_certificate=certificate,
            reach=self.reach,
        )

    async def is_abandoned(self, stack: Stack) -> bool:
        """Whether its namespace is being deleted: its account may be gone already, and the
        finalizer must not keep the namespace for ever."""
        live = await self.client.get(ObjectId("", "Namespace", "", stack.namespace))
        return live is None or "deletionTimestamp" in live["metadata"]

    async def forget(self, stack: Stack) -> None:
        """Take our finalizer away, so that the API server lets the Stack go."""
        self.events.forget(stack)
        live = await self.client.get(stack_id(stack), metadata_only=True)
        if live is None or live["metadata"].get("uid") != stack.uid:
            return
        finalizers = live["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers:
            return
        await self._writer(stack).patch(
            stack_id(stack),
            {
                "metadata": {
                    "finalizers": [f for f in finalizers if f != FINALIZER],
                    "resourceVersion": live["metadata"]["resourceVersion"],
                }
            },
            manager=MANAGER,
            metadata_only=True,
        )

    async def _secret(self, stack: Stack, name: str, key: str) -> bytes:
        obj = await self.reader(stack).get(ObjectId("", "Secret", stack.namespace, name))
        encoded = ((obj or {}).get("data") or {}).get(key)
        if not isinstance(encoded, str):
            what = "does not exist" if obj is None else f"has no key {key}"
            raise ConfigError(
                f"Stack {stack}: the Secret {stack.namespace}/{name} {what}",
                hint="fix the reference in spec.source; it must be in the Stack's own namespace",
            )
        return base64.b64decode(encoded)


@dataclass(slots=True)
class ClusterSource:
    """Feeds an agent with the Stacks and TrustPolicies of a cluster, as they change."""

    agent: Agent
    status_store: ClusterStatusStore
    client: KubeClient
    namespace: str = ""
    """Only this namespace's Stacks; empty: all."""
    policies: Path | None = None
    """Files to read the TrustPolicies from, instead of the cluster's."""
    shards: int = 0
    """How many shards all Stacks are divided into; 0: they are not."""
    refusals: Refusals = field(init=False)

    def __post_init__(self) -> None:
        self.refusals = Refusals(self.agent, self.status_store)

    async def follow(self, stop: asyncio.Event) -> None:
        """Watch until ``stop``. Policies first: without them every Stack would be refused."""
        trust = PolicySource(self.agent, self.client, self.policies)
        tasks = [
            asyncio.create_task(trust.run()),
            asyncio.create_task(self._follow_stacks(trust)),
            asyncio.create_task(self.refusals.run(stop)),
        ]
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_stacks(self, trust: PolicySource) -> None:
        await trust.read.wait()
        feed = Feed(
            client=self.client,
            kind="Stack",
            namespace=self.namespace,
            listed=self._listed,
            changed=self._changed,
            restored=self.agent.restored,
        )
        await feed.run()

    # What is done for a shard (shards.Work)

    async def read(self, shard: int) -> None:
        """Whoever had its Stacks before may have written to them a moment ago."""
        resource = await self.client.kind(GROUP, "Stack")
        for obj in (await self.client.list(resource, self.namespace)).items:
            if self._is_in(key_of(obj), shard):
                self._take("ADDED", obj)

    def begin(self, shard: int) -> None:
        self.agent.begin(self._in(shard))
        self.refusals.begin(lambda key: self._is_in(key, shard))

    async def finish(self, shard: int) -> None:
        await self.agent.finish(self._in(shard))

    def abort(self, shard: int) -> None:
        self.agent.abort(self._in(shard))

    def _is_in(self, key: StackKey, shard: int) -> bool:
        return not self.shards or shard_of(key, self.shards) == shard

    def _in(self, shard: int) -> list[StackKey]:
        return [key for key in self.agent.stacks if self._is_in(key, shard)]

    async def _listed(self, objects: Sequence[dict[str, Any]]) -> None:
        for obj in objects:
            self._take("ADDED", obj)
        present = {key_of(obj) for obj in objects}
        self.refusals.keep_only(present)
        for key in list(self.agent.stacks):
            if key not in present:
                self.agent.drop_stack(key)
        self.agent.loaded()

    async def _changed(self, type_: str, obj: dict[str, Any]) -> None:
        self._take(type_, obj)

    def _take(self, type_: str, obj: dict[str, Any]) -> None:
        """One Stack as it is now. Whatever is wrong with it is said on it, and is over here."""
        try:
            self._read(type_, obj)
        except ConfigError as error:
            self.refusals.put(obj, error)
        except Exception as error:
            what = f"reading the Stack {'/'.join(key_of(obj))}"
            self.refusals.put(obj, unexpected(what, error))

    def _read(self, type_: str, obj: dict[str, Any]) -> None:
        metadata, key = obj["metadata"], key_of(obj)
        deleting = bool(metadata.get("deletionTimestamp"))
        if type_ == "DELETED":
            self.refusals.forget(key)
            self.agent.drop_stack(key)
            return
        if deleting and FINALIZER not in (metadata.get("finalizers") or []):
            return  # nothing of ours to do; others' finalizers keep it
        try:
            stack = parse_stack(obj, origin=f"Stack {'/'.join(key)}")
            check_reach(stack)
        except Exception:
            if not deleting:
                raise
            stack = departed(obj)
        self.agent.set_stack(stack, status_of(obj))
        self.refusals.forget(key)
