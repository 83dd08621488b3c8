"""A pipeline before a real registry: all gates, then several jobs at once."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocistate.channel.report import Report, ReportedState
from ocistate.cli.main import main
from ocistate.oci import open_store
from ocistate.ops.channel.reports import write_report
from ocistate.reference import parse_reference
from testbed.registries import Distribution
from tests.support.assertions.waiting import wait_for
from tests.support.command import ROOT
from tests.support.environments.channel import history_of
from tests.support.factories.keys import Key
from tests.support.factories.stacks import Publisher, policy

TESTS = "https://example.com/tests/v1"
JOBS = 5


def deployment(version: int, *, pinned: bool) -> dict[str, Any]:
    name = f"registry.example.com/web:{version}" + (f"@sha256:{version:064x}" if pinned else "")
    pod = {"containers": [{"name": "web", "image": name}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod},
        },
    }


class Line:
    """A repository with staging and prod, keys for everyone, and a pipeline's file."""

    def __init__(self, repository: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.repository, self.root, self.capsys = repository, root, capsys
        self.keys = {
            name: self.key(name)
            for name in ("ci", "channels", "alice", "bob", "mallory", "tests", "east")
        }
        self.publisher = Publisher(repository, self.keys["ci"])
        trust = policy(
            self.keys["ci"],
            channelKeys=[{"name": "release", "file": "channels.pub"}],
            reporters=[{"name": "east", "file": "east.pub"}],
        )
        (root / "trust.yaml").write_text(yaml.safe_dump(trust))

    def ocistate(self, *args: str | Path) -> str:
        """What a verb prints, run in this process."""
        self.capsys.readouterr()
        code = main([str(arg) for arg in args])
        out, err = self.capsys.readouterr()
        assert code == 0, (args, out, err)
        return out

    def key(self, name: str) -> Key:
        made = Key.make()
        made.write(self.root / name)
        return made

    def push(self, version: int, *, pinned: bool = True) -> str:
        return self.publisher.push([deployment(version, pinned=pinned)], "main")

    def begin(self) -> None:
        for name in ("staging", "prod"):
            self.ocistate(
                *("channel", "init", f"{self.repository}:main", name),
                *("--key", self.root / "channels.key", "--policy", self.root / "trust.yaml"),
            )

    def write(self, *gates: Any) -> None:
        value = {
            "apiVersion": "ocistate.dev/v1alpha1",
            "kind": "Pipeline",
            "metadata": {"name": "shop"},
            "spec": {
                "repository": self.repository,
                "policy": "trust.yaml",
                "source": {"tag": "main"},
                "stages": [{"name": "staging"}, {"name": "prod", "gates": list(gates)}],
            },
        }
        (self.root / "pipeline.yaml").write_text(yaml.safe_dump(value))

    @property
    def command(self) -> list[str]:
        key = self.root / "channels.key"
        return ["pipeline", "run", str(self.root / "pipeline.yaml"), "--key", str(key), "-ojson"]

    def run(self, *args: str) -> list[Any]:
        stages: list[Any] = json.loads(self.ocistate(*self.command, *args))["stages"]
        return stages

    def closed(self) -> list[str]:
        staging, prod = self.run()
        assert (staging["state"], prod["state"]) == ("Current", "Waiting"), (staging, prod)
        return [gate["kind"] for gate in prod["gates"] if not gate["open"]]

    def approve(self, who: str, *args: str, channel: str = "prod") -> None:
        self.ocistate(
            *("approve", self.repository, "--channel", channel, "--reason", "CHG-1"),
            *("--key", self.root / f"{who}.key", "--policy", self.root / "trust.yaml"),
            *(args or ("--from", "staging")),
        )

    def attest(self, **predicate: Any) -> None:
        file = self.root / "predicate.json"
        file.write_text(json.dumps(predicate))
        self.ocistate(
            *("attest", f"{self.repository}:main", "--type", TESTS, "--predicate", file),
            *("--key", self.root / "tests.key"),
        )

    def report(self, digest: str, sequence: int, state: ReportedState, *, by: str = "east") -> None:
        now = datetime.now(UTC).replace(microsecond=0)
        value = Report(
            cluster="east",
            stack="shop/shop",
            channel="staging",
            repository=self.repository,
            records=self.repository,
            digest=digest,
            epoch=1,
            sequence=sequence,
            state=state,
            since=now,
            at=now,
            every=300,
        )

        async def write() -> None:
            async with open_store(parse_reference(self.repository)) as store:
                await write_report(store, value, self.keys[by].signer)

        asyncio.run(write())


def test_a_release_goes_through_all_gates(
    distribution: Distribution, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = Line(f"{distribution.host}/pipeline/gates", tmp_path, capsys)
    first = line.push(1)
    line.begin()
    approvers = [{"name": name, "file": f"{name}.pub"} for name in ("alice", "bob")]
    tests = {
        "predicateType": TESTS,
        "keys": [{"name": "tests", "file": "tests.pub"}],
        "conditions": ["predicate.failed == 0"],
    }
    gates = [
        {"healthy": {"for": "1s"}},
        {"approvals": {"count": 2, "keys": approvers}},
        {"attestation": tests},
        {"window": {"timeZone": "America/New_York"}},
        {"check": {"expression": "images.all(i, i.pinned)"}},
        {"changes": {"most": 1}},
    ]
    line.write(*gates)
    loose = line.push(2, pinned=False)
    assert [stage["state"] for stage in line.run()] == ["Moved", "Current"]
    assert line.closed() == ["healthy", "approvals", "attestation", "check"]

    good = line.push(3)
    assert line.run()[0]["digest"] == good
    # No one's word but that of those named, on this digest and this channel, opens anything.
    line.report(good, 3, "Healthy", by="mallory")
    line.approve("mallory")
    line.approve("alice", "--digest", loose)
    line.approve("bob", channel="staging")
    line.attest(failed=1)
    assert line.closed() == ["healthy", "approvals", "attestation"]
    line.report(good, 3, "Degraded")
    line.attest(failed=0)
    line.approve("alice")
    line.approve("alice")
    assert line.closed() == ["healthy", "approvals"]
    line.approve("bob")
    assert line.closed() == ["healthy"]
    line.report(good, 3, "Healthy")

    def moved() -> Any:
        prod = line.run()[1]
        return prod if prod["state"] == "Moved" else None

    prod = wait_for("prod moved", moved)
    assert prod["digest"] == good
    assert all(gate["open"] for gate in prod["gates"])
    newest, begin = history_of(line.repository, line.keys["channels"]).links
    assert newest.record.subjects[line.repository] == good
    assert newest.record.source == "staging@3"
    assert "approved by alice, bob" in newest.record.reason
    assert begin.record.subjects[line.repository] == first
    assert [stage["state"] for stage in line.run()] == ["Current", "Current"]


def test_several_jobs_at_once_move_once(
    distribution: Distribution, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = Line(f"{distribution.host}/pipeline/jobs", tmp_path, capsys)
    line.push(1)
    line.begin()
    line.write()
    digest = line.push(2)
    assert [stage["state"] for stage in line.run()] == ["Moved", "Current"]
    jobs = [
        subprocess.Popen(
            [sys.executable, "-m", "ocistate", *line.command],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(JOBS)
    ]
    done = [(*job.communicate(timeout=120), job.returncode) for job in jobs]
    assert [code for _, _, code in done] == [0] * JOBS, done
    states = sorted(json.loads(out)["stages"][1]["state"] for out, _, _ in done)
    assert states == ["Current"] * (JOBS - 1) + ["Moved"]
    history = history_of(line.repository, line.keys["channels"])
    assert not history.forks
    assert not history.broken
    assert [link.record.sequence for link in history.links] == [2, 1]
    assert history.links[0].record.subjects[line.repository] == digest
