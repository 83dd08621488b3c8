"""A release goes from ring to ring by what real agents report, and back; blue and green."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.assertions.waiting import wait_for
from tests.support.command import ocistate
from tests.support.environments.agent_process import AgentProcess
from tests.support.environments.channel import World
from tests.support.factories.keys import Key
from tests.support.factories.stacks import Publisher, policy, stack

RINGS = {
    "rings": [
        {"name": "canary", "labels": {"tier": "canary"}, "soak": "0s", "patience": "0s"},
        {"name": "all", "percent": 100, "patience": "0s"},
    ]
}


class Ring:
    """Clusters that follow two channels each, and a CI that trusts one key more than they do."""

    def __init__(self, world: World, root: Path) -> None:
        self.world, self.root = world, root
        self.other = Key.make()
        self.keys = {name: Key.make() for name in ("east", "west")}
        self.rules = root / "ci.yaml"
        self.rules.write_text(
            yaml.safe_dump(
                policy(
                    world.artifacts,
                    self.other,
                    channelKeys=[{"pem": world.channels.pem}],
                    reporters=[{"name": n, "pem": k.pem} for n, k in self.keys.items()],
                )
            )
        )
        (root / "channel.key").write_bytes(world.channels.private)
        (root / "rings.yaml").write_text(yaml.safe_dump(RINGS))

    def agent(self, name: str, *more: str) -> AgentProcess:
        """A cluster's agent; without a name in its arguments it reports nothing."""
        folder = self.root / name
        folder.mkdir()
        stacks = [
            stack(
                channel,
                f"oci://{self.world.repository}",
                source={"tag": None, "channel": channel, "interval": "300ms"},
                target={"directory": channel},
                report={},
            )
            for channel in ("prod", "beta")
        ]
        trusted = policy(self.world.artifacts, channelKeys=[{"pem": self.world.channels.pem}])
        (folder / "stacks.yaml").write_text(yaml.safe_dump_all([trusted, *stacks]))
        arguments = ["--stacks", str(folder / "stacks.yaml"), "--state", str(folder / "state")]
        if name in self.keys:
            (folder / "report.key").write_bytes(self.keys[name].private)
            arguments += ["--cluster", name, "--report-key", str(folder / "report.key"), *more]
        return AgentProcess(arguments, folder / "agent.log", {"OCISTATE_PASSWORD": ""})

    def running(self, channel: str, *clusters: str) -> list[str]:
        """The version that each of the clusters has put in place."""
        found = []
        for name in clusters:
            with contextlib.suppress(FileNotFoundError):
                text = (self.root / name / channel / "app.yaml").read_bytes()
                found.append(str(yaml.safe_load(text)["data"]["v"]))
        return found

    def all_run(self, channel: str, version: str) -> bool:
        return self.running(channel, *EVERYWHERE) == [version] * len(EVERYWHERE)

    def do(self, *verb: str, code: int | None = 0) -> dict[str, Any]:
        """A command of CI's, and what it says."""
        key = () if "status" in verb else ("--key", str(self.root / "channel.key"))
        given = (*verb, "--policy", str(self.rules), *key, "-o", "json")
        done = ocistate(*given, check=False)
        assert code is None or done.code == code, done.err
        value: dict[str, Any] = json.loads(done.out) if done.out else {}
        return {**value, "code": done.code}

    def promote(self, tag: str, channel: str, code: int = 0) -> dict[str, Any]:
        rings = ("--rings", str(self.root / "rings.yaml"))
        there = f"{self.world.repository}:{tag}"
        return self.do("promote", there, "--to", channel, *rings, "--yes", code=code)

    def run(self, channel: str) -> dict[str, Any]:
        return self.do("rollout", "run", self.world.repository, channel, code=None)

    @contextlib.contextmanager
    def clusters(self) -> Iterator[None]:
        canary = ("--cluster-label", "tier=canary")
        with self.agent("east", *canary), self.agent("west"), self.agent("nameless"):
            yield


EVERYWHERE = ("east", "west", "nameless")


def test_the_canary_goes_first_and_a_bad_one_brings_the_release_back(
    world: World, tmp_path: Path
) -> None:
    ring = Ring(world, tmp_path)
    one = world.push("1")
    world.push("2")
    world.push("3", sign=ring.other)
    for channel in ("prod", "beta"):
        world.move(one, channel=channel)
    with ring.clusters():
        for channel in ("prod", "beta"):
            wait_for("1", functools.partial(ring.all_run, channel, "1"))
        before = ring.promote("v2", "prod")
        ring.promote("v3", "beta")
        wait_for("the canary", lambda: ring.running("prod", "east") == ["2"])

        done: dict[str, list[str]] = {"prod": [], "beta": []}

        def go_on(channel: str, last: str) -> bool:
            held = ring.running(channel, "west", "nameless")
            said = ring.run(channel)
            if said["did"] != "wait":
                done[channel].append(said["did"])
                assert said["code"] == (1 if said["did"] == "back" else 0)
            if not done[channel] or done[channel] == ["advance"]:
                assert done[channel] or held == ["1", "1"]
            return str(said["did"]) == last

        wait_for("the bad one is taken back", lambda: go_on("beta", "back"), seconds=90)
        wait_for("all have the good one", lambda: go_on("prod", "finish"), seconds=90)
        assert done == {"prod": ["advance", "finish"], "beta": ["back"]}
        wait_for("2", functools.partial(ring.all_run, "prod", "2"))
        assert ring.all_run("beta", "1")
        # The record of the open canary, put back: who saw the end does not leave the release again.
        world.point("channel-prod", before["record"])
        kept = tmp_path / "west" / "state" / "stacks" / "default.prod.json"
        wait_for("the refusal", lambda: "RecordReplayed" in kept.read_text())
        assert ring.all_run("prod", "2")
    status = ring.do("rollout", "status", world.repository, "beta")
    assert (status["hold"], status["rollout"]) == (True, None)
    ring.promote("v3", "beta", code=77)
    assert {m["digest"] for m in status["members"]} == {one}


def test_one_record_switches_blue_and_green(world: World, tmp_path: Path) -> None:
    """Two Stacks that follow a channel each, and a third that says which of them is live."""
    switch = Publisher(f"{world.repository}/router", world.artifacts)
    for colour in ("blue", "green"):
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "shop"},
            "spec": {"type": "ExternalName", "externalName": f"shop.{colour}.svc.cluster.local"},
        }
        switch.push({"service.yaml": yaml.safe_dump(service).encode()}, colour)
    one = world.push("1")
    world.move(one, channel="blue")
    world.move(one, channel="green")
    world.push("2")
    router = f"{world.repository}/router"
    (tmp_path / "channel.key").write_bytes(world.channels.private)
    rules = tmp_path / "rules.yaml"
    trusted = policy(world.artifacts, channelKeys=[{"pem": world.channels.pem}])
    rules.write_text(yaml.safe_dump(trusted))
    by = ("--key", str(tmp_path / "channel.key"), "--policy", str(rules))

    def tell(*command: str) -> None:
        ocistate(*command, *by)

    tell("channel", "init", f"{router}:blue", "live")

    def follow(name: str, repository: str) -> dict[str, Any]:
        source = {"tag": None, "channel": name, "interval": "200ms"}
        return stack(name, f"oci://{repository}", source=source, target={"directory": name})

    world.stacks.write_text(
        yaml.safe_dump_all(
            [
                trusted,
                follow("blue", world.repository),
                follow("green", world.repository),
                follow("live", router),
            ]
        )
    )

    def runs(colour: str) -> str:
        with contextlib.suppress(FileNotFoundError):
            text = (tmp_path / colour / "app.yaml").read_bytes()
            return str(yaml.safe_load(text)["data"]["v"])
        return ""

    def live() -> str:
        with contextlib.suppress(FileNotFoundError):
            text = (tmp_path / "live" / "service.yaml").read_bytes()
            return str(yaml.safe_load(text)["spec"]["externalName"]).split(".")[1]
        return ""

    with world.agent:
        wait_for("all", lambda: (runs("blue"), runs("green"), live()) == ("1", "1", "blue"))
        tell("promote", f"{world.repository}:v2", "--to", "green", "--yes")
        wait_for("green", lambda: runs("green") == "2")
        assert (runs("blue"), live()) == ("1", "blue")
        tell("promote", f"{router}:green", "--to", "live", "--yes")
        wait_for("the switch", lambda: live() == "green")
        assert runs("blue") == "1"
        tell("rollback", router, "live", "--reason", "slow", "--yes")
        wait_for("back", lambda: live() == "blue")
        assert (runs("blue"), runs("green")) == ("1", "2")
