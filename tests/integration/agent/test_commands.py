"""The verbs for people, against a real cluster."""

from __future__ import annotations

import json
from typing import Any

from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import World, tool
from tests.support.factories.stacks import config_map

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "example.com/web:1"}]},
        },
    },
}


def test_status_tree_trace_and_events_show_a_stacks_objects(world: World) -> None:
    team = world.tenant()
    digest = team.push(config_map("app", v="1"), DEPLOYMENT)
    team.create()
    team.wait_ready(digest)

    shown = tool(team, "status", "app")
    assert shown.out.startswith(f"Stack {team.namespace}/app is ready")
    assert digest in shown.out
    status = json.loads(tool(team, "status", "app", "-o", "json").out)
    assert (status["ready"], status["causes"]) == ("True", [])
    assert status["current"]["digest"] == digest

    tree = json.loads(tool(team, "tree", "app", "-o", "json").out)["objects"]
    by_kind = {node["kind"]: node for node in tree}
    assert set(by_kind) == {"ConfigMap", "Deployment"}
    (replica_set,) = by_kind["Deployment"]["owns"]
    (pod,) = replica_set["owns"]
    assert (replica_set["kind"], pod["kind"], pod["health"]) == ("ReplicaSet", "Pod", "Healthy")
    assert "   └─ Pod/web-" in tool(team, "tree", "app").out

    traced = json.loads(tool(team, "trace", "deployment/web", "-o", "json").out)
    assert traced["stack"] == f"{team.namespace}/app"
    assert (traced["digest"], traced["pointer"]) == (digest, "prod")
    refused = tool(team, "trace", f"pod/{pod['name']}", check=False)
    assert refused.code == 50
    assert "ReplicaSet/" in refused.err

    def messages() -> list[str]:
        rows = json.loads(tool(team, "events", "app", "-o", "json").out)
        return [row["reason"] for row in rows if row["reason"] == "Applied"]

    wait_for("the Event", messages)


def test_status_shows_the_reason_for_not_ready_first(world: World) -> None:
    team = world.tenant()
    team.push(config_map("app", v="1"), sign=None)
    team.create()
    team.wait_condition("Ready", "False")
    shown = tool(team, "status", "app", check=False)
    assert shown.code == 1
    first, second, *_ = shown.out.splitlines()
    assert "is not ready: NotSigned" in first
    assert "sign" in second
    missing = tool(team, "status", "unknown", check=False)
    assert (missing.code, "no Stack unknown" in missing.err) == (50, True)


def test_reconcile_suspend_and_resume(world: World) -> None:
    team = world.tenant()
    team.push(config_map("app", v="1"))
    team.create(source={"interval": "1h"})
    team.wait_ready()

    second = team.push(config_map("app", v="2"))
    done = json.loads(tool(team, "reconcile", "app", "-o", "json").out)
    assert (done["digest"], done["ready"]["status"]) == (second, "True")
    assert team.data("app") == {"v": "2"}

    tool(team, "suspend", "app")
    team.wait_condition("Ready", "Unknown", "Suspended")
    third = team.push(config_map("app", v="3"))
    tool(team, "reconcile", "app")
    assert team.data("app") == {"v": "2"}
    tool(team, "resume", "app")
    team.wait_ready(third)
    assert tool(team, "reconcile", "app", "--no-wait").line == "stack/app asked"


def test_diff_live_shows_what_an_apply_would_change_and_changes_nothing(world: World) -> None:
    team = world.tenant()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "stringData": {"password": "hunter2"},
    }
    first = team.push(config_map("app", v="1"), config_map("gone", v="1"), secret)
    team.create(source={"interval": "1h"})
    team.wait_ready(first)
    same = tool(team, "diff", f"{team.repository}@{first}", "--live", "--stack=app", "--exit-code")
    assert (same.code, same.out) == (0, "")
    same = tool(team, "diff", "--live", "--stack=app", "--exit-code")
    assert (same.code, same.out) == (0, "")
    team.edit(drift="report")
    edited = (team.get("Stack", "app", "ocistate.dev/v1alpha1") or {})["metadata"]["generation"]
    wait_for("report", lambda: team.status()["observedGeneration"] == edited)
    team.change("app", {"data": {"v": "9"}})
    drifted = tool(team, "diff", "--live", "--stack=app", "--exit-code", check=False)
    assert drifted.code == 1
    assert '/data/v: "9" → "1"' in drifted.out
    team.edit(drift=None)
    team.wait_data("app", v="1")

    changed = {**secret, "stringData": {"password": "hunter3"}}
    bad = {**config_map("bad"), "data": {"not a key!": "x"}}
    objects = (config_map("app", v="2"), config_map("new", v="1"), changed, bad)
    second = team.push(*objects, tag="next")
    reference = f"{team.repository}@{second}"
    done = tool(
        team,
        "diff",
        reference,
        "--live",
        "--stack=app",
        "--exit-code",
        *("-o", "json"),
        check=False,
    )
    assert done.code == 1
    assert "hunter" not in done.out
    rows = {row["name"]: row for row in json.loads(done.out)["resources"]}
    assert {name: row["change"] for name, row in rows.items()} == {
        "app": "changed",
        "new": "added",
        "s": "changed",
        "bad": "refused",
        "gone": "removed",
    }
    assert rows["app"]["fields"] == [{"pointer": "/data/v", "before": "1", "after": "2"}]
    assert "not a key!" in rows["bad"]["error"]
    assert team.data("app") == {"v": "1"}
    text = tool(team, "diff", reference, "--live", "--stack=app").out
    assert '/data/v: "1" → "2"' in text


def test_diff_live_as_a_stack_is_silent_about_the_fields_it_leaves_to_others(world: World) -> None:
    team = world.tenant()
    first = team.push(config_map("app", v="1", theirs="1"), config_map("other", theirs="1"))
    pointers = ["/data/theirs", "/metadata/annotations/a~1b"]
    team.create(ignore=[{"kind": "ConfigMap", "name": "app", "jsonPointers": pointers}])
    team.wait_ready(first)
    second = team.push(
        config_map("app", v="1", theirs="2"), config_map("other", theirs="2"), tag="next"
    )
    team.change("app", {"data": {"theirs": "3"}, "metadata": {"annotations": {"a/b": "c"}}})
    reference = f"{team.repository}@{second}"
    (row,) = json.loads(tool(team, "diff", reference, "--live", "--stack=app", "-o", "json").out)[
        "resources"
    ]
    assert row["name"] == "other"
    assert row["fields"] == [{"pointer": "/data/theirs", "before": "1", "after": "2"}]
    assert team.data("app") == {"v": "1", "theirs": "3"}


def test_commands_fail_for_missing_names_and_unfinished_work(world: World) -> None:
    team = world.tenant()
    digest = team.push(config_map("app", v="1"))
    team.create(source={"interval": "1h"})
    team.wait_ready(digest)

    assert tool(team, "get", "app", "-o", "name").line == "stack/app"
    missing = tool(team, "get", "app", "nosuch", "-o", "name", check=False)
    assert (missing.code, missing.line) == (50, "stack/app")
    assert "no Stack nosuch" in missing.err
    assert tool(team, "get", "nosuch", check=False).code == 50

    team.edit(source={"repository": "oci://127.0.0.1:1/gone", "interval": "1h"})
    assert tool(team, "reconcile", "app", check=False).code == 1
