"""Events: the same again is counted, many at once are held back, and that is said."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from ocistate.agent.telemetry.events import Events
from ocistate.api.stack import parse_stack
from ocistate.kube.client import KubeClient
from ocistate.objects import ObjectId

STACK = parse_stack(
    {
        "metadata": {"namespace": "shop", "name": "web", "uid": "1", "generation": 1},
        "spec": {"source": {"repository": "r.io/shop/web", "tag": "v1"}},
    }
)


class Recorder:
    """Takes the place of the client at its interface, and of the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.created: list[str] = []
        self.counted: list[int] = []
        self.events = Events(cast(KubeClient, self), clock=lambda: self.now)

    async def create(self, obj: dict[str, Any]) -> None:
        self.created.append(obj["message"])

    async def patch(self, id: ObjectId, patch: dict[str, Any], **_: Any) -> None:
        self.counted.append(patch["count"])

    def emit(self, message: str, reason: str = "Applied") -> None:
        asyncio.run(self.events.emit(STACK, "Normal", reason, message))


def test_the_same_again_raises_the_count_at_most_once_a_minute() -> None:
    it = Recorder()
    for second in range(0, 130, 10):
        it.now = float(second)
        it.emit("again")
    assert it.created == ["again"]
    assert it.counted == [7, 13]


def test_after_ten_minutes_it_is_told_anew() -> None:
    it = Recorder()
    it.emit("again")
    it.now = 601.0
    it.emit("again")
    assert it.created == ["again", "again"]


def test_a_flood_is_held_back_and_the_next_one_says_so() -> None:
    it = Recorder()
    for number in range(200):
        it.emit(f"drift {number}")
    assert len(it.created) == 10
    it.now = 31.0
    it.emit("the next")
    assert it.created[-1] == "the next (190 others were held back)"
