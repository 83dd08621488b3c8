"""Reports of clusters: which count, and what they say of the fleet."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ocistate.channel.fleet import Fleet, TaggedReport, assess, healthy_since
from ocistate.channel.record import sign_record
from ocistate.channel.report import (
    Report,
    report_tag,
    report_tags,
    sign_report,
    verify_report,
)
from ocistate.channel.trust import ChannelTrust
from ocistate.errors import ForeignReport, InvalidReport, TrustError, Untrusted
from ocistate.oci.local.layout import LayoutStore
from ocistate.ops.channel.reader import Channel, repository_of
from ocistate.ops.channel.reports import read_reports, write_report
from ocistate.reference import parse_reference
from ocistate.signing.keys import KeySigner
from ocistate.signing.policy.model import TrustedKey
from tests.support.factories.records import ALICE, DIGESTS, MALLORY, NOW, SHOP, record
from tests.support.factories.reports import EAST, MINUTE, REPORTERS, WEST, report


def check(raw: bytes, **place: str) -> Report:
    return verify_report(raw, **{"channel": "prod", "records": SHOP, **place}, reporters=REPORTERS)


def fleet(*reports: Report, number: tuple[int, int] = (1, 1)) -> Fleet:
    seen = [TaggedReport(tag=str(place), report=item) for place, item in enumerate(reports)]
    newest = record(number[1], epoch=number[0], subjects={SHOP: DIGESTS[1]})
    return assess(seen, [r.name for r in REPORTERS], record=newest, now=NOW)


def standings(found: Fleet) -> dict[str, tuple[str, bool]]:
    return {member.cluster: (member.standing, member.current) for member in found.members}


def test_a_report_comes_back_as_it_was_signed() -> None:
    assert check(sign_report(report(message="all is well"), EAST)) == report(message="all is well")


@pytest.mark.parametrize(
    ("said", "signer", "error"),
    [
        (report(), MALLORY, Untrusted),
        (report(), WEST, ForeignReport),
        (report(channel="staging"), EAST, ForeignReport),
        (report(records="registry.example.com/other"), EAST, ForeignReport),
    ],
)
def test_a_report_that_is_not_the_clusters_own_does_not_count(
    said: Report, signer: KeySigner, error: type[TrustError]
) -> None:
    with pytest.raises(error):
        check(sign_report(said, signer))


def test_a_channels_record_is_no_report_and_a_changed_one_is_none_either() -> None:
    with pytest.raises(TrustError):
        verify_report(
            sign_record(record(), ALICE),
            channel="prod",
            records=SHOP,
            reporters=(TrustedKey(name="east", key=ALICE.public_key),),
        )
    value = json.loads(sign_report(report(state="Degraded"), EAST))
    payload = base64.b64decode(value["dsseEnvelope"]["payload"])
    value["dsseEnvelope"]["payload"] = base64.b64encode(
        payload.replace(b"Degraded", b"Healthy")
    ).decode()
    with pytest.raises(Untrusted):
        check(json.dumps(value).encode())


@pytest.mark.parametrize(
    "fields",
    [
        {"cluster": "a b"},
        {"message": "x\x1b[31m"},
        {"message": "x" * 513},
        {"sequence": 0},
        {"every": 0},
        {"state": "Fine"},
    ],
)
def test_what_no_reader_would_take_is_not_signed(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidReport):
        sign_report(report(**fields), EAST)


def test_the_fleet_is_well_when_all_that_are_enrolled_are_healthy_and_current() -> None:
    east, west = report(), report(cluster="west", since=NOW - 2 * MINUTE)
    found = fleet(east, west)
    assert found.is_healthy
    assert healthy_since(found.members) == NOW - 2 * MINUTE
    assert not fleet(east).is_healthy, "west was never heard of"
    assert standings(fleet(east))["west"] == ("NeverSeen", False)
    assert not fleet().is_healthy


def test_an_old_record_another_digest_and_trouble_are_not_current_or_not_healthy() -> None:
    behind = fleet(report(), report(cluster="west", digest=DIGESTS[2]), number=(1, 1))
    assert standings(behind)["west"] == ("Healthy", False)
    assert healthy_since(behind.members) is None
    assert standings(fleet(report(sequence=1), number=(1, 2)))["east"] == ("Healthy", False)
    assert standings(fleet(report(state="Degraded")))["east"] == ("Degraded", True)


def test_a_cluster_that_is_not_heard_of_in_time_is_silent() -> None:
    quiet = report(at=NOW - 21 * MINUTE)
    assert standings(fleet(quiet))["east"][0] == "Silent"
    assert standings(fleet(replace(quiet, every=3600)))["east"][0] == "Healthy"


def test_a_report_from_the_future_is_not_believed_and_the_later_of_two_counts() -> None:
    assert fleet(report(at=NOW + 6 * MINUTE)).members[0].standing == "NotBelieved"
    old = report(at=NOW - 2 * MINUTE, state="Healthy")
    assert standings(fleet(report(state="Degraded"), old))["east"][0] == "Degraded"


def test_tags_tell_channels_and_stacks_apart() -> None:
    prod, other = report_tag("prod", "east", "a/b"), report_tag("prod", "east", "a/c")
    assert prod != other
    nested = report_tag("prod-eu", "east", "a/b")
    assert report_tags([prod, other, nested, "report-prod-x", "v1"], "prod") == [prod, other]


def test_reports_in_a_store_are_read_each_under_its_own_tag(tmp_path: Path) -> None:
    async def story() -> list[TaggedReport]:
        store = LayoutStore(parse_reference(f"layout:{tmp_path}/store"))
        here = repository_of(store.reference)
        channel = Channel(name="prod", repository=here, trust=ChannelTrust(keys=()))
        first = report(records=here)
        tag = await write_report(store, first, EAST)
        await write_report(store, replace(first, at=NOW), EAST)
        await write_report(store, report(records=here, cluster="west"), MALLORY)
        await store.push_manifest(
            await store.fetch_manifest(tag), report_tag("prod", "north", "shop/shop")
        )
        return await read_reports(store, channel, REPORTERS)

    found = asyncio.run(story())
    good = [item.report for item in found if item.report is not None]
    assert [item.at for item in good] == [NOW]
    problems = sorted(item.problem for item in found if item.problem)
    assert len(problems) == 2
    assert "own tag" in problems[0]
    assert "no enrolled cluster" in problems[1]
