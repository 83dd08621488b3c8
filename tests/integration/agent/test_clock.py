"""An hour goes by, and the clock on the wall is set."""

from __future__ import annotations

import base64
import time
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ocistate.reference import parse_reference
from testbed.process import free_port, patience
from testbed.registries import Distribution
from tests.support.assertions.agent import condition
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import World, move
from tests.support.environments.agent_process import AgentProcess
from tests.support.factories.keys import Key
from tests.support.factories.stacks import Publisher, config_map, policy
from tests.support.factories.workloads import pending
from tests.support.fakes.clock import Clock


def agent_with(world: World, folder: Path, clock: Clock) -> tuple[AgentProcess, int]:
    """The agent under a clock, in the place of the world's own, and the port it listens on."""
    world.agent.kill()
    port = free_port()
    arguments = list(world.agent.arguments)
    arguments[arguments.index("--listen") + 1] = f"127.0.0.1:{port}"
    arguments[arguments.index("--state") + 1] = str(folder / "state")
    return AgentProcess(arguments, folder / "agent.log", env=clock.env), port


def no_bugs(agent: AgentProcess) -> bool:
    return not [line for line in agent.lines() if "unexpectedly" in line["message"]]


def test_the_first_poll_after_an_hour_without_a_registry_finds_new_content(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(tmp_path)
    agent, port = agent_with(world, tmp_path, clock)

    def looks() -> float:
        """How often it tried to reach the registry in vain."""
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
            lines = reply.read().decode().splitlines()
        name = 'ocistate_registry_requests_total{code="none"'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def some_minutes(look: Callable[[], bool]) -> None:
        """Let a few go by, one after the other; then it must be so."""
        for _ in range(5):
            clock.jump(60)
            end = time.monotonic() + 1.0
            while time.monotonic() < end:
                if look():
                    return
                time.sleep(0.05)
        wait_for("what a few minutes bring", look)

    with Distribution(token=True) as registry, agent:
        assert registry.tokens is not None
        config = registry.write_docker_config(tmp_path / "docker")
        monkeypatch.setenv("DOCKER_CONFIG", str(config))
        team, channels = world.tenant(), Key.make()
        team.publisher = Publisher(f"oci://{registry.host}/{team.namespace}", world.key)
        name = parse_reference(team.repository).name
        login = base64.b64encode((config / "config.json").read_bytes()).decode()
        keys = [{"pem": channels.pem}]
        world.apply(
            policy(world.key, name=team.namespace, repositories=name, channelKeys=keys),
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "login", "namespace": team.namespace},
                "type": "kubernetes.io/dockerconfigjson",
                "data": {".dockerconfigjson": login},
            },
        )
        source = {"interval": "1m", "pullSecretRef": {"name": "login"}}
        first = team.push(config_map("app", v="1"))
        released = team.push(config_map("released", v="1"), tag="released")
        late = team.push(pending(), tag="late")
        move(team, channels, released, lifetime=timedelta(minutes=40))
        team.create(source=source)
        team.create("late", source={**source, "tag": "late"}, wait={"timeout": "50m"})
        team.create("channel", source={**source, "tag": None, "channel": "prod"})
        team.wait_ready(first)
        team.wait_ready(released, name="channel")
        team.wait_condition("Healthy", "Unknown", "Progressing", name="late", digest=late)

        bought = len(registry.tokens.asked)
        registry.kill()
        for minute in range(0, 60, 2):
            tried = looks()
            clock.jump(120)
            # A look in vain takes until the clock jumps: every other jump there is a new one.
            end = time.monotonic() + patience(0.25)
            while looks() == tried and time.monotonic() < end:
                time.sleep(0.02)
            if minute in (20, 40):
                team.change("app", {"data": {"v": "9"}})
                team.wait_data("app", v="1")
            if minute == 30:
                team.wait_condition("Ready", "True", "RegistryUnavailable", digest=first)
                assert condition(team.status("late"), "Healthy")[1] == "Progressing"
        assert looks() > 30, "three Stacks, each at least every four minutes"
        team.wait_condition("Healthy", "False", "HealthTimeout", name="late")

        registry.start()
        asked = len(registry.tokens.asked)
        second = team.push(config_map("app", v="2"))
        mine = len(registry.tokens.asked) - asked
        some_minutes(lambda: team.data("app") == {"v": "2"})
        team.wait_ready(second)
        assert len(registry.tokens.asked) - mine > bought, "a token holds for five minutes"
        some_minutes(
            lambda: condition(team.status("channel"), "Ready")[:2] == ("False", "RecordExpired")
        )
        assert "expired at" in condition(team.status("channel"), "Ready")[2]
        team.change("released", {"data": {"v": "9"}})
        team.wait_data("released", v="1")

        newer = team.push(config_map("released", v="2"), tag="released")
        move(team, channels, newer, lifetime=timedelta(hours=24))
        some_minutes(lambda: team.data("released") == {"v": "2"})
        team.wait_ready(newer, name="channel")
        assert agent.terminate() == 0
    assert no_bugs(agent)


def test_setting_the_clock_changes_no_interval_and_no_timeout(world: World, tmp_path: Path) -> None:
    clock = Clock(tmp_path, set_only=True)
    agent, _ = agent_with(world, tmp_path, clock)
    team = world.tenant()

    def works(version: str) -> str:
        """A new artifact is taken, and drift is put back; the late one is still waited for."""
        digest = team.push(config_map("app", v=version))
        team.wait_ready(digest)
        team.change("app", {"data": {"v": "9"}})
        team.wait_data("app", v=version)
        asked(version)
        assert condition(team.status("late"), "Healthy")[:2] == ("Unknown", "Progressing")
        return digest

    def asked(version: str) -> None:
        """Wait for a pass of the late one."""
        annotation = {"metadata": {"annotations": {"ocistate.dev/reconcile": version}}}
        world.merge(team.stack_path("late"), annotation)
        wait_for("a pass", lambda: team.status("late").get("lastHandledReconcileAt") == version)

    with agent:
        team.push(config_map("app", v="1"))
        late = team.push(pending(), tag="late")
        team.create()
        team.create("late", source={"tag": "late"}, wait={"timeout": "10m"})
        team.wait_condition("Healthy", "Unknown", "Progressing", name="late", digest=late)
        works("2")
        clock.jump(2 * 86400)
        works("3")
        clock.jump(-86400)
        digest = works("4")

        # What was begun in a future that is none any more has its whole time again, and no more.
        agent.kill()
        clock.jump(-86400)
        agent.start()
        team.wait_ready(digest)
        works("5")
        team.edit("late", wait={"timeout": "2s"})
        team.wait_condition("Healthy", "False", "HealthTimeout", name="late")
        assert agent.terminate() == 0
    assert no_bugs(agent)
