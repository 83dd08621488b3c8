"""Hundreds of Stacks in one cluster; 1,500 with `--faults 5` or more."""

from __future__ import annotations

import contextlib
import urllib.request
from collections import Counter
from typing import Any

from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import Tenant, World, side_by_side
from tests.support.factories.stacks import config_map, stack

NAMESPACES, EACH = 20, 15
STACKS = "/apis/ocistate.dev/v1alpha1/stacks"
OURS = "labelSelector=ocistate.dev%2Fstack"


def statuses(world: World) -> list[dict[str, Any]]:
    answer = world.cluster.api.request("GET", STACKS, timeout=60)
    return [obj.get("status") or {} for obj in answer.body.get("items", ())]


def config_maps(teams: list[Tenant]) -> dict[tuple[str, str], tuple[dict[str, str], str]]:
    """Data and resourceVersion of all that is ours in some namespaces, by namespace and name."""
    world, namespaces = teams[0].world, {team.namespace for team in teams}
    path = f"/api/v1/configmaps?{OURS}"
    found = {}
    for obj in world.cluster.api.request("GET", path, timeout=60).body["items"]:
        metadata = obj["metadata"]
        if metadata["namespace"] in namespaces:
            key = (metadata["namespace"], metadata["name"])
            found[key] = (obj["data"], metadata["resourceVersion"])
    return found


def looked_at(world: World) -> int:
    """How many Stacks the agent has made a pass for; 0 while it does not answer."""
    with contextlib.suppress(OSError):
        with urllib.request.urlopen(f"http://127.0.0.1:{world.port}/metrics", timeout=10) as reply:
            lines = reply.read().decode().splitlines()
        series = (line for line in lines if line.startswith("ocistate_stack_passes_total{"))
        return len({line.partition("outcome=")[0] for line in series})
    return 0


def test_many_stacks_are_made_left_alone_and_taken_away(world: World, faults: int) -> None:
    faults = min(faults, 5)
    first, *others = [world.tenant() for _ in range(NAMESPACES)]
    teams: list[Tenant] = [first, *others]
    wait_for("nothing left of other tests", lambda: not statuses(world))
    names = [f"app-{number}" for number in range(EACH * faults)]
    digests = {name: first.push(config_map(name, v="1"), tag=name) for name in names}
    slow = {"interval": "1h"}
    made = [
        stack(name, first.repository, namespace=team.namespace, source={"tag": name} | slow)
        for team in teams
        for name in names
    ]
    wanted = {(team.namespace, name): {"v": "1"} for team in teams for name in names}

    side_by_side(world, made, lambda client, obj: client.create(obj, manager="test"))

    def reasons() -> Counter[str]:
        return Counter(condition(status, "Ready")[1] for status in statuses(world))

    def equal() -> bool:
        return {key: data for key, (data, _) in config_maps(teams).items()} == wanted

    wait_for("all ready", lambda: reasons() == {"Ready": len(made)}, seconds=120 * faults)
    current = Counter(status["current"]["digest"] for status in statuses(world))
    assert current == dict.fromkeys(digests.values(), NAMESPACES)
    assert equal()
    before = config_maps(teams)

    # Of all of them, only what somebody lays hands on is written again.
    hurt = [(team.namespace, names[n]) for n, team in enumerate(teams[:EACH])]
    for namespace, name in hurt[::2]:
        world.merge(f"/api/v1/namespaces/{namespace}/configmaps/{name}", {"data": {"v": "9"}})
    for namespace, name in hurt[1::2]:
        world.cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/{name}")
    wait_for("the drift repaired", equal)
    after = config_maps(teams)
    assert {key for key in wanted if after[key] != before[key]} == set(hurt)

    # The next agent finds all as it should be, and writes nothing.
    world.agent.kill()
    namespace, name = hurt[0]
    world.merge(f"/api/v1/namespaces/{namespace}/configmaps/{name}", {"data": {"v": "9"}})
    world.agent.start()
    wait_for("a look at each", lambda: looked_at(world) >= len(made), seconds=120 * faults)
    wait_for("the drift repaired", equal)
    restarted = config_maps(teams)
    assert {key for key in wanted if restarted[key] != after[key]} == {hurt[0]}

    for team in teams:
        path = f"/apis/ocistate.dev/v1alpha1/namespaces/{team.namespace}/stacks"
        world.cluster.api.request("DELETE", path, timeout=60)
    wait_for("no Stack left", lambda: not statuses(world), seconds=120 * faults)
    assert config_maps(teams) == {}
    assert not [line for line in world.agent.lines() if "unexpectedly" in line["message"]]
