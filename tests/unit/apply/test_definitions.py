"""When the kind of a CRD is served, and why it never will be."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from ocistate.apply.definitions import definition_trouble, established
from ocistate.kube.client import KubeClient
from ocistate.kube.discovery import ApiResource, Kinds
from ocistate.objects import ObjectId
from tests.support.factories.objects import crd

NOTES = ObjectId("apiextensions.k8s.io", "CustomResourceDefinition", "", "notes.ex.io")
RESOURCE = ApiResource(group="ex.io", version="v1", kind="Note", plural="notes", namespaced=True)
SERVED = Kinds([RESOURCE])


def definition(**conditions: str) -> dict[str, Any]:
    listed = [{"type": t, "status": s, "message": "taken"} for t, s in conditions.items()]
    return {**crd("Note", "ex.io"), "status": {"conditions": listed}}


@pytest.mark.parametrize(
    ("live", "kinds", "trouble"),
    [
        (definition(), SERVED, None),
        (definition(Established="True"), Kinds(), None),
        (definition(Established="True"), SERVED, ""),
        (definition(NamesAccepted="False"), SERVED, f"{NOTES}: its names are not accepted: taken"),
        (None, SERVED, f"{NOTES} was deleted while it was being applied"),
    ],
)
def test_a_definition_is_served_when_it_is_established_and_discovered(
    live: dict[str, Any] | None, kinds: Kinds, trouble: str | None
) -> None:
    assert definition_trouble(NOTES, live, kinds) == trouble


class Server:
    """Serves the kind at the third look, or never."""

    def __init__(self, *, ever: bool = True) -> None:
        self.ever, self.looks, self.now = ever, 0, 0.0
        self.slept: list[float] = []

    async def get(self, id: ObjectId) -> dict[str, Any]:
        return definition(Established="True")

    async def kinds(self, *, max_age: float) -> Kinds:
        self.looks += 1
        return SERVED if self.ever and self.looks > 2 else Kinds()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def wait(server: Server) -> list[tuple[ObjectId, str]]:
    async def run() -> list[tuple[ObjectId, str]]:
        client = cast(KubeClient, server)
        found = established(client, [NOTES], sleep=server.sleep, clock=lambda: server.now)
        return [each async for each in found]

    return asyncio.run(run())


def test_a_definition_is_looked_at_ever_more_slowly_until_it_is_served() -> None:
    server = Server()
    assert wait(server) == [(NOTES, "")]
    assert server.slept == [0.02, 0.04]


def test_a_definition_that_is_never_served_fails_after_a_minute() -> None:
    server = Server(ever=False)
    assert wait(server) == [(NOTES, f"{NOTES}: not established within 60 s")]
    assert 60 < server.now < 61
