"""A cluster whose etcd is restored from a snapshot is made equal again, and its status true."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.controlplane import ControlPlane
from testbed.process import free_port
from testbed.registries import Distribution
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import NAMESPACE, World, install
from tests.support.environments.agent_process import AgentProcess
from tests.support.factories.keys import Key
from tests.support.factories.stacks import config_map, policy
from tests.support.fakes.relay import Relay


@pytest.fixture(scope="module")
def world(
    elsewhere: ControlPlane, registry: Distribution, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A cluster without controllers: those would have to be restarted after the restore, too."""
    folder: Path = tmp_path_factory.mktemp("restored")
    key, port = Key.make(), free_port()
    printed = subprocess.run(
        [sys.executable, "-m", "ocistate", "install", "-n", NAMESPACE, "-o", "json"],
        check=True,
        capture_output=True,
    )
    install(elsewhere, json.loads(printed.stdout)["items"])
    with Relay(elsewhere.port) as relay:
        path = folder / "kubeconfig.yaml"
        # As the administrator: no controller puts the agent's rights together here.
        text = elsewhere.kubeconfig.read_text()
        path.write_text(text.replace(elsewhere.server, f"https://127.0.0.1:{relay.port}"))
        agent = AgentProcess(
            [
                *("--kubeconfig", str(path), "--state", str(folder / "state")),
                *("--listen", f"127.0.0.1:{port}"),
            ],
            folder / "agent.log",
        )
        world = World(
            cluster=elsewhere, registry=registry, key=key, agent=agent, relay=relay, port=port
        )
        world.apply(policy(key))
        with agent:
            yield world


def keep(cluster: ControlPlane, snapshot: Path) -> None:
    cluster.etcd.stop()
    shutil.copytree(cluster.folder / "etcd", snapshot)
    cluster.etcd.start()


def restore(cluster: ControlPlane, snapshot: Path) -> None:
    """As the documents of etcd say, but without a bump of the revision."""
    cluster.apiserver.stop()
    cluster.etcd.stop()
    shutil.rmtree(cluster.folder / "etcd")
    shutil.copytree(snapshot, cluster.folder / "etcd")
    cluster.etcd.start()
    cluster.apiserver.start()


def test_objects_are_repaired_after_etcd_is_restored(world: World, tmp_path: Path) -> None:
    snapshot = tmp_path / "etcd"
    team = world.tenant()
    names = ("same", "edited", "dropped")
    team.push(*(config_map(name, v="1") for name in names))
    team.create(source={"interval": "1h"})
    team.wait_ready()
    keep(world.cluster, snapshot)
    wait_for("the API server", lambda: world.cluster.request("GET", "/readyz").status == 200)

    second = team.push(
        config_map("same", v="1"), config_map("edited", v="2"), config_map("new", v="2")
    )
    world.merge(team.stack_path(), {"metadata": {"annotations": {"ocistate.dev/reconcile": "1"}}})
    team.wait_ready(second)
    team.wait_gone("ConfigMap", "dropped")
    for number in range(60):  # the new world must not soon get to where the old one was
        team.change("same", {"metadata": {"annotations": {"n": str(number)}}})

    os.kill(world.agent.pid, signal.SIGSTOP)
    try:
        restore(world.cluster, snapshot)
        assert team.data("edited") == {"v": "1"}
        assert team.get("ConfigMap", "new") is None
    finally:
        os.kill(world.agent.pid, signal.SIGCONT)

    # The interval is an hour: nothing but the restore itself may bring it.
    team.wait_data("edited", v="2")
    team.wait_data("new", v="2")
    team.wait_gone("ConfigMap", "dropped")
    team.wait_ready(second)
    # It may have written the Stack meanwhile: then nothing of it is earlier than what was seen.
    wait_for(
        "the Stacks read again",
        lambda: "watching Stack continues" in world.agent.log.read_text(),
    )
    team.wait_ready(second)

    # What is watched from now on is of the new world.
    team.change("edited", {"data": {"v": "9"}})
    team.wait_data("edited", v="2")
    assert world.agent.running
