"""What comes back after somebody changed it: items distinguished by keys, and what is empty."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ocistate.kube.client import KubeClient
from ocistate.objects import ObjectId, group_of
from tests.support.environments.cluster import World, ok
from tests.support.factories.objects import crd, obj

RBAC = "rbac.authorization.k8s.io/v1"
NETWORK = "networking.k8s.io/v1"
GET_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
PORT = {"name": "https", "port": 443, "targetPort": 8443}
QUIC = {"name": "quic", "port": 443, "targetPort": 8443, "protocol": "UDP"}
SPREAD: list[dict[str, Any]] = [
    {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": way, "labelSelector": {}}
    for way in ("ScheduleAnyway", "DoNotSchedule")
]
CONTAINER_PORTS = [{"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}]
WORKLOAD: dict[str, Any] = {
    "selector": {"matchLabels": {"app": "x"}},
    "template": {
        "metadata": {"labels": {"app": "x"}},
        "spec": {
            "containers": [{"name": "c", "image": "c:1", "ports": CONTAINER_PORTS}],
            "topologySpreadConstraints": SPREAD,
            "tolerations": [],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
    },
}
DRIFTS: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "the TCP port goes": (
        obj("Service", "x", spec={"ports": [PORT, QUIC]}),
        [{"op": "remove", "path": "/spec/ports/0"}],
    ),
    "the UDP port goes": (
        obj("Service", "x", spec={"ports": [PORT, QUIC]}),
        [{"op": "remove", "path": "/spec/ports/1"}],
    ),
    "a container's TCP port goes": (
        obj("Deployment", "x", "apps/v1", spec=WORKLOAD),
        [{"op": "remove", "path": "/spec/template/spec/containers/0/ports/0"}],
    ),
    "a spread constraint goes": (
        obj("Deployment", "x", "apps/v1", spec=WORKLOAD),
        [{"op": "remove", "path": "/spec/template/spec/topologySpreadConstraints/0"}],
    ),
    "tolerations where there were none": (
        obj("Deployment", "x", "apps/v1", spec=WORKLOAD),
        [{"op": "add", "path": "/spec/template/spec/tolerations",
          "value": [{"operator": "Exists"}]}],
    ),
    "ingress is allowed": (
        obj("NetworkPolicy", "x", NETWORK,
            spec={"podSelector": {}, "policyTypes": ["Ingress"], "ingress": []}),
        [{"op": "add", "path": "/spec/ingress", "value": [{}]}],
    ),
    "the policy selects few": (
        obj("NetworkPolicy", "x", NETWORK,
            spec={"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": []}),
        [{"op": "add", "path": "/spec/podSelector", "value": {"matchLabels": {"a": "b"}}}],
    ),
    "a role may something": (
        obj("Role", "x", RBAC, rules=[]),
        [{"op": "add", "path": "/rules", "value": [GET_PODS]}],
    ),
    "a binding has a subject": (
        obj("RoleBinding", "x", RBAC, subjects=[],
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "x"}),
        [{"op": "add", "path": "/subjects",
          "value": [{"kind": "ServiceAccount", "name": "x", "namespace": "default"}]}],
    ),
    "an empty text is filled": (
        obj("Deployment", "x", "apps/v1", spec={**WORKLOAD, "template": {
            "metadata": {"labels": {"app": "x"}},
            "spec": {"containers": [{"name": "c", "image": "c:1", "workingDir": ""}]}}}),
        [{"op": "add", "path": "/spec/template/spec/containers/0/workingDir", "value": "/srv"}],
    ),
}  # fmt: skip


def said(live: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in live.items() if key not in ("metadata", "status")}


@pytest.mark.parametrize("drift", DRIFTS)
def test_changes_by_another_writer_are_repaired(world: World, drift: str) -> None:
    manifest, patch = DRIFTS[drift]
    id = ObjectId(group_of(manifest["apiVersion"]), manifest["kind"], world.name, "x")

    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, manifest))
        assert (await world.sync(client, manifest)).results == ()
        before = await client.get(id)
        assert before is not None
        await client.patch(id, patch, type="json", manager="somebody")
        changed = await client.get(id)
        assert changed is not None
        assert said(changed) != said(before)
        plan = await world.plan(client, await world.desired(client, manifest))
        assert [action.id for action in plan.write] == [id]
        ok(await world.sync(client, manifest))
        after = await client.get(id)
        assert after is not None
        assert said(after) == said(before)
        assert (await world.sync(client, manifest)).results == ()

    world.run(scenario)


def test_the_last_child_of_a_map_without_a_schema_is_put_back(world: World) -> None:
    definition = crd("Free", f"{world.name}.ex.io")
    spec = {"free": {"deep": {"a": "1"}}, "items": [{"m": {"b": "1"}}]}
    free = obj("Free", "x", f"{world.name}.ex.io/v1", spec=spec)
    id = ObjectId(f"{world.name}.ex.io", "Free", world.name, "x")

    async def scenario(client: KubeClient) -> None:
        for path in ("/spec/free/deep/a", "/spec/free/deep", "/spec/free", "/spec/items/0/m/b"):
            ok(await world.sync(client, definition, free))
            assert (await world.sync(client, definition, free)).results == ()
            await client.patch(id, [{"op": "remove", "path": path}], type="json", manager="other")
            ok(await world.sync(client, definition, free))
            live = await client.get(id)
            assert live is not None
            assert live["spec"] == spec, path

    world.run(scenario)


def test_additions_to_shared_lists_and_maps_are_no_drift(world: World) -> None:
    manifest = obj("Deployment", "x", "apps/v1", spec={**WORKLOAD, "template": {
        "metadata": {"labels": {"app": "x"}, "annotations": {}},
        "spec": {
            "containers": [{"name": "c", "image": "c:1", "env": [], "ports": [], "resources": {}}],
            "securityContext": {}, "imagePullSecrets": [], "nodeSelector": {}}}})  # fmt: skip
    id = ObjectId("apps", "Deployment", world.name, "x")
    more = {
        "metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}},
        "spec": {
            "securityContext": {"runAsUser": 1},
            "imagePullSecrets": [{"name": "theirs"}],
            "containers": [
                {
                    "name": "c",
                    "image": "c:1",
                    "env": [{"name": "A", "value": "b"}],
                    "ports": [{"containerPort": 1}],
                    "resources": {"limits": {"cpu": "1"}},
                }
            ],
        },
    }

    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, manifest))
        await client.patch(id, {"spec": {"template": more}}, manager="somebody")
        assert (await world.sync(client, manifest)).results == ()

    world.run(scenario)


def test_an_aggregated_role_keeps_the_rules_that_its_controller_fills_in(world: World) -> None:
    selectors = {"clusterRoleSelectors": [{"matchLabels": {"into": world.name}}]}
    role = obj("ClusterRole", f"{world.name}-sum", RBAC, aggregationRule=selectors, rules=[])
    part = obj("ClusterRole", f"{world.name}-part", RBAC, labels={"into": world.name},
               rules=[GET_PODS])  # fmt: skip
    id = ObjectId(group_of(RBAC), "ClusterRole", "", f"{world.name}-sum")

    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, role, part))
        rules = None
        while not rules:
            rules = ((await client.get(id)) or {}).get("rules")
        assert rules == [GET_PODS]
        assert (await world.sync(client, role, part)).results == ()
        # Nor does a release that changes something else take them away.
        labelled = obj("ClusterRole", f"{world.name}-sum", RBAC, labels={"a": "b"},
                       aggregationRule=selectors, rules=[])  # fmt: skip
        ok(await world.sync(client, labelled, part))
        live = await client.get(id)
        assert live is not None
        assert live["rules"] == [GET_PODS]
        ok(await world.sync(client))

    world.run(scenario)


def test_nulls_that_a_schema_does_not_allow_are_left_out(world: World) -> None:
    group = f"{world.name}.ex.io"
    text = {"type": "string"}
    schema = {
        "type": "object",
        "properties": {
            "opts": {"type": "object", "properties": {"a": text}},
            "nullable": {**text, "nullable": True, "default": "d"},
            "ports": {"type": "array", "items": {"type": "object", "properties": {"name": text}}},
            "map": {"type": "object", "additionalProperties": text},
        },
    }
    definition = obj(
        "CustomResourceDefinition", f"tanks.{group}", "apiextensions.k8s.io/v1",
        spec={
            "group": group, "scope": "Namespaced", "names": {"kind": "Tank", "plural": "tanks"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {
                "openAPIV3Schema": {"type": "object", "properties": {"spec": schema}}}}]},
    )  # fmt: skip
    spec = {"opts": None, "nullable": None, "ports": [{"name": None}], "map": {"a.b/c": None}}
    tank = obj("Tank", "t", f"{group}/v1", spec=spec)

    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, definition, tank))
        live = await client.get(ObjectId(group, "Tank", world.name, "t"))
        assert live is not None
        assert live["spec"] == {"nullable": None, "ports": [{}], "map": {}}
        assert (await world.sync(client, definition, tank)).results == ()
        world.kubectl("apply", "-f", "-", stdin=json.dumps(tank | {"metadata": {"name": "k"}}))
        theirs = await client.get(ObjectId(group, "Tank", world.name, "k"))
        assert theirs is not None
        assert theirs["spec"] == {**live["spec"], "nullable": "d"}  # kubectl drops this one too

    world.run(scenario)


def test_a_secret_whose_type_or_data_may_not_change_is_recreated(world: World) -> None:
    quiet = {"ocistate.dev/apply": "recreate"}

    def secrets(type_: str, value: str) -> list[dict[str, Any]]:
        data = {"a": value}
        return [
            obj("Secret", "typed", type=type_, stringData=data, annotations=quiet),
            obj("Secret", "fixed", immutable=True, stringData=data, annotations=quiet),
        ]

    async def scenario(client: KubeClient) -> None:
        ok(await world.sync(client, *secrets("Opaque", "b")))
        outcome = ok(
            await world.sync(client, *secrets("ex.io/t", "c"), artifact="sha256:" + "1" * 64)
        )
        assert {each.reason for each in outcome.results if each.id.kind == "Secret"} == {
            "deleted and created again"
        }
        live = await client.get(world.id("Secret", "typed"))
        assert live is not None
        assert (live["type"], live["data"]) == ("ex.io/t", {"a": "Yw=="})

    world.run(scenario)
