"""Agents report to a real registry, and the fleet's status is read from there."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from ocistate.channel.report import Report, report_tag
from ocistate.concurrency import each
from ocistate.oci import open_store
from ocistate.oci.store import Store
from ocistate.ops.channel.reports import write_report
from ocistate.reference import parse_reference
from tests.support.assertions.waiting import wait_for
from tests.support.command import ocistate
from tests.support.environments.agent_process import AgentProcess
from tests.support.environments.channel import World
from tests.support.factories.keys import Key
from tests.support.factories.stacks import policy, stack


def say_who_counts(root: Path, world: World, reporters: dict[str, Key]) -> Path:
    """A policy file that enrols clusters."""
    path = root / "policy.yaml"
    names = [{"name": name, "pem": key.pem} for name, key in reporters.items()]
    path.write_text(
        yaml.safe_dump(
            policy(world.artifacts, channelKeys=[{"pem": world.channels.pem}], reporters=names)
        )
    )
    return path


def fleet(world: World, rules: Path, *more: str, code: int = 0) -> dict[str, Any]:
    done = ocistate(
        *("fleet", "status", world.repository, "prod", "--policy", str(rules), "-o", "json", *more),
        check=False,
    )
    assert done.code == code, done.err
    value: dict[str, Any] = json.loads(done.out)
    return value


def cluster(world: World, root: Path, name: str, key: Key, reports: str = "") -> AgentProcess:
    """An agent of its own, that may report."""
    root.mkdir()
    (root / "report.key").write_bytes(key.private)
    source = {"tag": None, "channel": "prod", "interval": "200ms"}
    to = {"repository": f"oci://{reports}"} if reports else {}
    (root / "stacks.yaml").write_text(
        yaml.safe_dump_all(
            [
                policy(world.artifacts, channelKeys=[{"pem": world.channels.pem}]),
                stack(
                    "shop",
                    f"oci://{world.repository}",
                    source=source,
                    target={"directory": "out"},
                    report=to,
                ),
            ]
        )
    )
    arguments = ["--stacks", str(root / "stacks.yaml"), "--state", str(root / "state")]
    arguments += ["--cluster", name, "--report-key", str(root / "report.key")]
    return AgentProcess(arguments, root / "agent.log", {"OCISTATE_PASSWORD": ""})


def test_a_clusters_report_counts_only_for_that_cluster(world: World, tmp_path: Path) -> None:
    east, west, rogue = Key.make(), Key.make(), Key.make()
    rules = say_who_counts(tmp_path, world, {"east": east, "west": west, "north": Key.make()})
    one, two = world.push("1"), world.push("2")
    world.move(one)

    def standings() -> dict[str, tuple[str, bool, str]]:
        members = fleet(world, rules)["members"]
        return {m["cluster"]: (m["standing"], m["current"], m["digest"]) for m in members}

    with (
        cluster(world, tmp_path / "e", "east", east),
        cluster(world, tmp_path / "w", "west", west) as stops,
    ):
        both = {"east": ("Healthy", True, one), "west": ("Healthy", True, one)}
        wait_for("both", lambda: both.items() <= standings().items())
        assert standings()["north"][0] == "NeverSeen"
        stops.terminate()
        world.move(two)
        moved = {"east": ("Healthy", True, two), "west": ("Healthy", False, one)}
        wait_for("east moves", lambda: moved.items() <= standings().items(), seconds=60)
        fleet(world, rules, "--exit-code", code=1)
    with cluster(world, tmp_path / "r", "east", rogue):

        def forged() -> bool:
            found = fleet(world, rules)["members"][0]
            return found["standing"] == "NotBelieved" and "no enrolled" in found["message"]

        wait_for("the forged report shows as such", forged)


def test_reports_may_go_to_a_repository_of_their_own(world: World, tmp_path: Path) -> None:
    east = Key.make()
    rules = say_who_counts(tmp_path, world, {"east": east})
    world.move(world.push("1"))
    reports = f"{world.repository}/reports"
    with cluster(world, tmp_path / "e", "east", east, reports):
        wait_for("a report", lambda: "report-" in ocistate("ls", "-a", reports, check=False).out)
        wait_for("east", lambda: fleet(world, rules, "--reports", reports)["well"])
    tags = world.with_store(lambda store: store.tags())
    assert not [tag for tag in tags if tag.startswith("report-")]


def test_a_registry_that_refuses_reports_does_not_affect_reconciliation(
    world: World, tmp_path: Path
) -> None:
    one = world.push("1")
    world.move(one)
    with cluster(world, tmp_path / "e", "east", Key.make(), "127.0.0.1:1/nowhere"):
        log = tmp_path / "e" / "agent.log"
        wait_for("the word", lambda: "cannot report" in log.read_text(), seconds=60)
        assert (tmp_path / "e" / "out" / "app.yaml").exists()
        two = world.push("2")
        world.move(two)
        wait_for("2", lambda: "'2'" in (tmp_path / "e" / "out" / "app.yaml").read_text())


def test_a_fleet_of_many_costs_one_request_a_cluster(world: World, tmp_path: Path) -> None:
    keys = {f"c{n:03}": Key.make() for n in range(50)}
    rules = say_who_counts(tmp_path, world, keys)
    digest = world.push("1")
    number = world.move(digest).record.number
    now = datetime.now(UTC).replace(microsecond=0)

    async def tell(store: Store) -> None:
        async def one(name: str) -> None:
            said = Report(
                cluster=name,
                stack="default/shop",
                channel="prod",
                records=world.repository,
                repository=world.repository,
                digest=digest,
                epoch=number[0],
                sequence=number[1],
                state="Healthy",
                since=now - timedelta(minutes=5),
                at=now,
                every=300,
            )
            await write_report(store, said, keys[name].signer)

        await each(keys, one)

    world.with_store(tell)
    world.asked()
    found = fleet(world, rules, "--exit-code")
    assert found["counts"] == {"Healthy": 50}
    asked = world.asked()
    assert len(asked) <= 50 + 6, asked[:10]

    async def replay(store: Store) -> None:
        # A report moved to the tag of another cluster is not that cluster's word.
        mine = report_tag("prod", "c001", "default/shop")
        theirs = report_tag("prod", "c002", "default/shop")
        await store.push_manifest(await store.fetch_manifest(mine), theirs)

    async def main() -> None:
        async with open_store(parse_reference(world.repository)) as store:
            await replay(store)

    asyncio.run(main())
    found = fleet(world, rules, "--exit-code", code=1)
    assert found["counts"] == {"NotBelieved": 1, "NeverSeen": 1, "Healthy": 49}
