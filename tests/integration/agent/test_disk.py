"""The agent's disk is full, or what it keeps there is rotten."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ocistate.agent.reconcile.cache import ContentCache
from tests.support.assertions.waiting import wait_for
from tests.support.environments.agent import Tenant, World
from tests.support.environments.agent_process import AgentProcess
from tests.support.factories.stacks import config_map
from tests.support.factories.workloads import pending
from tests.support.fakes.disk import SmallDisk


@dataclass
class Place:
    """An agent whose state is on a disk of its own."""

    team: Tenant
    agent: AgentProcess
    disk: SmallDisk

    @property
    def state(self) -> Path:
        return self.disk.path / "state"

    def kept(self, digest: str) -> bool:
        """Whether there is a whole copy of an artifact on the disk."""
        cache = ContentCache(self.state / "content" / f"{self.team.namespace}.app")
        folder = cache.root / digest[7:]
        # Looked at only where there is one: what is not whole is dropped by who looks.
        return (folder / "index.json").exists() and asyncio.run(cache.load(digest)) is not None

    def litter(self) -> list[Path]:
        """What a write that failed has left."""
        return [*self.state.rglob(".tmp-*"), *self.state.rglob(".*.json.*")]

    def damage(self, digest: str, kind: str) -> None:
        """Do harm to every file of a copy."""
        copy = self.state / "content" / f"{self.team.namespace}.app" / digest[7:]
        files = [path for path in copy.rglob("*") if path.is_file()]
        assert len(files) >= 4
        for path in files:
            data = bytearray(path.read_bytes())
            if kind == "flipped" and data:
                data[len(data) // 2] ^= 0x01
            elif kind == "cut":
                del data[len(data) // 2 :]
            path.chmod(0o644)
            path.write_bytes(data)
        if kind == "without index":
            (copy / "index.json").unlink()


@pytest.fixture
def place(world: World, tmp_path: Path) -> Iterator[Place]:
    world.agent.kill()
    arguments = list(world.agent.arguments)
    listen = arguments.index("--listen")
    del arguments[listen : listen + 2]
    with SmallDisk(tmp_path / "disk", kilobytes=512) as disk:
        arguments[arguments.index("--state") + 1] = str(disk.folder / "state")
        agent = AgentProcess(arguments, tmp_path / "agent.log", inside=disk.inside)
        with agent:
            yield Place(world.tenant(), agent, disk)
    bugs = [line for line in agent.lines() if "unexpectedly" in line["message"]]
    assert not bugs


def test_a_rollout_continues_on_a_full_disk_without_partial_files(place: Place) -> None:
    team = place.team
    first = team.push(config_map("app", v="1"), config_map("old", v="1"))
    team.create()
    team.wait_ready(first)
    assert place.kept(first)

    place.disk.fill()
    # More than there is room for when the copy of the first one is gone.
    large = config_map("new", v=base64.b85encode(random.Random(1).randbytes(120_000)).decode())
    second = team.push(config_map("app", v="2"), large)
    team.wait_ready(second)
    assert (team.data("app"), team.data("new")) == ({"v": "2"}, large["data"])
    team.wait_gone("ConfigMap", "old")
    assert not place.kept(second)

    def messages() -> list[str]:
        return [e["message"] for e in team.events() if e["reason"] == "NotKept"]

    (message,) = wait_for("the event", messages)
    assert second in message
    assert "No space left" in message
    team.change("app", {"data": {"v": "9"}})
    team.wait_data("app", v="2")

    # Started on a full disk, it still works, and nothing of before is in its way.
    place.agent.kill()
    team.change("app", {"data": {"v": "9"}})
    place.agent.start()
    team.wait_data("app", v="2")
    third = team.push(config_map("app", v="3"), large)
    team.wait_ready(third)
    assert not place.kept(third)
    assert not place.litter()

    place.disk.free()
    wait_for("the copy that there was no room for", lambda: place.kept(third))
    assert not place.litter()
    fourth = team.push(config_map("app", v="4"))
    team.wait_ready(fourth)
    wait_for("a copy", lambda: place.kept(fourth))


def test_a_damaged_cached_copy_is_fetched_again_while_the_registry_is_available(
    place: Place,
) -> None:
    team = place.team
    digest = team.push(config_map("app", v="1"))
    team.create(source={"interval": "1h"})
    team.wait_ready(digest)
    for kind in ("flipped", "cut", "without index"):
        place.agent.kill()
        team.change("app", {"data": {"v": kind.split()[0]}})
        place.damage(digest, kind)
        place.agent.start()
        team.wait_data("app", v="1")
        wait_for(f"a whole copy after {kind}", lambda: place.kept(digest))
        team.wait_ready(digest)


def test_a_damaged_cached_copy_is_not_used_while_the_registry_is_unavailable(place: Place) -> None:
    team, registry = place.team, place.team.world.registry
    first = team.push(config_map("app", v="1"))
    team.create(source={"interval": "1h"}, onFailure="rollback", wait={"timeout": "3s"})
    team.wait_ready(first)
    second = team.push(config_map("app", v="2"), pending())
    look = {"metadata": {"annotations": {"ocistate.dev/reconcile": "now"}}}
    team.world.merge(team.stack_path(), look)
    team.wait_data("app", v="2")
    registry.kill()
    try:
        place.damage(first, "flipped")
        message = team.wait_condition(
            "Ready", "False", "RegistryUnavailable", digest=second, seconds=60
        )
        assert registry.host in message
        assert team.data("app") == {"v": "2"}, "what can't be proven to be whole is not applied"
    finally:
        registry.start()

    team.wait_condition("Ready", "False", "RolledBack", digest=first)
    assert team.data("app") == {"v": "1"}
    wait_for("a whole copy", lambda: place.kept(first))
