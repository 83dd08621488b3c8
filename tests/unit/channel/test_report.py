"""Reports: what is signed is read back, and only a cluster's own key counts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ocistate.channel.report import (
    Report,
    check_cluster,
    report_tag,
    report_tags,
    sign_report,
    verify_report,
)
from ocistate.errors import ForeignReport, InvalidReport, Untrusted
from tests.support.factories.keys import make_signer
from tests.support.factories.records import NOW, SHOP
from tests.support.factories.reports import EAST, REPORTERS, WEST, report


def verify(raw: bytes, **more: Any) -> Report:
    given: dict[str, Any] = {"channel": "prod", "records": SHOP, "reporters": REPORTERS}
    return verify_report(raw, **{**given, **more})


def test_a_report_is_read_as_it_was_signed() -> None:
    given = report(labels={"tier": "prod"}, message="all is applied")
    assert verify(sign_report(given, EAST)) == given
    assert (given.number, given.speaker.name) == ((1, 1), "east")


def test_a_key_that_is_not_enrolled_is_refused() -> None:
    with pytest.raises(Untrusted, match="no enrolled cluster"):
        verify(sign_report(report(), make_signer()))


def test_a_cluster_reports_on_itself_only() -> None:
    with pytest.raises(ForeignReport, match="signed with the key of west"):
        verify(sign_report(report(), WEST))


@pytest.mark.parametrize("of", [{"channel": "staging"}, {"records": "elsewhere"}])
def test_a_report_on_another_channel_is_refused(of: dict[str, str]) -> None:
    with pytest.raises(ForeignReport, match="lies among those of"):
        verify(sign_report(report(), EAST), **of)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"message": "x" * 513}, "message is not a printable text"),
        ({"message": "a\nb"}, "message is not a printable text"),
        ({"state": "Fine"}, "state is none of"),
        ({"epoch": 0}, "epoch is not a whole number"),
        ({"every": 25 * 3600}, "every is not a whole number"),
        ({"since": NOW + timedelta(days=1)}, "since is later than at"),
        ({"labels": {"a b": "c"}}, "labels"),
        ({"cluster": "-east"}, "is not a cluster's name"),
    ],
)
def test_what_no_reader_would_take_is_not_signed(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidReport, match=problem):
        sign_report(report(**fields), EAST)


def test_a_report_is_bounded() -> None:
    with pytest.raises(InvalidReport, match="more than 16384 bytes"):
        verify(b" " * 17_000)


def test_a_cluster_is_silent_after_three_missed_reports() -> None:
    given = report(at=NOW, since=NOW, every=60)
    assert not given.is_silent(NOW + timedelta(seconds=180))
    assert given.is_silent(given.silent_at + timedelta(seconds=1))


def test_each_stack_has_a_tag_of_its_own() -> None:
    tags = {report_tag("prod", "east", stack) for stack in ("a/b", "a/c")}
    tags |= {report_tag("prod", "west", "a/b"), report_tag("prod-2", "east", "a/b")}
    assert len(tags) == 4
    assert len(report_tags([*tags, "v1", "channel-prod"], "prod")) == 3


@pytest.mark.parametrize("name", ["", "-", "a b", "ä", "a" * 254])
def test_names_of_clusters(name: str) -> None:
    assert check_cluster("East-1.example_com") == "East-1.example_com"
    with pytest.raises(InvalidReport):
        check_cluster(name)
