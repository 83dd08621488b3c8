"""From an artifact to a cluster that is equal to it, and stays so."""

from __future__ import annotations

from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import World
from tests.support.factories.stacks import config_map


def test_the_first_rollout_reaches_ready_and_shows_the_running_artifact(world: World) -> None:
    team = world.tenant()
    digest = team.push(config_map("greeting", text="hello"))

    team.create()
    team.wait_ready(digest)

    assert team.data("greeting") == {"text": "hello"}
    status = team.status()
    assert status["current"]["tag"] == "prod"
    assert status["current"]["revision"] == "main@sha1:" + "1" * 40
    assert status["current"]["signedBy"]
    assert {k: n for k, n in status["resources"].items() if n} == {"total": 1, "healthy": 1}
    assert status["kinds"] == ["ConfigMap"]
    assert [entry["outcome"] for entry in status["history"]] == ["healthy"]
    for type_, reason in (("Verified", "Verified"), ("Applied", "Applied"), ("Healthy", "Healthy")):
        assert condition(status, type_)[:2] == ("True", reason)
    wait_for("events", lambda: {"Applied", "Healthy"} <= {e["reason"] for e in team.events()})


def test_new_content_of_a_tag_is_rolled_out_and_removed_objects_are_pruned(world: World) -> None:
    team = world.tenant()
    team.push(config_map("stays", v="1"), config_map("goes", v="1"))
    team.create()
    team.wait_data("goes", v="1")

    second = team.push(config_map("stays", v="2"), config_map("comes", v="2"))

    team.wait_ready(second)
    assert team.data("stays") == {"v": "2"}
    assert team.data("comes") == {"v": "2"}
    team.wait_gone("ConfigMap", "goes")


def test_drift_is_repaired_after_edit_delete_and_lost_label(world: World) -> None:
    team = world.tenant()
    team.push(config_map("edited", v="1"), config_map("deleted", v="1"), config_map("bare", v="1"))
    team.create(source={"interval": "1h"})
    team.wait_ready()

    team.change("edited", {"data": {"v": "9"}})
    team.wait_data("edited", v="1")
    team.delete("ConfigMap", "deleted")
    team.wait_data("deleted", v="1")
    team.change("bare", {"data": {"v": "9"}, "metadata": {"labels": {"ocistate.dev/stack": None}}})
    team.wait_data("bare", v="1")

    assert "ocistate.dev/stack" in (team.get("ConfigMap", "bare") or {})["metadata"]["labels"]
    wait_for("the event", lambda: "DriftCorrected" in {e["reason"] for e in team.events()})


def test_many_objects_edited_at_once_are_all_put_back(world: World) -> None:
    """Also those that are changed while the repair of others is under way."""
    team = world.tenant()
    team.push(*(config_map(f"app-{number}", v="1") for number in range(25)))
    team.create(source={"interval": "1h"})
    team.wait_ready()

    for round_ in range(3):
        for number in range(25):
            if number % 5:
                team.change(f"app-{number}", {"data": {"v": f"edited-{round_}"}})
            else:
                team.delete("ConfigMap", f"app-{number}")
        for number in range(25):
            team.wait_data(f"app-{number}", v="1")
