"""What stays when a Stack is deleted, and who may have it then."""

from __future__ import annotations

from typing import Any

from tests.support.environments.agent import World
from tests.support.environments.unlisted import MARK, delete, event_message, labels
from tests.support.factories.objects import crd, obj
from tests.support.factories.stacks import config_map


def test_a_namespace_and_a_crd_in_use_are_released_and_can_be_adopted_again(world: World) -> None:
    team = world.tenant(everywhere=True)
    space = f"{team.namespace}-kept"
    inside: dict[str, Any] = {**config_map("in"), "metadata": {"name": "in", "namespace": space}}
    digest = team.push(obj("Namespace", space), inside, crd("Kept", "k.example.com"))
    team.create()
    team.wait_ready(digest)
    other = obj("ConfigMap", "theirs", namespace=space)
    world.apply(other, obj("Kept", "theirs", "k.example.com/v1", namespace=space))

    delete(team)

    definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/kepts.k.example.com"
    for path in (f"/api/v1/namespaces/{space}", definition):
        assert MARK not in labels(world, path)
    message = event_message(team, "Kept")
    assert f"Namespace/{space}" in message
    assert "kepts.k.example.com" in message
    made = team.create()
    team.wait_ready(digest)
    for path in (f"/api/v1/namespaces/{space}", definition):
        assert labels(world, path)[MARK] == made["metadata"]["uid"]


def test_objects_with_prune_disabled_are_released_on_deletion(world: World) -> None:
    team = world.tenant()
    protected = config_map("data", v="1")
    protected["metadata"]["annotations"] = {"ocistate.dev/prune": "disabled"}
    digest = team.push(protected)
    team.create()
    team.wait_ready(digest)

    delete(team)

    assert MARK not in ((team.get("ConfigMap", "data") or {})["metadata"].get("labels") or {})
    assert "ocistate.dev/prune is disabled" in event_message(team, "Kept")
    team.create()
    team.wait_ready(digest)


def test_objects_still_being_deleted_are_awaited_and_created_again(world: World) -> None:
    team = world.tenant()
    slow = config_map("slow", v="1")
    slow["metadata"]["finalizers"] = ["example.com/slow"]
    digest = team.push(slow)
    team.create()
    team.wait_ready(digest)
    delete(team)
    before = (team.get("ConfigMap", "slow") or {})["metadata"]
    assert before["deletionTimestamp"]

    team.create()
    message = team.wait_condition("Healthy", "Unknown", "Progressing")
    assert "slow: being deleted" in message
    team.change("slow", {"metadata": {"finalizers": None}})

    team.wait_ready(digest)
    assert (team.get("ConfigMap", "slow") or {})["metadata"]["uid"] != before["uid"]
