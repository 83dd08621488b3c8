"""What a spec says: pointers, suspension, dependencies, deletion; and specs that are wrong."""

from __future__ import annotations

import json

from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import World
from tests.support.factories.stacks import config_map


def test_a_digest_in_the_spec_is_followed_and_a_new_one_too(world: World) -> None:
    team = world.tenant()
    first = team.push(config_map("app", v="1"))
    second = team.push(config_map("app", v="2"))
    team.create(source={"tag": None, "digest": first, "interval": "1h"})
    team.wait_ready(first)
    assert team.data("app") == {"v": "1"}

    team.edit(source={"digest": second})

    team.wait_ready(second)
    assert team.data("app") == {"v": "2"}


def test_a_deleted_stack_takes_its_objects_away_in_reverse_order(world: World) -> None:
    team = world.tenant()

    def wave(name: str, number: int) -> dict[str, object]:
        obj = config_map(name, v="1")
        obj["metadata"]["annotations"] = {"ocistate.dev/wave": str(number)}
        return obj

    team.push(wave("early", 0), wave("middle", 1), wave("late", 2))
    made = team.create()
    team.wait_ready()
    assert "ocistate.dev/finalizer" in (team.get("Stack", "app", made["apiVersion"]) or {})[
        "metadata"
    ].get("finalizers", [])
    version = (team.get("ConfigMap", "late") or {})["metadata"]["resourceVersion"]

    team.delete("Stack", "app", "ocistate.dev/v1alpha1")
    team.wait_gone("Stack", "app", "ocistate.dev/v1alpha1")

    for name in ("early", "middle", "late"):
        team.wait_gone("ConfigMap", name)
    watched = world.cluster.request(
        "GET",
        f"/api/v1/namespaces/{team.namespace}/configmaps?watch=true&timeoutSeconds=1"
        f"&resourceVersion={version}",
    )
    events = [json.loads(line) for line in str(watched.body).splitlines()]
    gone = [e["object"]["metadata"]["name"] for e in events if e["type"] == "DELETED"]
    assert gone == ["late", "middle", "early"]


def test_deletion_policy_orphan_leaves_objects_for_another_stack(world: World) -> None:
    team = world.tenant()
    digest = team.push(config_map("app", v="1"))
    team.create(deletionPolicy="orphan")
    team.wait_ready()

    team.delete("Stack", "app", "ocistate.dev/v1alpha1")
    team.wait_gone("Stack", "app", "ocistate.dev/v1alpha1")

    live = team.get("ConfigMap", "app") or {}
    assert live["data"] == {"v": "1"}
    assert "ocistate.dev/stack" not in (live["metadata"].get("labels") or {})
    team.create("heir")
    team.wait_ready(digest, name="heir")


def test_a_suspended_stack_is_left_alone_until_it_is_resumed(world: World) -> None:
    team = world.tenant()
    first = team.push(config_map("app", v="1"))
    team.create()
    team.wait_ready(first)

    team.edit(suspend=True)
    team.wait_condition("Ready", "Unknown", "Suspended")
    second = team.push(config_map("app", v="2"))
    team.change("app", {"data": {"v": "9"}})
    other = team.push(config_map("other", v="1"), tag="other")
    team.create("other", source={"tag": "other"})
    team.wait_ready(other, name="other")  # the agent has had the time to look
    assert team.data("app") == {"v": "9"}

    team.edit(suspend=False)
    team.wait_ready(second)
    assert team.data("app") == {"v": "2"}


def test_a_stack_waits_for_those_it_depends_on(world: World) -> None:
    team = world.tenant()
    team.push(config_map("app", v="1"))
    team.create("app", dependsOn=[{"name": "base"}])
    message = team.wait_condition("Ready", "False", "DependencyNotReady")
    assert f"{team.namespace}/base" in message
    assert team.data("app") == {}

    team.push(config_map("base", v="1"), tag="base")
    team.create("base", source={"tag": "base"})

    team.wait_ready(name="base")
    team.wait_ready()
    assert team.data("app") == {"v": "1"}


def test_an_invalid_spec_gets_a_condition_that_names_the_field(world: World) -> None:
    team = world.tenant()
    team.create(source={"repository": "ftp://nowhere/x"})

    message = team.wait_condition("Ready", "False", "InvalidConfiguration")

    assert "spec.source.repository" in message
    assert condition(team.status(), "Stalled")[0] == "True"


def test_an_invalid_spec_is_reported_and_the_previous_one_keeps_running(world: World) -> None:
    team = world.tenant()
    digest = team.push(config_map("app", v="1"))
    team.create()
    team.wait_ready(digest)

    team.edit(source={"repository": "ftp://nowhere/x"})
    team.wait_condition("Ready", "False", "InvalidConfiguration", digest=digest)
    team.change("app", {"data": {"v": "9"}})
    team.wait_data("app", v="1")
    assert condition(team.status(), "Ready")[:2] == ("False", "InvalidConfiguration")

    team.edit(source={"repository": team.repository})
    team.wait_ready(digest)
    assert condition(team.status(), "Stalled")[0] in ("", "False")


def test_a_stack_with_a_spec_edited_to_nonsense_can_still_be_deleted(world: World) -> None:
    team = world.tenant()
    team.push(config_map("app", v="1"))
    team.create()
    team.wait_ready()
    team.edit(source={"repository": "ftp://nowhere/x"})
    team.wait_condition("Ready", "False", "InvalidConfiguration")
    assert world.agent.terminate() == 0
    world.agent.start()

    team.delete("Stack", "app", "ocistate.dev/v1alpha1")

    team.wait_gone("Stack", "app", "ocistate.dev/v1alpha1")
    team.wait_gone("ConfigMap", "app")


def test_an_object_that_belongs_to_another_stack_is_not_taken(world: World) -> None:
    team = world.tenant()
    team.push(config_map("app", v="1"))
    team.create()
    team.wait_ready()
    team.push(config_map("app", v="2"), config_map("own", v="2"), tag="other")

    team.create("other", source={"tag": "other"})

    message = team.wait_condition("Ready", "False", "ApplyFailed", name="other")
    assert "belongs to another Stack" in message
    assert team.data("app") == {"v": "1"}
    assert team.data("own") == {"v": "2"}


def test_drift_can_be_reported_instead_of_repaired(world: World) -> None:
    team = world.tenant()
    digest = team.push(config_map("app", v="1"))
    team.create(drift="report")
    team.wait_ready(digest)

    team.change("app", {"data": {"v": "9"}})
    message = team.wait_condition("Ready", "False", "Drifted")
    assert team.data("app") == {"v": "9"}
    name = f"ConfigMap/{team.namespace}/app"
    assert name in message
    assert team.status()["drift"] == {"total": 1, "objects": [name]}

    team.edit(drift="correct")
    team.wait_ready(digest)
    assert team.data("app") == {"v": "1"}
    assert "drift" not in team.status()


def test_a_request_by_annotation_is_answered_at_once(world: World) -> None:
    team = world.tenant()
    team.push(config_map("app", v="1"))
    team.create(source={"interval": "1h"})
    team.wait_ready()
    second = team.push(config_map("app", v="2"))

    world.merge(team.stack_path(), {"metadata": {"annotations": {"ocistate.dev/reconcile": "now"}}})

    team.wait_ready(second)
    wait_for("answer", lambda: team.status().get("lastHandledReconcileAt") == "now")


def test_a_namespace_that_is_deleted_does_not_hang_on_our_finalizer(world: World) -> None:
    team = world.tenant()
    team.push(config_map("app", v="1"))
    team.create()
    team.wait_ready()

    world.cluster.request("DELETE", f"/api/v1/namespaces/{team.namespace}")

    wait_for(
        "the namespace gone",
        lambda: world.cluster.request("GET", f"/api/v1/namespaces/{team.namespace}").status == 404,
        seconds=60,
    )
