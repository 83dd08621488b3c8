"""The agent in a cluster: Stacks and TrustPolicies as objects, status and Events on them."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ocistate.agent.api import API_VERSION, FINALIZER, GROUP, Source, Stack, parse_stack
from ocistate.agent.events import Events
from ocistate.agent.files import fingerprint, load_files
from ocistate.agent.policies import REFRESH_SECONDS, Policies
from ocistate.agent.runtime import Agent
from ocistate.agent.status import Status, elsewhere, refused, status_from_dict, status_to_dict
from ocistate.cluster.client import KubeClient
from ocistate.cluster.status import StatusError
from ocistate.errors import ClusterError, ConfigError, OcistateError
from ocistate.objects import ObjectId
from ocistate.oci import ClientCertificate, StoreOptions
from ocistate.reference import Reference

log = logging.getLogger("ocistate.agent")

MANAGER: Final = "ocistate-agent"
_RETRY_SECONDS: Final = 2.0
_FILES_SECONDS: Final = 5.0


def stack_id(stack: Stack) -> ObjectId:
    """The Stack object's identity."""
    return ObjectId(GROUP, "Stack", stack.namespace, stack.name)


@dataclass(slots=True)
class ClusterKeeper:
    """Status, finalizer and Events on the Stack object; credentials from its own namespace."""

    client: KubeClient
    reader: Callable[[Stack], KubeClient]
    """The client that reads a Stack's secrets: as the Stack's own service account."""
    fence: Callable[[tuple[str, str]], None] | None = None
    """Raises before a write that is another agent's to do."""
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

    async def save(self, stack: Stack, status: Status) -> None:
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
        await self.events.tell(stack, kind, reason, message)

    async def ask(self, stack: Stack) -> None:
        """Ask for a pass by annotation: the agent that has the Stack sees it at once."""
        annotation = {f"{GROUP}/reconcile": datetime.now(UTC).isoformat(timespec="milliseconds")}
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
        source = stack.source
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
                hint="mend the reference in spec.source; it must be in the Stack's own namespace",
            )
        return base64.b64decode(encoded)


@dataclass(slots=True)
class ClusterSource:
    """Feeds an agent with the Stacks and TrustPolicies of a cluster, as they change."""

    agent: Agent
    keeper: ClusterKeeper
    client: KubeClient
    namespace: str = ""
    """Only this namespace's Stacks; empty: all."""
    policies: Path | None = None
    """Files to read the TrustPolicies from, instead of the cluster's."""
    in_shard: Callable[[tuple[str, str], int], bool] = lambda key, shard: True
    policies_read: asyncio.Event = field(default_factory=asyncio.Event)
    _unread: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """Another agent's Stacks whose spec can't be read."""
    _policies: Policies = field(init=False)
    _background: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._policies = Policies(self.client)

    async def follow(self, stop: asyncio.Event) -> None:
        """Watch until told to stop. Policies first: without them every Stack would be refused."""
        if self.policies is not None:
            trust = [asyncio.create_task(self._follow_files(self.policies))]
        else:
            trust = [
                asyncio.create_task(self._refresh_policies()),
                asyncio.create_task(self._endless("TrustPolicy", "", self._policy_changed)),
            ]
        tasks = [
            *trust,
            asyncio.create_task(self._endless("Stack", self.namespace, self._stack_changed)),
        ]
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What is done for a shard (shards.Work)

    async def read(self, shard: int) -> None:
        """Whoever had its Stacks before may have written to them a moment ago."""
        resource = await self.client.kind(GROUP, "Stack")
        for obj in (await self.client.list(resource, self.namespace)).items:
            if self.in_shard(_key(obj), shard):
                await self._stack_changed("ADDED", obj)

    def begin(self, shard: int) -> None:
        self.agent.begin(self._in(shard))
        for key in [key for key in self._unread if self.in_shard(key, shard)]:
            task = asyncio.create_task(self._refuse_quietly(self._unread.pop(key)))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def finish(self, shard: int) -> None:
        await self.agent.finish(self._in(shard))

    def abort(self, shard: int) -> None:
        self.agent.abort(self._in(shard))

    async def _refuse_quietly(self, obj: Mapping[str, Any]) -> None:
        try:
            await self._stack_changed("MODIFIED", dict(obj))
        except OcistateError as error:
            log.warning("%s", error, extra={"stack": "/".join(_key(obj)), "reason": error.reason})

    def _in(self, shard: int) -> list[tuple[str, str]]:
        return [key for key in self.agent.stacks if self.in_shard(key, shard)]

    async def _endless(
        self,
        kind: str,
        namespace: str,
        changed: Callable[[str, dict[str, Any]], Awaitable[None]],
    ) -> None:
        if kind == "Stack":
            await self.policies_read.wait()
        while True:
            try:
                await self._list_and_watch(kind, namespace, changed)
            except OcistateError as error:
                log.warning("watching %s: %s", kind, error, extra={"reason": error.reason})
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:
                log.exception("watching %s failed unexpectedly", kind)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _list_and_watch(
        self,
        kind: str,
        namespace: str,
        changed: Callable[[str, dict[str, Any]], Awaitable[None]],
    ) -> None:
        resource = await self.client.kind(GROUP, kind)
        listing = await self.client.list(resource, namespace)
        if kind == "TrustPolicy":
            self._policies.clear()
        for obj in listing.items:
            await changed("ADDED", obj)
        if kind == "TrustPolicy":
            self.agent.set_policies(self._policies.all)
            self.policies_read.set()
        else:
            present = {(o["metadata"]["namespace"], o["metadata"]["name"]) for o in listing.items}
            for key in list(self.agent.stacks):
                if key not in present:
                    self.agent.drop_stack(key)
            self.agent.has_looked = True
        since = listing.resource_version
        while True:
            async with aclosing(self.client.watch(resource, namespace, since=since)) as events:
                async for type_, obj in events:
                    since = obj["metadata"]["resourceVersion"]
                    if type_ != "BOOKMARK":
                        await changed(type_, obj)
                        if kind == "TrustPolicy":
                            self.agent.set_policies(self._policies.all)

    async def _policy_changed(self, type_: str, obj: dict[str, Any]) -> None:
        if type_ == "DELETED":
            self._policies.remove(obj["metadata"]["name"])
        else:
            await self._policies.put(obj)

    async def _follow_files(self, path: Path) -> None:
        """Read the policies' files again when one changed; while one is wrong, what was read last
        holds."""
        seen: object = None
        trouble = ""
        while True:
            try:
                now = fingerprint(path)
                if now != seen:
                    seen = now
                    self.agent.set_policies(load_files(path).policies)
                    self.policies_read.set()
                    trouble = ""
            except (ConfigError, OSError) as error:
                if str(error) != trouble:
                    log.error("%s; the policies read before stay", error)
                trouble = str(error)
            await asyncio.sleep(_FILES_SECONDS)

    async def _refresh_policies(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                if await self._policies.refresh():
                    self.agent.set_policies(self._policies.all)
            except Exception:
                log.exception("reading what policies refer to failed unexpectedly")

    async def _stack_changed(self, type_: str, obj: dict[str, Any]) -> None:
        metadata, key = obj["metadata"], _key(obj)
        self._unread.pop(key, None)
        if type_ == "DELETED":
            self.agent.drop_stack(key)
            return
        if metadata.get("deletionTimestamp") and FINALIZER not in (
            metadata.get("finalizers") or []
        ):
            return  # nothing of ours to do; others' finalizers keep it
        try:
            stack = parse_stack(obj, origin=f"Stack {'/'.join(key)}")
            _check_reach(stack)
        except ConfigError as error:
            if not metadata.get("deletionTimestamp"):
                await self._refuse(obj, error)
                return
            stack = _departed(obj)
        self.agent.set_stack(stack, status_from_dict(obj.get("status")))

    async def _refuse(self, obj: Mapping[str, Any], error: ConfigError) -> None:
        """Say on the Stack itself that its spec can't be read; what ran before goes on."""
        metadata = obj["metadata"]
        generation = metadata.get("generation", 0)
        key = (metadata["namespace"], metadata["name"])
        if not self.agent.mine(key):
            self._unread[key] = obj
            return
        log.error("%s", error, extra={"reason": error.reason})
        if self.agent.refuse_stack(key, metadata["uid"], generation, error):
            return
        old = status_from_dict(obj.get("status"))
        new = refused(old, error, now=datetime.now(UTC), generation=generation)
        if new != old:
            await self.keeper.save(_departed(obj), new)


def _key(obj: Mapping[str, Any]) -> tuple[str, str]:
    return (obj["metadata"]["namespace"], obj["metadata"]["name"])


def _check_reach(stack: Stack) -> None:
    """Files beside the agent are not its tenants' to read or write. Raises ConfigError."""
    field = ""
    if stack.context and not stack.kubeconfig_secret:
        raise ConfigError(
            f"Stack {stack}: spec.target.context: the agent's own kubeconfig is not its Stacks' "
            "to choose from",
            hint="name a Secret with the kubeconfig in spec.target.kubeconfigSecretRef",
        )
    if stack.directory is not None:
        field = "spec.target.directory"
    elif stack.kubeconfig is not None:
        field = "spec.target.kubeconfig"
    elif stack.source.repository.scheme != "oci":
        field = "spec.source.repository"
    if field:
        raise ConfigError(
            f"Stack {stack}: {field}: a folder or file means nothing inside a cluster",
            hint="use a registry and a cluster, or run the agent with --stacks",
        )


def _departed(obj: Mapping[str, Any]) -> Stack:
    """Of a Stack whose spec can't be read, just what its status and its removal need."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    target = elsewhere((obj.get("status") or {}).get("target"))
    return Stack(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        source=Source(repository=Reference(scheme="layout", registry="", repository="")),
        service_account=str(spec.get("serviceAccountName") or ""),
        deletion_policy="orphan" if spec.get("deletionPolicy") == "orphan" else "delete",
        kubeconfig_secret=target.secret if target else "",
        kubeconfig_key=target.key if target else "",
        context=target.context if target else "",
        deleting=True,
    )
