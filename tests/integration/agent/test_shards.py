"""Several agents, and never two of them for one Stack."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocistate.agent.factory import cluster_agent
from ocistate.agent.targets.cluster import ClusterTarget
from ocistate.api.stack import parse_stack
from ocistate.api.status import StackStatus
from ocistate.errors import LeaseLost
from ocistate.objects import ObjectId
from ocistate.reach import Reach, parse_allowed
from testbed.process import free_port
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import NAMESPACE, Tenant, World, path_of
from tests.support.environments.agent_process import AgentProcess
from tests.support.factories.stacks import config_map

SECONDS = 3


class Replica:
    """One of several agents, with the rights that `ocistate install` prints."""

    def __init__(self, world: World, folder: Path, name: str, shards: int) -> None:
        self.name, self.port = name, free_port()
        kubeconfig = world.cluster.kubeconfig_for(NAMESPACE, "ocistate-agent")
        self.process = AgentProcess(
            [
                *("--kubeconfig", str(kubeconfig), "--state", str(folder / name)),
                *("--listen", f"127.0.0.1:{self.port}"),
                *("--shards", str(shards), "--lease-seconds", str(SECONDS)),
            ],
            folder / f"{name}.log",
            env={"HOSTNAME": name},
        )

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as reply:
            return str(reply.read().decode())

    def is_ready(self) -> bool:
        try:
            return self.get("/readyz") == "ok\n"
        except OSError:  # not listening yet, or not ready
            return False

    def metric(self, prefix: str) -> float:
        with contextlib.suppress(urllib.error.URLError, OSError):
            lines = self.get("/metrics").splitlines()
            return sum(float(line.split()[-1]) for line in lines if line.startswith(prefix))
        return 0.0

    @property
    def shards(self) -> int:
        return int(self.metric("ocistate_shard_held{"))

    def applied(self, team: Tenant) -> int:
        """How often it applied something new of a team's."""
        return sum(
            line.get("reason") == "Applied" and line.get("stack", "").startswith(team.namespace)
            for line in self.process.lines()
        )


@pytest.fixture
def replicas(world: World, tmp_path: Path) -> Iterator[Any]:
    """Makes replicas; the world's own agent, which knows no Leases, does not run beside them."""
    world.agent.terminate()
    made: list[Replica] = []

    def make(*names: str, shards: int) -> list[Replica]:
        new = [Replica(world, tmp_path, name, shards) for name in names]
        made.extend(new)
        for each in new:
            each.process.start()
        return new

    yield make
    for each in made:
        each.process.kill()
    leases = path_of("coordination.k8s.io/v1", "Lease", NAMESPACE)
    for obj in world.cluster.request("GET", leases).body["items"]:
        world.cluster.request("DELETE", f"{leases}/{obj['metadata']['name']}")


def leader_of(pair: list[Replica]) -> Replica:
    return wait_for("a leader", lambda: next((each for each in pair if each.shards), None))


def other_of(pair: list[Replica], one: Replica) -> Replica:
    return next(each for each in pair if each is not one)


def holder(world: World) -> str:
    path = path_of("coordination.k8s.io/v1", "Lease", NAMESPACE, "ocistate-shard-0")
    return str((world.cluster.request("GET", path).body.get("spec") or {}).get("holderIdentity"))


def test_a_standby_agent_takes_over_after_a_crash_and_after_a_stop(
    world: World, replicas: Any
) -> None:
    team = world.tenant()
    first = team.push(config_map("app", v="1"))
    team.create()
    pair = replicas("a", "b", shards=1)
    leader = leader_of(pair)
    standby = other_of(pair, leader)
    team.wait_ready(first)

    wait_for("the other one is ready", standby.is_ready)
    for method in ("PATCH", "POST", "PUT", "DELETE"):
        written = standby.metric(f'ocistate_kube_requests_total{{code="2xx",method="{method}"')
        assert not written, f"a standby must not write: {method}"

    leader.process.kill()
    second = team.push(config_map("app", v="2"))
    team.wait_ready(second)
    assert standby.shards == 1
    assert (leader.applied(team), standby.applied(team)) == (1, 1)

    leader.process.start()
    wait_for("it is on standby", lambda: leader.metric("ocistate_build_info"))
    assert standby.process.terminate() == 0
    assert not holder(world).startswith(standby.name), "a stop releases the Lease"
    third = team.push(config_map("app", v="3"))
    team.wait_ready(third)


def test_a_leader_frozen_during_an_apply_writes_nothing_after_its_lease(
    world: World, replicas: Any
) -> None:
    count = 400
    team = world.tenant()
    pair = replicas("c", "d", shards=1)
    leader = leader_of(pair)
    standby = other_of(pair, leader)
    team.push(*(config_map(f"app-{n}", v="1") for n in range(count)))
    team.create()

    wait_for("the first objects", lambda: objects(team))
    os.kill(leader.process.pid, signal.SIGSTOP)
    begun = len(objects(team))
    second = team.push(*(config_map(f"app-{n}", v="2") for n in range(count)))
    team.wait_ready(second, seconds=60)
    assert standby.shards == 1
    print(f"stopped after {begun} of {count} objects")
    assert begun < count, "it was stopped in the middle"
    before = versions(team)

    os.kill(leader.process.pid, signal.SIGCONT)
    wait_for(
        "it knows",
        lambda: any("not ours any more" in line["message"] for line in leader.process.lines()),
    )
    # But for what was leaving it when it was stopped; and that is put right at once.
    after = versions(team)
    late = [name for name in after if after[name] != before[name]]
    assert len(late) <= 16, "no more than one apply has under way"
    assert objects(team).keys() == before.keys()
    third = team.push(*(config_map(f"app-{n}", v="3") for n in range(count)))
    team.wait_ready(third, seconds=60)
    assert objects(team) == {f"app-{n}": {"v": "3"} for n in range(count)}
    assert leader.shards == 0
    assert leader.applied(team) == 0
    assert not any("unexpectedly" in line["message"] for line in leader.process.lines())


def test_without_its_lease_an_agent_can_write_nothing_of_a_stack(
    world: World, tmp_path: Path
) -> None:
    team = world.tenant()
    made = team.create(suspend=True)
    stack = parse_stack(made)
    (tmp_path / "state").mkdir()

    async def run() -> None:
        async with cluster_agent(
            state=tmp_path / "state",
            kubeconfig=world.cluster.kubeconfig,
            context=None,
            workers=1,
            namespace="",
            shards=2,
            lease_seconds=SECONDS,
            reach=Reach(allow=parse_allowed(["127.0.0.1"])),
        ) as (agent, _, _):
            stack_target = agent.target_factory.stack_target(stack, lambda after: None)
            assert isinstance(stack_target, ClusterTarget)
            writer = stack_target.cluster.writer(stack)
            app = config_map("app", team.namespace, v="1")
            for write in (
                writer.apply(app),
                writer.delete(ObjectId("", "ConfigMap", team.namespace, "kube-root-ca.crt")),
                agent.status_store.prepare(stack),
                agent.status_store.save(stack, StackStatus(observed_generation=99)),
            ):
                with pytest.raises(LeaseLost):
                    await write

    asyncio.run(run())
    assert team.data("app") == {}
    assert team.data("kube-root-ca.crt")
    live = world.cluster.request("GET", team.stack_path()).body
    assert "finalizers" not in live["metadata"]
    assert (live.get("status") or {}).get("observedGeneration") != 99


def listed(team: Tenant) -> list[dict[str, Any]]:
    answer = team.world.cluster.request(
        "GET", f"/api/v1/namespaces/{team.namespace}/configmaps?labelSelector=ocistate.dev%2Fstack"
    )
    found: list[dict[str, Any]] = answer.body["items"]
    return found


def objects(team: Tenant) -> dict[str, dict[str, str]]:
    return {obj["metadata"]["name"]: obj.get("data") or {} for obj in listed(team)}


def versions(team: Tenant) -> dict[str, str]:
    return {obj["metadata"]["name"]: obj["metadata"]["resourceVersion"] for obj in listed(team)}


def test_shards_are_shared_and_move_to_the_remaining_agents(world: World, replicas: Any) -> None:
    team = world.tenant()
    names = [f"app-{n}" for n in range(16)]  # so many that neither can have none by chance
    pair = replicas("e", "f", shards=4)
    wait_for("each has two", lambda: [each.shards for each in pair] == [2, 2])
    for name in names:
        team.push(config_map(name, v="1"), tag=name)
        team.create(name, source={"tag": name})
    for name in names:
        team.wait_ready(name=name)
    shares = [each.applied(team) for each in pair]
    assert sum(shares) == len(names), "each Stack was applied once"
    assert min(shares) > 0, "both had some"

    pair[0].process.kill()
    for name in names:
        team.push(config_map(name, v="2"), tag=name)
    for name in names:
        team.wait_data(name, v="2")
    assert pair[1].shards == 4

    pair[0].process.start()
    wait_for("they are shared again", lambda: [each.shards for each in pair] == [2, 2])
