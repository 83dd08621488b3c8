"""Fields of which only one may be set: at an upgrade, at a take-over, and what a dry run says."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest

from ocistate.apply.options import Options
from ocistate.apply.preview import bare
from ocistate.apply.result import ApplyOutcome, ObjectState
from ocistate.kube.client import KubeClient
from ocistate.labels import DIGEST_ANNOTATION
from ocistate.objects import ObjectId, group_of
from tests.support.environments.cluster import World, ok
from tests.support.factories.objects import obj

HTTP = {"httpGet": {"path": "/", "port": 80}}
SELECTOR = {"matchLabels": {"app": "x"}}


def workload(
    kind: str = "Deployment",
    *,
    pod: Mapping[str, Any] | None = None,
    container: Any = None,
    **spec: Any,
) -> dict[str, Any]:
    one = {"name": "c", "image": "c:1", **(container or {})}
    other = {"name": "side", "image": "s:1", "env": [{"name": "A", "value": "kept"}]}
    template = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [other, one], **(pod or {})},
    }
    return obj(kind, "x", "apps/v1", spec={"selector": SELECTOR, "template": template, **spec})


def env(**source: Any) -> dict[str, Any]:
    return workload(container={"env": [{"name": "A", **source}, {"name": "B", "value": "b"}]})


def volume(**source: Any) -> dict[str, Any]:
    return workload(pod={"volumes": [{"name": "v", **source}, {"name": "w", "emptyDir": {}}]})


def service(**spec: Any) -> dict[str, Any]:
    return obj("Service", "x", spec={"selector": {"app": "x"}, "ports": [{"port": 80}], **spec})


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "value to valueFrom": (
        env(value="x"),
        env(valueFrom={"fieldRef": {"fieldPath": "metadata.name"}}),
    ),
    "valueFrom to value": (
        env(valueFrom={"fieldRef": {"fieldPath": "metadata.name"}}),
        env(value="x"),
    ),
    "fieldRef to secretKeyRef": (
        env(valueFrom={"fieldRef": {"fieldPath": "metadata.name"}}),
        env(valueFrom={"secretKeyRef": {"name": "s", "key": "k"}}),
    ),
    "httpGet to tcpSocket": (
        workload(container={"livenessProbe": {**HTTP, "periodSeconds": 7}}),
        workload(container={"livenessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 7}}),
    ),
    "exec to grpc": (
        workload(container={"readinessProbe": {"exec": {"command": ["a"]}}}),
        workload(container={"readinessProbe": {"grpc": {"port": 80}}}),
    ),
    "preStop": (
        workload(container={"lifecycle": {"preStop": HTTP}}),
        workload(container={"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}),
    ),
    "emptyDir to configMap": (volume(emptyDir={}), volume(configMap={"name": "m"})),
    "secret to hostPath": (volume(secret={"secretName": "s"}), volume(hostPath={"path": "/x"})),
    "hostPath to claim": (
        volume(hostPath={"path": "/x"}),
        volume(persistentVolumeClaim={"claimName": "p"}),
    ),
    "Recreate": (workload(), workload(strategy={"type": "Recreate"})),
    "Recreate from a strategy": (
        workload(strategy={"rollingUpdate": {"maxSurge": 1}}),
        workload(strategy={"type": "Recreate"}),
    ),
    "OnDelete": (
        workload("StatefulSet", updateStrategy={"rollingUpdate": {"partition": 1}}),
        workload("StatefulSet", updateStrategy={"type": "OnDelete"}),
    ),
    "a daemon's OnDelete": (
        workload("DaemonSet"),
        workload("DaemonSet", updateStrategy={"type": "OnDelete"}),
    ),
    "to ExternalName": (
        service(),
        obj("Service", "x", spec={"type": "ExternalName", "externalName": "a.example.com"}),
    ),
    "from NodePort": (
        service(type="NodePort", externalTrafficPolicy="Local"),
        service(type="ClusterIP"),
    ),
    "no affinity": (service(sessionAffinity="ClientIP"), service(sessionAffinity="None")),
    "url to service": (
        obj("ValidatingWebhookConfiguration", "x", "admissionregistration.k8s.io/v1", webhooks=[{
            "name": "a.ex.io", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://x.example.com"}}]),
        obj("ValidatingWebhookConfiguration", "x", "admissionregistration.k8s.io/v1", webhooks=[{
            "name": "a.ex.io", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "s", "namespace": "n"}}}]),
    ),
    "no queue": (
        obj("PriorityLevelConfiguration", "x", "flowcontrol.apiserver.k8s.io/v1", spec={
            "type": "Limited", "limited": {"limitResponse": {
                "type": "Queue", "queuing": {"queues": 2, "handSize": 1}}}}),
        obj("PriorityLevelConfiguration", "x", "flowcontrol.apiserver.k8s.io/v1", spec={
            "type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}),
    ),
}  # fmt: skip


CLUSTER_SCOPED = ("ValidatingWebhookConfiguration", "PriorityLevelConfiguration")


def named(world: World, number: int, manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest under a name of its own."""
    name = f"{world.name}-{number}"
    return {**manifest, "metadata": {**manifest["metadata"], "name": name}}


def id_of(world: World, manifest: dict[str, Any]) -> ObjectId:
    home = "" if manifest["kind"] in CLUSTER_SCOPED else world.name
    group, name = group_of(manifest["apiVersion"]), manifest["metadata"]["name"]
    return ObjectId(group, manifest["kind"], home, name)


def previewed(outcome: ApplyOutcome, id: ObjectId) -> Any:
    (result,) = [each for each in ok(outcome).results if each.id == id]
    assert result.preview is not None
    return result.preview


def settled(live: Mapping[str, Any]) -> dict[str, Any]:
    """Without what controllers write meanwhile."""
    left = bare(live)
    theirs = ("deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation")
    notes = left["metadata"].pop("annotations", {})
    if left_notes := {key: value for key, value in notes.items() if key not in theirs}:
        left["metadata"]["annotations"] = left_notes
    return left


@pytest.mark.parametrize("former", ["ocistate", "kubectl apply", "kubectl create"])
def test_one_of_several_fields_is_changed_for_another(world: World, former: str) -> None:
    before, after = (
        [named(world, number, pair[which]) for number, pair in enumerate(CHANGES.values())]
        for which in (0, 1)
    )
    ids = dict(zip(CHANGES, (id_of(world, each) for each in after), strict=True))

    async def scenario(client: KubeClient) -> None:
        if former == "ocistate":
            ok(await world.sync(client, *before))
        else:
            ok(await world.sync(client))
            extra = ("--save-config",) if former == "kubectl create" else ()
            listed = {"apiVersion": "v1", "kind": "List", "items": before}
            world.kubectl(former.split()[1], "-f", "-", *extra, stdin=json.dumps(listed))
        dry = await world.sync(client, *after, options=Options(dry_run=True))
        ok(await world.sync(client, *after))
        for change, id in ids.items():
            live = await client.get(id)
            assert live is not None
            assert DIGEST_ANNOTATION in live["metadata"]["annotations"]
            assert (change, settled(live)) == (change, settled(previewed(dry, id).after))
        assert (await world.sync(client, *after)).results == ()
        ok(await world.sync(client))

    world.run(scenario)


def test_a_dry_run_shows_what_a_take_over_removes(world: World) -> None:
    before = obj(
        "ConfigMap", "m", labels={"a": "1", "gone": "2"}, annotations={"gone": "3"},
        data={"a": "1", "gone": "2"},
    )  # fmt: skip
    web = workload(replicas=3, pod={"volumes": [{"name": "v", "emptyDir": {}}]}, container={
        "env": [{"name": "A", "value": "1"}, {"name": "GONE", "value": "1"}], "args": ["x"],
        "ports": [{"containerPort": 1}, {"containerPort": 1, "protocol": "UDP"}]})  # fmt: skip
    after = obj("ConfigMap", "m", labels={"a": "1"}, data={"a": "1"})
    new = workload(
        container={"env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 1}]}
    )
    ids = [world.id("ConfigMap", "m"), world.id("Deployment", "x", "apps")]

    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client))
        world.kubectl("apply", "-f", "-", stdin=json.dumps(before))
        world.kubectl("apply", "-f", "-", stdin=json.dumps(web))
        world.kubectl("label", "configmap", "m", "theirs=stays")
        dry = await world.sync(client, after, new, options=Options(dry_run=True))
        promised = [previewed(dry, id) for id in ids]
        assert {each.state for each in dry.results if each.id in ids} == {ObjectState.APPLIED}
        assert promised[0].after["data"] == {"a": "1"}
        assert promised[0].after["metadata"]["labels"] == {"a": "1", "theirs": "stays"}
        assert promised[1].after["spec"]["replicas"] == 1
        ok(await world.sync(client, after, new))
        for id, each in zip(ids, promised, strict=True):
            live = await client.get(id)
            assert live is not None
            assert settled(live) == settled(each.after)
        again = await world.sync(client, after, new, options=Options(dry_run=True))
        assert again.results == ()

    world.run(scenario)


def test_an_immutable_service_is_reported_and_recreated_if_allowed(world: World) -> None:
    headless = service(clusterIP="None")

    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, headless))
        outcome = await world.sync(client, service(type="NodePort"))
        (failed,) = outcome.failed
        assert failed.error is not None
        assert "recreate" in failed.error.hint
        wanted = service(type="NodePort")
        wanted["metadata"]["annotations"] = {"ocistate.dev/apply": "recreate"}
        broken = copy.deepcopy(wanted)
        broken["spec"]["clusterIP"] = "None"
        assert not (await world.sync(client, broken)).ok
        assert await client.get(world.id("Service", "x")) is not None
        ok(await world.sync(client, wanted))
        live = await client.get(world.id("Service", "x"))
        assert live is not None
        assert live["spec"]["type"] == "NodePort"

    world.run(scenario)
