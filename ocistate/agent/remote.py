"""Other clusters as targets: one client and one set of watches for each kubeconfig.

The kubeconfig is a Secret of the Stack's own namespace, read as the Stack's own service account.
What is done over there is done as the kubeconfig's user, unless the Stack names an account.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

from ocistate.agent.api import Stack
from ocistate.agent.cluster_place import ClusterPlace, ClusterPlaces, kind_text
from ocistate.agent.target import Applied, HealthReport, Target
from ocistate.cluster.client import KubeClient
from ocistate.cluster.connect import access_from_text
from ocistate.cluster.status import StatusError
from ocistate.cluster.transport import Transport
from ocistate.errors import ClusterUnavailable, ConfigError
from ocistate.objects import ObjectId
from ocistate.steps.fetch import Content

_PROBE_SECONDS: Final = 5.0
_DOWN_SECONDS: Final = 10.0
_READ_SECONDS: Final = 300.0
"""How long a kubeconfig that works is believed before its Secret is read again."""
_KEYS: Final = ("value", "kubeconfig")


@dataclass(slots=True)
class _Cluster:
    """One kubeconfig's cluster. A target that is down costs one short probe every few seconds."""

    client: KubeClient
    places: ClusterPlaces
    users: set[str] = field(default_factory=set)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _down: tuple[float, str] | None = None
    _up: bool = False

    async def reach(self) -> None:
        """Raises ClusterUnavailable at once while it is known to be down."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._down is not None and now < self._down[0]:
                raise ClusterUnavailable(self._down[1], hint="it is tried again every few seconds")
            if self._up:
                return
            try:
                async with asyncio.timeout(_PROBE_SECONDS):
                    await self.client.kinds(max_age=0)
            except (ClusterUnavailable, TimeoutError) as error:
                why = str(error) or f"no answer within {_PROBE_SECONDS:g} s"
                self.failed(f"the target cluster {self.client.access.server} is down: {why}")
                raise ClusterUnavailable(self._down[1] if self._down else why) from None
            self._up, self._down = True, None

    def failed(self, why: str) -> None:
        """It did not answer: the next ones do not wait for it."""
        self._up = False
        self._down = (asyncio.get_running_loop().time() + _DOWN_SECONDS, why)

    def doubt(self) -> None:
        """Something failed: look whether it is there before the next use."""
        self._up = False

    async def aclose(self) -> None:
        await self.places.watches.aclose()
        await self.client.aclose()


@dataclass(slots=True)
class RemotePlaces:
    """The home cluster for most Stacks; for those with a kubeconfig of their own, its cluster.

    ``connect`` makes the places of a client.
    """

    home: ClusterPlaces
    connect: Callable[[KubeClient], ClusterPlaces]
    _clusters: dict[str, _Cluster] = field(default_factory=dict)
    _closing: set[asyncio.Task[None]] = field(default_factory=set)

    def place(self, stack: Stack, wake: Callable[[float], None]) -> Target:
        if not stack.kubeconfig_secret:
            return self.home.place(stack, wake)
        return RemotePlace(self, stack, wake)

    async def cluster(self, stack: Stack) -> _Cluster:
        """The cluster that a Stack's Secret names now."""
        text = await self._read(stack)
        mark = hashlib.sha256(text.encode()).hexdigest()
        if mark not in self._clusters:
            client = KubeClient(Transport(access_from_text(text)))
            self._clusters[mark] = _Cluster(client, self.connect(client))
        for other, cluster in list(self._clusters.items()):
            if other != mark and stack.uid in cluster.users:
                self._leave(other, stack)
        self._clusters[mark].users.add(stack.uid)
        return self._clusters[mark]

    def leave(self, stack: Stack) -> None:
        """A Stack is gone; a cluster that nobody uses any more is let go."""
        for mark in [m for m, each in self._clusters.items() if stack.uid in each.users]:
            self._leave(mark, stack)

    def _leave(self, mark: str, stack: Stack) -> None:
        cluster = self._clusters[mark]
        cluster.users.discard(stack.uid)
        cluster.places.forget(stack)
        if not cluster.users:
            del self._clusters[mark]
            task = asyncio.create_task(cluster.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Let all clusters go."""
        await asyncio.gather(*self._closing, return_exceptions=True)
        for cluster in self._clusters.values():
            await cluster.aclose()

    async def _read(self, stack: Stack) -> str:
        id = ObjectId("", "Secret", stack.namespace, stack.kubeconfig_secret)
        obj = await self.home.writer(stack).get(id)
        data = (obj or {}).get("data") or {}
        wanted = (stack.kubeconfig_key,) if stack.kubeconfig_key else _KEYS
        encoded = next((data[key] for key in wanted if key in data), None)
        if encoded is None:
            what = "does not exist" if obj is None else f"has no key {' or '.join(wanted)}"
            raise ClusterUnavailable(
                f"the kubeconfig Secret {stack.namespace}/{stack.kubeconfig_secret} {what}",
                hint="mend spec.target.kubeconfigSecretRef, or the Secret",
            )
        try:
            return base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise ConfigError(f"the Secret {id} holds no kubeconfig") from None


@dataclass(slots=True)
class RemotePlace:
    """A Stack's objects in another cluster."""

    places: RemotePlaces
    stack: Stack
    wake: Callable[[float], None]
    _at: tuple[_Cluster, ClusterPlace] | None = None
    _until: float = 0.0

    def kinds(self, content: Content) -> tuple[str, ...]:
        return tuple(
            sorted({kind_text((e.id.group, e.id.kind)) for e in content.inventory.resources})
        )

    async def drifted(self, content: Content) -> bool:
        async with self._there() as place:
            return await place.drifted(content)

    async def apply(self, content: Content, *, changed: bool, dry_run: bool = False) -> Applied:
        async with self._there() as place:
            done = await place.apply(content, changed=changed, dry_run=dry_run)
            if done.errors and self._at is not None:
                self._at[0].doubt()
            return done

    async def health(self) -> HealthReport:
        async with self._there() as place:
            return await place.health()

    async def explain(self) -> str:
        async with self._there() as place:
            return await place.explain()

    async def remove(self) -> int:
        async with self._there() as place:
            return await place.remove()

    async def release(self) -> None:
        async with self._there() as place:
            await place.release()

    def forget(self) -> None:
        self._at = None
        self.places.leave(self.stack)

    @contextlib.asynccontextmanager
    async def _there(self) -> AsyncIterator[ClusterPlace]:
        now = asyncio.get_running_loop().time()
        if self._at is None or now >= self._until:
            cluster = await self.places.cluster(self.stack)
            if self._at is None or self._at[0] is not cluster:
                self._at = (cluster, cluster.places.place(self.stack, self.wake))
            self._until = now + _READ_SECONDS
        cluster, place = self._at
        await cluster.reach()
        try:
            yield place
        except ClusterUnavailable as error:
            cluster.failed(str(error))
            self._until = 0.0
            raise
        except StatusError as error:
            if error.status == 401:
                self._until = 0.0  # the credentials may have been renewed
            raise
