"""Semantic versions and ranges of them: which tag is the newest that a range allows.

    newest(["v1.2.0", "v1.3.0", "v2.0.0", "latest"], parse_range("^1.2"))      # "v1.3.0"

Versions are those of https://semver.org, with or without a leading ``v``; whatever else a tag is
called, it is no version. A range is one or more comparisons that must all hold (``>=1.2 <2``, with
spaces or commas between), alternatives are divided by ``||``. Beside ``=``, ``!=``, ``>``, ``>=``,
``<`` and ``<=`` there are ``^1.2`` (up to the next major), ``~1.2`` (up to the next minor), ``1.x``
and ``1.2 - 1.4``.

A pre-release is only chosen when the comparisons name one themselves: ``>=1.2.0-0`` wants them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from ocistate.errors import UsageError

_NUMBER: Final = r"(?:0|[1-9][0-9]{0,15})"
_WORD: Final = r"(?:0|[1-9][0-9]{0,15}|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_PRE: Final = rf"{_WORD}(?:\.{_WORD})*"
_VERSION: Final = re.compile(rf"v?({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_PRE}))?")
_PART: Final = rf"(?:{_NUMBER}|[xX*])"
_PARTIAL: Final = re.compile(rf"v?({_PART})(?:\.({_PART}))?(?:\.({_PART})(?:-({_PRE}))?)?")
_COMPARISON: Final = re.compile(r"(>=|<=|!=|=|>|<|\^|~)?\s*([^\s,<>=!^~|]+)[\s,]*")
_SPAN: Final = re.compile(r"(\S+)\s+-\s+(\S+)")
_LONGEST: Final = 256

_Pre = tuple[int, tuple[tuple[int, int, str], ...]]
_RELEASE: Final[_Pre] = (1, ())
_LOWEST: Final[_Pre] = (0, ((0, 0, ""),))


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version; ordered by precedence."""

    major: int
    minor: int
    patch: int
    pre: _Pre = _RELEASE

    @property
    def is_release(self) -> bool:
        """Whether it is no pre-release."""
        return self.pre == _RELEASE


_Test = Callable[[Version], bool]


@dataclass(frozen=True, slots=True)
class _AllOf:
    """Comparisons that must all hold."""

    tests: tuple[_Test, ...]
    pre_releases: bool

    def allows(self, version: Version) -> bool:
        if not version.is_release and not self.pre_releases:
            return False
        return all(test(version) for test in self.tests)


@dataclass(frozen=True, slots=True)
class Range:
    """A set of versions."""

    _alternatives: tuple[_AllOf, ...]

    def allows(self, version: Version) -> bool:
        """Whether the version is one of them."""
        return any(each.allows(version) for each in self._alternatives)


def parse_version(text: str) -> Version | None:
    """A version; None for whatever is not one."""
    match = _VERSION.fullmatch(text)
    if match is None:
        return None
    major, minor, patch, pre = match.groups()
    return Version(int(major), int(minor), int(patch), _pre(pre))


def parse_range(text: str) -> Range:
    """Read a range. Raises UsageError that names what cannot be read."""
    if len(text) > _LONGEST:
        raise UsageError(f"a range of {len(text)} characters is too long", hint="write ^1.2")
    return Range(tuple(_alternative(each.strip(), text) for each in text.split("||")))


def newest(tags: Iterable[str], wanted: Range) -> str | None:
    """The tag of the highest version in the range; None when there is none.

    Of two spellings of one version it is the one with a ``v``.
    """
    found = [
        (version, tag)
        for tag in tags
        if (version := parse_version(tag)) is not None and wanted.allows(version)
    ]
    return max(found)[1] if found else None


def _pre(text: str | None) -> _Pre:
    if not text:
        return _RELEASE
    words = text.split(".")
    return (0, tuple((0, int(w), "") if w.isdecimal() else (1, 0, w) for w in words))


@dataclass(frozen=True, slots=True)
class _Partial:
    """A version of which only the first parts may be given."""

    parts: tuple[int, ...]
    pre: _Pre

    @property
    def floor(self) -> Version:
        """The lowest version that begins like this."""
        major, minor, patch = (*self.parts, 0, 0, 0)[:3]
        return Version(major, minor, patch, self.pre)

    def after(self, kept: int) -> Version | None:
        """The lowest version whose first ``kept`` parts are higher; None: there is none."""
        if kept == 0:
            return None
        parts = (*self.parts, 0, 0)[:kept]
        major, minor, patch = (*parts[:-1], parts[-1] + 1, 0, 0)[:3]
        # Pre-releases of the first version beyond are beyond, too.
        return Version(major, minor, patch, _LOWEST)


def _partial(word: str, text: str) -> _Partial:
    match = _PARTIAL.fullmatch(word)
    if match is None:
        raise _error(text, f"{word!r} is no version")
    *parts, pre = match.groups()
    numbers: list[int] = []
    for part in parts:
        if part is None or part in "xX*":
            break
        numbers.append(int(part))
    if any(part is not None and part not in "xX*" for part in parts[len(numbers) :]):
        raise _error(text, f"{word!r} has a number after a wildcard")
    if pre and len(numbers) < 3:
        raise _error(text, f"{word!r} has a pre-release, but not all three numbers")
    return _Partial(tuple(numbers), _pre(pre))


def _alternative(words: str, text: str) -> _AllOf:
    if not words:
        raise _error(text, "a comparison is missing")
    if span := _SPAN.fullmatch(words):
        low, high = (_partial(word, text) for word in span.groups())
        given = [(">=", low), ("<=", high)]
    else:
        given = []
        at = 0
        while at < len(words):
            match = _COMPARISON.match(words, at)
            if match is None:
                raise _error(text, f"{words[at:]!r} is no comparison")
            given.append((match[1] or "=", _partial(match[2], text)))
            at = match.end()
    return _AllOf(
        tests=tuple(test for operator, partial in given for test in _tests(operator, partial)),
        pre_releases=any(partial.pre != _RELEASE for _, partial in given),
    )


def _tests(operator: str, partial: _Partial) -> list[_Test]:
    floor, given = partial.floor, len(partial.parts)
    match operator:
        case "^":
            # Everything up to the first number that is not 0 must stay.
            zeros = next((n for n, part in enumerate(partial.parts) if part), given - 1)
            return _between(floor, partial.after(min(zeros + 1, given)))
        case "~":
            return _between(floor, partial.after(min(given, 2)))
        case "=" if given == 3:
            return [lambda v: v == floor]
        case "=":
            return _between(floor, partial.after(given))
        case "!=":
            inside = _tests("=", partial)
            return [lambda v: not all(test(v) for test in inside)]
        case ">=":
            return [lambda v: v >= floor]
        case ">" if given == 3:
            return [lambda v: v > floor]
        case ">":
            beyond = partial.after(given)
            return [lambda v: beyond is not None and v >= beyond]
        case "<=" if given == 3:
            return [lambda v: v <= floor]
        case "<=":
            return _between(None, partial.after(given))
    # "<": a pre-release of the bound is not below it, unless the bound is one itself.
    bound = (
        floor
        if partial.pre != _RELEASE
        else Version(floor.major, floor.minor, floor.patch, _LOWEST)
    )
    return [lambda v: v < bound]


def _between(low: Version | None, high: Version | None) -> list[_Test]:
    """From ``low`` on, and below ``high``; None: without that bound."""
    tests: list[_Test] = []
    if low is not None:
        tests.append(lambda v: v >= low)
    if high is not None:
        tests.append(lambda v: v < high)
    return tests


def _error(text: str, message: str) -> UsageError:
    return UsageError(
        f"{text!r} is not a range of versions: {message}",
        hint="write ^1.2, ~1.4.0, 1.x, '>=1.2 <2' or '>=1.2.0-0' for pre-releases too",
    )
