"""What tags mean: which name artifacts, which only carry what belongs to one, which are wanted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from ocistate.errors import InvalidReference
from ocistate.reference import check_tag

_Test = Callable[[str], bool]

LEGACY_SUFFIXES: Final = (".sig", ".att", ".sbom")
CHANNEL_PREFIX: Final = "channel-"
REPORT_PREFIX: Final = "report-"

_RANGE_SIGNS: Final = frozenset("<>=~^|")
"""No tag and no glob has them."""
_BY_DIGEST: Final = re.compile(r"sha256-[0-9a-f]{64}(\.[a-z]+)?")


def fallback_tag(digest: str) -> str:
    """Distribution spec 1.1, "Referrers Tag Schema": the tag that lists what refers to a digest."""
    return digest.replace(":", "-")


def legacy_tag(digest: str, suffix: str = ".sig") -> str:
    """The tag under which cosign's older formats are kept for a digest: ``sha256-<hex>.sig``."""
    return fallback_tag(digest) + suffix


def is_by_digest(tag: str) -> bool:
    """Whether a tag is made from a digest: it carries what belongs to an artifact, and is none."""
    return _BY_DIGEST.fullmatch(tag) is not None


def is_channel(tag: str) -> bool:
    """Whether a tag names a channel's record."""
    return tag.startswith(CHANNEL_PREFIX)


def check_artifact_tag(tag: str) -> str:
    """The tag itself when an artifact may have it. Raises InvalidReference."""
    if is_channel(check_tag(tag)):
        raise InvalidReference(
            f"the tag {tag!r} is for a channel's record", hint="'ocistate promote' moves a channel"
        )
    if tag.startswith(REPORT_PREFIX):
        raise InvalidReference(
            f"the tag {tag!r} is for a cluster's report", hint="choose another tag"
        )
    if is_by_digest(tag):
        raise InvalidReference(
            f"the tag {tag!r} is for what refers to that digest", hint="choose another tag"
        )
    return tag


def names_artifact(tag: str) -> bool:
    """Whether a tag names an artifact, and no record, no report, nothing that belongs to one."""
    return not is_by_digest(tag) and not tag.startswith((CHANNEL_PREFIX, REPORT_PREFIX))


def select_tags(tags: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """The tags that match any of the patterns: globs, or ranges of versions such as ``>=1.2 <2``.

    Raises UsageError for a range that cannot be read.
    """
    tests = [_test(pattern) for pattern in patterns]
    return [tag for tag in tags if any(test(tag) for test in tests)]


def version_key(tag: str) -> tuple[object, ...]:
    """Sorts tags as people read them: v10 after v9."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in _parts(tag))


def _parts(tag: str) -> list[str]:
    return [part for part in re.split(r"([0-9]+)", tag) if part]


def _test(pattern: str) -> _Test:
    if not _RANGE_SIGNS & set(pattern):
        return lambda tag: fnmatchcase(tag, pattern)
    from ocistate.semver import parse_range, parse_version

    wanted = parse_range(pattern)
    return lambda tag: (version := parse_version(tag)) is not None and wanted.allows(version)
