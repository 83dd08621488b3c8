"""Semantic versions (semver.org 2.0.0) among tags, and ranges of them.

    in_range = parse_range(">=1.2 <2 || ^3.1")
    [tag for tag in tags if (version := parse_version(tag)) and in_range(version)]

A tag is a version when it has all three numbers, with or without a ``v`` in front: ``1`` and
``1.2`` are names that move. A version before a release (``2.0.0-rc.1``) is in a range only when the
range names such a one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ocistate.errors import UsageError

Version = tuple[int, int, int, tuple[tuple[int, int, str], ...]]
"""Orders as semver.org, section 11, says; the last part is what stands behind the ``-``."""

RANGE_SIGNS: Final = frozenset("<>=~^")
_RELEASE: Final = ((2, 0, ""),)
_NUMBER: Final = r"(0|[1-9]\d{0,8})"
_PRE: Final = r"(?:-([0-9A-Za-z.-]+))?"
_VERSION: Final = re.compile(rf"v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}{_PRE}(?:\+[0-9A-Za-z.-]+)?")
_BOUND: Final = re.compile(rf"(>=|<=|>|<|=|\^|~)?v?{_NUMBER}(?:\.{_NUMBER}(?:\.{_NUMBER}{_PRE})?)?")


def parse_version(tag: str) -> Version | None:
    """The version a tag is; None when it is none."""
    match = _VERSION.fullmatch(tag)
    if match is None:
        return None
    major, minor, patch, before = match.groups()
    return (int(major), int(minor), int(patch), _precedence(before))


def parse_range(text: str) -> Callable[[Version], bool]:
    """A test for a range: bounds side by side all hold, ``||`` stands between alternatives.

    ``^1.2`` is up to the next major version, ``~1.2`` up to the next minor one. Raises UsageError.
    """
    tests = [_all_of(part, text) for part in text.split("||")]
    return lambda version: any(test(version) for test in tests)


def _all_of(part: str, text: str) -> Callable[[Version], bool]:
    bounds: list[tuple[str, Version]] = []
    before_release = False
    words = re.sub(r"([<>=~^])\s+", r"\1", part.replace(",", " ")).split()
    for word in words:
        match = _BOUND.fullmatch(word)
        if match is None:
            words = []
            break
        sign, *numbers, before = match.groups()
        before_release = before_release or bool(before)
        given = [int(number) for number in numbers if number is not None]
        bounds += _bounds(sign or "=", given, before)
    if not words:
        raise UsageError(
            f"{text!r} is not a range of versions", hint="write '>=1.2 <2', '^1.2' or '~1.2.3'"
        )

    def test(version: Version) -> bool:
        if version[3] != _RELEASE and not before_release:
            return False
        return all(_holds(sign, version, bound) for sign, bound in bounds)

    return test


def _bounds(sign: str, given: list[int], before: str | None) -> list[tuple[str, Version]]:
    """A bound as ``>=`` and ``<`` of whole versions; numbers left out mean all there are."""
    low: Version = (*_three(given), _precedence(before))
    if sign == "^":
        # Below 1.0.0 the first number that is not 0 counts as the major one.
        place = next((i for i, number in enumerate(given) if number), len(given) - 1)
        return [(">=", low), ("<", _after(given[: place + 1]))]
    if sign == "~":
        return [(">=", low), ("<", _after(given[:2]))]
    if len(given) == 3:
        return [(sign, low)]
    if sign == "=":
        return [(">=", low), ("<", _after(given))]
    whole = {">": (">=", _after(given)), "<=": ("<", _after(given)), "<": ("<", _first(given))}
    return [whole.get(sign, (sign, low))]


def _after(given: list[int]) -> Version:
    """Where the versions end that begin with these numbers."""
    return _first([*given[:-1], given[-1] + 1])


def _first(given: list[int]) -> Version:
    """Where the versions begin that begin with these numbers, those before a release too."""
    return (*_three(given), ())


def _three(given: list[int]) -> tuple[int, int, int]:
    major, minor, patch = [*given, 0, 0][:3]
    return major, minor, patch


def _holds(sign: str, version: Version, bound: Version) -> bool:
    match sign:
        case ">=":
            return version >= bound
        case ">":
            return version > bound
        case "<=":
            return version <= bound
        case "<":
            return version < bound
        case _:
            return version == bound


def _precedence(before: str | None) -> tuple[tuple[int, int, str], ...]:
    if before is None:
        return _RELEASE
    return tuple(
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in before.split(".")
    )
