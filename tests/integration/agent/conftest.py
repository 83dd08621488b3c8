"""One control plane, one registry and one agent for all tests of this folder.

The agent has the rights that `ocistate install` prints, and none beside.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from testbed.controlplane import ControlPlane
from testbed.process import free_port
from testbed.registries import Distribution
from tests.support.environments.agent import NAMESPACE, WEBHOOK_SECRET, World, install
from tests.support.environments.agent_process import AgentProcess
from tests.support.factories.keys import Key
from tests.support.factories.stacks import policy
from tests.support.fakes.relay import Relay


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[ControlPlane]:
    """Another cluster, without controllers."""
    with ControlPlane(controllers=False, nodes=0) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def registry() -> Iterator[Distribution]:
    with Distribution() as running:
        yield running


@pytest.fixture(scope="session")
def installed(control_plane: ControlPlane) -> ControlPlane:
    """The control plane with everything that `ocistate install` prints applied."""
    printed = subprocess.run(
        [sys.executable, "-m", "ocistate", "install", "-n", NAMESPACE, "-o", "json"],
        check=True,
        capture_output=True,
    )
    install(control_plane, json.loads(printed.stdout)["items"])
    return control_plane


@pytest.fixture(scope="session")
def world(
    installed: ControlPlane, registry: Distribution, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("agent")
    key, port = Key.make(), free_port()
    with Relay(installed.port) as relay:
        kubeconfig = folder / "kubeconfig.yaml"
        kubeconfig.write_text(
            installed.kubeconfig_for(NAMESPACE, "ocistate-agent")
            .read_text()
            .replace(installed.server, f"https://127.0.0.1:{relay.port}")
        )
        agent = AgentProcess(
            [
                *("--kubeconfig", str(kubeconfig), "--state", str(folder / "state")),
                *("--listen", f"127.0.0.1:{port}"),
            ],
            folder / "agent.log",
            env={"OCISTATE_WEBHOOK_SECRET": WEBHOOK_SECRET},
        )
        world = World(
            cluster=installed, registry=registry, key=key, agent=agent, relay=relay, port=port
        )
        world.apply(policy(key))
        with agent:
            yield world


@pytest.fixture(autouse=True)
def agent_runs(world: World) -> Iterator[None]:
    """Every test begins with a running agent and no Stack but its own."""
    if not world.agent.running:
        world.agent.start()
    world.agent.mark()
    yield
    for team in world.tenants:
        team.clear()
    world.tenants.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show, with a failure, what the agent had to say since the test began."""
    report = yield
    world = getattr(item, "funcargs", {}).get("world")
    if report.failed and isinstance(world, World):
        report.sections.append(("the agent's log", world.agent.since_mark()))
    return report
