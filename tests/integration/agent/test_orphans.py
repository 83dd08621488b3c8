"""Objects whose owner is gone: found, given to a Stack or released, and only by who may."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.assertions.waiting import wait_for
from tests.support.command import Done, ocistate
from tests.support.environments.agent import Tenant, World, applier_objects, tool
from tests.support.factories.stacks import config_map

STACK = "ocistate.dev/stack"


def forced_away(team: Tenant, name: str = "app") -> str:
    """Delete a Stack and its finalizer by hand while no agent runs; its UID."""
    team.world.agent.kill()
    uid = str(team.world.cluster.request("GET", team.stack_path(name)).body["metadata"]["uid"])
    team.delete("Stack", name, "ocistate.dev/v1alpha1")
    team.world.merge(team.stack_path(name), {"metadata": {"finalizers": []}})
    team.wait_gone("Stack", name, "ocistate.dev/v1alpha1")
    team.world.agent.start()
    return uid


def orphans(team: Tenant, *arguments: str, check: bool = True) -> Done:
    return tool(team, "orphans", *arguments, check=check)


def owners(team: Tenant) -> dict[str, list[str]]:
    rows = json.loads(orphans(team, "list", "-o", "json").out)
    return {row["owner"]: [text.rpartition("/")[2] for text in row["objects"]] for row in rows}


def as_tenant(team: Tenant, *arguments: str) -> Done:
    """The same as somebody who may do everything in the namespace, and nothing beyond."""
    team.world.apply(*applier_objects(team.namespace, "admin", "dev"))
    environ = {"KUBECONFIG": str(team.world.cluster.kubeconfig_for(team.namespace, "dev"))}
    return ocistate("orphans", *arguments, environ=environ, check=False)


def test_objects_of_a_force_deleted_stack_can_be_given_to_another_stack(world: World) -> None:
    team = world.tenant()
    team.push(config_map("kept", v="1"), config_map("stale", v="1"))
    team.create()
    team.wait_ready()
    before = team.get("ConfigMap", "kept") or {}
    uid = forced_away(team)
    assert owners(team) == {uid: ["kept", "stale"]}

    team.push(config_map("kept", v="2"))
    team.create("heir")
    message = team.wait_condition("Ready", "False", "ApplyFailed", name="heir")
    assert f"belongs to another Stack, {uid}" in message
    assert "ocistate orphans give" in message
    shown = json.loads(orphans(team, "give", uid, "heir", "--dry-run", "-o", "json").out)
    assert len(shown["objects"]) == 2
    asked = orphans(team, "give", uid, "heir", check=False)
    assert (asked.code, "not a terminal" in asked.err) == (2, True)
    assert owners(team) == {uid: ["kept", "stale"]}

    orphans(team, "give", uid, "heir", "--yes")
    team.wait_ready(name="heir")
    team.wait_data("kept", v="2")
    team.wait_gone("ConfigMap", "stale")
    after = team.get("ConfigMap", "kept") or {}
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert owners(team) == {}


def test_released_objects_belong_to_the_next_stack_that_applies_them(world: World) -> None:
    team = world.tenant()
    team.push(config_map("app", v="1"), config_map("beside", v="1"))
    team.create()
    team.wait_ready()
    uid = forced_away(team)

    out = orphans(team, "release", uid, "--yes").out
    assert f"ConfigMap/{team.namespace}/app released" in out
    assert mark_of(team, "app") is None
    team.push(config_map("app", v="2"))
    team.create("heir")
    team.wait_ready(name="heir")
    assert team.data("app") == {"v": "2"}
    assert team.data("beside") == {"v": "1"}


def test_objects_of_a_one_shot_apply_can_be_given_to_a_stack(world: World, tmp_path: Path) -> None:
    team = world.tenant()
    digest = team.push(config_map("app", v="1"))
    key = tmp_path / "key.pub"
    key.write_text(team.publisher.key.pem)
    tool(team, "apply", f"{team.repository}@{digest}", "--key", key)
    ((owner, objects),) = owners(team).items()
    assert (owner[:4], objects) == ("cli-", ["app"])

    team.create()
    message = team.wait_condition("Ready", "False", "ApplyFailed")
    assert owner in message
    orphans(team, "give", owner, f"{team.namespace}/app", "--yes")
    team.wait_ready(digest)
    again = tool(team, "apply", f"{team.repository}@{digest}", "--key", key, check=False)
    assert again.code == 52
    assert "belongs to another Stack" in again.err


def test_orphans_give_takes_nothing_from_an_existing_stack_or_beyond_the_users_rights(
    world: World,
) -> None:
    team, victim = world.tenant(), world.tenant()
    for each in (team, victim):
        each.push(config_map("app", v="1"))
        each.create()
        each.wait_ready()
    uid = str(world.cluster.request("GET", victim.stack_path()).body["metadata"]["uid"])
    refused = orphans(team, "give", uid, "app", "--yes", check=False)
    assert refused.code == 54
    assert f"{uid} is the Stack {victim.namespace}/app, which exists" in refused.err

    dead = forced_away(victim)
    refused = as_tenant(team, "give", dead, "app", "--yes")
    assert refused.code == 50
    assert "you may not list Stacks in all namespaces" in refused.err
    # The mark of a one-shot apply needs no such proof; but the objects must be one's own.
    world.merge(
        f"/api/v1/namespaces/{victim.namespace}/configmaps/app",
        {"metadata": {"labels": {STACK: "cli-somebody"}}},
        manager="ocistate",
    )
    for namespace in ("", victim.namespace):
        where = ("-n", namespace) if namespace else ()
        refused = as_tenant(team, "give", "cli-somebody", f"{team.namespace}/app", "--yes", *where)
        assert refused.code == 50
        assert "you may list nothing in " in refused.err or "no object belongs" in refused.err
    world.merge(
        f"/api/v1/namespaces/{team.namespace}/configmaps/app",
        {"metadata": {"labels": {STACK: "cli-somebody"}}},
        manager="ocistate",
    )
    done = as_tenant(team, "release", "cli-somebody", "--yes", "-n", team.namespace)
    assert (done.code, done.line) == (0, f"ConfigMap/{team.namespace}/app released")
    owner = world.cluster.request("GET", team.stack_path()).body["metadata"]["uid"]
    wait_for("the Stack has its own again", lambda: mark_of(team, "app") == owner)
    assert mark_of(victim, "app") == "cli-somebody"


def mark_of(team: Tenant, name: str) -> str | None:
    metadata = (team.get("ConfigMap", name) or {})["metadata"]
    return (metadata.get("labels") or {}).get(STACK)


@pytest.mark.parametrize("owner", ["no owner", "cli-no one", "0" * 32])
def test_orphans_reports_an_owner_without_objects(world: World, owner: str) -> None:
    refused = orphans(world.tenant(), "release", owner, "--yes", check=False)
    assert refused.code == (2 if " " in owner else 50)
