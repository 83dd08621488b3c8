"""What others want otherwise: named in one place, not fought, and over when they give in."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import Tenant, World, path_of, tool, versions
from tests.support.factories.stacks import config_map
from tests.support.factories.workloads import deployment
from tests.support.fakes.admission_webhook import MutatingWebhook


def put(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


def sevens(obj: dict[str, Any]) -> list[dict[str, Any]]:
    """Whatever a ConfigMap or Secret says under ``v``, it shall be seven."""
    if "v" not in (obj.get("data") or {}):
        return []
    return [put("/data/v", "7" if obj["kind"] == "ConfigMap" else "Nw==")]


def in_force(team: Tenant, look: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until the API server asks the webhook."""

    def asked() -> bool:
        path = path_of("v1", "ConfigMap", team.namespace) + "?dryRun=All"
        answer = team.world.cluster.request("POST", path, config_map("probe", v="1"))
        return look(answer.body.get("data") or {})

    wait_for("the webhook is asked", asked)


def metric(world: World, name: str, team: Tenant, **labels: str) -> float | None:
    with urllib.request.urlopen(f"http://127.0.0.1:{world.port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    wanted = {"namespace": team.namespace, **labels}
    for line in lines:
        if line.startswith(name + "{") and all(f'{k}="{v}"' in line for k, v in wanted.items()):
            return float(line.rsplit(" ", 1)[1])
    return None


def test_fields_overwritten_by_a_webhook_are_reported_once_and_not_fought(
    world: World, tmp_path: Path
) -> None:
    team = world.tenant()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "stringData": {"v": "hunter2"},
    }
    with MutatingWebhook(
        world.cluster, tmp_path, team.namespace, sevens, "configmaps", "secrets"
    ) as webhook:
        in_force(team, lambda data: data == {"v": "7"})
        digest = team.push(config_map("app", v="1"), config_map("calm", w="1"), secret)
        team.create(source={"interval": "1h"})
        team.wait_ready(digest)
        message = team.wait_condition("Contested", "True", "Overruled")
        assert f"ConfigMap/{team.namespace}/app: admission overrules .data.v" in message
        assert f"Secret/{team.namespace}/s: admission overrules .data.v" in message
        assert "calm" not in message
        assert [
            (c["kind"], c["name"], c["reason"], c["fields"]) for c in team.status()["contested"]
        ] == [
            ("ConfigMap", "app", "Overruled", [".data.v"]),
            ("Secret", "s", "Overruled", [".data.v"]),
        ]
        before, asked = versions(world, team.namespace), webhook.asked

        # It is asked again, which writes nothing; a restart does not forget it.
        wait_for("another try", lambda: webhook.asked >= asked + 2)
        world.agent.kill()
        asked = webhook.asked
        world.agent.start()
        wait_for("another try", lambda: webhook.asked >= asked + 2)
        assert condition(team.status(), "Contested")[0] == "True"
        assert versions(world, team.namespace) == before
        emitted = [e for e in team.events() if e["reason"] == "Contested"]
        assert [e["type"] for e in emitted] == ["Warning"]
        repairs = [e["message"] for e in team.events() if e["reason"] == "DriftCorrected"]
        assert not any("ConfigMap" in message for message in repairs)
        assert metric(world, "ocistate_stack_contested", team, reason="Overruled") == 2
        assert metric(world, "ocistate_stack_condition", team, type="Contested") == 1
        shown = tool(team, "status", "app")
        assert f"  ConfigMap/{team.namespace}/app: admission overrules .data.v" in shown.out
        (row,) = json.loads(tool(team, "get", "-o", "json").out)
        assert [each["name"] for each in row["contested"]] == ["app", "s"]
        traced = json.loads(tool(team, "trace", "configmap/app", "-o", "json").out)
        assert traced["contested"] == [
            f"ConfigMap/{team.namespace}/app: admission overrules .data.v"
        ]
        everything = json.dumps([team.status(), team.events(), world.agent.lines()])
        assert "hunter2" not in everything
        assert "aHVudGVyMg" not in everything

        webhook.mutate = lambda obj: []
        team.wait_data("app", v="1")
        team.wait_condition("Contested", "False", "Settled")
    team.wait_ready(digest)
    assert "contested" not in team.status()
    assert metric(world, "ocistate_stack_contested", team, reason="Overruled") == 0
    wait_for("the end emitted", lambda: [e for e in team.events() if e["reason"] == "Settled"])


def test_a_webhook_that_changes_our_fields_is_reported_by_field(
    world: World, tmp_path: Path
) -> None:
    team = world.tenant()
    web = deployment()
    web["spec"]["replicas"] = 1
    web["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1000m"}}
    web["metadata"]["labels"] = {"team": "blue"}

    def meddle(obj: dict[str, Any]) -> list[dict[str, Any]]:
        base = "/spec/template/spec/containers"
        names = [each["name"] for each in obj["spec"]["template"]["spec"]["containers"]]
        place = names.index("web")
        patch = [put(f"{base}/{place}/image", "mirror.example.com/web:1")]
        if "mesh" not in names:
            sidecar = {"name": "mesh", "image": "example.com/mesh:1"}
            patch.append({"op": "add", "path": f"{base}/0", "value": sidecar})
        if "team" in (obj["metadata"].get("labels") or {}):
            patch.append({"op": "remove", "path": "/metadata/labels/team"})
        return patch

    with MutatingWebhook(world.cluster, tmp_path, team.namespace, meddle, "deployments") as webhook:
        wait_for("the webhook is asked", lambda: asks(world, team, webhook))
        team.push(web)
        team.create()
        message = team.wait_condition("Contested", "True", "Overruled")
        assert ".metadata.labels.team" in message
        assert ".spec.template.spec.containers[0].image" in message
        assert "cpu" not in message
        live = team.get("Deployment", "web", "apps/v1") or {}
        names = {each["name"] for each in live["spec"]["template"]["spec"]["containers"]}
        assert names == {"mesh", "web"}

        # What is left to others is not sent, and so not contested.
        team.edit(
            ignore=[
                {
                    "kind": "Deployment",
                    "jsonPointers": ["/metadata/labels/team", "/spec/template/spec/containers"],
                }
            ]
        )
        team.wait_condition("Contested", "False", "Settled")


def asks(world: World, team: Tenant, webhook: MutatingWebhook) -> bool:
    path = path_of("apps/v1", "Deployment", team.namespace) + "?dryRun=All"
    world.cluster.request("POST", path, deployment("probe"))
    return webhook.asked > 0


@contextmanager
def scaling(team: Tenant, replicas: int) -> Iterator[list[int]]:
    """What an autoscaler does: it sets replicas through the scale subresource, again and again."""
    stop = threading.Event()
    writes: list[int] = []
    path = path_of("apps/v1", "Deployment", team.namespace, "web") + "/scale"

    def work() -> None:
        while not stop.is_set():
            scale = team.world.cluster.request("GET", path)
            if scale.status == 200 and scale.body["spec"]["replicas"] != replicas:
                scale.body["spec"]["replicas"] = replicas
                answer = team.world.cluster.request("PUT", f"{path}?fieldManager=hpa", scale.body)
                writes.append(answer.status)
            stop.wait(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield writes
    finally:
        stop.set()
        thread.join()


def test_another_writer_of_replicas_is_named_and_ignored_on_request(world: World) -> None:
    team = world.tenant()
    digest = team.push(deployment(), config_map("calm", v="1"))
    team.create(source={"interval": "1h"})
    team.wait_ready(digest)

    with scaling(team, 3) as writes:
        message = team.wait_condition("Contested", "True", "Flipped")
        assert f"Deployment.apps/{team.namespace}/web is changed again and again by hpa" in message
        assert "contested" not in condition(team.status(), "Healthy")[2]
        team.change("calm", {"data": {"v": "9"}})
        team.wait_data("calm", v="1")
        assert len(writes) < 12, "each repair waits longer than the one before"
        assert metric(world, "ocistate_stack_contested", team, reason="Flipped") == 1

        team.edit(ignore=[{"kind": "Deployment", "jsonPointers": ["/spec/replicas"]}])
        team.wait_condition("Contested", "False", "Settled")
        wait_for("scaled", lambda: replicas(team) == 3)
        count = len(writes)
        team.push(deployment(), config_map("calm", v="2"))
        tool(team, "reconcile", "app")
        team.wait_data("calm", v="2")
        assert (replicas(team), len(writes)) == (3, count), "the field is the scaler's now"
    # An Event may be held back among those of the Deployment's health; the log has each once.
    logged = [line.get("reason") for line in world.agent.lines() if team.namespace in str(line)]
    assert (logged.count("Contested"), logged.count("Settled")) == (1, 1)


def replicas(team: Tenant) -> int:
    live = team.get("Deployment", "web", "apps/v1") or {}
    return int(live["spec"]["replicas"])
