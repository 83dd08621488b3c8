"""What is healthy only later, or never says so: what holds waves back, and what does not."""

from __future__ import annotations

from typing import Any

from tests.integration.agent.test_waves import in_wave
from tests.integration.agent.world import World
from tests.unit.agent.parts import config_map, wait_for
from tests.unit.cluster.parts import deployment, obj


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


def test_what_only_others_make_healthy_is_shown_and_holds_no_wave_back(world: World) -> None:
    team = world.tenant()
    world.apply(storage_class("nobody", "Immediate"))
    labels = {"matchLabels": {"app": "web"}}
    early = [
        claim("data", "nobody"),
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
    wait_for("the budget is met", lambda: "Budget" not in _message(team))


def _message(team: Any) -> str:
    return next(c["message"] for c in team.status()["conditions"] if c["type"] == "Healthy")
