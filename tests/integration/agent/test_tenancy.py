"""A Stack can do what its service account can, and nothing beyond."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed.tools import ensure
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import (
    NAMESPACE,
    World,
    applier_binding,
    applier_objects,
    path_of,
)
from tests.support.environments.agent_process import AgentProcess
from tests.support.factories.stacks import config_map, policy
from tests.support.factories.workloads import deployment


def test_writes_beyond_the_service_account_are_refused_by_the_api_server(world: World) -> None:
    team, victim = world.tenant(), world.tenant()
    team.push(config_map("mine", v="1"), config_map("theirs", victim.namespace, v="1"))

    team.create()

    message = team.wait_condition("Ready", "False", "ApplyFailed")
    assert f"system:serviceaccount:{team.namespace}:ocistate-applier" in message
    assert "cannot" in message
    assert team.data("mine") == {"v": "1"}
    assert victim.data("theirs") == {}


def test_a_namespace_without_an_applier_gets_nothing(world: World) -> None:
    team = world.tenant(applier=False)
    team.push(config_map("app", v="1"))

    team.create()

    message = team.wait_condition("Ready", "False", "ApplyFailed")
    assert "ocistate-applier" in message
    assert team.data("app") == {}


def test_an_account_the_agent_may_not_act_as_is_refused(world: World) -> None:
    team = world.tenant()
    team.push(config_map("app", v="1"))

    team.create(serviceAccountName="default")

    message = team.wait_condition("Ready", "False", "ApplyFailed")
    assert "impersonate" in message
    assert team.data("app") == {}


def test_secrets_of_another_namespace_are_out_of_reach(world: World) -> None:
    team, victim = world.tenant(), world.tenant()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "regcred", "namespace": victim.namespace},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64.b64encode(b'{"auths":{}}').decode()},
    }
    world.apply(secret)
    digest = team.push(config_map("app", v="1"))

    team.create(source={"pullSecretRef": {"name": "regcred"}})
    message = team.wait_condition("Ready", "False", "InvalidConfiguration")
    assert f"{team.namespace}/regcred does not exist" in message

    secret["metadata"] = {"name": "regcred", "namespace": team.namespace}
    world.apply(secret)
    team.wait_ready(digest)


def test_a_secret_is_read_with_the_rights_of_the_stacks_own_account(world: World) -> None:
    team = world.tenant(role="view")  # which includes no Secrets
    team.push(config_map("app", v="1"))

    team.create(source={"pullSecretRef": {"name": "regcred"}})

    message = team.wait_condition("Ready", "False")
    assert "secrets" in message
    assert "ocistate-applier" in message


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"source": {"repository": "layout:/var/lib/ocistate/content"}}, "spec.source.repository"),
        ({"target": {"directory": "/etc"}}, "spec.target.directory"),
    ],
)
def test_the_agents_own_files_are_out_of_reach(
    world: World, spec: dict[str, Any], field: str
) -> None:
    team = world.tenant()
    team.push(config_map("app", v="1"))

    team.create(**spec)

    assert field in team.wait_condition("Ready", "False", "InvalidConfiguration")


def test_kinds_that_the_agent_may_not_list_are_applied_and_reported(world: World) -> None:
    team = world.tenant()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "token"},
        "stringData": {"key": "1"},
    }
    digest = team.push(secret, config_map("app", v="1"))

    team.create()
    team.wait_ready(digest)

    assert team.get("Secret", "token") is not None
    message = team.wait_condition("Healthy", "True")
    assert "may not list Secret" in message
    assert "ocistate.dev/aggregate-to-agent-view" in message


def test_stacks_that_wait_for_each_other_are_named(world: World) -> None:
    team, other = world.tenant(), world.tenant()
    team.push(config_map("app", v="1"))
    other.push(config_map("app", v="1"))
    team.create("a", dependsOn=[{"name": "b", "namespace": other.namespace}])
    team.wait_condition("Ready", "False", "DependencyNotReady", name="a")

    other.create("b", dependsOn=[{"name": "a", "namespace": team.namespace}])

    a, b = f"{team.namespace}/a", f"{other.namespace}/b"
    assert f"{a} → {b} → {a}" in team.wait_condition("Ready", "False", "DependencyCycle", name="a")
    assert f"{b} → {a} → {b}" in other.wait_condition("Ready", "False", "DependencyCycle", name="b")
    other.edit("b", dependsOn=None)
    other.wait_ready(name="b")
    team.wait_ready(name="a")


def test_objects_change_hands_when_both_sides_say_so_and_live_on(world: World) -> None:
    team = world.tenant()
    team.push(config_map("moves", v="1"), config_map("stays", v="1"))
    giver = {"name": "app"}
    team.create()
    team.wait_ready()
    before = team.get("ConfigMap", "moves") or {}
    team.push(config_map("moves", v="2"), tag="heir")

    team.create("heir", source={"tag": "heir"}, adoptFrom=[giver])
    message = team.wait_condition("Ready", "False", "ApplyFailed", name="heir")
    assert "belongs to another Stack" in message
    assert team.data("moves") == {"v": "1"}, "one side alone is not enough"

    team.edit(handOverTo=[{"name": "heir"}])
    team.wait_ready(name="heir")
    team.wait_data("moves", v="2")
    team.wait_ready()  # though its artifact still has it

    second = team.push(config_map("stays", v="2"))
    team.wait_ready(second)
    after = team.get("ConfigMap", "moves") or {}
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["data"] == {"v": "2"}
    team.delete("Stack", "app", "ocistate.dev/v1alpha1")
    team.wait_gone("ConfigMap", "stays")
    assert team.data("moves") == {"v": "2"}


def test_objects_relabelled_by_a_tenant_are_not_given_away(world: World) -> None:
    thief, victim = world.tenant(role="cluster-admin"), world.tenant()
    victim.push(config_map("app", v="1"))
    victim.create()
    victim.wait_ready()
    # Even with the right to write there, and the victim's name in its own spec.
    world.apply(*applier_binding(thief.namespace, victim.namespace))
    thief.push(config_map("app", victim.namespace, v="9"))

    thief.create(
        adoptFrom=[{"name": "app", "namespace": victim.namespace}],
        handOverTo=[{"name": "app", "namespace": victim.namespace}],
    )

    message = thief.wait_condition("Ready", "False", "ApplyFailed")
    assert "belongs to another Stack" in message
    assert victim.data("app") == {"v": "1"}


def test_an_agent_for_one_namespace_has_no_right_outside_and_needs_none(
    world: World, tmp_path: Path
) -> None:
    assert world.agent.terminate() == 0  # else it would do the other one's work
    team, victim = world.tenant(applier=False), world.tenant()
    printed = subprocess.run(
        [
            *(sys.executable, "-m", "ocistate", "install", "-n", team.namespace, "-o", "json"),
            *("--namespaced", "--applier=admin"),
        ],
        check=True,
        capture_output=True,
    )
    objects = json.loads(printed.stdout)["items"]
    assert {obj["metadata"].get("namespace") for obj in objects} == {team.namespace}
    world.apply(*objects)
    trust = tmp_path / "trust"
    trust.mkdir()
    arguments = ["--policies", str(trust), "--namespace", team.namespace]
    kubeconfig = world.cluster.kubeconfig_for(team.namespace, "ocistate-agent")
    agent = AgentProcess(
        [*arguments, "--kubeconfig", str(kubeconfig), "--state", str(tmp_path / "state")],
        tmp_path / "agent.log",
    )
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": f"sneaky-{team.namespace}"},
    }
    good = [config_map("app", v="1"), deployment()]
    with agent:
        first = team.push(*good)
        team.create(dependsOn=[])
        team.wait_condition("Ready", "False", "NoTrustPolicy")
        (trust / "policy.yaml").write_text(json.dumps(policy(world.key)))
        team.wait_ready(first)
        team.change("app", {"data": {"v": "9"}})
        team.wait_data("app", v="1")
        team.delete("ConfigMap", "app")
        team.wait_data("app", v="1")

        team.push(*good, config_map("theirs", victim.namespace, v="1"), role)
        message = team.wait_condition("Ready", "False", "ApplyFailed")
        assert "2 of 4 objects failed" in message
        assert f"the namespace {team.namespace}" in message
        assert victim.data("theirs") == {}
        team.push(config_map("app", v="3"))
        team.wait_ready()
        team.wait_gone("Deployment", "web", "apps/v1")
        team.delete("Stack", "app", "ocistate.dev/v1alpha1")
        team.wait_gone("Stack", "app", "ocistate.dev/v1alpha1")
        team.wait_gone("ConfigMap", "app")
        assert agent.terminate() == 0
    refused = [line for line in agent.lines() if "forbidden" in line["message"]]
    assert refused == [], "what install prints is all it needs"


def test_namespaced_agents_from_install_share_work_by_leases(world: World, tmp_path: Path) -> None:
    world.agent.kill()  # else it would do the others' work
    team = world.tenant(applier=False)
    install = [sys.executable, "-m", "ocistate", "install", "-n", team.namespace, "-o", "json"]
    options = ["--namespaced", "--applier=admin", "--replicas=2", "--shards=2"]
    printed = subprocess.run([*install, *options], check=True, capture_output=True)
    objects = json.loads(printed.stdout)["items"]
    assert {obj["metadata"].get("namespace") for obj in objects} == {team.namespace}
    (printed_deployment,) = (obj for obj in objects if obj["kind"] == "Deployment")
    (container,) = printed_deployment["spec"]["template"]["spec"]["containers"]
    assert "--shards=2" in container["args"]
    # Their rights, and not the pods themselves, which no kubelet here would run.
    world.apply(*(obj for obj in objects if obj["kind"] != "Deployment"))
    (trust := tmp_path / "trust").mkdir()
    (trust / "policy.yaml").write_text(json.dumps(policy(world.key)))
    kubeconfig = world.cluster.kubeconfig_for(team.namespace, "ocistate-agent")
    agents = [
        AgentProcess(
            [
                *("--namespace", team.namespace, "--policies", str(trust)),
                *("--kubeconfig", str(kubeconfig), "--state", str(tmp_path / name)),
                *("--shards", "2", "--lease-seconds", "3"),
            ],
            tmp_path / f"{name}.log",
            env={"HOSTNAME": name},
        )
        for name in ("one", "other")
    ]
    leases = path_of("coordination.k8s.io/v1", "Lease", team.namespace)

    def holders() -> list[str]:
        """Which agent has each shard."""
        found = world.cluster.request("GET", leases).body["items"]
        shard = [o["spec"] for o in found if "shard" in o["metadata"]["name"]]
        return sorted(str(each.get("holderIdentity")).rpartition("-")[0] for each in shard)

    names = [f"app-{number}" for number in range(6)]

    def push(version: str) -> None:
        for name in names:
            team.push(config_map(name, v=version), tag=name)

    one, other = agents
    push("1")
    for name in names:
        team.create(name, source={"tag": name})
    with one:
        wait_for("one has all", lambda: holders() == ["one"] * 2)
        with other:
            wait_for("shared", lambda: holders() == ["one", "other"])
            for name in names:
                team.wait_ready(name=name)
            one.kill()
            push("2")
            for name in names:
                team.wait_data(name, v="2")
            wait_for("the other one has all", lambda: holders() == ["other"] * 2)
            one.start()
            wait_for("shared again", lambda: holders() == ["one", "other"])
            assert other.terminate() == 0
            push("3")
            for name in names:
                team.wait_data(name, v="3")
            for name in names:
                team.delete("Stack", name, "ocistate.dev/v1alpha1")
            for name in names:
                team.wait_gone("Stack", name, "ocistate.dev/v1alpha1")
                team.wait_gone("ConfigMap", name)
            assert one.terminate() == 0
    assert set(holders()) <= {"", "None"}, "who stops lets its Leases go"
    for agent in agents:
        lines = [line["message"] for line in agent.lines()]
        assert not [m for m in lines if "forbidden" in m or "unexpectedly" in m]


def test_tenants_may_edit_stacks_where_they_may_edit(world: World) -> None:
    team = world.tenant(applier=False)
    account = {"name": "dev", "namespace": team.namespace}
    world.apply(*applier_objects(team.namespace, "edit", "dev"))
    client = str(world.cluster.kubeconfig_for(account["namespace"], account["name"]))
    env = {**os.environ, "KUBECONFIG": client}
    kubectl = str(ensure("kubectl")["kubectl"])

    def may(verb: str, what: str, namespace: str, *more: str) -> bool:
        command = [kubectl, "auth", "can-i", verb, what, "-n", namespace, *more]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        return done.stdout.strip() == "yes"

    wait_for("the roles aggregated", lambda: may("create", "stacks.ocistate.dev", team.namespace))
    assert not may("create", "stacks.ocistate.dev", NAMESPACE)
    assert not may("create", "trustpolicies.ocistate.dev", "")
    assert not may("patch", "stacks.ocistate.dev", team.namespace, "--subresource=status")
