"""``promote --rings`` and ``rollout`` on a layout, by reports that are written as agents do."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocistate.channel.change import Why
from ocistate.channel.report import Report
from ocistate.channel.trust import ChannelTrust
from ocistate.errors import Conflict
from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.channel.reader import Channel, repository_of
from ocistate.ops.channel.reports import write_report
from ocistate.ops.channel.rollout import take_step
from ocistate.ops.channel.writer import Writer
from ocistate.reference import parse_reference
from ocistate.signing.keys import load_private_key
from ocistate.signing.policy.model import TrustedKey
from tests.support.environments.command_line import Site
from tests.support.factories.records import ALICE, MALLORY

KEYS = {"east": ALICE, "west": MALLORY}


@pytest.fixture
def fleet(begun: Site) -> Site:
    enrolled = [{"name": n, "pem": k.public_key.pem} for n, k in KEYS.items()]
    begun.write_policy(reporters=enrolled)
    rings = [
        {"name": "canary", "labels": {"tier": "canary"}, "patience": "0s"},
        {"name": "all", "percent": 100, "patience": "0s"},
    ]
    (begun.root / "rings.yaml").write_text(yaml.safe_dump({"rings": rings}))
    return begun


def begin(site: Site, tag: str = "v2", code: int = 0) -> None:
    site.promote("--tag", tag, "--rings", str(site.root / "rings.yaml"), code=code)


def tell(site: Site, cluster: str, version: int, number: int, state: str = "Healthy") -> None:
    reference = parse_reference(site.store)
    now = datetime.now(UTC).replace(microsecond=0)
    given: dict[str, Any] = {
        "cluster": cluster,
        "stack": "shop/shop",
        "channel": "prod",
        "records": repository_of(reference),
        "repository": repository_of(reference),
        "digest": site.digests[version - 1],
        "epoch": 1,
        "sequence": number,
        "state": state,
        "since": now - timedelta(minutes=1),
        "at": now,
        "every": 300,
        "labels": {"tier": "canary"} if cluster == "east" else {},
    }
    asyncio.run(write_report(LayoutStore(reference), Report(**given), KEYS[cluster]))


def rollout(site: Site, verb: str, *more: str, code: int = 0) -> str:
    given = ("rollout", verb, site.store, "prod", *more)
    return (
        site(*given, *site.trust, code=code) if verb == "status" else site.sign(*given, code=code)
    )


def test_a_rollout_goes_through_its_rings(fleet: Site) -> None:
    site = fleet
    tell(site, "west", 1, 1)
    begin(site)
    assert "canary, 1 of 2 rings gets it now" in site.err
    begin(site)
    assert "nothing was written" in site.err
    rollout(site, "run")
    assert "no cluster reports that is in canary" in site.err
    rollout(site, "advance", code=80)
    tell(site, "east", 2, 2)
    found = site.json("rollout", "status", site.store, "prod")
    assert (found["due"], found["rollout"]["open"]) == ("advance", 1)
    assert [(m["cluster"], m["ring"], m["open"]) for m in found["members"]] == [
        ("west", "all", False),
        ("east", "canary", True),
    ]
    rollout(site, "status")
    assert "may open the next ring" in site.err
    assert "in rings: canary" in site("channel", "list", site.store, *site.trust)
    site.promote("--from", "prod", to="staging", code=4)
    site.promote("--tag", "v3", code=4)
    assert "rollout is under way" in site.err
    assert rollout(site, "run").strip() == "prod@3"
    rollout(site, "run")
    assert "stays as it is" in site.err
    tell(site, "east", 2, 3)
    tell(site, "west", 2, 3)
    assert rollout(site, "advance").strip() == "prod@4"
    rollout(site, "run")
    assert "no rollout is under way" in site.err
    rollout(site, "abort", code=4)
    rows = site.json("history", site.store, "prod")
    assert [(r["rollout"] or {}).get("open") for r in rows] == [None, 2, 1, None]
    assert [r["source"] for r in rows] == ["v2", "v2", "v2", ""]
    assert "opens the next ring after canary: all 1 are healthy" in rows[1]["reason"]
    assert "2 (ring 1 of 2)" in site("history", site.store, "prod", *site.trust)


def test_a_bad_canary_is_taken_back_and_the_channel_held(fleet: Site) -> None:
    site = fleet
    begin(site)
    tell(site, "east", 2, 2, "Degraded")
    rollout(site, "advance", code=80)
    assert "east/shop/shop is Degraded" in site.err
    assert rollout(site, "run", code=1).strip() == "prod@3"
    row = site.json("channel", "show", site.store, "prod")
    assert (row["hold"], row["rollout"]) == (True, None)
    assert row["subjects"][0]["digest"] == site.digests[0]
    assert "goes back after canary: east/shop/shop is Degraded" in row["reason"]
    begin(site, code=77)


def test_people_may_force_pause_and_abort(fleet: Site) -> None:
    site = fleet
    begin(site)
    site.sign("channel", "hold", site.store, "prod")
    rollout(site, "advance", "--force", code=77)
    rollout(site, "run")
    assert "on hold" in site.err
    site.sign("channel", "release", site.store, "prod")
    assert rollout(site, "advance", "--force").strip() == "prod@5"
    assert rollout(site, "abort", "--reason", "no").strip() == "prod@6"
    row = site.json("channel", "show", site.store, "prod")
    assert (row["hold"], row["reason"], row["subjects"][0]["digest"]) == (
        True,
        "no",
        site.digests[0],
    )


def test_a_rollback_goes_to_what_every_cluster_had(fleet: Site) -> None:
    site = fleet
    begin(site, "v2")
    begin(site, "v3")
    site.sign("rollback", site.store, "prod", "--yes")
    row = site.json("channel", "show", site.store, "prod")
    assert (row["rollout"], row["subjects"][0]["digest"]) == (None, site.digests[0])


def test_a_cluster_is_installed_with_its_labels(site: Site) -> None:
    out = site("install", "--cluster", "east", "--cluster-label", "tier=canary")
    (agent,) = (o for o in yaml.safe_load_all(out) if o["kind"] == "Deployment")
    arguments = agent["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--cluster=east", "--cluster-label=tier=canary"} <= set(arguments)
    site("install", "--cluster-label", "tier=canary", code=2)


def test_two_jobs_do_not_open_two_rings(fleet: Site) -> None:
    site = fleet
    begin(site)
    tell(site, "east", 2, 2)
    signer = load_private_key((site.root / "chan.key").read_bytes(), lambda: b"")
    reference = parse_reference(site.store)
    channel = Channel(
        name="prod",
        repository=repository_of(reference),
        trust=ChannelTrust(keys=(TrustedKey(name="k", key=signer.public_key),)),
    )

    async def both() -> list[Any]:
        async def job(newest: Any) -> Any:
            writer = Writer(store=LayoutStore(reference), channel=channel, signer=signer)
            why = Why(now=datetime.now(UTC).replace(microsecond=0), reason="job")
            return await take_step(writer, newest, "advance", why)

        writer = Writer(store=LayoutStore(reference), channel=channel, signer=signer)
        newest = await writer.newest()
        return list(await asyncio.gather(job(newest), job(newest), return_exceptions=True))

    done = asyncio.run(both())
    assert sorted(isinstance(item, Conflict) for item in done) == [False, True]
    assert site.json("channel", "show", site.store, "prod")["sequence"] == 3


def test_rings_and_clusters_that_cannot_be_are_refused(begun: Site, tmp_path: Path) -> None:
    site = begun
    begun_with = ("--tag", "v2", "--rings")
    site.promote(*begun_with, "canary=5%", code=4)
    assert "the last one, canary, must take in 100%" in site.err
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("rings: [{name: all, percent: 100, sook: 1h}]")
    site.promote(*begun_with, str(wrong), code=4)
    assert "wrong.yaml: rings[0].sook" in site.err
    wrong.write_text("rings: [")
    site.promote(*begun_with, str(wrong), code=3)
    rollout(site, "status", code=4)
    assert "enrols no cluster" in site.err
    for given in (["--cluster-label", "a=b"], ["--cluster", "x", "--cluster-label", "a"]):
        site("agent", "--stacks", str(tmp_path), *given, code=2)
