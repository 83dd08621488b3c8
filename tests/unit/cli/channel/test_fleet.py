"""``ocistate fleet status``: clusters by their reports, and the exit code when asked."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ocistate.channel.report import Report
from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.channel.reader import repository_of
from ocistate.ops.channel.reports import write_report
from ocistate.reference import parse_reference
from tests.support.environments.shop import Shop, make_shop, run
from tests.support.factories.records import ALICE, MALLORY

CLUSTERS = {"east": ALICE, "west": MALLORY}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """East is healthy at the newest record, west is enrolled and never reported."""
    shop = make_shop(tmp_path_factory.mktemp("fleet"))
    shop.write_policy(reporters=[{"name": n, "pem": k.public_key.pem} for n, k in CLUSTERS.items()])
    reference = parse_reference(shop.store)
    now = datetime.now(UTC).replace(microsecond=0)
    given: dict[str, Any] = {
        "cluster": "east",
        "stack": "shop/shop",
        "channel": "prod",
        "records": repository_of(reference),
        "repository": repository_of(reference),
        "digest": shop.digests[1],
        "epoch": 1,
        "sequence": 2,
        "state": "Healthy",
        "since": now - timedelta(minutes=1),
        "at": now,
        "every": 300,
    }
    asyncio.run(write_report(LayoutStore(reference), Report(**given), ALICE))
    return shop


def test_clusters_that_need_attention_come_first(fleet: Shop) -> None:
    ran = run("fleet", "status", fleet.store, "prod", *fleet.trust, "-o", "json")
    assert ran.json["counts"] == {"NeverSeen": 1, "Healthy": 1}
    assert ran.json["well"] is False
    west, east = ran.json["members"]
    assert (west["cluster"], west["standing"]) == ("west", "NeverSeen")
    assert (east["standing"], east["current"], east["sequence"]) == ("Healthy", True, 2)
    assert "prod@2: 1 NeverSeen, 1 Healthy." in ran.err


def test_the_table_and_names_have_a_line_for_each(fleet: Shop) -> None:
    head, *rows = run("fleet", "status", fleet.store, "prod", *fleet.trust).out.splitlines()
    assert head.split()[:3] == ["CLUSTER", "STACK", "STATE"]
    assert len(rows) == 2
    names = run("fleet", "status", fleet.store, "prod", *fleet.trust, "-o", "name").out
    assert "east/shop/shop" in names.split()


def test_the_exit_code_says_whether_all_are_healthy_when_asked(fleet: Shop) -> None:
    run("fleet", "status", fleet.store, "prod", *fleet.trust, "--exit-code", code=1)


def test_a_policy_must_enrol_clusters(shop: Shop) -> None:
    ran = run("fleet", "status", shop.store, "prod", *shop.trust, code=4)
    assert "spec.reporters" in ran.err
    assert "--policy" in run("fleet", "status", shop.store, "prod", code=2).err
