"""Objects that no Stack lists any more, and how the tests find them."""

from __future__ import annotations

from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import Tenant, World

STACK = "ocistate.dev/v1alpha1"


MARK = "ocistate.dev/stack"


def labels(world: World, path: str) -> dict[str, str]:
    answer = world.cluster.request("GET", path)
    assert answer.status == 200, answer.body
    found: dict[str, str] = answer.body["metadata"].get("labels") or {}
    return found


def delete(team: Tenant) -> None:
    team.delete("Stack", "app", STACK)
    team.wait_gone("Stack", "app", STACK)


def event_message(team: Tenant, reason: str) -> str:
    def look() -> str:
        return " ".join(e["message"] for e in team.events() if e["reason"] == reason)

    return wait_for(f"Event {reason}", look)
