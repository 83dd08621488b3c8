"""A label and a manager's name are no proof: what others write on their objects harms no Stack."""

from __future__ import annotations

from typing import Any

from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import World, applier_binding, path_of
from tests.support.factories.stacks import config_map


def forge(world: World, namespace: str, owner: str, count: int) -> None:
    """Objects that claim to be an owner's, applied under the agent's own manager name."""
    for number in range(count):
        obj: dict[str, Any] = config_map(f"forged-{number}", namespace, v="1")
        obj["metadata"]["labels"] = {"ocistate.dev/stack": owner}
        path = path_of("v1", "ConfigMap", namespace, f"forged-{number}")
        answer = world.cluster.request("PATCH", f"{path}?fieldManager=ocistate&force=true", obj)
        assert answer.status in (200, 201), answer.body


def test_forged_owner_labels_block_no_release_no_repair_and_no_deletion(world: World) -> None:
    victim, tenant = world.tenant(), world.tenant(applier=False)
    victim.push(config_map("app", v="1"), config_map("old", v="1"))
    uid = victim.create()["metadata"]["uid"]
    victim.wait_ready()

    forge(world, tenant.namespace, uid, 25)

    victim.change("app", {"data": {"v": "9"}})
    victim.wait_data("app", v="1")
    released = victim.push(config_map("app", v="2"))
    victim.wait_ready(released)
    victim.wait_gone("ConfigMap", "old")
    world.agent.terminate()  # what it has seen applied is forgotten
    world.agent.start()
    victim.change("app", {"data": {"v": "9"}})
    victim.wait_data("app", v="2")
    victim.wait_ready(released)
    victim.delete("Stack", "app", "ocistate.dev/v1alpha1")
    victim.wait_gone("Stack", "app", "ocistate.dev/v1alpha1")
    assert victim.get("ConfigMap", "app") is None
    assert tenant.data("forged-7") == {"v": "1"}


def test_drift_is_repaired_while_mass_prune_holds_an_artifact_back(world: World) -> None:
    """Even of a Stack whose account may delete the forged objects, and so counts them."""
    victim, tenant = world.tenant(), world.tenant(applier=False)
    world.apply(*applier_binding(victim.namespace, tenant.namespace))
    victim.push(config_map("app", v="1"))
    uid = victim.create()["metadata"]["uid"]
    victim.wait_ready()

    forge(world, tenant.namespace, uid, 25)

    for _ in range(2):
        victim.change("app", {"data": {"v": "9"}})
        victim.wait_data("app", v="1")
    assert tenant.data("forged-7") == {"v": "1"}, "and nothing is deleted that no one agreed to"


def test_a_refusal_names_no_owner_that_its_reader_may_not_see(world: World) -> None:
    thief, victim = world.tenant(role="cluster-admin"), world.tenant()
    victim.push(config_map("app", v="1"))
    uid = victim.create()["metadata"]["uid"]
    victim.wait_ready()
    world.apply(*applier_binding(thief.namespace, victim.namespace))
    thief.push(config_map("app", victim.namespace, v="9"))
    thief.create()
    message = thief.wait_condition("Ready", "False", "ApplyFailed")
    assert "belongs to another Stack" in message
    wait_for("an Event", lambda: thief.events())
    said = str([thief.status(), thief.events()])
    assert uid not in said
    assert f"another Stack, {victim.namespace}" not in message

    victim.push(config_map("app", v="3"), tag="twin")
    victim.create("twin", source={"tag": "twin"})
    message = victim.wait_condition("Ready", "False", "ApplyFailed", name="twin")
    assert f"belongs to another Stack, {victim.namespace}/app" in message
