"""A Stack's own rules of health are asked beside the event loop: they are as slow as they like."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, cast

import pytest

from ocistate.health.model import Health, HealthStatus
from ocistate.kube import codec
from ocistate.kube.client import KubeClient
from ocistate.kube.discovery import ApiResource
from ocistate.labels import FIELD_MANAGER, STACK_LABEL
from ocistate.objects import GroupKind, ObjectId
from ocistate.watch.feed import list_into, watch_into
from ocistate.watch.store import OwnedObjects

THINGS = ApiResource(group="ex.io", version="v1", kind="Thing", plural="things", namespaced=True)
ID = ObjectId("ex.io", "Thing", "default", "a")


def thing(version: str) -> dict[str, Any]:
    metadata = {
        "name": "a",
        "namespace": "default",
        "uid": "u",
        "resourceVersion": version,
        "labels": {STACK_LABEL: "mine"},
        "managedFields": [
            {
                "manager": FIELD_MANAGER,
                "operation": "Apply",
                "fieldsV1": {"f:metadata": {"f:labels": {f"f:{STACK_LABEL}": {}}}},
            }
        ],
    }
    return {"apiVersion": "ex.io/v1", "kind": "Thing", "metadata": metadata, "status": {"n": 1}}


class Served:
    """The part of a client that a watch asks."""

    async def pages(self, *args: Any, **options: Any) -> AsyncGenerator[bytes, None]:
        yield codec.encode({"metadata": {"resourceVersion": "1"}, "items": [thing("1")]})

    async def watch_lines(self, *args: Any, **options: Any) -> AsyncGenerator[bytes, None]:
        yield codec.encode({"type": "MODIFIED", "object": thing("2")})


async def listed(owned: OwnedObjects) -> None:
    await list_into(cast(KubeClient, Served()), owned, THINGS, whole=True)


async def watched(owned: OwnedObjects) -> None:
    events = watch_into(cast(KubeClient, Served()), owned, THINGS, since="1", whole=True)
    assert [version async for version in events] == ["2"]


@pytest.mark.parametrize("feed", [listed, watched])
def test_a_slow_rule_holds_up_nobody_else(feed: Callable[[OwnedObjects], Any]) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def rule(obj: Mapping[str, Any]) -> Health:
        asked.set()
        assert go_on.wait(20)
        return Health(HealthStatus.DEGRADED, "by its own rule")

    async def main() -> Health:
        owned = OwnedObjects(lambda change: None)
        owned.rules.set_owner("mine", {GroupKind("ex.io", "Thing"): rule})
        feeding = asyncio.ensure_future(feed(owned))
        # The loop is free for this while the rule waits.
        assert await asyncio.to_thread(asked.wait, 10)
        go_on.set()
        await feeding
        return owned.health(ID)

    assert asyncio.run(main()) == Health(HealthStatus.DEGRADED, "by its own rule")


@pytest.mark.parametrize("feed", [listed, watched])
def test_a_rule_that_fails_makes_an_object_unknown_and_ends_no_watch(
    feed: Callable[[OwnedObjects], Any],
) -> None:
    def rule(obj: Mapping[str, Any]) -> Health:
        raise RecursionError("too deep")

    async def main() -> Health:
        owned = OwnedObjects(lambda change: None)
        owned.rules.set_owner("mine", {GroupKind("ex.io", "Thing"): rule})
        await feed(owned)
        return owned.health(ID)

    assert asyncio.run(main()).status is HealthStatus.UNKNOWN
