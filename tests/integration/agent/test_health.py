"""Applied is not healthy: what the status says of objects that do not do well."""

from __future__ import annotations

from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import World, path_of
from tests.support.factories.stacks import config_map
from tests.support.factories.workloads import definition, deployment, may_be_seen


def test_a_deployment_becomes_available(world: World) -> None:
    team = world.tenant()
    digest = team.push(deployment())

    team.create()
    team.wait_ready(digest)

    live = team.get("Deployment", "web", "apps/v1") or {}
    assert live["status"]["availableReplicas"] == 2


def test_a_stuck_deployment_is_unhealthy_when_its_time_is_over(world: World) -> None:
    team = world.tenant()
    digest = team.push(deployment(**{"ocistate.dev/testbed": "unready"}))

    team.create(wait={"timeout": "1s"})
    message = team.wait_condition("Healthy", "False", "HealthTimeout", digest=digest)

    assert "Deployment" in message
    assert "web" in message
    assert f"Pod/{team.namespace}/web-" in message
    assert condition(team.status(), "Applied")[0] == "True"
    assert condition(team.status(), "Ready")[:2] == ("False", "HealthTimeout")
    better = team.push(deployment())
    team.wait_ready(better)


def test_one_bad_object_is_reported_and_the_others_are_applied(world: World) -> None:
    team = world.tenant()
    bad = {**config_map("bad"), "data": {"not a key!": "1"}}
    team.push(config_map("a", v="1"), bad, config_map("b", v="1"))

    team.create()
    message = team.wait_condition("Ready", "False", "ApplyFailed")

    assert "1 of 3 objects failed" in message
    assert "ConfigMap" in message
    assert "bad" in message
    assert team.data("a") == team.data("b") == {"v": "1"}
    better = team.push(config_map("a", v="2"), config_map("bad", v="2"))
    team.wait_ready(better)


def test_good_objects_stay_applied_beside_a_refused_one(world: World) -> None:
    team = world.tenant()
    first = team.push(config_map("a", v="1"), config_map("bad", v="1"))
    team.create()
    team.wait_ready(first)

    bad = {**config_map("bad"), "data": {"not a key!": "2"}}
    team.push(config_map("a", v="2"), bad)
    team.wait_condition("Ready", "False", "ApplyFailed", digest=first)

    assert team.data("a") == {"v": "2"}
    team.push(config_map("a", v="2"), bad, config_map("more", v="2"))
    team.wait_data("more", v="2")
    live = team.get("ConfigMap", "a") or {}
    assert live["data"] == {"v": "2"}
    assert len(live["metadata"]["managedFields"]) == 1, "no one else wrote it"


def test_a_stuck_rollout_returns_to_the_last_healthy_artifact_once(world: World) -> None:
    team = world.tenant()
    good = team.push(deployment(), config_map("settings", v="1"), tag="v1.0.0")
    team.create(source={"tag": None, "semver": "1.x"}, wait={"timeout": "2s"}, onFailure="rollback")
    team.wait_ready(good)

    stuck = deployment(**{"ocistate.dev/testbed": "unready"})
    bad = team.push(stuck, config_map("settings", v="2"), config_map("new"), tag="v1.1.0")
    message = team.wait_condition("Ready", "False", "RolledBack", digest=good)

    assert bad in message
    team.wait_data("settings", v="1")
    team.wait_gone("ConfigMap", "new")
    team.wait_condition("Healthy", "True", digest=good)
    world.agent.kill()
    world.agent.start()
    team.change("settings", {"data": {"v": "9"}})
    team.wait_data("settings", v="1")
    assert team.status()["heldBack"]["digest"] == bad
    better = team.push(deployment(), config_map("settings", v="3"), tag="v1.1.1")
    team.wait_ready(better)
    assert [entry["outcome"] for entry in team.status()["history"]] == [
        "healthy",
        "healthy",
        "rolled back",
        "healthy",
    ]


GROUP = "health.ocistate.test"


def test_health_by_the_stacks_own_expressions(world: World) -> None:
    world.apply(definition(GROUP, "Database"), may_be_seen("see-databases", GROUP, "databases"))
    team = world.tenant()
    database = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Database",
        "metadata": {"name": "db"},
        "spec": {"replicas": 2},
    }
    digest = team.push(database)
    check = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Database",
        "healthy": "status.up == spec.replicas",
        "failed": "status.phase == 'Broken'",
    }
    path = f"{path_of(f'{GROUP}/v1', 'Database', team.namespace, 'db')}/status"

    team.create(source={"interval": "1h"}, wait={"checks": [check]})
    team.wait_condition("Healthy", "Unknown", "Progressing", digest=digest)
    wait_for(
        "what it waits for",
        lambda: "status.up == spec.replicas" in condition(team.status(), "Healthy")[2],
    )
    world.merge(path, {"status": {"phase": "Broken", "message": "disk full"}})
    assert "disk full" in team.wait_condition("Healthy", "False", "Degraded")
    world.merge(path, {"status": {"phase": "Up", "up": 2}})
    team.wait_ready(digest)

    team.edit(wait={"checks": [{**check, "healthy": "status.up == 3"}]})
    team.wait_condition("Healthy", "Unknown", "Progressing")
    team.edit(wait=None)
    team.wait_ready(digest)
