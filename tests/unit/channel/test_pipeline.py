"""Pipelines: what a file may say, how stages move, and who cannot move them."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocistate.channel.approval import PREDICATE, Approval
from ocistate.channel.change import Why, held, promoted, refreshed
from ocistate.channel.change import begun as first_record
from ocistate.channel.pipeline import Pipeline, parse_pipeline
from ocistate.channel.record import Record
from ocistate.channel.report import Report
from ocistate.channel.trust import ChannelTrust, Trusted
from ocistate.cli.channel.pipeline import load_pipeline
from ocistate.errors import ConfigError
from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.channel.pipeline import PipelineRun, StageStatus
from ocistate.ops.channel.reader import Channel
from ocistate.ops.channel.releases import find_candidate, pins_of
from ocistate.ops.channel.reports import write_report
from ocistate.ops.channel.writer import Writer
from ocistate.ops.signing.sign import sign_artifact
from ocistate.reference import parse_reference
from ocistate.signing.keys import KeySigner
from ocistate.signing.policy.model import TrustedKey, TrustPolicy
from tests.support.environments.command_line import Site
from tests.support.factories.keys import Key, make_signer
from tests.support.factories.stacks import Publisher, config_map

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
TYPE = "https://example.com/tests/v1"


def pipeline_object(gates: Any = (), **spec: Any) -> dict[str, Any]:
    stages = [{"name": "staging"}, {"name": "prod", "gates": list(gates)}]
    given = {
        "repository": "registry.example.com/shop",
        "policy": "policy.yaml",
        "source": {"tag": "main"},
        "stages": stages,
        **spec,
    }
    return {
        "apiVersion": "ocistate.dev/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": "shop"},
        "spec": {key: value for key, value in given.items() if value is not None},
    }


def test_a_pipeline_is_read() -> None:
    found = parse_pipeline(pipeline_object([{"window": {"hours": "09:00-24:00"}}]))
    assert [stage.channel for stage in found.stages] == ["staging", "prod"]
    assert [found.feeder(place) for place in (0, 1)] == ["", "staging"]
    assert str(found.source) == "main"


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"healthy": {}}, "gates[0].healthy.for: is required"),
        ({"healthy": {"for": "soon"}}, "healthy.for: is 'soon'"),
        ({"healthy": {"for": "1h", "share": 0}}, "healthy.share: must be a whole number"),
        ({"healthy": {"for": "1h", "cluster": "x"}}, "healthy.cluster: is not a known field"),
        ({"approvals": {"count": 2}}, "approvals.count: asks for 2 approvals"),
        ({"approvals": {"keys": [{"pem": "x"}]}}, "approvals.keys[0].pem"),
        ({"attestation": {}}, "attestation.predicateType: is required"),
        ({"attestation": {"predicateType": TYPE}}, "attestation.keys: is empty"),
        ({"window": {"timeZone": "Mars/Olympus"}}, "window.timeZone: is 'Mars/Olympus'"),
        ({"window": {"timeZone": "../../etc/passwd"}}, "window.timeZone"),
        ({"window": {"days": ["Monday"]}}, "window.days[0]: is 'Monday'"),
        ({"window": {"hours": "9-17"}}, "window.hours: is '9-17'"),
        ({"window": {"hours": "09:00-09:00"}}, "window.hours: ends when it starts"),
        ({"window": {"freeze": ["Christmas"]}}, "window.freeze[0]: is 'Christmas'"),
        ({"window": {"freeze": ["2026-12-24..2026-12-01"]}}, "ends before it begins"),
        ({"check": {}}, "check.expression: is required"),
        ({"check": {"expression": "images.all("}}, "check.expression: is not a CEL expression"),
        ({"changes": {}}, "changes: has no limit"),
        ({"changes": {"most": -1}}, "changes.most: must be a whole number"),
        ({}, "gates[0]: has 0 gates"),
        ({"sleep": {"for": "1h"}}, "gates[0].sleep: is not a known field"),
        ({"window": {}, "changes": {"most": 1}}, "gates[0]: has 2 gates"),
    ],
)
def test_a_wrong_gate_is_an_error_that_names_the_field(gate: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_pipeline(pipeline_object([gate]), origin="pipeline.yaml:1")
    assert caught.value.message.startswith("pipeline.yaml:1: spec.stages[1].")
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"repository": "registry.example.com/shop:v1"}, "spec.repository: "),
        ({"repository": "::"}, "spec.repository: "),
        ({"policy": None}, "spec.policy: is required"),
        ({"source": {}}, "spec.source: has 0 of"),
        ({"source": {"tag": "a", "semver": "1"}}, "spec.source: has 2 of"),
        ({"source": {"semver": "newest"}}, "spec.source.semver: "),
        ({"source": {"channel": "prod-1"}}, "spec.source.channel: "),
        ({"source": {"tag": "channel-prod"}}, "spec.source.tag: "),
        ({"source": {"channel": "prod"}}, "spec.stages[1].channel: 'prod' is in"),
        ({"stages": []}, "spec.stages: is empty"),
        ({"stages": [{"name": "a"}, {"name": "a"}]}, "spec.stages[1].name: 'a' is the name"),
        ({"stages": [{"name": "a"}, {"name": "b", "channel": "a"}]}, "'a' is in"),
        ({"stages": [{"name": "a", "gate": []}]}, "spec.stages[0].gate: is not a known"),
        ({"stages": [{"name": "a", "gates": [{"healthy": {"for": "1h"}}]}]}, "no channel before"),
        ({"steps": []}, "spec.steps: is not a known field"),
    ],
)
def test_a_wrong_pipeline_is_an_error_that_names_the_field(spec: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_pipeline(pipeline_object(**spec))
    assert said in caught.value.message


class Line:
    """A site with a pipeline from the tag ``main`` over staging to prod."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.file = site.root / "pipeline.yaml"
        self.approvers = {name: make_signer() for name in ("alice", "bob")}

    def write(self, *gates: Any, **spec: Any) -> None:
        value = pipeline_object(gates, repository=self.site.store, **spec)
        self.file.write_text(yaml.safe_dump(value))

    def approvals(self, count: int = 1) -> dict[str, Any]:
        keys = [{"name": n, "pem": s.public_key.pem} for n, s in self.approvers.items()]
        return {"approvals": {"count": count, "keys": keys}}

    def tag(self, version: int) -> str:
        digest = self.site.digests[version - 1]
        self.site.point("main", digest)
        return digest

    def run(self, *args: str, code: int = 0, key: str = "chan") -> dict[str, Any]:
        key_file = str(self.site.root / f"{key}.key")
        out = self.site(
            "pipeline", "run", str(self.file), "--key", key_file, "-o", "json", *args, code=code
        )
        return by_name(json.loads(out)) if out else {}

    def status(self) -> dict[str, Any]:
        out = self.site("pipeline", "status", str(self.file), "-o", "json")
        return by_name(json.loads(out))

    def states(self, found: dict[str, Any] | None = None) -> list[str]:
        return [stage["state"] for stage in (found or self.status()).values()]

    def approve(self, *args: str, code: int = 0) -> str:
        # An approver's key, for the command line: the site's third one.
        key = str(self.site.root / "other.key")
        return self.site(
            "approve", self.site.store, "--key", key, "--reason", "ok", *args, code=code
        )


def by_name(value: dict[str, Any]) -> dict[str, Any]:
    return {stage["name"]: stage for stage in value["stages"]}


@pytest.fixture
def line(begun: Site) -> Line:
    return Line(begun)


def test_what_is_ready_moves_one_stage_a_run_and_then_nothing(line: Line) -> None:
    line.write()
    second = line.tag(2)
    assert line.states() == ["Ready", "Current"]
    assert line.states(line.run("--dry-run")) == ["Ready", "Current"]
    assert line.states() == ["Ready", "Current"]
    assert line.states(line.run()) == ["Moved", "Current"]
    third = line.tag(3)
    # prod comes first: what staging has goes on before it is replaced.
    found = line.run()
    assert line.states(found) == ["Moved", "Moved"]
    assert (found["staging"]["digest"], found["prod"]["digest"]) == (third, second)
    assert line.states(line.run()) == ["Current", "Moved"]
    assert line.states(line.run()) == ["Current", "Current"]
    (newest, *_) = line.site.json("history", line.site.store, "prod")
    assert newest["source"] == "staging@3"
    assert newest["reason"].startswith("pipeline shop: prod from staging@3")
    assert newest["actor"] == "alice"
    assert newest["sequence"] == 3


def test_the_table_shows_the_stages_and_the_gates_say_why(line: Line) -> None:
    line.write({"changes": {"most": 0}}, line.approvals())
    line.tag(2)
    line.run()
    out = line.site("pipeline", "status", str(line.file))
    header, staging, prod = out.splitlines()
    assert header.split() == ["STAGE", "CHANNEL", "DIGEST", "REVISION", "SINCE", "STATE", "NEXT"]
    assert "staging@2" in staging
    assert "Waiting for changes, approvals" in prod
    assert "from staging@2" in prod
    assert "prod: open   signature: signed by ci" in line.site.err
    assert "prod: closed changes: 2 objects change" in line.site.err
    assert "0 of 1 approvals for prod" in line.site.err


def test_an_approval_by_the_command_line_opens_the_gate(line: Line) -> None:
    pem = (line.site.root / "other.pub").read_text()
    line.write({"approvals": {"keys": [{"name": "carol", "pem": pem}]}})
    second = line.tag(2)
    assert line.states(line.run()) == ["Moved", "Current"]
    # For another channel, for another digest, or expired: it stays closed.
    line.approve("--channel", "staging", "--tag", "v2")
    line.approve("--channel", "prod", "--tag", "v3")
    assert line.states(line.run()) == ["Current", "Waiting"]
    out = line.approve("--channel", "prod", "--from", "staging", *line.site.trust)
    assert out.strip().endswith(f"@{second}")
    found = line.run()
    assert line.states(found) == ["Current", "Moved"]
    (gate,) = [g for g in found["prod"]["gates"] if g["kind"] == "approvals"]
    assert gate == {
        "kind": "approvals", "open": True, "reason": "approved by carol", "opensAt": "",
    }  # fmt: skip
    assert "approved by carol" in line.site.json("history", line.site.store, "prod")[0]["reason"]


def test_approve_says_what_it_signed_and_refuses_what_is_unclear(line: Line) -> None:
    said = json.loads(
        line.approve("--channel", "prod", "--tag", "v2", "--expires", "7d", "-o", "json")
    )
    assert said["channel"] == "prod"
    assert said["digest"] == line.site.digests[1]
    assert said["expires"] > said["at"]
    line.approve("--channel", "prod", code=2)
    line.approve("--channel", "prod", "--tag", "v2", "--from", "staging", code=2)
    line.approve("--channel", "prod-1", "--tag", "v2", code=2)
    line.approve("--channel", "prod", "--from", "staging", code=2)  # whose records count?
    line.approve("--channel", "prod", "--tag", "nothing", code=11)
    line.site.push("4", sign=False)
    line.approve("--channel", "prod", "--tag", "v4", *line.site.trust, code=41)
    line.approve("--channel", "prod", "--tag", "v2", "--expires", "soon", code=2)


def test_a_channel_on_hold_never_moves_and_feeds_nothing(line: Line) -> None:
    line.write()
    line.tag(2)
    line.run()
    line.site.sign("channel", "hold", line.site.store, "prod", "--reason", "incident 7")
    found = line.run()
    assert line.states(found) == ["Current", "Held"]
    assert "incident 7" in found["prod"]["why"]
    line.site.sign("channel", "release", line.site.store, "prod")
    line.site.sign("channel", "hold", line.site.store, "staging", "--reason", "bad")
    line.tag(3)
    assert line.states(line.run()) == ["Held", "Held"]


def test_a_channel_that_is_rolled_out_still_feeds_nothing_yet(line: Line) -> None:
    line.write()
    line.tag(2)
    line.site.promote("--tag", "v2", "--rings", "canary=50%,all=100%", to="staging")
    found = line.run()
    assert line.states(found) == ["Current", "Held"]
    assert "staging@2 is still being rolled out: canary, 1 of 2 rings" in found["prod"]["why"]


def test_what_nobody_trusted_signed_blocks_its_stage_alone(line: Line) -> None:
    line.write()
    line.tag(2)
    line.run()
    line.site.point("main", line.site.push("4", sign=False))
    found = line.run(code=1)
    assert line.states(found) == ["Blocked", "Moved"]
    assert "is not signed" in found["staging"]["why"]


def test_a_channel_that_is_not_there_blocks_its_stage_alone(line: Line) -> None:
    line.write(stages=[{"name": "staging"}, {"name": "live"}])
    line.tag(2)
    found = line.run(code=1)
    assert line.states(found) == ["Moved", "Blocked"]
    assert "no channel live" in found["live"]["why"]


def test_a_key_that_moves_no_channel_moves_none_here(line: Line) -> None:
    line.write()
    line.tag(2)
    line.run(key="art", code=42)
    line.run(key="other", code=42)
    assert line.states() == ["Ready", "Current"]
    # A wrong key is told of also while there is nothing to move.
    line.run()
    line.run()
    line.run(key="other", code=42)
    line.run("--dry-run", key="other", code=42)


def test_an_old_record_put_back_under_the_name_is_seen_through(line: Line) -> None:
    line.write()
    second = line.tag(2)
    line.run()
    line.run()
    assert line.states() == ["Current", "Current"]
    # The numbers lead to the newest record.
    line.site.point("channel-staging", "channel-staging-1")
    assert line.states(line.run()) == ["Current", "Current"]
    # With the number hidden too, prod's own record tells what staging has been.
    line.site.point("channel-staging-2", "channel-staging-1")
    found = line.run(code=1)
    assert found["prod"]["state"] == "Blocked"
    assert (
        "staging@1 is shown as the newest, and prod@2 came from staging@2" in (found["prod"]["why"])
    )
    assert found["prod"]["digest"] == second


def test_a_feeding_record_that_expired_feeds_nothing(line: Line) -> None:
    line.write()
    line.tag(2)
    line.run()
    old = datetime(2020, 1, 1, tzinfo=UTC)

    async def expire(store: LayoutStore, channel: Channel, signer: KeySigner) -> None:
        why = Why(now=old, reason="", lifetime=timedelta(days=1))
        writer = Writer(store=store, channel=channel, signer=signer, settle=0)
        await writer.write(lambda newest: refreshed(known(newest), why))

    on_channel(line, "staging", expire)
    found = line.run(code=1)
    assert found["prod"]["state"] == "Blocked"
    assert "staging@3 expired" in found["prod"]["why"]


def known(newest: Trusted | None) -> Trusted:
    assert newest is not None
    return newest


def signer_of(line: Line) -> KeySigner:
    from ocistate.signing.keys import load_private_key

    return load_private_key((line.site.root / "chan.key").read_bytes(), lambda: b"")


def on_channel(line: Line, name: str, do: Callable[[LayoutStore, Channel, KeySigner], Any]) -> None:
    signer = signer_of(line)
    keys = (TrustedKey(name="release", key=signer.public_key),)
    store = LayoutStore(parse_reference(line.site.store))
    place = str(Path(line.site.store.removeprefix("layout:")).resolve())
    channel = Channel(name=name, repository=place, trust=ChannelTrust(keys=keys))
    asyncio.run(do(store, channel, signer))


class Clock:
    """Does something when it is looked at for the so manieth time."""

    def __init__(self, at: int, do: Callable[[], None]) -> None:
        self.left, self.do = at, do

    def __call__(self) -> datetime:
        self.left -= 1
        if self.left == 0:
            thread = threading.Thread(target=self.do)  # it has an event loop of its own
            thread.start()
            thread.join()
        return datetime.now(UTC)


def advance(line: Line, clock: Callable[[], datetime]) -> list[StageStatus]:
    pipeline, policies = load_pipeline(line.file)

    async def run() -> list[StageStatus]:
        async with LayoutStore(pipeline.repository) as store:
            found = PipelineRun(
                store=store, pipeline=pipeline, policies=policies, clock=clock, settle=0
            )
            return await found.run(signer_of(line))

    return asyncio.run(run())


@pytest.mark.parametrize("channel", ["prod", "staging"])
def test_a_hold_between_the_look_and_the_move_is_kept(line: Line, channel: str) -> None:
    line.write()
    line.tag(2)
    line.run()

    async def hold(store: LayoutStore, channel: Channel, signer: KeySigner) -> None:
        why = Why(now=datetime.now(UTC).replace(microsecond=0), reason="stop")
        writer = Writer(store=store, channel=channel, signer=signer, settle=0)
        await writer.write(lambda newest: held(known(newest), why))

    # prod's clock: for the feeding record, for the gates, and then for what is written.
    found = advance(line, Clock(3, lambda: on_channel(line, channel, hold)))
    assert [status.state for status in found] == ["Current", "Held"]
    assert found[1].held is not None
    assert found[1].held.digest == line.site.digests[0]


def test_a_move_by_another_job_between_the_look_and_the_move_is_found_done(line: Line) -> None:
    line.write()
    second = line.tag(2)
    line.run()

    async def move(store: LayoutStore, channel: Channel, signer: KeySigner) -> None:
        why = Why(now=datetime.now(UTC).replace(microsecond=0), reason="first")
        writer = Writer(store=store, channel=channel, signer=signer, settle=0)
        reference = parse_reference(f"{line.site.store}@{second}")
        pins = pins_of([await find_candidate(lambda _: store, reference, ())])
        await writer.write(lambda newest: promoted(known(newest), pins, why))

    found = advance(line, Clock(3, lambda: on_channel(line, "prod", move)))
    assert [status.state for status in found] == ["Current", "Current"]
    history = line.site.json("history", line.site.store, "prod")
    assert [release["reason"] for release in history] == ["first", "begin"]


def test_a_pipeline_moves_no_sets(line: Line) -> None:
    line.write()
    line.tag(2)
    other = f"layout:{line.site.root}/other"
    line.site("push", str(line.site.root / "app.yaml"), f"{other}:v1", "--allow-secrets",
              "--sign", "--key", str(line.site.root / "art.key"))  # fmt: skip
    line.site.promote("--tag", "v2", "--with", f"{other}:v1", to="staging")
    found = line.run(code=1)
    assert line.states(found) == ["Blocked", "Blocked"]
    assert "names 2 repositories, and a pipeline moves one" in found["prod"]["why"]


def test_check_asks_no_registry_and_finds_what_does_not_fit(line: Line) -> None:
    site = line.site
    line.write({"window": {}})
    out = json.loads(site("pipeline", "check", str(line.file), "-o", "json"))
    assert out["stages"][1] == {
        "name": "prod", "channel": "prod", "feeder": "staging", "gates": ["window"],
    }  # fmt: skip
    assert site("pipeline", "check", str(line.file)).strip() == "pipeline/shop"

    def refused(*gates: Any, said: str) -> None:
        line.write(*gates)
        site("pipeline", "check", str(line.file), code=4)
        assert said in site.err
        assert "pipeline.yaml:" in site.err

    chan = {"name": "me", "pem": (site.root / "chan.pub").read_text()}
    refused({"approvals": {"keys": [chan]}}, said="me is one of the 'shop' policy's channelKeys")
    art = {"name": "ci", "pem": (site.root / "art.pub").read_text()}
    refused({"approvals": {"keys": [art]}}, said="ci is one of the 'shop' policy's keys")
    refused({"healthy": {"for": "1h"}}, said="enrols no cluster")
    other = {"name": "east", "pem": (site.root / "other.pub").read_text()}
    site.write_policy(reporters=[other])
    refused({"approvals": {"keys": [other]}}, said="policy's reporters")
    refused({"healthy": {"for": "1h", "clusters": ["west"]}}, said="'west' is none of the")
    robot = {"name": "robot", "issuer": "https://ci.example.com", "subject": "release"}
    site.write_policy(reporters=[other], identities=[robot])
    refused({"approvals": {"identities": [robot]}}, said="robot is one of the 'shop' policy's")
    person = {**robot, "subject": "alice@example.com"}
    line.write({"healthy": {"for": "1h"}}, {"approvals": {"identities": [person]}})
    site("pipeline", "check", str(line.file))
    line.file.write_text("kind: Stack\napiVersion: ocistate.dev/v1alpha1\n")
    site("pipeline", "check", str(line.file), code=4)
    line.file.write_text("")
    site("pipeline", "check", str(line.file), code=4)
    assert "holds 0 objects" in site.err
    site("pipeline", "check", str(site.root / "none.yaml"), code=4)


NOON = datetime(2026, 12, 1, 11, 0, tzinfo=UTC)
"""A Tuesday, in the example's window."""


class Example:
    """The documented example, with keys and a repository of its own, at fixed times."""

    def __init__(self, root: Path) -> None:
        self.keys = {
            name: Key.make()
            for name in (
                "ci",
                "channels",
                "alice",
                "bob",
                "carol",
                "load-test",
                "staging-1",
                "prod-1",
            )
        }
        (root / "keys").mkdir()
        for name, key in self.keys.items():
            (root / "keys" / f"{name}.pub").write_text(key.pem)
        place = root / "store"
        self.place = str(place.resolve())
        for name, new in (("pipeline.yaml", f"layout:{place}"), ("pipeline-trust.yaml", place)):
            shutil.copy(EXAMPLES / name, root / name)
            text = (root / name).read_text()
            assert "registry.example.com/shop" in text
            (root / name).write_text(text.replace("registry.example.com/shop", str(new)))
        self.pipeline: Pipeline
        self.policies: tuple[TrustPolicy, ...]
        self.pipeline, self.policies = load_pipeline(root / "pipeline.yaml")
        publisher = Publisher(f"layout:{place}", self.keys["ci"])
        self.first = publisher.push([config_map(f"c{n}", v="0") for n in range(4)], "v1")
        self.second = publisher.push([config_map(f"c{n}", v=str(n // 3)) for n in range(4)], "main")
        self.store = LayoutStore(self.pipeline.repository)
        for name in ("staging", "prod"):
            self.begin(name)

    def begin(self, name: str) -> None:
        signer = self.keys["channels"].signer
        trust = ChannelTrust(keys=(TrustedKey(name="release", key=signer.public_key),), epoch=1)
        channel = Channel(name=name, repository=self.place, trust=trust)
        reference = self.pipeline.repository.with_digest(self.first)

        async def write() -> None:
            found = await find_candidate(lambda _: self.store, reference, ())
            why = Why(now=NOON - timedelta(days=9), reason="begin")

            def make(_: Trusted | None) -> Record:
                return first_record(name, self.place, pins_of([found]), why)

            await Writer(store=self.store, channel=channel, signer=signer, settle=0).write(make)

        asyncio.run(write())

    def run(self, now: datetime) -> list[StageStatus]:
        run = PipelineRun(
            store=self.store,
            pipeline=self.pipeline,
            policies=self.policies,
            clock=lambda: now,
            settle=0,
        )
        return asyncio.run(run.run(self.keys["channels"].signer))

    def closed(self, now: datetime) -> list[str]:
        status = self.run(now)[1]
        assert status.state == "Waiting", status
        return [outcome.kind for outcome in status.outcomes if not outcome.open]

    def say(self, who: str, kind: str, predicate: Any) -> None:
        async def sign() -> None:
            subject = await self.store.resolve(self.second)
            await sign_artifact(
                self.store, subject, self.keys[who].signer, predicate_type=kind, predicate=predicate
            )

        asyncio.run(sign())

    def approve(self, who: str, now: datetime) -> None:
        approval = Approval(
            channel="prod", repository=self.place, digest=self.second, reason="ok", at=now
        )
        self.say(who, PREDICATE, approval.predicate())

    def report(self, since: datetime, now: datetime) -> None:
        value = Report(
            cluster="staging-1", stack="shop/shop", channel="staging",
            repository=self.place, records=self.place,
            digest=self.second, epoch=1, sequence=2, state="Healthy", since=since, at=now,
            every=300,
        )  # fmt: skip
        asyncio.run(write_report(self.store, value, self.keys["staging-1"].signer))


def test_the_documented_example_runs(tmp_path: Path) -> None:
    example = Example(tmp_path)
    start = NOON - timedelta(hours=2)
    assert [status.state for status in example.run(start)] == ["Moved", "Current"]
    assert example.closed(NOON) == ["healthy", "approvals", "attestation"]
    example.report(start, NOON)
    assert example.closed(NOON) == ["approvals", "attestation"]
    example.say("load-test", "https://example.com/load-test/v1", {"failed": 0})
    example.approve("alice", NOON)
    example.approve("alice", NOON)
    assert example.closed(NOON) == ["approvals"]
    example.approve("carol", NOON)
    assert example.closed(NOON + timedelta(minutes=10, days=3)) == ["healthy", "window"]
    moved = example.run(NOON)
    assert [status.state for status in moved] == ["Current", "Moved"]
    assert moved[1].held is not None
    assert moved[1].held.digest == example.second
    assert moved[1].held.newest.record.source == "staging@2"
    assert "approved by alice, carol" in moved[1].held.newest.record.reason
    assert [status.state for status in example.run(NOON)] == ["Current", "Current"]
