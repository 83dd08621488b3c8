"""Semantic versions and ranges: precedence as semver.org has it, and what each operator allows."""

from __future__ import annotations

import itertools

import pytest

from ocistate.errors import UsageError
from ocistate.semver import newest, parse_range, parse_version

# The example of https://semver.org/#spec-item-11, and more.
PRE = "0 alpha alpha.1 alpha.beta beta beta.2 beta.11 rc.1"
ASCENDING = [
    "0.9.9",
    *(f"1.0.0-{pre}" for pre in PRE.split()),
    *("1.0.0", "1.0.1", "1.1.0", "1.10.0", "2.0.0-rc.1", "2.0.0", "2.1.0"),
]


def allowed(range_: str) -> list[str]:
    wanted = parse_range(range_)
    return [
        text
        for text in ASCENDING
        if (version := parse_version(text)) is not None and wanted.allows(version)
    ]


def test_precedence() -> None:
    versions = [parse_version(text) for text in ASCENDING]
    assert None not in versions
    for low, high in itertools.combinations([v for v in versions if v is not None], 2):
        assert low < high


@pytest.mark.parametrize(
    "text",
    [
        "latest",
        "1",
        "1.2",
        "01.2.3",
        "1.2.3-",
        "1.2.3-01",
        "1.2.3+b",
        "1.2.3_b",
        "vv1.2.3",
        "v1.2.3.4",
        "1.2.x",
    ],
)
def test_what_is_no_version(text: str) -> None:
    assert parse_version(text) is None


@pytest.mark.parametrize(
    ("range_", "expected"),
    [
        ("*", "0.9.9 1.0.0 1.0.1 1.1.0 1.10.0 2.0.0 2.1.0"),
        (">=1.0.0", "1.0.0 1.0.1 1.1.0 1.10.0 2.0.0 2.1.0"),
        (">1.0.0", "1.0.1 1.1.0 1.10.0 2.0.0 2.1.0"),
        (">1.0", "1.1.0 1.10.0 2.0.0 2.1.0"),
        (">1", "2.0.0 2.1.0"),
        ("<1", "0.9.9"),
        ("<=1", "0.9.9 1.0.0 1.0.1 1.1.0 1.10.0"),
        ("<=1.0.1", "0.9.9 1.0.0 1.0.1"),
        ("1.0.0", "1.0.0"),
        ("=v1.0.0", "1.0.0"),
        ("1", "1.0.0 1.0.1 1.1.0 1.10.0"),
        ("1.x", "1.0.0 1.0.1 1.1.0 1.10.0"),
        ("1.0.*", "1.0.0 1.0.1"),
        ("^1.0.1", "1.0.1 1.1.0 1.10.0"),
        ("^0.9", "0.9.9"),
        ("^0", "0.9.9"),
        ("^0.9.9", "0.9.9"),
        ("~1.0", "1.0.0 1.0.1"),
        ("~1.0.1", "1.0.1"),
        ("~1", "1.0.0 1.0.1 1.1.0 1.10.0"),
        ("1.0 - 1.1", "1.0.0 1.0.1 1.1.0"),
        (">= 1.0, < 2, != 1.0.1", "1.0.0 1.1.0 1.10.0"),
        (">=1.0 !=1.0", "1.1.0 1.10.0 2.0.0 2.1.0"),
        ("<1 || ^2", "0.9.9 2.0.0 2.1.0"),
        ("1.0.0-rc.1", "1.0.0-rc.1"),
        (">=1.0.0-rc <1.0.1", "1.0.0-rc.1 1.0.0"),
        (">=1.1.0-0 <2", "1.1.0 1.10.0"),
        (">=1.10.0-0 <=2.0.0", "1.10.0 2.0.0-rc.1 2.0.0"),
        ("^1.1.0-0", "1.1.0 1.10.0"),
        ("<1.0.0-alpha.1", "0.9.9 1.0.0-0 1.0.0-alpha"),
        ("^1.1.0-0 || 2.0", "1.1.0 1.10.0 2.0.0"),
        ("<*", ""),
        (">*", ""),
    ],
)
def test_what_a_range_allows(range_: str, expected: str) -> None:
    assert allowed(range_) == expected.split()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "a",
        "^",
        ">=",
        "1.2.3.4",
        "1 ||",
        "1.x.3",
        "1.2-rc",
        "=>1",
        "1 - ",
        "- 1",
        "9" * 300,
        "1.2.3-",
        "1..2",
        ">=1 and <2",
        "01.2",
    ],
)
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_range(text)
    assert "hint" not in caught.value.message
    assert caught.value.hint


def test_the_newest_of_a_repositorys_tags() -> None:
    tags = ["latest", "v1.2.0", "v1.10.0", "v1.9.3", "1.10.0", "v2.0.0-rc.1", "sha256-00.sig"]
    assert newest(tags, parse_range("^1.2")) == "v1.10.0"
    assert newest(tags, parse_range(">=2.0.0-0")) == "v2.0.0-rc.1"
    assert newest(tags, parse_range("3.x")) is None
