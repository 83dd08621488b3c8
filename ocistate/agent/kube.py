"""The agent in a cluster: Stacks and TrustPolicies as objects, status and Events on them."""

from __future__ import annotations

import asyncio
import base64
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ocistate.agent.api import API_VERSION, FINALIZER, GROUP, Source, Stack, parse_stack
from ocistate.agent.files import fingerprint, load_files
from ocistate.agent.policies import REFRESH_SECONDS, Policies
from ocistate.agent.runtime import Agent
from ocistate.agent.status import Status, refused, rfc3339, status_from_dict, status_to_dict
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
_EVENT_SILENCE: Final = 300.0
"""Seconds in which the same event is not told twice."""


def stack_id(stack: Stack) -> ObjectId:
    """The Stack object's identity."""
    return ObjectId(GROUP, "Stack", stack.namespace, stack.name)


@dataclass(slots=True)
class ClusterKeeper:
    """Status, finalizer and Events on the Stack object; credentials from its own namespace."""

    client: KubeClient
    reader: Callable[[Stack], KubeClient]
    """The client that reads a Stack's secrets: as the Stack's own service account."""
    name: str = "ocistate-agent"
    _told: dict[tuple[str, str, str], float] = field(default_factory=dict)

    async def prepare(self, stack: Stack) -> None:
        """Add our finalizer, unless it is there."""
        live = await self.client.get(stack_id(stack), metadata_only=True)
        if live is None or live["metadata"].get("uid") != stack.uid:
            raise ClusterError(f"Stack {stack} is gone", hint="its objects stay as they are")
        finalizers = live["metadata"].get("finalizers") or []
        if FINALIZER in finalizers or live["metadata"].get("deletionTimestamp"):
            return
        await self.client.patch(
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
            await self.client.apply(obj, manager=MANAGER, subresource="status", metadata_only=True)
        except StatusError as error:
            if error.status not in (404, 409):
                raise

    async def event(self, stack: Stack, kind: str, reason: str, message: str) -> None:
        now = asyncio.get_running_loop().time()
        key = (str(stack), reason, message)
        if now - self._told.get(key, -_EVENT_SILENCE) < _EVENT_SILENCE:
            return
        self._told = {k: at for k, at in self._told.items() if now - at < _EVENT_SILENCE}
        self._told[key] = now
        at = rfc3339(datetime.now(UTC))
        obj = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "namespace": stack.namespace,
                "name": f"{stack.name[:200]}.{secrets.token_hex(8)}",
            },
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": "Stack",
                "namespace": stack.namespace,
                "name": stack.name,
                "uid": stack.uid,
            },
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
            "source": {"component": self.name},
        }
        try:
            await self.client.create(obj, manager=MANAGER)
        except OcistateError as error:
            log.debug("event lost: %s", error, extra={"stack": str(stack)})

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
        live = await self.client.get(stack_id(stack), metadata_only=True)
        if live is None or live["metadata"].get("uid") != stack.uid:
            return
        finalizers = live["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers:
            return
        await self.client.patch(
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
    policies_read: asyncio.Event = field(default_factory=asyncio.Event)
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
            for key in self.agent.keys:
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
        metadata = obj["metadata"]
        key = (metadata["namespace"], metadata["name"])
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
        log.error("%s", error, extra={"reason": error.reason})
        key = (metadata["namespace"], metadata["name"])
        if self.agent.refuse_stack(key, metadata["uid"], generation, error):
            return
        old = status_from_dict(obj.get("status"))
        new = refused(old, error, now=datetime.now(UTC), generation=generation)
        if new != old:
            await self.keeper.save(_departed(obj), new)


def _check_reach(stack: Stack) -> None:
    """Files beside the agent are not its tenants' to read or write. Raises ConfigError."""
    field = ""
    if stack.directory is not None:
        field = "spec.target.directory"
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
    return Stack(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        source=Source(repository=Reference(scheme="layout", registry="", repository="")),
        service_account=str(spec.get("serviceAccountName") or ""),
        deletion_policy="orphan" if spec.get("deletionPolicy") == "orphan" else "delete",
        deleting=True,
    )
