"""The agent stops and dies, the API server and the registry go away: afterwards all is equal."""

from __future__ import annotations

from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import World
from tests.support.factories.stacks import config_map


def test_sigterm_ends_the_agent_cleanly_and_the_next_one_sees_changes_since(
    world: World,
) -> None:
    team = world.tenant()
    digest = team.push(config_map("app", v="1"), config_map("still", v="1"))
    team.create()
    team.wait_ready(digest)
    still = team.get("ConfigMap", "still")

    assert world.agent.terminate() == 0
    team.change("app", {"data": {"v": "9"}})
    world.agent.start()

    team.wait_data("app", v="1")
    team.wait_ready(digest)
    assert team.get("ConfigMap", "still") == still, "what was intact must not be written again"


def test_reconciliation_resumes_after_an_outage_of_the_api_server(world: World) -> None:
    team = world.tenant()
    team.push(config_map("app", v="1"))
    team.create()
    team.wait_ready()

    world.cluster.apiserver.kill()
    before = len(world.agent.lines())
    second = team.push(config_map("app", v="2"))
    wait_for(
        "the agent notices",
        lambda: any(line["level"] == "warning" for line in world.agent.lines()[before:]),
    )
    world.cluster.apiserver.start()

    team.wait_ready(second)
    team.change("app", {"data": {"v": "9"}})
    team.wait_data("app", v="2")
    bugs = [line for line in world.agent.lines() if "unexpectedly" in line["message"]]
    assert not bugs


def test_drift_is_repaired_from_the_cached_copy_while_the_registry_is_unavailable(
    world: World,
) -> None:
    team = world.tenant()
    first = team.push(config_map("app", v="1"))
    team.create()
    team.wait_ready(first)

    world.registry.stop()
    try:
        team.wait_condition("Ready", "True", "RegistryUnavailable", digest=first)
        team.change("app", {"data": {"v": "9"}})
        team.wait_data("app", v="1")
        assert condition(team.status(), "Verified")[0] == "True"
    finally:
        world.registry.start()
    second = team.push(config_map("app", v="2"))
    team.wait_ready(second)
