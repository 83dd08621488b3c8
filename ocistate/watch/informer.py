"""Watch what is owned: one label-selected watch per kind, for all Stacks together.

    owned = OwnedObjects(on_change=…)
    async with Watches(client, owned) as watches:
        watches.want({("apps", "Deployment"), ("", "ConfigMap")})
        await watches.synced()

Kinds whose health is in their status are watched whole, and evaluated event by event; of all
others only the metadata is requested, so that no Secret or ConfigMap content is ever read. A kind
that is not served is waited for; one that vanishes with its CRD takes its objects with it.

There are bounds to how many kinds are watched; the others are listed now and then. A list that is
older than what is known means that the cluster's store was put back to an earlier state: all kinds
are then listed and compared again.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence, Set
from contextlib import aclosing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from ocistate.apply.unlisted import is_broken, is_custom, names_its_webhook
from ocistate.backoff import Backoff
from ocistate.concurrency import Limiter
from ocistate.errors import ClusterError, OcistateError
from ocistate.health.declared import needs_schema
from ocistate.health.evaluate import needs_full_object
from ocistate.kube.client import KubeClient
from ocistate.kube.collection import version_number
from ocistate.kube.discovery import ApiResource
from ocistate.kube.errors import StatusError
from ocistate.labels import STACK_LABEL
from ocistate.objects import GroupKind
from ocistate.watch.feed import KnownState, list_into, watch_into
from ocistate.watch.schemas import learn_status
from ocistate.watch.store import OwnedObjects

_BACKOFF: Final = Backoff(first=0.25, longest=5.0, spread=2.0)
"""Up to 15 s, and twice 5 s on average: as many watches break at one moment, they spread out."""
_BACKOFF_REFUSED: Final = Backoff(first=0.25, longest=30.0, spread=2.0)
_ABSENT_PAUSE: Final = 30.0
_BROKEN_AFTER: Final = 3
"""Failures in a row, after which a kind is broken, and not just the API server busy."""
_SCHEMA_SECONDS: Final = 1.0
"""A list waits so long for the schema of its kind, so that nothing is under way for a moment."""
# A watch that ends sooner than this does not show that the server is healthy again.
_STEADY: Final = 5.0
_STREAM_SECONDS: Final = 300.0
"""A watch that goes on from one that lasted this long misses nothing."""
LIST_SECONDS: Final = 60.0
"""Between two lists of a kind that is not watched."""

WatchKey = tuple[str, str, str]
"""Group, kind, and namespace (empty for all)."""


@dataclass(slots=True, eq=False)
class _Watch:
    """One kind (in one namespace) being watched."""

    key: WatchKey
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    trouble: OcistateError | None = None
    since: str = ""
    past: KnownState = field(default_factory=KnownState)
    begun: float | None = None
    broken: bool = False
    """Whether the last stream ended otherwise than it should: the server may be another one."""
    failures: int = 0


class Watches:
    """Keeps watches open for the kinds that are wanted.

    ``namespaces`` restricts everything to these namespaces (cluster-scoped kinds are then not
    watched). ``selector`` narrows what is watched. ``on_trouble`` is called for every error: the
    kind, and the error or None when it is over. ``sleep``, ``clock`` and ``rng`` are passed in by
    tests.

    ``listed`` are the kinds that are listed now and then instead.
    """

    def __init__(
        self,
        client: KubeClient,
        owned: OwnedObjects,
        *,
        namespaces: Sequence[str] | None = None,
        selector: str = STACK_LABEL,
        on_trouble: Callable[[WatchKey, OcistateError | None], None] | None = None,
        lists: int = 4,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._owned = owned
        self._namespaces = namespaces
        self._selector = selector
        self._on_trouble = on_trouble
        self._lists = Limiter(lists)
        self._sleep = sleep
        self._clock = clock
        self._rng = rng
        self._watches: dict[WatchKey, _Watch] = {}
        self.listed: Set[GroupKind] = frozenset()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End all watches."""
        await self._end(list(self._watches))

    @property
    def kinds(self) -> set[GroupKind]:
        """The kinds being watched."""
        return {GroupKind(*key[:2]) for key in self._watches}

    @property
    def troubles(self) -> dict[WatchKey, OcistateError]:
        """What keeps kinds from being seen just now."""
        return {key: each.trouble for key, each in self._watches.items() if each.trouble}

    def want(self, kinds: Iterable[GroupKind]) -> None:
        """Watch these kinds too, from now on; those that were absent are looked for at once."""
        for group, kind in kinds:
            for namespace in self._namespaces if self._namespaces is not None else ("",):
                key = (group, kind, namespace)
                watch = self._watches.get(key)
                if watch is None:
                    watch = self._watches[key] = _Watch(key)
                    watch.task = asyncio.create_task(self._follow(watch), name=f"watch {kind}")
                watch.woken.set()

    async def trim(self, needed: Set[GroupKind]) -> set[GroupKind]:
        """Watch nothing but these kinds, and know nothing of others any more; return the kinds
        that were ended."""
        keys = [key for key in self._watches if key[:2] not in needed]
        await self._end(keys)
        for group, kind, namespace in keys:
            if (group, kind, namespace) not in self._watches:  # nor wanted again meanwhile
                self._vanished(group, kind, namespace)
        return {GroupKind(*key[:2]) for key in keys}

    async def synced(
        self, kinds: Iterable[GroupKind] | None = None, *, timeout: float | None = None
    ) -> bool:
        """Wait until the kinds (all, if none are named) have been listed, or are found absent or
        forbidden (see `troubles`); False when that takes more than ``timeout`` seconds."""
        chosen = None if kinds is None else set(kinds)
        waited = [
            asyncio.ensure_future(each.synced.wait())
            for key, each in self._watches.items()
            if chosen is None or key[:2] in chosen
        ]
        if not waited:
            return True
        try:
            _, pending = await asyncio.wait(waited, timeout=timeout)
        finally:
            for each in waited:
                each.cancel()
        return not pending

    async def relist(self, kinds: Iterable[GroupKind]) -> None:
        """List these kinds again, to check every object against what is now desired
        (`OwnedObjects.desire`). Raises ClusterError."""
        for group, kind in kinds:
            resource = await self._client.kind(group, kind)
            for namespace in self._namespaces if self._namespaces is not None else ("",):
                key = (group, kind, namespace)
                await self._list(self._watches.get(key) or _Watch(key), resource)

    # The loop of each watch

    async def _follow(self, watch: _Watch) -> None:
        while True:
            try:
                await self._once(watch)
            except StatusError as error:
                if error.gone or error.status == 404:
                    watch.since = ""
                await self._rest(watch, error)
            except OcistateError as error:
                await self._rest(watch, error)
            except Exception as error:  # a watch that ends silently would be the worst of all
                trouble = ClusterError(f"watch {watch.key}: {type(error).__name__}: {error}")
                await self._rest(watch, trouble)

    async def _once(self, watch: _Watch) -> None:
        """List if need be, then watch until the stream ends."""
        resource = await self._resource(watch)
        if resource is None:
            return
        learning: asyncio.Task[None] | None = None
        if needs_schema(resource):
            learning = asyncio.create_task(
                learn_status(self._client, self._owned, resource, sleep=self._sleep)
            )
            await asyncio.wait([learning], timeout=_SCHEMA_SECONDS)
        try:
            await self._list_and_watch(watch, resource)
        finally:
            if learning is not None:
                learning.cancel()
        if not self._steady(watch):
            # Ended at once, without an error: a proxy, or a CRD just deleted. Look again.
            watch.since = ""
            await self._rest(watch, None)

    async def _list_and_watch(self, watch: _Watch, resource: ApiResource) -> None:
        group, kind, namespace = watch.key
        if watch.since and watch.broken and await self._went_back(watch, resource):
            self._reset_all(None)
        if not watch.since:
            watch.since = await self._list(watch, resource)
        watch.broken = False
        self._recovered(watch)
        if watch.key[:2] in self.listed:
            watch.since, watch.begun = "", self._clock()
            await _first(watch.woken.wait(), self._sleep(LIST_SECONDS * (0.5 + self._rng())))
            return
        watch.begun = self._clock()
        events = watch_into(
            self._client,
            self._owned,
            resource,
            namespace,
            since=watch.since,
            selector=self._selector,
            whole=needs_full_object(group, kind),
        )
        async with aclosing(events):
            async for version in events:
                watch.since = version or watch.since
                watch.past.reached = max(watch.past.reached, version_number(version))
        watch.broken = self._clock() - watch.begun < _STREAM_SECONDS - _STEADY

    async def _went_back(self, watch: _Watch, resource: ApiResource) -> bool:
        return await self._client.went_back(
            resource, watch.key[2], since=watch.since, label_selector=self._selector
        )

    def _reset_all(self, but: _Watch | None) -> None:
        """The cluster is in an earlier state: nothing that was known of it counts any more."""
        for watch in self._watches.values():
            if watch is but:
                continue
            watch.since, watch.past.reached = "", math.inf
            watch.synced.clear()
            if watch.task is not None and watch.task is not asyncio.current_task():
                watch.task.cancel()
                watch.task = asyncio.create_task(self._follow(watch), name=f"watch {watch.key[1]}")

    def _steady(self, watch: _Watch) -> bool:
        return watch.begun is not None and self._clock() - watch.begun >= _STEADY

    async def _resource(self, watch: _Watch) -> ApiResource | None:
        """The kind's resource; None, after a while, when it is not served or has no namespaces."""
        group, kind, namespace = watch.key
        watch.woken.clear()
        kinds = await self._client.kinds(max_age=None if not watch.failures else 1.0)
        resource = kinds.find(group, kind) or (await self._client.kinds(max_age=1.0)).find(
            group, kind
        )
        if resource is not None and not (namespace and not resource.namespaced):
            return resource
        if resource is None and group not in kinds.stale_groups:
            self._vanished(*watch.key)
        watch.since = ""
        self._recovered(watch)
        await _first(watch.woken.wait(), self._sleep(_ABSENT_PAUSE))
        return None

    def _vanished(self, group: str, kind: str, namespace: str) -> None:
        gone = ApiResource(group=group, version="", kind=kind, plural="", namespaced=True)
        self._owned.only(gone, namespace, ())

    async def _list(self, watch: _Watch, resource: ApiResource) -> str:
        async with self._lists:
            reached = watch.past.reached
            version = await list_into(
                self._client,
                self._owned,
                resource,
                watch.key[2],
                selector=self._selector,
                whole=needs_full_object(resource.group, resource.kind),
                since=watch.past,
            )
        if 0 < version_number(version) < reached < math.inf:
            self._reset_all(watch)
        return version

    def _recovered(self, watch: _Watch) -> None:
        watch.synced.set()
        if watch.trouble is not None:
            watch.trouble = None
            if self._on_trouble is not None:
                self._on_trouble(watch.key, None)

    async def _rest(self, watch: _Watch, error: OcistateError | None) -> None:
        """Pause, longer after each failure in a row, before going on."""
        # A server that has just come back refuses for a moment, until it has read its own rules:
        # how long it was away says nothing about how long that takes.
        fresh = _refused(error) and watch.trouble is not None and not _refused(watch.trouble)
        watch.failures = 1 if fresh or self._steady(watch) else watch.failures + 1
        watch.begun, watch.broken = None, True
        backoff = _BACKOFF
        if isinstance(error, StatusError) and error.gone:
            if watch.failures == 1:
                return
        elif error is not None:
            watch.trouble = error
            if _refused(error):
                # There is nothing to wait for: what may not be read counts as listed, and says so.
                watch.synced.set()
                backoff = _BACKOFF_REFUSED
            elif is_custom(*watch.key[:2]) and (
                names_its_webhook(error) or (is_broken(error) and watch.failures >= _BROKEN_AFTER)
            ):
                watch.synced.set()  # nothing else waits for its webhook
            if self._on_trouble is not None:
                self._on_trouble(watch.key, error)
        await self._sleep(backoff.delay(watch.failures, self._rng()))

    async def _end(self, keys: Sequence[WatchKey]) -> None:
        tasks = [watch.task for key in keys if (watch := self._watches.pop(key)).task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _refused(error: OcistateError | None) -> bool:
    return isinstance(error, StatusError) and error.status in (401, 403, 404, 405)


async def _first(*waits: Awaitable[object]) -> None:
    """Return when one of them is done; end the others."""
    futures = [asyncio.ensure_future(each) for each in waits]
    try:
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in futures:
            each.cancel()
