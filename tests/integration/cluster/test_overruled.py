"""What a real API server makes of what it is sent, and when that is somebody else's doing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ocistate.kube.client import KubeClient
from tests.support.environments.cluster import World, ok, results
from tests.support.factories.objects import config_map, obj
from tests.support.fakes.admission_webhook import MutatingWebhook

SELECTOR = {"matchLabels": {"app": "x"}}
CONTAINER = {
    "name": "c",
    "image": "example.com/c:1",
    "command": ["sh"],
    "args": ["-c", ""],
    "env": [
        {"name": "A", "value": "1000m"},
        {"name": "EMPTY", "value": ""},
        {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
    ],
    "ports": [
        {"containerPort": 53, "name": "dns"},
        {"containerPort": 53, "name": "dns-udp", "protocol": "UDP"},
    ],
    "resources": {
        "requests": {"cpu": 0.5, "memory": "1024Mi"},
        "limits": {"cpu": "1000m", "memory": "1.5Gi", "ephemeral-storage": "1e9"},
    },
    "readinessProbe": {"httpGet": {"path": "/", "port": "dns"}, "periodSeconds": 0},
    "livenessProbe": {"tcpSocket": {"port": 53}, "initialDelaySeconds": 0},
    "securityContext": {"privileged": False, "runAsUser": 0},
    "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": False}],
}
POD = {
    "containers": [CONTAINER],
    "initContainers": [{"name": "i", "image": "example.com/i:1", "resources": {}}],
    "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1024Mi"}}, {"name": "e", "emptyDir": {}}],
    "hostNetwork": False,
    "serviceAccountName": "robot",
    "nodeSelector": {"never": "scheduled"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "terminationGracePeriodSeconds": 30,
    "affinity": {},
}
TEMPLATE = {"metadata": {"labels": {"app": "x"}, "creationTimestamp": None}, "spec": POD}


def everything(group: str) -> list[dict[str, Any]]:
    """Objects that the API server fills in and writes in its own way."""
    rbac, policy = "rbac.authorization.k8s.io/v1", "policy/v1"
    reference = {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1024Mi"}},
        "volumeName": "",
    }
    job = {"template": {"spec": {**POD, "restartPolicy": "Never"}}, "suspend": True}
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "size": {"x-kubernetes-int-or-string": True},
                    "ratio": {"type": "number", "maximum": 100, "default": 1.0},
                    "names": {"type": "array", "items": {"type": "string"}},
                    "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
                },
            }
        },
    }
    definition = {
        "group": group,
        "scope": "Namespaced",
        "names": {"kind": "Gauge", "plural": "gauges"},
        "preserveUnknownFields": False,
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        ],
    }
    ports = [
        {"port": 80, "targetPort": "dns", "nodePort": 0, "name": "a"},
        {"port": 80, "protocol": "UDP", "name": "b"},
    ]
    rule = {"apiGroups": ["", "apps"], "resources": ["pods"], "verbs": ["list", "get"]}
    web = {
        "name": "x.ex.io",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"url": "https://127.0.0.1:1/x", "caBundle": ""},
        "rules": [{"apiGroups": ["ex.io"], "apiVersions": ["v9"], "operations": ["CREATE"],
                   "resources": ["x"]}],
    }  # fmt: skip
    path = {"path": "/", "pathType": "Prefix"}
    service = {"service": {"name": "s", "port": {"name": "a"}}}
    return [
        obj("ServiceAccount", "robot", automountServiceAccountToken=False, imagePullSecrets=[]),
        obj("Secret", "s", stringData={"a": "b"}, data={"c": "aGVs\nbG8="}, type="Opaque"),
        obj("ConfigMap", "c", data={"k": " 1000m\n"}, binaryData={"b": "AAAA"}, immutable=False),
        obj("Service", "s", spec={"type": "NodePort", "ports": ports, "clusterIP": "",
                                  "selector": {"app": "x"}, "sessionAffinity": "None"}),
        obj("Service", "headless", spec={"clusterIP": "None", "ports": [{"port": 1}]}),
        obj("Deployment", "d", "apps/v1", spec={
            "replicas": 0, "selector": SELECTOR, "template": TEMPLATE, "paused": False,
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}}),
        obj("StatefulSet", "st", "apps/v1", spec={
            "selector": SELECTOR, "serviceName": "headless", "template": TEMPLATE, "replicas": 0,
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim, "status": {}}]}),
        obj("DaemonSet", "ds", "apps/v1", spec={"selector": SELECTOR, "template": TEMPLATE}),
        obj("Job", "j", "batch/v1", spec=job),
        obj("CronJob", "cj", "batch/v1", spec={
            "schedule": "0 0 * * *", "suspend": True, "jobTemplate": {"spec": job}}),
        obj("Pod", "p", spec=POD),
        obj("HorizontalPodAutoscaler", "h", "autoscaling/v2", spec={
            "scaleTargetRef": reference, "maxReplicas": 3, "metrics": [{
                "type": "Resource", "resource": {
                    "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]}),
        obj("HorizontalPodAutoscaler", "h1", "autoscaling/v1", spec={
            "scaleTargetRef": reference, "maxReplicas": 3, "targetCPUUtilizationPercentage": 80}),
        obj("PodDisruptionBudget", "pdb", policy, spec={
            "selector": SELECTOR, "maxUnavailable": "50%"}),
        obj("Ingress", "in", "networking.k8s.io/v1", spec={
            "rules": [{"host": "a.example.com", "http": {"paths": [{**path, "backend": service}]}}],
            "tls": [{"hosts": ["a.example.com"]}]}),
        obj("NetworkPolicy", "np", "networking.k8s.io/v1", spec={
            "podSelector": {}, "policyTypes": ["Egress", "Ingress"],
            "ingress": [{"ports": [{"port": 80}, {"port": "dns", "protocol": "UDP"}]}, {}]}),
        obj("PersistentVolumeClaim", "pvc", spec=claim),
        obj("ResourceQuota", "q", spec={"hard": {"requests.cpu": "5000m", "pods": 10}}),
        obj("LimitRange", "l", spec={"limits": [{
            "type": "Container", "max": {"cpu": "2000m", "memory": "4096Mi"}}]}),
        obj("Role", "r", rbac, rules=[rule]),
        obj("RoleBinding", "rb", rbac,
            roleRef={"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"},
            subjects=[{"kind": "ServiceAccount", "name": "robot"}]),
        obj("Endpoints", "ep", subsets=[
            {"addresses": [{"ip": "10.0.0.2"}, {"ip": "10.0.0.1"}],
             "ports": [{"port": 2, "name": "b"}, {"port": 1, "name": "a"}]}]),
        obj("Lease", "le", "coordination.k8s.io/v1", spec={
            "renewTime": "2026-01-01T01:00:00.000000+01:00", "leaseDurationSeconds": 10}),
        obj("CustomResourceDefinition", f"gauges.{group}", "apiextensions.k8s.io/v1",
            spec=definition),
        obj("Gauge", "g", f"{group}/v1", spec={"size": "1000m", "ratio": 2.0, "names": ["", "b"]}),
        obj("ValidatingWebhookConfiguration", group, "admissionregistration.k8s.io/v1",
            webhooks=[web]),
    ]  # fmt: skip


def test_nothing_that_the_api_server_does_by_itself_is_taken_for_a_contest(world: World) -> None:
    objects = everything("plain.ex.io")

    async def scenario(client: KubeClient) -> None:
        outcome = ok(await world.sync(client, *objects))
        assert len(outcome.results) == len(objects) + 1
        assert {str(each.id): each.overruled for each in outcome.results if each.overruled} == {}

    world.run(scenario)


def test_only_fields_changed_by_a_webhook_are_reported(world: World, tmp_path: Path) -> None:
    objects = [each for each in everything("meddled.ex.io") if each["kind"] != "Endpoints"]

    def meddle(given: dict[str, Any]) -> list[dict[str, Any]]:
        labels = {**(given["metadata"].get("labels") or {}), "mine": "theirs", "added": "x"}
        return [{"op": "add", "path": "/metadata/labels", "value": labels}]

    labelled = [
        {**each, "metadata": {**each["metadata"], "labels": {"mine": "ours"}}} for each in objects
    ]

    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, *objects))
        with MutatingWebhook(world.cluster, tmp_path, world.name, meddle, "*") as webhook:
            while not webhook.asked:
                await client.apply(config_map("probe", namespace=world.name), dry_run=True)
            outcome = ok(await world.sync(client, *labelled))
            found = results(outcome)
            scoped = {"gauges.meddled.ex.io", "meddled.ex.io", world.name}
            assert {name for name, each in found.items() if not each.overruled} <= scoped
            reported = {each.overruled for name, each in found.items() if name not in scoped}
            assert reported == {(".metadata.labels.mine",)}
            # The same again writes nothing: the server finds that it comes to the same.
            plan = await world.plan(client, await world.desired(client, *labelled))
            assert plan.empty

    world.run(scenario)
