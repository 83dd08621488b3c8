"""Wait until objects are healthy: by watches, never by polling.

    waited = await wait_healthy(client, ids, owner=owner, timeout=300)
    if not waited.ok:
        for id, health in waited.summary.worst: …

An agent, which watches anyway, waits on what it sees: `wait_on(owned, ids, timeout=300)`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from ocistate.apply.desired.prepare import Desired
from ocistate.errors import HealthTimeout, OcistateError
from ocistate.health.evaluate import Summary, summarize
from ocistate.health.model import Health, HealthRule, HealthStatus
from ocistate.health.vanishing import Lifetime
from ocistate.kube.client import KubeClient
from ocistate.kube.errors import StatusError
from ocistate.labels import STACK_LABEL
from ocistate.objects import GroupKind, ObjectId
from ocistate.watch.changes import ObjectChange
from ocistate.watch.informer import Watches
from ocistate.watch.store import OwnedObjects

GIVE_UP_AFTER: Final = 30.0
"""Seconds after which waiting ends early when everything not healthy is Degraded."""

Enough = Callable[[Health], bool]


def is_done(health: Health) -> bool:
    """Wait until all is healthy."""
    return health.done


def lets_on(health: Health) -> bool:
    """Wait until the next wave may begin."""
    return health.lets_on


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """How it ended. ``seconds`` is how long it took; ``enough`` is what was waited for."""

    healths: Mapping[ObjectId, Health]
    seconds: float
    enough: Enough = is_done

    @property
    def ok(self) -> bool:
        return all(map(self.enough, self.healths.values()))

    @property
    def summary(self) -> Summary:
        return summarize(self.healths.items())

    def error(self) -> HealthTimeout | None:
        """What to raise when it did not end well, naming the worst; None when it did."""
        if self.ok:
            return None
        late = {id: health for id, health in self.healths.items() if not self.enough(health)}
        bad, total = summarize(late.items()).worst, len(late)
        condition_text = [f"{id} is {health.status}: {health.message}" for id, health in bad[:3]]
        more = f"; and {total - len(condition_text)} more" if total > len(condition_text) else ""
        return HealthTimeout(
            f"not healthy after {self.seconds:.0f} s: {'; '.join(condition_text)}{more}",
            hint="look at the first object's events and logs",
        )


async def wait_healthy(
    client: KubeClient,
    ids: Collection[ObjectId],
    *,
    owner: str,
    timeout: float,
    desired: Desired | None = None,
    namespaces: Sequence[str] | None = None,
    checks: Mapping[GroupKind, HealthRule] | None = None,
    on_change: Callable[[ObjectId, Health], None] | None = None,
    give_up_after: float = GIVE_UP_AFTER,
    enough: Enough = is_done,
) -> Waited:
    """Watch the kinds of ``ids`` among ``owner``'s objects until all are healthy (or suspended).

    With ``enough=lets_on``, until they hold no later wave back.

    Of ``desired``, what was meant to vanish and has is as healthy as it was when it ended.
    ``timeout`` and ``give_up_after`` are in seconds. ``on_change`` is told of each one's progress.
    Reaching the timeout is no exception: see `Waited.error`. What may not be watched raises the
    API server's StatusError.
    """
    owned = OwnedObjects(checks=checks)
    if desired is not None:
        owned.desire(desired)
    kinds = {GroupKind(id.group, id.kind) for id in ids}
    started = time.monotonic()
    selector = f"{STACK_LABEL}={owner}"
    async with AsyncExitStack() as stack:
        watches = await stack.enter_async_context(
            Watches(client, owned, namespaces=namespaces, selector=selector)
        )
        watches.want(kinds)
        await watches.synced(timeout=timeout)
        forbidden = {
            GroupKind(*key[:2]) for key, trouble in watches.troubles.items() if _forbidden(trouble)
        }
        if forbidden and namespaces is None:
            # Only some namespaces may be read: those of the objects.
            places = sorted({id.namespace for id in ids} - {""})
            watches = await stack.enter_async_context(
                Watches(client, owned, namespaces=places, selector=selector)
            )
            watches.want(forbidden)
            await watches.synced(timeout=timeout)
        for trouble in watches.troubles.values():
            raise trouble
        if desired is not None:
            # Applied a moment ago, and gone before anybody looked.
            owned.assume_ended(id for id in ids if desired.by_id[id].lifetime is Lifetime.ONCE)
        return await wait_on(
            owned,
            ids,
            timeout=max(0.0, timeout - (time.monotonic() - started)),
            on_change=on_change,
            give_up_after=give_up_after,
            enough=enough,
        )


def _forbidden(trouble: OcistateError) -> bool:
    return isinstance(trouble, StatusError) and trouble.status == 403


async def wait_on(
    owned: OwnedObjects,
    ids: Iterable[ObjectId],
    *,
    timeout: float,
    on_change: Callable[[ObjectId, Health], None] | None = None,
    give_up_after: float = GIVE_UP_AFTER,
    enough: Enough = is_done,
    clock: Callable[[], float] = time.monotonic,
) -> Waited:
    """Wait on a store that watches feed. After an apply, `OwnedObjects.record` its outcome first,
    so that an object's health from before does not count."""
    waited = tuple(ids)
    pending = {id for id in waited if not enough(owned.health(id))}
    moved = asyncio.Event()

    def note(change: ObjectChange) -> None:
        id = change.id
        if id not in interesting:
            return
        health = owned.health(id)
        if on_change is not None:
            on_change(id, health)
        (pending.discard if enough(health) else pending.add)(id)
        moved.set()

    interesting = frozenset(waited)
    started = clock()
    hopeless_since: float | None = None
    stop = owned.listen(note)
    try:
        while pending and (left := timeout - (clock() - started)) > 0:
            hopeless = all(owned.health(id).status is HealthStatus.DEGRADED for id in pending)
            if not hopeless:
                hopeless_since = None
            else:
                hopeless_since = clock() if hopeless_since is None else hopeless_since
                left = min(left, give_up_after - (clock() - hopeless_since))
                if left <= 0:
                    break
            moved.clear()
            try:
                await asyncio.wait_for(moved.wait(), left)
            except TimeoutError:
                continue
    finally:
        stop()
    healths = {id: owned.health(id) for id in waited}
    return Waited(healths=healths, seconds=clock() - started, enough=enough)
