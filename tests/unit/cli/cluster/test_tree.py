"""``ocistate tree``, ``events`` and ``trace`` on objects in memory."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.environments.shop import run
from tests.support.fakes.kube_objects import applied, stack_object
from tests.unit.cli.cluster.conftest import Cluster


def obj(kind: str, name: str, *, owner: str = "", **parts: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "default", "uid": name}
    if owner:
        metadata["ownerReferences"] = [{"kind": "Owner", "name": owner, "uid": owner}]
    version = "v1" if kind in ("Pod", "ConfigMap", "Event") else "apps/v1"
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **parts}


@pytest.fixture
def shop(cluster: Cluster) -> None:
    cluster(
        stack_object("shop", kinds=["Deployment.apps", "ConfigMap"]),
        applied(obj("Deployment", "web", spec={"replicas": 1}), "shop"),
        applied(obj("ConfigMap", "app"), "shop"),
        obj("ConfigMap", "other"),
        obj("ReplicaSet", "web-1", owner="web", spec={"replicas": 1}),
        obj("ReplicaSet", "web-0", owner="web", spec={"replicas": 0}),
        obj("Pod", "web-1-a", owner="web-1", spec={}, status={"phase": "Running"}),
        obj("Event", "e", type="Normal", reason="Applied", message="done",
            lastTimestamp="2026-01-01T00:00:00Z"),
    )  # fmt: skip


@pytest.mark.usefixtures("shop")
def test_a_tree_has_objects_and_what_they_made() -> None:
    objects = run("tree", "shop", "-o", "json").json["objects"]
    assert [(each["kind"], each["name"]) for each in objects] == [
        ("ConfigMap", "app"),
        ("Deployment", "web"),
    ]
    (replicas,) = objects[1]["owns"]
    assert (replicas["name"], [each["name"] for each in replicas["owns"]]) == ("web-1", ["web-1-a"])
    lines = run("tree", "shop").out.splitlines()
    assert lines[0] == "Stack/shop"
    assert lines[1].startswith("├─ ConfigMap/app -n default")
    assert lines[-1].strip().startswith("└─ Pod/web-1-a")


@pytest.mark.usefixtures("shop")
def test_events_are_listed() -> None:
    (event,) = run("events", "shop", "-o", "json").json
    assert (event["reason"], event["message"], event["count"]) == ("Applied", "done", 1)
    assert "Applied" in run("events", "shop").out


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("kind", ["configmap", "ConfigMap", "configmaps"])
def test_trace_names_stack_artifact_and_signer(kind: str) -> None:
    found = run("trace", f"{kind}/app", "-o", "json").json
    assert (found["stack"], found["signedBy"], found["pointer"]) == ("default/shop", ["ci"], "prod")
    assert "stack:      default/shop" in run("trace", f"{kind}/app").out


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        ("web", 2, "KIND/NAME"),
        ("gadget/web", 2, "gadget"),
        ("configmap/none", 50, "there is no"),
        ("configmap/other", 50, "not applied by ocistate"),
        ("pod/web-1-a", 50, "Owner/web-1"),
    ],
)
def test_what_no_stack_applied_cannot_be_traced(target: str, code: int, said: str) -> None:
    assert said in run("trace", target, code=code).err


def test_kinds_that_may_not_be_listed_are_noted(cluster: Cluster) -> None:
    cluster(
        stack_object("shop", kinds=["Deployment.apps", "ConfigMap"]),
        applied(obj("ConfigMap", "app"), "shop"),
        forbidden=("Deployment",),
    )
    ran = run("tree", "shop", "-o", "json")
    assert [each["name"] for each in ran.json["objects"]] == ["app"]
    assert "Deployment.apps cannot be listed" in ran.err
