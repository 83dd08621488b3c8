"""One agent beside many clusters: Stacks from files, each for the context that it names."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from testbed.controlplane import ControlPlane
from testbed.process import free_port
from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.command import ocistate
from tests.support.environments.agent import World
from tests.support.environments.agent_process import AgentProcess
from tests.support.factories.stacks import config_map, policy, stack

MANY = 10
"""More Stacks than the agent has workers for each cluster."""


def merged(path: Path, planes: dict[str, ControlPlane]) -> Path:
    """A kubeconfig with a context for each control plane, and one that leads nowhere."""
    document: dict[str, Any] = {"current-context": "here", "contexts": []}
    document |= {"clusters": [], "users": []}
    for name, plane in planes.items():
        own = json.loads(plane.kubeconfig.read_text())
        document["clusters"].append({**own["clusters"][0], "name": name})
        document["users"].append({**own["users"][0], "name": name})
        document["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
    nowhere = {"server": f"https://127.0.0.1:{free_port()}"}
    document["clusters"].append({"name": "nowhere", "cluster": nowhere})
    context = {"cluster": "nowhere", "user": "here"}
    document["contexts"].append({"name": "nowhere", "context": context})
    path.write_text(yaml.safe_dump(document))
    return path


class Hub:
    """An agent, its files, and what it says."""

    def __init__(self, world: World, edge: ControlPlane, folder: Path) -> None:
        self.world, self.edge, self.folder = world, edge, folder
        self.home, self.far = world.tenant(applier=False), world.tenant(applier=False)
        kubeconfig = merged(folder / "kubeconfig", {"here": world.cluster, "edge": edge})
        self.port = free_port()
        self.file, self.state = folder / "stacks.yaml", folder / "state"
        self.agent = AgentProcess(
            [
                *("--stacks", str(self.file), "--state", str(self.state)),
                *("--kubeconfig", str(kubeconfig), "--listen", f"127.0.0.1:{self.port}"),
            ],
            folder / "agent.log",
        )

    def declare(self, *stacks: dict[str, Any]) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(yaml.safe_dump_all([policy(self.world.key), *stacks]))
        new.replace(self.file)

    def at_home(self) -> dict[str, Any]:
        return stack("home", self.home.repository, namespace=self.home.namespace)

    def at_edge(self, number: int) -> dict[str, Any]:
        obj = stack(f"far-{number}", f"{self.far.repository}-{number}", target={"context": "edge"})
        obj["spec"]["namespace"] = self.far.namespace
        return obj

    def push_far(self, version: str) -> None:
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.far.namespace}}
        for number in range(MANY):
            publisher = type(self.far.publisher)(
                f"{self.far.repository}-{number}", self.far.publisher.key
            )
            first = [space] if number == 0 else []
            publisher.push([*first, config_map(f"app-{number}", v=version)])

    def far_holds(self, version: str, count: int = MANY) -> bool:
        path = f"/api/v1/namespaces/{self.far.namespace}/configmaps"
        found = self.edge.request("GET", path).body.get("items") or []
        data = {each["metadata"]["name"]: each.get("data") for each in found}
        return data == {f"app-{number}": {"v": version} for number in range(count)}

    def ready(self, name: str, namespace: str = "default") -> tuple[str, str, str]:
        path = self.state / "stacks" / f"{namespace}.{name}.json"
        try:
            return condition(json.loads(path.read_bytes())["status"], "Ready")
        except FileNotFoundError:
            return "", "", ""

    def metric(self, line: str) -> bool:
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as reply:
            return line in reply.read().decode().splitlines()


@pytest.fixture
def hub(world: World, elsewhere: ControlPlane, tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(world, elsewhere, tmp_path)
    yield hub
    hub.agent.kill()


def test_each_stack_goes_to_its_context_and_no_cluster_waits_for_another(hub: Hub) -> None:
    far = [hub.at_edge(number) for number in range(MANY)]
    hub.home.push(config_map("app", v="1"))
    hub.push_far("1")
    hub.declare(
        hub.at_home(),
        *far,
        stack("lost", hub.home.repository, target={"context": "missing"}),
        stack("dead", hub.home.repository, target={"context": "nowhere"}),
        stack("file", hub.home.repository, target={"kubeconfig": "absent.yaml"}),
    )
    with hub.agent:
        hub.home.wait_data("app", v="1")
        wait_for("all is at the edge", lambda: hub.far_holds("1"), seconds=60)
        assert hub.home.get("ConfigMap", "app-0") is None

        def wait_ready(name: str, reason: str) -> str:
            wait_for(f"{name} {reason}", lambda: hub.ready(name)[1] == reason, seconds=60)
            return hub.ready(name)[2]

        lost = wait_ready("lost", "InvalidConfiguration")
        assert "Stack default/lost: spec.target.context" in lost
        assert "no context named 'missing' (it has: here, edge, nowhere)" in lost
        assert f"{hub.folder}/absent.yaml: No such file" in wait_ready(
            "file", "InvalidConfiguration"
        )
        assert "nowhere (https://127.0.0.1:" in wait_ready("dead", "ClusterUnavailable")
        assert hub.metric('ocistate_target_reachable{target="edge"} 1.0')
        assert hub.metric('ocistate_target_reachable{target="nowhere"} 0.0')

        # All workers of the edge wait for its answer.
        hub.edge.apiserver.pause()
        hub.push_far("2")
        wait_for(
            "workers wait",
            lambda: any(
                hub.metric(f'ocistate_queue{{state="running"}} {count}.0') for count in (8, 9, 10)
            ),
            seconds=60,
        )
        hub.home.push(config_map("app", v="2"))
        hub.home.wait_data("app", v="2")
        hub.edge.apiserver.resume()
        wait_for("the edge follows", lambda: hub.far_holds("2"), seconds=60)

        # Nothing is due: that it is gone is noticed all the same.
        hub.edge.apiserver.kill()
        wait_ready("far-3", "ClusterUnavailable")
        wait_for("seen", lambda: hub.metric('ocistate_target_reachable{target="edge"} 0.0'))
        down = [line for line in hub.agent.lines() if "the target cluster edge" in line["message"]]
        assert "edge" in {line.get("target") for line in down}
        hub.edge.apiserver.start()
        wait_ready("far-3", "Ready")

        rows = json.loads(ocistate("get", "--state", hub.state, "-o", "json").out)
        assert {row["targetName"] for row in rows if row["name"] == "far-3"} == {"edge"}
        shown = ocistate("get", "--state", hub.state).out
        assert "TARGET" in shown.splitlines()[0]
        assert "Target:  edge" in ocistate("status", "far-3", "--state", hub.state).out

        hub.declare(hub.at_home(), *far[:4])
        wait_for("the others are taken away", lambda: hub.far_holds("2", 4), seconds=60)
        assert hub.agent.terminate() == 0


def test_once_names_missing_rights_and_namespaces(hub: Hub) -> None:
    """A context whose user may do nothing, and a namespace that is not there."""
    user = hub.world.cluster.kubeconfig_for(hub.home.namespace, "default")
    hub.home.push(config_map("app", v="1"))
    hub.declare(
        stack("mute", hub.home.repository, target={"kubeconfig": str(user)}),
        stack("astray", hub.home.repository, namespace="not-there"),  # the Stack's is the default
    )
    command = [sys.executable, "-m", "ocistate", "agent", "--once", *hub.agent.arguments[:6]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    mute, astray = hub.ready("mute"), hub.ready("astray", "not-there")
    assert mute[1] == astray[1] == "ApplyFailed"
    assert "forbidden" in mute[2]
    assert 'namespaces "not-there" not found' in astray[2]


def test_a_token_file_that_was_renewed_is_read_again(hub: Hub) -> None:
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "hub", "namespace": hub.home.namespace},
    }
    hub.world.apply(
        account,
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"hub-{hub.home.namespace}"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [
                {"kind": "ServiceAccount", "name": "hub", "namespace": hub.home.namespace}
            ],
        },
    )

    def renew() -> Path:
        own = hub.world.cluster.kubeconfig_for(hub.home.namespace, "hub")
        document = json.loads(own.read_text())
        token = hub.folder / "token"
        token.write_text(document["users"][0]["user"].pop("token") + "\n")
        document["users"][0]["user"]["tokenFile"] = "token"  # beside the kubeconfig
        path = hub.folder / "renewed.yaml"
        path.write_text(json.dumps(document))
        return path

    hub.home.push(config_map("app", v="1"))
    target = {"kubeconfig": str(renew())}
    space = hub.home.namespace
    hub.declare(stack("app", hub.home.repository, namespace=space, target=target))
    with hub.agent:
        hub.home.wait_data("app", v="1")
        old = (hub.folder / "token").read_text().strip()
        hub.home.delete("ServiceAccount", "hub")
        # The API server believes a token for some seconds more.
        request = hub.world.cluster.request
        wait_for("revoked", lambda: request("GET", "/api", token=old).status == 401)
        digest = hub.home.push(config_map("app", v="2"))
        wait_for("refused", lambda: "credentials" in hub.ready("app", space)[2], seconds=60)
        hub.world.apply(account)
        renew()
        wait_for("it goes on", lambda: hub.home.data("app") == {"v": "2"}, seconds=60)
        wait_for("ready", lambda: digest in hub.ready("app", space)[2], seconds=60)
