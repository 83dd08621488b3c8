"""Manifests of real projects that once went wrong, all in one Stack: applied, repaired, released.

Others of the kind have tests of their own: objects that vanish (`test_vanishing`), kinds that are
silent and claims that wait (`test_healthy_later`), kinds that cannot be listed (`test_unlisted`),
what stays of a deleted Stack (`test_released_objects`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from testbed.tools import ensure
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import Tenant, World
from tests.support.factories.objects import obj
from tests.support.factories.workloads import may_be_seen

GROUP = "cases.example.com"
RECREATE = {"ocistate.dev/apply": "recreate"}


def workload(name: str, env: list[Any], **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "c", "image": "nginx:1", "env": env}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    selector = {"matchLabels": labels}
    return obj(
        "Deployment", name, "apps/v1", spec={"selector": selector, "template": template, **spec}
    )


def tank() -> list[dict[str, Any]]:
    """A custom resource with a null that its schema does not allow."""
    text = {"type": "object", "properties": {"a": {"type": "string"}}}
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"opts": text}}},
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "Tank", "plural": "tanks", "singular": "tank"}
    spec = {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]}
    definition = obj(
        "CustomResourceDefinition", f"tanks.{GROUP}", "apiextensions.k8s.io/v1", spec=spec
    )
    return [definition, obj("Tank", "tank", f"{GROUP}/v1", spec={"opts": None})]


def release(version: int) -> list[dict[str, Any]]:
    secret_type = "Opaque" if version == 1 else "example.com/t"
    data = {"a": "b" if version == 1 else "c"}
    return [
        obj("NetworkPolicy", "deny", "networking.k8s.io/v1",
            spec={"podSelector": {}, "policyTypes": ["Ingress"], "ingress": []}),
        obj("Service", "h3", spec={"selector": {"app": "h3"}, "ports": [
            {"name": "https", "port": 443, "targetPort": 8443},
            {"name": "quic", "port": 443, "targetPort": 8443, "protocol": "UDP"}]}),
        workload("st", [], **({} if version == 1 else {"strategy": {"type": "Recreate"}})),
        workload("mig", [
            {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
        obj("Secret", "typed", annotations=RECREATE, type=secret_type, stringData=data),
        obj("Secret", "fixed", annotations=RECREATE, immutable=True, stringData=data),
        *tank(),
    ]  # fmt: skip


def test_known_difficult_manifests_are_applied_repaired_and_upgraded(world: World) -> None:
    world.apply(may_be_seen("see-cases", GROUP, "*"))
    team = world.tenant(everywhere=True)
    before = workload("mig", [{"name": "A", "value": "x"}])
    kubectl(world, team, "apply", "-f", "-", given=before)

    first = team.push(*release(1))
    team.create()
    team.wait_ready(first)

    container = seen(team, "Deployment", "mig", "apps/v1")["template"]["spec"]["containers"][0]
    assert container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert "value" not in container["env"][0]
    assert seen(team, "Tank", "tank", f"{GROUP}/v1") == {}

    others_write(world, team)
    difference = tool(world, team, "diff", "--live", "--stack", "app")
    assert (difference.returncode, difference.stdout) == (0, ""), difference.stderr

    uids = {name: uid(team, name) for name in ("typed", "fixed")}
    second = team.push(*release(2))
    team.wait_ready(second)
    assert seen(team, "Deployment", "st", "apps/v1")["strategy"] == {"type": "Recreate"}
    assert (team.get("Secret", "typed") or {})["type"] == "example.com/t"
    for name, old in uids.items():
        assert uid(team, name) != old
        assert (team.get("Secret", name) or {})["data"] == {"a": "Yw=="}


def others_write(world: World, team: Tenant) -> None:
    """Another manager opens the policy and takes a port away: both come back by themselves."""
    kubectl(world, team, "patch", "networkpolicy", "deny", "--type=json",
            given=[{"op": "add", "path": "/spec/ingress", "value": [{}]}])  # fmt: skip
    wait_for(
        "the policy denies again",
        lambda: not seen(team, "NetworkPolicy", "deny", "networking.k8s.io/v1").get("ingress"),
        seconds=5,
    )
    kubectl(world, team, "patch", "service", "h3", "--type=json",
            given=[{"op": "remove", "path": "/spec/ports/0"}])  # fmt: skip
    wait_for(
        "both ports", lambda: len(seen(team, "Service", "h3").get("ports", ())) == 2, seconds=5
    )
    team.wait_ready()


def seen(team: Tenant, kind: str, name: str, api_version: str = "v1") -> dict[str, Any]:
    """The spec of an object as it is now."""
    if kind == "NetworkPolicy":
        path = f"/apis/{api_version}/namespaces/{team.namespace}/networkpolicies/{name}"
        spec: dict[str, Any] = team.world.cluster.request("GET", path).body["spec"]
        return spec
    return (team.get(kind, name, api_version) or {}).get("spec") or {}


def uid(team: Tenant, name: str) -> str:
    return str((team.get("Secret", name) or {})["metadata"]["uid"])


def kubectl(world: World, team: Tenant, *arguments: str, given: Any) -> None:
    text = json.dumps(given)
    more = ["--patch", text] if arguments[0] == "patch" else []
    done = subprocess.run(
        [
            str(ensure("kubectl")["kubectl"]),
            f"--kubeconfig={world.cluster.kubeconfig}",
            f"--namespace={team.namespace}",
            *(*arguments, *more),
        ],
        input=text,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def tool(world: World, team: Tenant, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "ocistate", *arguments),
            *("--kubeconfig", str(world.cluster.kubeconfig), "-n", team.namespace),
        ],
        capture_output=True,
        text=True,
    )
