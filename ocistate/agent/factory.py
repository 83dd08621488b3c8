"""Put an agent together: from files, or from a cluster's own objects."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ocistate.agent.backends.files import FileSource, FileTargetFactory, FolderStatusStore
from ocistate.agent.runtime import Agent
from ocistate.agent.state.folder import StateFolder, default_state_folder
from ocistate.agent.targets.base import TargetFactory
from ocistate.agent.telemetry.instruments import count_kube_answer, count_registry_answer
from ocistate.api.stack import Stack
from ocistate.objects import StackKey
from ocistate.oci import StoreOptions, open_store
from ocistate.oci.store import Store
from ocistate.reach import Reach

if TYPE_CHECKING:
    from ocistate.agent.backends.cluster import ClusterSource
    from ocistate.agent.sharding.shards import Shards
    from ocistate.agent.targets.cluster import ClusterTargetFactory
    from ocistate.kube.client import KubeClient
    from ocistate.oci.registry.clients import Clients


log = logging.getLogger("ocistate.agent")

_MAX_WARNINGS: Final = 10_000


@contextlib.asynccontextmanager
async def embedded_agent(
    stacks: Path,
    *,
    state: Path | None,
    kubeconfig: Path | None,
    context: str | None,
    workers: int,
) -> AsyncIterator[tuple[Agent, FileSource]]:
    """An agent for the Stacks in files, its memory in a state folder. Raises ConfigError.

    Clusters are only connected to when Stacks belong in them, each by its own context; objects are
    written with the kubeconfig's own rights, unless the Stack names a service account.
    """
    async with contextlib.AsyncExitStack() as resources:
        folder = _open_folder(state, resources)

        def clusters() -> TargetFactory:
            from ocistate.agent.targets.kubeconfigs import FileKubeconfigs
            from ocistate.agent.targets.remote import RemoteTargetFactory

            target_factory = RemoteTargetFactory(
                FileKubeconfigs(kubeconfig, context), lambda client: _remote(client, agent)
            )
            resources.push_async_callback(target_factory.aclose)
            return target_factory

        connect = await resources.enter_async_context(_connecting())
        agent = Agent(
            status_store=FolderStatusStore(folder),
            target_factory=FileTargetFactory(folder, clusters),
            folder=folder,
            connect=connect,
            registry_sizes=connect.clients.sizes,
            workers=workers,
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
) -> AsyncIterator[tuple[Agent, ClusterSource, Shards | None]]:
    """An agent for the Stacks of a cluster, in it or beside it. Raises ConfigError.

    What it must remember is in the Stacks' status; the state folder only keeps contents. With a
    ``namespace`` it looks at nothing outside of it, and so needs no right there; its policies may
    then come from files. With ``shards``, it only reconciles the Stacks whose Lease it holds, in
    its own namespace. Nothing out of ``reach`` is asked on a Stack's word.
    """
    from ocistate.agent.backends.cluster import ClusterSource, ClusterStatusStore
    from ocistate.agent.sharding.lease import shard_of
    from ocistate.agent.sharding.shards import Shards, new_identity
    from ocistate.agent.targets.cluster import ClusterTargetFactory
    from ocistate.agent.targets.kubeconfigs import SecretKubeconfigs
    from ocistate.agent.targets.remote import RemoteTargetFactory
    from ocistate.kube.client import KubeClient

    async with contextlib.AsyncExitStack() as resources:
        folder = _open_folder(state, resources)
        client = await resources.enter_async_context(KubeClient.open(kubeconfig, context))
        client.on_answers(count_kube_answer)
        # Leases, status and the Stacks themselves never wait for what is done for tenants.
        work = await resources.enter_async_context(client.apart())
        leases = None
        if shards:
            leases = Shards(
                client=client,
                namespace=client.access.namespace,
                count=shards,
                identity=new_identity(),
                seconds=lease_seconds,
            )
        fence = leases.check if leases is not None else None
        target_factory = ClusterTargetFactory(
            work,
            lambda stack: agent.stacks.kinds(stack),
            fence=fence,
            namespaces=(namespace,) if namespace else None,
            adoptable_owners=lambda stack: agent.stacks.adoptable_owners(stack),
            handover_owners=lambda stack: agent.stacks.handover_owners(stack),
            called=lambda stack, owner: agent.called(stack, owner),
            contests=lambda stack: agent.stacks.contests(stack),
            runs_of=lambda stack: agent.stacks.runs(stack),
        )
        resources.push_async_callback(target_factory.watches.aclose)
        remote = RemoteTargetFactory(
            SecretKubeconfigs(target_factory.writer, reach),
            lambda other: _remote(other, agent, fence),
            target_factory,
        )
        resources.push_async_callback(remote.aclose)
        status_store = ClusterStatusStore(
            client, reader=target_factory.writer, fence=fence, reach=reach
        )
        connect = await resources.enter_async_context(_connecting())
        agent = Agent(
            status_store=status_store,
            target_factory=remote,
            folder=folder,
            connect=connect,
            registry_sizes=connect.clients.sizes,
            workers=workers,
            locked_out=client.locked_out,
        )
        source = ClusterSource(agent, status_store, client, namespace, policies)
        if leases is not None:
            agent.mine, leases.work = leases.mine, source
            source.in_shard = lambda key, shard: shard_of(key, shards) == shard
        yield agent, source, leases


def _remote(
    client: KubeClient, agent: Agent, fence: Callable[[StackKey], None] | None = None
) -> ClusterTargetFactory:
    """A cluster that a kubeconfig names: written to as the kubeconfig's user."""
    from ocistate.agent.targets.cluster import ClusterTargetFactory

    client.on_answers(count_kube_answer)
    return ClusterTargetFactory(
        client,
        lambda stack: agent.stacks.kinds(stack),
        impersonate=False,
        fence=fence,
        adoptable_owners=agent.stacks.adoptable_owners,
        handover_owners=agent.stacks.handover_owners,
        called=agent.called,
        contests=lambda stack: agent.stacks.contests(stack),
        runs_of=lambda stack: agent.stacks.runs(stack),
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
        return open_store(stack.source.repository, options, stack.source.mirrors)
