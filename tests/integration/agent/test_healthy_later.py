"""What is healthy only later, or never says so: what holds waves back, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import World
from tests.support.factories.objects import crd, deployment, obj
from tests.support.factories.stacks import config_map
from tests.support.factories.workloads import in_wave, may_be_seen


def storage_class(name: str, mode: str) -> dict[str, Any]:
    return obj(
        "StorageClass",
        name,
        "storage.k8s.io/v1",
        provisioner="example.com/none",
        volumeBindingMode=mode,
    )


def claim(name: str, storage: str) -> dict[str, Any]:
    return obj(
        "PersistentVolumeClaim",
        name,
        spec={
            "storageClassName": storage,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    )


def backup(claim: str) -> dict[str, Any]:
    pod = {
        "restartPolicy": "Never",
        "containers": [
            {
                "name": "c",
                "image": "busybox:1",
                "volumeMounts": [{"name": "d", "mountPath": "/d"}],
            }
        ],
        "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": claim}}],
    }
    job = {"spec": {"template": {"spec": pod}}}
    return obj("CronJob", "backup", "batch/v1", spec={"schedule": "0 3 * * *", "jobTemplate": job})


def test_a_claim_that_waits_for_its_consumer_holds_no_wave_back(world: World) -> None:
    team = world.tenant()
    world.apply(storage_class("wffc", "WaitForFirstConsumer"))

    digest = team.push(claim("data", "wffc"), in_wave(backup("data"), 1))
    team.create()
    team.wait_ready(digest)

    assert team.get("CronJob", "backup", "batch/v1") is not None
    assert team.status()["resources"]["suspended"] == 1


def test_health_that_depends_on_other_controllers_blocks_no_wave(world: World) -> None:
    team = world.tenant()
    world.apply(storage_class("unbound", "Immediate"))
    labels = {"matchLabels": {"app": "web"}}
    early = [
        claim("data", "unbound"),
        obj("Service", "web", spec={"type": "LoadBalancer", "ports": [{"port": 80}]}),
        obj(
            "PodDisruptionBudget", "web", "policy/v1", spec={"minAvailable": 1, "selector": labels}
        ),
        obj(
            "HorizontalPodAutoscaler",
            "web",
            "autoscaling/v2",
            spec={
                "maxReplicas": 2,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            },
        ),
    ]
    web = in_wave(deployment("web"), 1)

    digest = team.push(*early, web, in_wave(config_map("last", v="1"), 2))
    team.create()
    team.wait_data("last", v="1")

    message = team.wait_condition("Healthy", "Unknown", "Progressing", digest=digest)
    assert "PersistentVolumeClaim" in message or "load balancer" in message
    wait_for("the budget is met", lambda: "Budget" not in condition(team.status(), "Healthy")[2])


KEEP = {"x-kubernetes-preserve-unknown-fields": True}
SILENT: dict[str, dict[str, Any]] = {
    "empty": {"properties": {"spec": {"type": "object"}, "status": {"type": "object"}}},
    "none": {"properties": {"spec": {"type": "object"}}},
    "anything": KEEP,
}


def definition(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    made = crd(kind, "later.example.com", status=True)
    made["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = {"type": "object", **schema}
    return made


@pytest.mark.parametrize("status", SILENT)
def test_a_kind_that_has_no_field_for_a_status_is_not_waited_for(world: World, status: str) -> None:
    world.apply(may_be_seen("see-later", "later.example.com", "*"))
    team = world.tenant(everywhere=True)
    kind = f"Silent{status}"
    note = obj(kind, "note", "later.example.com/v1", spec={})
    last = in_wave(config_map("last", v="1"), 1)

    digest = team.push(definition(kind, SILENT[status]), note, last)
    team.create()
    team.wait_ready(digest, seconds=20)

    assert team.data("last") == {"v": "1"}


def test_a_kind_that_can_report_is_waited_for(world: World) -> None:
    world.apply(may_be_seen("see-later", "later.example.com", "*"))
    team = world.tenant(everywhere=True)
    phase = {"type": "object", "properties": {"phase": {"type": "string"}}}
    talks = definition("Talker", {"properties": {"status": phase}})
    note = obj("Talker", "note", "later.example.com/v1")

    digest = team.push(talks, note, in_wave(config_map("last", v="1"), 1))
    team.create()
    message = team.wait_condition("Healthy", "Unknown", "Progressing")

    assert "has not reported a status" in message or "wave 0" in message
    path = f"/apis/later.example.com/v1/namespaces/{team.namespace}/talkers/note"
    world.merge(f"{path}/status", {"status": {"phase": "Up"}})
    team.wait_ready(digest)
    assert team.data("last") == {"v": "1"}
