"""Clusters reached by kubeconfigs: one client and one set of watches for each context in use.

What is done over there is done as the kubeconfig's user, unless the Stack names an account. A
cluster that does not answer costs its own Stacks one short probe every few seconds, and others
nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ocistate.agent.targets.base import Applied, HealthReport, Removed, Target
from ocistate.agent.targets.cluster import ClusterTarget, cluster_target
from ocistate.agent.targets.shared import SharedCluster
from ocistate.api.stack import Stack
from ocistate.errors import ClusterUnavailable, ConfigError, OcistateError
from ocistate.kube.client import KubeClient
from ocistate.kube.discovery import kind_text
from ocistate.kube.errors import StatusError
from ocistate.kube.kubeconfig import ClusterAccess
from ocistate.kube.transport import Transport
from ocistate.objects import GroupKind
from ocistate.ops.artifact.fetch import Content

log = logging.getLogger("ocistate.agent")

_PROBE_SECONDS: Final = 10.0
_DOWN_SECONDS: Final = 10.0
_READ_SECONDS: Final = 300.0
"""How long a kubeconfig that works is used before it is read again."""
_AGAIN: Final = "it is tried again every few seconds"


@dataclass(slots=True)
class _Cluster:
    """One kubeconfig's cluster."""

    client: KubeClient
    shared: SharedCluster
    users: dict[str, str] = field(default_factory=dict)
    """By Stack's UID: what the Stack calls this cluster."""
    reachable: bool | None = None
    """Whether it answered last; None before the first time."""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _down: tuple[float, str] | None = None
    _up: bool = False

    def __post_init__(self) -> None:
        self.shared.listen(self._noticed)

    async def reach(self) -> None:
        """Raises ClusterUnavailable, at once while it is known to be down; and what else keeps
        the kubeconfig's user out."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._down is not None and now < self._down[0]:
                raise ClusterUnavailable(self._down[1], hint=_AGAIN)
            if self._up:
                return
            try:
                async with asyncio.timeout(_PROBE_SECONDS):
                    await self.client.kinds(max_age=0)
            except (ClusterUnavailable, TimeoutError) as error:
                why = error.message if isinstance(error, ClusterUnavailable) else ""
                why = why or f"no answer within {_PROBE_SECONDS:g} s"
                why = f"the target cluster {self} is down: {why}"
                self.failed(why)
                raise ClusterUnavailable(why, hint=_AGAIN) from None
            self._up, self._down = True, None
            if self.reachable is False:
                log.info("the target cluster %s answers again", self)
            self.reachable = True

    def failed(self, why: str) -> None:
        """It did not answer: the next ones do not wait for it."""
        if self.reachable is not False:
            log.warning("%s", why)
        self._up = self.reachable = False
        self._down = (asyncio.get_running_loop().time() + _DOWN_SECONDS, why)

    def probe_soon(self) -> None:
        """Something failed: check that it answers before the next use."""
        self._up = False

    def _noticed(self, trouble: OcistateError | None) -> None:
        """A watch broke, or goes on again: reconcile its Stacks, for nothing else may be due."""
        unknown = isinstance(trouble, StatusError) and trouble.status == 401
        if trouble is None and self._down is not None:
            self._down = None
            self.shared.wake()
        elif self._up and (unknown or isinstance(trouble, ClusterUnavailable | ConfigError)):
            self.probe_soon()
            self.shared.wake()

    async def aclose(self) -> None:
        await self.shared.watches.aclose()
        await self.client.aclose()

    def __str__(self) -> str:
        return f"{self.client.access.context} ({self.client.access.server})"


@dataclass(slots=True)
class RemoteTargetFactory:
    """Clusters by their Stacks' kubeconfigs; ``home`` for those that name none.

    ``find`` finds how a Stack's cluster is reached, ``connect`` shares a client's cluster.
    Without a ``home``, ``find`` knows a cluster for every Stack.
    """

    find: Callable[[Stack], Awaitable[ClusterAccess]]
    connect: Callable[[KubeClient], SharedCluster]
    home: SharedCluster | None = None
    _clusters: dict[str, _Cluster] = field(default_factory=dict)
    _closing: set[asyncio.Task[None]] = field(default_factory=set)

    def stack_target(self, stack: Stack, wake: Callable[[float], None]) -> Target:
        if self.home is not None and not stack.spec.target.kubeconfig_secret:
            self.leave(stack)  # it may have belonged elsewhere before
            return cluster_target(self.home, stack, wake)
        return RemoteClusterTarget(self, stack, wake)

    def reachable(self) -> dict[str, bool]:
        """Of each cluster but home, by the name its Stacks have for it: whether it answered."""
        return {
            name: cluster.reachable
            for cluster in self._clusters.values()
            if cluster.reachable is not None
            for name in cluster.users.values()
        }

    def sizes(self) -> Counter[str]:
        """How much is held of all clusters, by what it is."""
        held = Counter(clusters=len(self._clusters))
        homes = (self.home,) if self.home is not None else ()
        for shared in (*homes, *(cluster.shared for cluster in self._clusters.values())):
            held.update(shared.sizes())
        return held

    async def cluster(self, stack: Stack) -> _Cluster:
        """The cluster that a Stack's kubeconfig names now."""
        access = await self.find(stack)
        mark = access.mark
        if mark not in self._clusters:
            client = KubeClient(Transport(access))
            self._clusters[mark] = _Cluster(client, self.connect(client))
        for other, cluster in list(self._clusters.items()):
            if other != mark and stack.uid in cluster.users:
                self._leave(other, stack)
        self._clusters[mark].users[stack.uid] = stack.target_name
        return self._clusters[mark]

    def leave(self, stack: Stack) -> None:
        """A Stack is gone; a cluster that no one uses any more is disconnected."""
        for mark in [m for m, each in self._clusters.items() if stack.uid in each.users]:
            self._leave(mark, stack)

    def _leave(self, mark: str, stack: Stack) -> None:
        cluster = self._clusters[mark]
        cluster.users.pop(stack.uid, None)
        cluster.shared.forget(stack)
        if not cluster.users:
            del self._clusters[mark]
            task = asyncio.create_task(cluster.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Disconnect all clusters."""
        await asyncio.gather(*self._closing, return_exceptions=True)
        for cluster in self._clusters.values():
            await cluster.aclose()


@dataclass(slots=True)
class RemoteClusterTarget:
    """A Stack's objects in another cluster."""

    target_factory: RemoteTargetFactory
    stack: Stack
    wake: Callable[[float], None]
    _at: tuple[_Cluster, ClusterTarget] | None = None
    _until: float = 0.0

    def kinds(self, content: Content) -> tuple[str, ...]:
        if self._at is not None:
            return self._at[1].kinds(content)
        return tuple(
            sorted(
                {kind_text(GroupKind(e.id.group, e.id.kind)) for e in content.inventory.resources}
            )
        )

    async def drifted(self, content: Content) -> Sequence[str]:
        async with self._there() as stack_target:
            return await stack_target.drifted(content)

    async def apply(self, content: Content, *, changed: bool, dry_run: bool = False) -> Applied:
        async with self._there() as stack_target:
            done = await stack_target.apply(content, changed=changed, dry_run=dry_run)
            if done.errors and self._at is not None:
                self._at[0].probe_soon()
            return done

    async def health(self) -> HealthReport:
        async with self._there() as stack_target:
            return await stack_target.health()

    async def explain(self) -> str:
        async with self._there() as stack_target:
            return await stack_target.explain()

    async def remove(self) -> Removed:
        async with self._there() as stack_target:
            return await stack_target.remove()

    async def release(self) -> None:
        async with self._there() as stack_target:
            await stack_target.release()

    def forget(self) -> None:
        self._at = None
        self.target_factory.leave(self.stack)

    @contextlib.asynccontextmanager
    async def _there(self) -> AsyncIterator[ClusterTarget]:
        now = asyncio.get_running_loop().time()
        if self._at is None or now >= self._until:
            cluster = await self.target_factory.cluster(self.stack)
            if self._at is None or self._at[0] is not cluster:
                self._at = (cluster, cluster_target(cluster.shared, self.stack, self.wake))
            self._until = now + _READ_SECONDS
        cluster, stack_target = self._at
        try:
            await cluster.reach()
        except OcistateError:
            self._until = 0.0  # another kubeconfig may be there by now
            raise
        try:
            yield stack_target
        except ClusterUnavailable as error:
            cluster.failed(error.message)
            self._until = 0.0
            raise
        except StatusError as error:
            if error.status == 401:
                self._until = 0.0  # the credentials may have been renewed
            raise
