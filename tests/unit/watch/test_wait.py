"""Waiting on what watches see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

from ocistate.health.model import HEALTHY, MISSING, Health, HealthStatus
from ocistate.objects import ObjectId
from ocistate.watch.changes import ChangeKind, Listener, ObjectChange
from ocistate.watch.store import OwnedObjects
from ocistate.watch.wait import Waited, is_done, lets_on, wait_on

A = ObjectId("apps", "Deployment", "n", "a")
B = ObjectId("apps", "Deployment", "n", "b")
DEGRADED = Health(HealthStatus.DEGRADED, "no image")
PROGRESSING = Health(HealthStatus.PROGRESSING, "1 of 3")


class Store:
    """As much of `OwnedObjects` as waiting takes."""

    def __init__(self, healths: Mapping[ObjectId, Health]) -> None:
        self.healths = dict(healths)
        self.listeners: list[Listener] = []

    def health(self, id: ObjectId) -> Health:
        return self.healths.get(id, MISSING)

    def listen(self, listener: Listener) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def see(self, id: ObjectId, health: Health) -> None:
        self.healths[id] = health
        for listener in tuple(self.listeners):
            listener(ObjectChange(owner="o", id=id, what=ChangeKind.HEALTH))


def wait(store: Store, *later: tuple[ObjectId, Health], **keywords: Any) -> Waited:
    async def run() -> Waited:
        loop = asyncio.get_running_loop()
        for id, health in later:
            loop.call_soon(store.see, id, health)
        owned = cast(OwnedObjects, store)
        return await wait_on(owned, [A, B], **{"timeout": 30.0, **keywords})

    return asyncio.run(run())


def test_waiting_ends_when_all_are_healthy() -> None:
    seen: list[tuple[ObjectId, HealthStatus]] = []
    store = Store({A: HEALTHY, B: PROGRESSING})
    waited = wait(
        store, (B, HEALTHY), on_change=lambda id, health: seen.append((id, health.status))
    )
    assert waited.ok
    assert waited.error() is None
    assert seen == [(B, HealthStatus.HEALTHY)]
    assert not store.listeners


def test_an_object_that_gets_worse_again_is_waited_for() -> None:
    waited = wait(
        Store({A: PROGRESSING, B: PROGRESSING}),
        (A, HEALTHY),
        (A, DEGRADED),
        (B, HEALTHY),
        (A, HEALTHY),
    )
    assert waited.ok


def test_waiting_ends_early_when_all_that_is_left_is_degraded() -> None:
    waited = wait(Store({A: HEALTHY, B: DEGRADED}), give_up_after=0.0)
    assert not waited.ok
    error = waited.error()
    assert error is not None
    assert "Deployment.apps/n/b is Degraded: no image" in error.message
    assert "/a " not in error.message


def test_the_error_names_three_and_counts_the_others() -> None:
    ids = [ObjectId("", "Pod", "n", str(number)) for number in range(5)]
    error = Waited(healths=dict.fromkeys(ids, DEGRADED), seconds=7.0).error()
    assert error is not None
    assert error.message.startswith("not healthy after 7 s: ")
    assert error.message.endswith("; and 2 more")


def test_the_next_wave_does_not_wait_for_what_holds_nothing_back() -> None:
    budget = Health(HealthStatus.PROGRESSING, "no pods", holds=False)
    assert not is_done(budget)
    assert lets_on(budget)
    assert wait(Store({A: HEALTHY, B: budget}), enough=lets_on).ok
