"""Put an agent together: from files, or from a cluster's own objects."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ocistate.agent.backends.files import FileSource, FileTargetFactory, FolderStatusStore
from ocistate.agent.registry import Stacks
from ocistate.agent.runtime import Agent
from ocistate.agent.state.folder import StateFolder, default_state_folder
from ocistate.agent.state.store import StatusStore
from ocistate.agent.targets.base import TargetFactory
from ocistate.agent.telemetry.instruments import count_kube_answer, count_registry_answer
from ocistate.agent.telemetry.reporting import Reporter
from ocistate.api.stack import Stack
from ocistate.channel.rings import Cluster
from ocistate.objects import StackKey
from ocistate.oci import Mirror, StoreOptions, open_store
from ocistate.oci.store import Store
from ocistate.reach import Reach

if TYPE_CHECKING:
    from ocistate.agent.backends.cluster import ClusterSource
    from ocistate.agent.sharding.shards import Shards
    from ocistate.agent.targets.shared import SharedCluster
    from ocistate.kube.client import KubeClient
    from ocistate.oci.registry.clients import Clients
    from ocistate.signing.keys import Signer


log = logging.getLogger("ocistate.agent")

_MAX_WARNINGS: Final = 10_000

Fence = Callable[[StackKey], None] | None
"""Raises before a write that is another agent's to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """What an agent's cluster is called, and the key of its reports; without one it has none."""

    cluster: Cluster = Cluster()  # noqa: RUF009 - it is frozen
    signer: Signer | None = None
    every: int = 0


@dataclass(frozen=True, slots=True)
class _Repositories:
    """Opens Stacks' repositories with their credentials."""

    status_store: StatusStore
    connect: _Connector

    async def open(self, stack: Stack) -> Store:
        return self.connect(stack, await self.status_store.connect_options(stack))

    def reporter(self, reporting: Reporting) -> Reporter | None:
        if reporting.signer is None:
            return None
        return Reporter(reporting.cluster, reporting.signer, self.open, every=reporting.every)


@contextlib.asynccontextmanager
async def embedded_agent(
    stacks: Path,
    *,
    state: Path | None,
    kubeconfig: Path | None,
    context: str | None,
    workers: int,
    reporting: Reporting = Reporting(),
) -> AsyncIterator[tuple[Agent, FileSource]]:
    """An agent for the Stacks in files, its memory in a state folder. Raises ConfigError.

    Clusters are only connected to when Stacks belong in them, each by its own context; objects are
    written with the kubeconfig's own rights, unless the Stack names a service account.
    """
    async with contextlib.AsyncExitStack() as resources:
        folder, known = _open_folder(state, resources), Stacks()

        def clusters() -> TargetFactory:
            from ocistate.agent.targets.kubeconfigs import FileKubeconfigs
            from ocistate.agent.targets.remote import RemoteTargetFactory

            target_factory = RemoteTargetFactory(
                FileKubeconfigs(kubeconfig, context),
                functools.partial(_remote, stacks=known, fence=None),
            )
            resources.push_async_callback(target_factory.aclose)
            return target_factory

        status_store = FolderStatusStore(folder)
        connector = await resources.enter_async_context(_connecting())
        repositories = _Repositories(status_store, connector)
        agent = Agent(
            status_store=status_store,
            target_factory=FileTargetFactory(folder, clusters),
            folder=folder,
            connect_store=repositories.open,
            registry_sizes=connector.clients.sizes,
            workers=workers,
            cluster=reporting.cluster,
            reporter=repositories.reporter(reporting),
            stacks=known,
        )
        yield agent, FileSource(agent, folder, stacks)


@contextlib.asynccontextmanager
async def cluster_agent(
    *,
    state: Path | None,
    kubeconfig: Path | None,
    context: str | None,
    workers: int,
    namespace: str,
    shards: int,
    lease_seconds: int,
    policies: Path | None = None,
    reach: Reach = Reach(),  # noqa: B008 - it is frozen
    reporting: Reporting = Reporting(),
) -> AsyncIterator[tuple[Agent, ClusterSource, Shards | None]]:
    """An agent for the Stacks of a cluster, in it or beside it. Raises ConfigError.

    What it must remember is in the Stacks' status; the state folder only keeps contents. With a
    ``namespace`` it looks at nothing outside of it, and so needs no right there; its policies may
    then come from files. With ``shards``, it only reconciles the Stacks whose Lease it holds, in
    its own namespace. Nothing out of ``reach`` is asked on a Stack's word.
    """
    from ocistate.agent.backends.cluster import ClusterSource, ClusterStatusStore
    from ocistate.kube.client import KubeClient

    async with contextlib.AsyncExitStack() as resources:
        folder, known = _open_folder(state, resources), Stacks()
        client = await resources.enter_async_context(KubeClient.open(kubeconfig, context))
        client.on_answers(count_kube_answer)
        # Leases, status and the Stacks themselves never wait for what is done for tenants.
        work = await resources.enter_async_context(client.apart())
        leases = _shards(client, shards, lease_seconds) if shards else None
        fence = leases.check if leases is not None else None
        namespaces = (namespace,) if namespace else None
        home = _home(work, known, fence=fence, namespaces=namespaces)
        resources.push_async_callback(home.watches.aclose)
        status_store = ClusterStatusStore(client, reader=home.writer, fence=fence, reach=reach)
        connector = await resources.enter_async_context(_connecting())
        repositories = _Repositories(status_store, connector)
        agent = Agent(
            status_store=status_store,
            target_factory=_with_remotes(home, known, fence, reach, resources),
            folder=folder,
            connect_store=repositories.open,
            registry_sizes=connector.clients.sizes,
            workers=workers,
            cluster=reporting.cluster,
            reporter=repositories.reporter(reporting),
            mine=leases.mine if leases is not None else _all,
            locked_out=client.locked_out,
            stacks=known,
        )
        yield agent, ClusterSource(agent, status_store, client, namespace, policies, shards), leases


def _all(key: StackKey) -> bool:
    return True


def _shards(client: KubeClient, count: int, seconds: int) -> Shards:
    from ocistate.agent.sharding.shards import Shards, new_identity

    return Shards(
        client=client,
        namespace=client.access.namespace,
        count=count,
        identity=new_identity(),
        seconds=seconds,
    )


def _home(
    client: KubeClient, stacks: Stacks, *, fence: Fence, namespaces: tuple[str, ...] | None
) -> SharedCluster:
    """The agent's own cluster: written to as each Stack's service account."""
    from ocistate.agent.targets.shared import SharedCluster

    return SharedCluster(
        client,
        stacks.kinds,
        fence=fence,
        namespaces=namespaces,
        adoptable_owners=stacks.adoptable_owners,
        handover_owners=stacks.handover_owners,
        called=stacks.called,
        contests=stacks.contests,
        runs_of=stacks.runs,
    )


def _with_remotes(
    home: SharedCluster,
    stacks: Stacks,
    fence: Fence,
    reach: Reach,
    resources: contextlib.AsyncExitStack,
) -> TargetFactory:
    from ocistate.agent.targets.kubeconfigs import SecretKubeconfigs
    from ocistate.agent.targets.remote import RemoteTargetFactory

    target_factory = RemoteTargetFactory(
        SecretKubeconfigs(home.writer, reach),
        functools.partial(_remote, stacks=stacks, fence=fence),
        home,
    )
    resources.push_async_callback(target_factory.aclose)
    return target_factory


def _remote(client: KubeClient, *, stacks: Stacks, fence: Fence) -> SharedCluster:
    """A cluster that a kubeconfig names: written to as the kubeconfig's user."""
    from ocistate.agent.targets.shared import SharedCluster

    client.on_answers(count_kube_answer)
    return SharedCluster(
        client,
        stacks.kinds,
        impersonate=False,
        fence=fence,
        adoptable_owners=stacks.adoptable_owners,
        handover_owners=stacks.handover_owners,
        called=stacks.called,
        contests=stacks.contests,
        runs_of=stacks.runs,
    )


def _open_folder(state: Path | None, resources: contextlib.AsyncExitStack) -> StateFolder:
    folder = StateFolder(state or default_state_folder())
    folder.open()
    resources.callback(folder.close)
    return folder


@contextlib.asynccontextmanager
async def _connecting() -> AsyncIterator[_Connector]:
    from ocistate.oci.registry.clients import Clients

    async with Clients() as clients:
        yield _Connector(clients)


@dataclass(slots=True)
class _Connector:
    """Opens Stacks' repositories; what a registry warns of is logged once, not at every look."""

    clients: Clients
    _warned: set[tuple[str, str]] = field(default_factory=set)

    def __call__(self, stack: Stack, options: StoreOptions) -> Store:
        def warned(text: str) -> None:
            known = (str(stack), text)
            if known not in self._warned and len(self._warned) < _MAX_WARNINGS:
                self._warned.add(known)
                log.warning("the registry warns: %s", text, extra={"stack": str(stack)})

        options = replace(
            options, on_warning=warned, clients=self.clients, on_answer=count_registry_answer
        )
        source = stack.spec.source
        mirrors = [
            Mirror(reference=each.repository.reference, insecure=each.insecure)
            for each in source.mirrors
        ]
        return open_store(source.repository.reference, options, mirrors)
