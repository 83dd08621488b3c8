"""Another cluster as the target: reached by a kubeconfig in a Secret; down, it hinders no one."""

from __future__ import annotations

import base64
from typing import Any

from testbed.controlplane import ControlPlane
from testbed.kubeapi import Answer
from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import Tenant, World, path_of
from tests.support.factories.stacks import config_map, stack


def edge(other: ControlPlane, team: Tenant) -> dict[str, Any]:
    """The Secret with the other cluster's kubeconfig."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "edge", "namespace": team.namespace},
        "data": {"value": base64.b64encode(embedded(other).encode()).decode()},
    }


def space(team: Tenant) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": team.namespace}}


def test_a_stack_goes_to_the_cluster_of_its_kubeconfig(
    world: World, elsewhere: ControlPlane
) -> None:
    here, there, other = world.tenant(), world.tenant(), elsewhere
    world.apply(edge(other, there))
    first = there.push(space(there), config_map("app", v="1"), config_map("old", v="1"))
    there.create(target={"kubeconfigSecretRef": {"name": "edge"}, "context": "wrong"})
    message = there.wait_condition("Ready", "False", "InvalidConfiguration")
    assert "no context named 'wrong' (it has: ocistate-testbed)" in message
    there.edit(target={"kubeconfigSecretRef": {"name": "edge"}, "context": "ocistate-testbed"})
    there.wait_ready(first)

    def live(name: str = "app") -> Answer:
        path = f"/api/v1/namespaces/{there.namespace}/configmaps/{name}"
        return other.request("GET", path)

    assert live().body["data"] == {"v": "1"}
    assert there.data("app") == {}, "nothing of it is in the agent's own cluster"
    assert live("old").status == 200

    path = f"/api/v1/namespaces/{there.namespace}/configmaps/app?fieldManager=somebody"
    other.request("PUT", path, {**live().body, "data": {"v": "9"}})
    wait_for("drift is repaired there", lambda: live().body.get("data") == {"v": "1"})

    other.apiserver.kill()
    there.push(space(there), config_map("app", v="2"))
    there.wait_condition("Ready", "False", "ClusterUnavailable", seconds=120)
    mine = here.push(config_map("app", v="1"))
    here.create()
    here.wait_ready(mine)
    other.apiserver.start()
    wait_for("it goes on", lambda: live().body.get("data") == {"v": "2"}, seconds=120)
    wait_for("and prunes", lambda: live("old").status == 404)

    there.delete("Stack", "app", "ocistate.dev/v1alpha1")
    there.wait_gone("Stack", "app", "ocistate.dev/v1alpha1")
    wait_for("its objects are gone", lambda: live().status == 404)


def test_a_cluster_s_stacks_choose_neither_contexts_nor_files_of_the_agent(world: World) -> None:
    team = world.tenant()
    obj = stack("app", team.repository, namespace=team.namespace, target={"context": "admin"})
    path = path_of("ocistate.dev/v1alpha1", "Stack", team.namespace)
    answer = world.cluster.request("POST", path, obj)
    assert answer.status == 422, answer.body
    assert "context needs kubeconfigSecretRef" in str(answer.body)

    team.push(config_map("app", v="1"))
    team.create(target={"kubeconfig": "/root/.kube/config"})
    message = team.wait_condition("Ready", "False", "InvalidConfiguration")
    assert "spec.target.kubeconfig" in message
    assert team.data("app") == {}


def test_deletion_uses_the_recorded_target_when_the_spec_is_invalid(
    world: World, elsewhere: ControlPlane
) -> None:
    team, other = world.tenant(), elsewhere
    world.apply(edge(other, team))
    digest = team.push(space(team), config_map("app", v="1"))
    target = {"kubeconfigSecretRef": {"name": "edge"}, "context": "ocistate-testbed"}
    team.create(target=target)
    team.wait_ready(digest)
    assert team.status()["target"] == {
        "kubeconfigSecretRef": {"name": "edge", "key": ""},
        "context": "ocistate-testbed",
    }
    path = f"/api/v1/namespaces/{team.namespace}/configmaps/app"

    team.edit(source={"tag": None, "semver": "not a range"}, target=None)
    team.wait_condition("Ready", "False", "InvalidConfiguration")
    world.agent.kill()  # what the spec said before is known to no one any more
    secret = path_of("v1", "Secret", team.namespace, "edge")
    world.cluster.request("DELETE", secret)
    world.cluster.request("DELETE", team.stack_path())
    world.agent.start()

    wait_for("why it stays", lambda: "cannot be removed" in ready(team))
    assert f"the kubeconfig Secret {team.namespace}/edge does not exist" in ready(team)
    assert "set spec.deletionPolicy to orphan" in ready(team)
    assert other.request("GET", path).status == 200
    world.apply(edge(other, team))
    team.wait_gone("Stack", "app", "ocistate.dev/v1alpha1")
    wait_for("its objects are gone", lambda: other.request("GET", path).status == 404)


def test_a_stack_of_an_unreachable_cluster_can_be_deleted_with_orphan(
    world: World, elsewhere: ControlPlane
) -> None:
    team, other = world.tenant(), elsewhere
    world.apply(edge(other, team))
    digest = team.push(space(team), config_map("app", v="1"))
    team.create(target={"kubeconfigSecretRef": {"name": "edge"}})
    team.wait_ready(digest)

    world.cluster.request("DELETE", path_of("v1", "Secret", team.namespace, "edge"))
    world.agent.kill()  # else it would still know the kubeconfig for some minutes
    world.agent.start()
    team.delete("Stack", "app", "ocistate.dev/v1alpha1")
    wait_for("why it stays", lambda: "cannot be removed" in ready(team))
    team.edit(deletionPolicy="orphan")
    team.wait_gone("Stack", "app", "ocistate.dev/v1alpha1")
    path = f"/api/v1/namespaces/{team.namespace}/configmaps/app"
    assert other.request("GET", path).status == 200


def ready(team: Tenant) -> str:
    return condition(team.status(), "Ready")[2]


def embedded(cluster: ControlPlane) -> str:
    """The administrator's kubeconfig with everything in it, as a Secret must hold it."""
    import yaml

    document = yaml.safe_load(cluster.kubeconfig.read_text())
    for plural, singular in (("clusters", "cluster"), ("users", "user")):
        for each in document[plural]:
            entry = each[singular]
            for name in ("certificate-authority", "client-certificate", "client-key"):
                if name in entry:
                    with open(entry.pop(name), "rb") as file:
                        entry[f"{name}-data"] = base64.b64encode(file.read()).decode()
    return str(yaml.safe_dump(document))
