"""kill -9 a hundred times, at what the agent says to its servers and at random moments.

Every kill falls into a rollout, or into the start of the agent that has to finish one; then an
agent that is left in peace must bring everything to what the pointer names, and no further.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocistate.api.stack import API_VERSION
from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import Tenant, World, path_of
from tests.support.environments.forked_agents import ForkedAgent, Forks
from tests.support.factories.stacks import config_map
from tests.support.fakes.relay import Relay, Tap

OWN: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "own"}},
    {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "own"}, "spec": {}},
    {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "own"}, "spec": {"limits": []}},
]
"""Of each version one object, of a kind that the others know nothing of."""

VERSIONS = len(OWN)
ROUNDS = 50


def content(version: int) -> dict[str, dict[str, Any]]:
    """The objects of a version, by file: two Stacks' worth, some of them in no other version."""
    v = str(version)
    early = [config_map(f"base-{n}", v=v) for n in range(3)]
    late = [config_map(f"app-{n}", v=v) for n in range(2 + version)]
    late.append(OWN[version])
    for obj in late:
        obj["metadata"] |= {"annotations": {"ocistate.dev/wave": "1"}}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"web-{version % 2}"},
        "spec": {"ports": [{"name": "http", "port": 80 + version}], "selector": {"app": "web"}},
    }
    after = [config_map(f"after-{n}", v=v) for n in range(2 + version % 2)]
    return {f"first/{n:02}.yaml": obj for n, obj in enumerate([*early, *late, service])} | {
        f"second/{n:02}.yaml": obj for n, obj in enumerate(after)
    }


def wanted(version: int) -> dict[str, Any]:
    """What a cluster holds of a version, by kind and name."""
    return {
        f"{obj['kind']} {obj['metadata']['name']}": value(obj) for obj in content(version).values()
    }


def value(obj: dict[str, Any]) -> Any:
    """What tells an object's version."""
    ports = obj.get("spec", {}).get("ports") or [{}]
    return obj.get("data") or ports[0].get("port")


class Rollouts:
    """Two Stacks of one pointer, a third one that stays, and an agent at a time."""

    def __init__(self, team: Tenant, agent: ForkedAgent, source: str, tap: Tap) -> None:
        self.team, self.agent, self.tap = team, agent, tap
        self.kills = 0
        self.version = 0
        self._digests = [self._push(n) for n in range(VERSIONS)]
        self._source = source
        self.move(0)
        self.create()
        still = {"repository": source, "tag": "still", "interval": "1h"}
        team.push(config_map("still", v="1"), tag="still")
        team.create("still", source=still)
        team.world.apply(config_map("foreign", team.namespace, v="theirs"))

    def create(self) -> None:
        """Make the two Stacks."""
        pointer = {"repository": self._source, "interval": "100ms"}
        team = self.team
        team.create("first", source={**pointer, "path": "first"})
        team.create("second", source={**pointer, "path": "second"}, dependsOn=[{"name": "first"}])

    def _push(self, version: int) -> str:
        files = {path: yaml.safe_dump(obj).encode() for path, obj in content(version).items()}
        return self.team.publisher.push(files, tag=f"v{version}")

    def move(self, version: int | None = None) -> None:
        """Have the pointer name another version."""
        self.version = (self.version + 1) % VERSIONS if version is None else version
        self.team.publisher.point("prod", self._digests[self.version])

    def strike(self, after: int, *, lost: bool) -> None:
        """Kill the agent at a piece of what it will say."""
        self.tap.strike(after, self.agent.strike, lost=lost)

    def strike_in(self, seconds: float) -> None:
        """Kill the agent some time from now."""
        timer = threading.Timer(seconds, self.agent.strike)
        timer.daemon = True
        timer.start()

    def await_death(self) -> None:
        """Wait until it is dead: an agent at rest, too, goes on to look at the registry."""
        wait_for("its death", lambda: not self.agent.running)
        self.end()

    def end(self) -> None:
        """There is no agent from now on."""
        self.tap.calm()
        self.agent.kill()
        self.kills += 1

    def finish(self) -> None:
        """The next agent, left in peace, must do the rest; everything else is as it was."""
        if not self.agent.running:
            self.agent.start()
        wait_for(f"version {self.version}", self.is_done)
        assert self.objects() == wanted(self.version)

    def is_done(self) -> bool:
        return all(self._runs(name, self._digests[self.version]) for name in ("first", "second"))

    def _runs(self, name: str, digest: str) -> bool:
        status = self.team.status(name)
        current = (status.get("current") or {}).get("digest")
        return current == digest and condition(status, "Ready")[:2] == ("True", "Ready")

    def objects(self) -> dict[str, Any]:
        """What is ours, but for what stays."""
        found = {}
        for kind in ("ConfigMap", "Service", *(obj["kind"] for obj in OWN)):
            path = path_of("v1", kind, self.team.namespace)
            answer = self.team.world.cluster.request(
                "GET", f"{path}?labelSelector=ocistate.dev%2Fstack"
            )
            for obj in answer.body["items"]:
                found[f"{kind} {obj['metadata']['name']}"] = value(obj)
        found.pop("ConfigMap still", None)
        return found

    def untouched(self) -> dict[str, str]:
        """The versions of what no rollout may touch."""
        found = {n: self.team.get("ConfigMap", n) or {} for n in ("still", "foreign")}
        return {name: obj["metadata"]["resourceVersion"] for name, obj in found.items()}


@pytest.fixture
def rollouts(world: World, tmp_path: Path) -> Iterator[Rollouts]:
    collection = "/apis/ocistate.dev/v1alpha1/stacks"
    wait_for(
        "nothing left of other tests",
        lambda: not world.cluster.request("GET", collection).body.get("items"),
    )
    world.agent.kill()
    arguments = list(world.agent.arguments)
    listen = arguments.index("--listen")
    del arguments[listen : listen + 2]
    team = world.tenant()
    with (
        Relay(world.registry.port, world.relay.tap) as registry,
        Forks(tmp_path / "forks.log") as forks,
    ):
        agent = forks.agent(arguments, tmp_path / "agent.log")
        source = f"oci://127.0.0.1:{registry.port}/{team.namespace}"
        made = Rollouts(team, agent, source, world.relay.tap)
        made.finish()
        team.wait_ready(name="still")
        yield made
        made.tap.calm()


def test_a_rollout_is_finished_after_a_hundred_kills(rollouts: Rollouts, faults: int) -> None:
    untouched = rollouts.untouched()
    took, pieces = measure(rollouts)
    for what, seconds, count in zip(("a rollout", "with a start"), took, pieces, strict=True):
        print(f"{what}: {seconds:.2f} s, {count} pieces")
    rng = random.Random(5)
    decks = [deck(rng, count) for count in pieces]
    for number in range(ROUNDS * faults):
        for kind in (0, 1):  # in a rollout, and in the start of who has to finish it
            if number % 10 >= 7:
                rollouts.strike_in(rng.uniform(0.0, took[kind]))
            else:
                rollouts.strike(next(decks[kind]), lost=rng.random() < 0.5)
            if kind == 0 or rng.random() < 0.4:
                rollouts.move()  # so that no one finishes the one that was cut short
            if kind == 1:
                rollouts.agent.start()
            rollouts.await_death()
        rollouts.finish()
        assert rollouts.untouched() == untouched, "what was not touched must not be written"
    assert rollouts.kills == 2 * ROUNDS * faults >= 100
    bugs = [line for line in rollouts.agent.lines() if "unexpectedly" in line["message"]]
    assert not bugs


def test_the_next_agent_finishes_deletions_of_a_killed_one(
    rollouts: Rollouts,
) -> None:
    team, untouched = rollouts.team, rollouts.untouched()
    rng = random.Random(3)

    def left() -> list[str]:
        return [n for n in ("first", "second") if team.get("Stack", n, API_VERSION)]

    for _ in range(6):
        # Objects, then the finalizers: some dozens of pieces.
        rollouts.strike(rng.randrange(1, 40), lost=rng.random() < 0.5)
        for name in ("second", "first"):
            team.delete("Stack", name, API_VERSION)
        wait_for("its death, or the end", lambda: not rollouts.agent.running or not left())
        rollouts.end()
        rollouts.agent.start()
        wait_for("the Stacks gone", lambda: not left())
        assert rollouts.objects() == {}
        assert rollouts.untouched() == untouched
        rollouts.create()
        rollouts.finish()


def deck(rng: random.Random, count: int) -> Iterator[int]:
    """Each of the pieces once before any comes again."""
    while True:
        yield from rng.sample(range(1, count + 1), count)


def measure(rollouts: Rollouts) -> tuple[list[float], list[int]]:
    """Seconds and pieces that a rollout takes, by itself and with the agent's start."""
    took, pieces = [], []
    for again in (False, True):
        if again:
            rollouts.agent.kill()
        before, begun = rollouts.tap.pieces, time.monotonic()
        rollouts.move()
        rollouts.finish()
        took.append(time.monotonic() - begun)
        pieces.append(rollouts.tap.pieces - before)
    return took, pieces
