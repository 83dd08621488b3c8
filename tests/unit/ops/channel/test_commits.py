"""The commits between two releases, and the page that compares them."""

from __future__ import annotations

import pytest

from ocistate.channel.record import RecordProvenance
from ocistate.ops.channel.commits import commits_between, compare_url

OLD, NEW = "1" * 40, "2" * 40


def made(commit: str, source: str = "https://github.com/acme/shop") -> RecordProvenance:
    return RecordProvenance(source=source, revision=f"main@sha1:{commit}")


def test_a_range_is_from_the_older_to_the_newer() -> None:
    found = commits_between(made(OLD), made(NEW))
    assert found["range"] == f"{OLD[:12]}..{NEW[:12]}"
    assert found["url"] == f"https://github.com/acme/shop/compare/{OLD}...{NEW}"


@pytest.mark.parametrize(
    ("old", "new"),
    [(None, made(NEW)), (made(OLD), None), (made(OLD), RecordProvenance(revision="v1"))],
)
def test_without_two_commits_there_is_no_range(
    old: RecordProvenance | None, new: RecordProvenance | None
) -> None:
    assert commits_between(old, new)["url"] == ""


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("https://github.com/acme/shop.git", f"https://github.com/acme/shop/compare/{OLD}...{NEW}"),
        ("ssh://github.com/acme/shop", f"https://github.com/acme/shop/compare/{OLD}...{NEW}"),
        ("javascript:alert(1)", ""),
        ("", ""),
    ],
)
def test_only_known_hosts_get_a_page(source: str, url: str) -> None:
    assert compare_url(source, OLD, NEW) == url
