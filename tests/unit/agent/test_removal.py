"""How a Stack goes: its objects first, and what is said while that does not work."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from ocistate.agent.registry import StackEntry
from ocistate.agent.removal import remove_stack
from ocistate.agent.targets.base import Removed
from ocistate.api.stack import parse_stack
from ocistate.api.status import StackStatus
from ocistate.errors import ClusterUnavailable, OcistateError
from tests.support.factories.stacks import stack


class Around:
    """The target, the services and the status store of a Stack that goes."""

    def __init__(self, error: OcistateError | None = None, *, abandoned: bool = False) -> None:
        self.error, self.abandoned = error, abandoned
        self.calls: list[str] = []
        self.events: list[str] = []
        self.saved: list[StackStatus] = []
        self.kept: tuple[str, ...] = ()

    def target(self, stack: Any) -> Any:
        return SimpleNamespace(remove=self.remove, release=self.release)

    async def remove(self) -> Removed:
        self.calls.append("remove")
        if self.error:
            raise self.error
        return Removed(count=1, kept=self.kept)

    async def release(self) -> None:
        self.calls.append("release")
        if self.error:
            raise self.error

    def event(self, stack: Any, kind: str, reason: str, message: str) -> None:
        self.events.append(f"{reason}: {message}")

    def now(self) -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC)

    async def save(self, stack: Any, status: StackStatus) -> None:
        self.saved.append(status)

    async def is_abandoned(self, stack: Any) -> bool:
        return self.abandoned

    async def forget(self, stack: Any) -> None:
        self.calls.append("forget")


def entry(policy: str = "delete") -> StackEntry:
    found = parse_stack(stack("app", "layout:/registry", deletionPolicy=policy))
    return StackEntry(stack=found, status=StackStatus())


def removed(found: StackEntry, around: Any) -> float | None:
    return asyncio.run(remove_stack(found, around, around))


@pytest.mark.parametrize(("policy", "call"), [("delete", "remove"), ("orphan", "release")])
def test_objects_go_or_stay_before_the_stack_does(policy: str, call: str) -> None:
    around = Around()
    assert removed(entry(policy), around) is None
    assert around.calls == [call, "forget"]


def test_what_stays_without_an_owner_is_an_event() -> None:
    around = Around()
    around.kept = tuple(f"ConfigMap/{n}" for n in range(7))
    assert removed(entry(), around) is None
    assert around.events[0].startswith("Kept: left in place, without an owner: ConfigMap/0;")
    assert around.events[0].endswith("and 2 more")


def test_a_failure_is_said_and_tried_again_with_growing_pauses() -> None:
    around, found = Around(ClusterUnavailable("no answer")), entry()
    assert [removed(found, around) for _ in range(7)] == [2, 4, 8, 16, 32, 60, 60]
    ready = around.saved[-1].condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "ClusterUnavailable")
    assert "spec.deletionPolicy" in ready.message
    assert "forget" not in around.calls


def test_an_orphan_is_let_go_after_some_tries() -> None:
    around, found = Around(ClusterUnavailable("no answer")), entry("orphan")
    assert [removed(found, around) for _ in range(3)] == [2, 4, None]
    assert around.events[-1].startswith("ClusterUnavailable: let go as it is")


def test_a_stack_whose_namespace_goes_is_let_go() -> None:
    around = Around(ClusterUnavailable("no answer"), abandoned=True)
    assert removed(entry(), around) is None
    assert around.calls == ["remove", "forget"]
