"""Which tags name what, and which are wanted."""

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

DIGEST = "sha256:" + "0a" * 32


def test_tags_made_from_digests_and_channels_name_no_artifact() -> None:
    for tag in (fallback_tag(DIGEST), legacy_tag(DIGEST), legacy_tag(DIGEST, ".att")):
        assert is_by_digest(tag)
        assert not names_artifact(tag)
    assert is_channel("channel-prod")
    assert not names_artifact("channel-prod-7")
    for tag in ("v1", "sha256-abc", "main", "channels"):
        assert names_artifact(tag)


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("v*", "v1.2.0 v1"),
        ("1.*", "1.2.3 1.3.0 1.2"),
        ("1.2", "1.2"),
        ("[0-9].3.0", "1.3.0"),
        (">=1.2 <2", "v1.2.0 1.2.3 1.3.0"),
        ("~1.2", "v1.2.0 1.2.3"),
        ("=1.3.0 || ^2", "1.3.0 2.0.0"),
    ],
)
def test_patterns_are_globs_or_ranges_of_versions(pattern: str, wanted: str) -> None:
    tags = "v1.2.0 1.2.3 1.3.0 2.0.0-rc.2 2.0.0 1.2 v1 main"
    assert select_tags(tags.split(), [pattern]) == wanted.split()


def test_a_tag_that_matches_any_of_the_patterns_is_wanted_once() -> None:
    assert select_tags(["a", "1.0.0", "b"], ["a", "^1", "*.0"]) == ["a", "1.0.0"]


def test_a_range_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(UsageError, match="not a range"):
        select_tags([], [">=y"])


def test_tags_are_sorted_as_people_read_them() -> None:
    assert sorted(["v10", "v9", "v9a", "main", "v9.1"], key=version_key) == [
        "main", "v9", "v9.1", "v9a", "v10",
    ]  # fmt: skip
