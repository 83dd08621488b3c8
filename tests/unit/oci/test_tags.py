"""Which tags name what, and which versions are in a range."""

from __future__ import annotations

import pytest

from ocistate.errors import UsageError
from ocistate.oci.tags import (
    fallback_tag,
    is_by_digest,
    is_channel,
    legacy_tag,
    names_artifact,
    select_tags,
    version_key,
)
from ocistate.oci.versions import parse_version

DIGEST = "sha256:" + "0a" * 32


def test_tags_made_from_digests_and_channels_name_no_artifact() -> None:
    for tag in (fallback_tag(DIGEST), legacy_tag(DIGEST), legacy_tag(DIGEST, ".att")):
        assert is_by_digest(tag)
        assert not names_artifact(tag)
    assert is_channel("channel-prod")
    assert not names_artifact("channel-prod-7")
    for tag in ("v1", "sha256-abc", "main", "channels"):
        assert names_artifact(tag)


TAGS = "0.2.3 0.3.0 1.0.0 v1.2.0 1.2.3 1.3.0 2.0.0-rc.2 2.0.0-rc.10 2.0.0 3.1.4+build 1.2 v1 main"


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("v*", "v1.2.0 v1"),
        ("1.2", "1.2"),
        (">=1.2 <2", "v1.2.0 1.2.3 1.3.0"),
        (">=1.2, <2", "v1.2.0 1.2.3 1.3.0"),
        (">= 1.2.0 < 2", "v1.2.0 1.2.3 1.3.0"),
        ("^1.2", "v1.2.0 1.2.3 1.3.0"),
        ("^1.2.3", "1.2.3 1.3.0"),
        ("~1.2", "v1.2.0 1.2.3"),
        ("~1.2.3", "1.2.3"),
        ("^0.2", "0.2.3"),
        ("=1.2", "v1.2.0 1.2.3"),
        ("=1.2.0", "v1.2.0"),
        (">1.2", "1.3.0 2.0.0 3.1.4+build"),
        ("<=1.2", "0.2.3 0.3.0 1.0.0 v1.2.0 1.2.3"),
        ("<1", "0.2.3 0.3.0"),
        ("=1.0.0 || ^3", "1.0.0 3.1.4+build"),
        (">=2.0.0-rc.3", "2.0.0-rc.10 2.0.0 3.1.4+build"),
        (">=2.0.0-rc.1 <2.0.0", "2.0.0-rc.2 2.0.0-rc.10"),
        (">=1.3.0-rc.1 <2", "1.3.0"),
        (">=1.3.0-rc.1 <2.0.0-rc.3", "1.3.0 2.0.0-rc.2"),
    ],
)
def test_patterns_are_globs_or_ranges_of_versions(pattern: str, wanted: str) -> None:
    assert select_tags(TAGS.split(), [pattern]) == wanted.split()


def test_a_tag_that_matches_any_of_the_patterns_is_wanted_once() -> None:
    assert select_tags(["a", "1.0.0", "b"], ["a", "^1", "*.0"]) == ["a", "1.0.0"]


@pytest.mark.parametrize("pattern", [">=", ">=x", "^1.2.3.4", "~", "^1 ||", ">=1.02", "=1,,x"])
def test_a_range_that_cannot_be_read_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="not a range"):
        select_tags([], [pattern])


def test_versions_are_ordered_as_semver_says() -> None:
    ordered = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11"
    versions = [parse_version(tag) for tag in f"{ordered} 1.0.0-rc.1 1.0.0 1.0.1".split()]
    assert None not in versions
    assert versions == sorted(v for v in versions if v is not None)


def test_tags_are_sorted_as_people_read_them() -> None:
    assert sorted(["v10", "v9", "v9a", "main", "v9.1"], key=version_key) == [
        "main", "v9", "v9.1", "v9a", "v10",
    ]  # fmt: skip
