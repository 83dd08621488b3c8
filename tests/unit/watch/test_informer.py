"""How long a watch rests after a failure, by its clock."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from ocistate.errors import ClusterUnavailable, OcistateError
from ocistate.kube.client import KubeClient
from ocistate.kube.errors import StatusError
from ocistate.objects import GroupKind
from ocistate.watch.informer import Watches
from ocistate.watch.store import OwnedObjects

DOWN = ClusterUnavailable("connection refused")
REFUSED = StatusError("forbidden", status=403)


class Server:
    """Answers discovery with one error after the other; the last one for ever."""

    def __init__(self, errors: list[OcistateError]) -> None:
        self.errors = errors

    async def kinds(self, max_age: float | None = None) -> None:
        error = self.errors.pop(0) if len(self.errors) > 1 else self.errors[0]
        raise error


def rests(errors: list[OcistateError]) -> list[float]:
    """How long a watch rests after each of some errors, without jitter."""
    seen: list[float] = []

    async def run() -> None:
        enough = asyncio.Event()

        async def sleep(seconds: float) -> None:
            seen.append(seconds)
            if len(seen) == len(errors):
                enough.set()
                await asyncio.Event().wait()

        client = cast(KubeClient, Server(list(errors)))
        async with Watches(client, OwnedObjects(), sleep=sleep, rng=lambda: 0.5) as watches:
            watches.want([GroupKind("", "ConfigMap")])
            await asyncio.wait_for(enough.wait(), 30)

    asyncio.run(run())
    return seen


def test_an_outage_rests_up_to_ten_seconds_and_a_refusal_up_to_a_minute() -> None:
    assert rests([DOWN] * 7) == [0.5, 1, 2, 4, 8, 10, 10]
    assert rests([REFUSED] * 9) == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_a_refusal_after_a_long_outage_is_a_server_that_starts(status: int) -> None:
    """Else a watch would be blind for a minute after the API server is back."""
    refusal = StatusError("not yet", status=status)
    assert rests([DOWN] * 9 + [refusal] * 3)[9:] == [0.5, 1, 2]
