"""What `ocistate install` prints is what a cluster takes."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from testbed.controlplane import ControlPlane
from testbed.kubeapi import Answer
from testbed.tools import ensure
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import NAMESPACE, World


def printed(*arguments: str) -> str:
    command = [sys.executable, "-m", "ocistate", "install", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("-n", NAMESPACE),
        ("-n", NAMESPACE, "--applier=cluster-admin", "--read-secrets", "--service-account=ci"),
        ("-n", NAMESPACE, "--replicas=3", "--shards=6", "--webhooks", "--policy-secret=keys"),
        ("-n", NAMESPACE, "--namespaced", "--applier=admin", "--read-secrets", "--replicas=2"),
    ],
)
def test_the_api_server_accepts_every_object(
    installed: ControlPlane, arguments: tuple[str, ...]
) -> None:
    kubectl = ensure("kubectl")["kubectl"]
    done = subprocess.run(
        [
            str(kubectl),
            f"--kubeconfig={installed.kubeconfig}",
            *("apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", "-"),
        ],
        input=printed(*arguments),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr


def test_the_agents_pod_satisfies_the_restricted_pod_security_standard(world: World) -> None:
    def pods() -> list[dict[str, object]]:
        answer = world.cluster.request("GET", f"/api/v1/namespaces/{NAMESPACE}/pods")
        items: list[dict[str, object]] = answer.body["items"]
        return items

    # The namespace enforces the standard: a pod that does not satisfy it is never made.
    wait_for("the agent's pod", pods)


@pytest.mark.parametrize(
    "arguments", [(), ("--replicas=3", "--cluster=east"), ("--namespaced", "--webhooks")]
)
def test_the_agents_pod_is_admitted_under_restricted_pod_security(
    installed: ControlPlane, arguments: tuple[str, ...]
) -> None:
    space = installed.request("GET", f"/api/v1/namespaces/{NAMESPACE}").body
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    items = json.loads(printed("-n", NAMESPACE, *arguments, "-o", "json"))["items"]
    template = items[-1]["spec"]["template"]

    def admit(pod: dict[str, Any]) -> Answer:
        pod = {"apiVersion": "v1", "kind": "Pod", **pod}
        pod["metadata"] = {**pod["metadata"], "generateName": "agent-"}
        return installed.request("POST", f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All", pod)

    answer = admit(template)
    assert answer.status == 201, answer.body

    def without(pod: dict[str, Any], where: str, key: str) -> dict[str, Any]:
        laxer = copy.deepcopy(pod)
        spec = laxer["spec"]
        holder = spec if where == "pod" else spec["containers"][0]
        del holder["securityContext"][key]
        return laxer

    for where, key in (
        ("pod", "runAsNonRoot"),
        ("pod", "seccompProfile"),
        ("container", "capabilities"),
        ("container", "allowPrivilegeEscalation"),
    ):
        answer = admit(without(template, where, key))
        assert answer.status == 403, (key, answer.body)
        assert "restricted" in answer.body["message"]


def test_several_agents_are_spread_and_drained_one_by_one() -> None:
    def kinds(*arguments: str) -> dict[str, dict[str, Any]]:
        items = json.loads(printed(*arguments, "-o", "json"))["items"]
        return {obj["kind"]: obj for obj in items}

    one, three = kinds(), kinds("--replicas=3")
    assert "PodDisruptionBudget" not in one
    pod = three["Deployment"]["spec"]["template"]
    selector = three["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
    assert selector.items() <= pod["metadata"]["labels"].items()
    (spread,) = pod["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"] == {"matchLabels": selector}


def test_crds_only_prints_the_crds_and_roles() -> None:
    objects = json.loads(printed("--crds-only", "-o", "json"))["items"]
    assert [obj["metadata"]["name"] for obj in objects] == [
        "stacks.ocistate.dev",
        "trustpolicies.ocistate.dev",
        "ocistate-edit-stacks",
        "ocistate-view-stacks",
    ]


def test_get_and_kubectl_show_what_runs(world: World) -> None:
    from tests.support.factories.stacks import config_map

    team = world.tenant()
    digest = team.push(config_map("app", v="1"))
    team.create()
    team.wait_ready(digest)
    env = {**os.environ, "KUBECONFIG": str(world.cluster.kubeconfig)}

    command = [sys.executable, "-m", "ocistate", "get", "-n", team.namespace]
    table = subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
    rows = json.loads(
        subprocess.run(
            [*command, "-o", "json"], check=True, capture_output=True, text=True, env=env
        ).stdout
    )
    kubectl = str(ensure("kubectl")["kubectl"])
    shown = subprocess.run(
        [kubectl, "get", "stacks", "-n", team.namespace],
        check=True,
        capture_output=True,
        text=True,
        env=env,
    ).stdout

    assert digest[:19] in table
    assert rows[0]["digest"] == digest
    assert rows[0]["ready"]["status"] == "True"
    assert digest in shown
    assert "True" in shown
