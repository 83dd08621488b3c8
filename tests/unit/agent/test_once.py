"""When ``--once`` is over: nothing is under way, and nothing waits for what may still come."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from ocistate.agent.once import run_once
from ocistate.api.status import StackStatus
from ocistate.objects import StackKey

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Passes:
    """An agent whose passes end with the next of the reasons given."""

    def __init__(self, **reasons: list[str]) -> None:
        self.reasons = {StackKey("n", name): list(each) for name, each in reasons.items()}
        self.stacks: dict[StackKey, Any] = dict.fromkeys(self.reasons)
        self.passes = 0

    async def reconcile(self, key: StackKey) -> None:
        self.passes += 1
        reason = self.reasons[key].pop(0)
        status = StackStatus().with_condition("Ready", "Unknown", reason, "", now=NOW, generation=1)
        self.stacks[key] = SimpleNamespace(status=status)


async def at_once(seconds: float) -> None:
    assert seconds == 1.0


@pytest.mark.parametrize(
    ("reasons", "passes"),
    [
        ({}, 0),
        ({"a": ["Ready"], "b": ["NotSigned"]}, 2),
        ({"a": ["Progressing", "Progressing", "Ready"]}, 3),
        ({"a": ["DependencyNotReady", "Ready"], "b": ["Ready"]}, 3),
        ({"a": ["DependencyNotReady", "DependencyNotReady"], "b": ["NotSigned"]}, 3),
        ({"a": ["DependencyNotReady", "Ready"], "b": ["Progressing", "Ready"]}, 4),
    ],
)
def test_it_ends_when_there_is_nothing_to_wait_for(
    reasons: dict[str, list[str]], passes: int
) -> None:
    agent: Any = Passes(**reasons)
    asyncio.run(run_once(agent, at_once))
    assert agent.passes == passes
    assert not any(agent.reasons.values())
