"""Typed reading of plain dicts that people or machines wrote: Stacks, policies, settings.

Each getter names the path of what is wrong (``spec.keys[1].pem``), and ``finish`` refuses what
no one asked for, so that a misspelt field is an error and not a silent default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

from ocistate.documents.shapes import DURATION, Shape
from ocistate.errors import ConfigError
from ocistate.text import plain

T = TypeVar("T", bound=str)

MOST_SECONDS: Final = 100 * 365 * 24 * 3600.0
"""The longest duration: a hundred years from now is still a time that everything can hold."""

MOST_NUMBER: Final = 2**53 - 1
"""The largest number that every reader of JSON keeps apart from its neighbours."""

_LONGEST_TEXT: Final = 4096
_MOST_ITEMS: Final = 1000
_LINE_ENDS: Final = dict.fromkeys(map(ord, "\n\r\t"))
_PARTS: Final = re.compile(DURATION.pattern)


def parse_duration(text: str) -> float | None:
    """The seconds of a duration as Go writes it (``1h30m``, ``10s``, ``500ms``).

    None for what is none, or is longer than `MOST_SECONDS`.
    """
    # The shape bounds the digits, so that nothing below can overflow.
    if not text or not DURATION.fits(text) or (match := _PARTS.fullmatch(text)) is None:
        return None
    hours, minutes, seconds, millis = match.groups(default="0")
    total = int(hours) * 3600 + int(minutes) * 60 + float(seconds) + int(millis) / 1000
    return total if total <= MOST_SECONDS else None


class Fields:
    """One mapping being read. ``origin`` names the file or object in errors."""

    def __init__(self, value: Any, *, path: str, origin: str = "") -> None:
        self.path = path
        self.origin = origin
        if not isinstance(value, Mapping):
            raise self.error("", "must be a mapping")
        self._value: Mapping[str, Any] = value
        self._used: set[str] = set()

    def error(self, key: str, message: str, *, hint: str = "") -> ConfigError:
        """A ConfigError that names the field."""
        where = ".".join(part for part in (self.path, key) if part)
        origin = f"{self.origin}: " if self.origin else ""
        return ConfigError(f"{origin}{where}: {message}", hint=hint)

    def has(self, key: str) -> bool:
        """Whether the field is there and not null."""
        return self._value.get(key) is not None

    def raw(self, key: str) -> Any:
        """The field as it is, None where it is absent."""
        self._used.add(key)
        return self._value.get(key)

    def text(
        self,
        key: str,
        default: str | None = None,
        *,
        shape: Shape | None = None,
        most: int = _LONGEST_TEXT,
        lines: bool = False,
    ) -> str:
        """A text of at most ``most`` characters; required when there is no default.

        What is given has the ``shape``, or else is printable; with ``lines`` it may have several.
        """
        value = self.raw(key)
        if value is None:
            if default is None:
                raise self.error(key, "is required")
            return default
        if not isinstance(value, str) or (not value and default is None):
            raise self.error(key, "must be a text, and not an empty one")
        if value:
            self._check_text(key, value, shape, most, lines)
        return value

    def _check_text(
        self, key: str, value: str, shape: Shape | None, most: int, lines: bool
    ) -> None:
        if shape is not None:
            if not shape.fits(value):
                raise self.error(key, f"{value[:80]!r} is not {shape.what}", hint=shape.hint)
            return
        if len(value) > most:
            raise self.error(key, f"is longer than {most} characters")
        bare = value.translate(_LINE_ENDS) if lines else value
        if not bare.isprintable():
            raise self.error(
                key, f"{value[:80]!r} has characters that can't be printed", hint="remove them"
            )

    def choice(self, key: str, choices: tuple[T, ...], default: T) -> T:
        """One of a few words."""
        value = self.raw(key)
        if value is None:
            return default
        for choice in choices:
            if value == choice:
                return choice
        raise self.error(key, f"is {_shown(value)}", hint=f"one of {', '.join(choices)}")

    def boolean(self, key: str, default: bool) -> bool:
        """true or false."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def integer(self, key: str, default: int, *, least: int = 0, most: int = MOST_NUMBER) -> int:
        """A whole number within bounds."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.error(key, f"must be a whole number from {least} to {most}")
        return value

    def seconds(
        self, key: str, default: float, *, least: float = 0.0, most: float = MOST_SECONDS
    ) -> float:
        """A duration as Go writes it (``1h30m``, ``10s``, ``500ms``), in seconds."""
        value = self.raw(key)
        if value is None:
            return default
        total = parse_duration(value) if isinstance(value, str) else None
        shown = f"is {_shown(value)}"
        if total is None:
            raise self.error(
                key,
                f"{shown}, not a duration of at most 100 years",
                hint="write 30s, 5m or 1h30m",
            )
        if total < least:
            raise self.error(key, f"{shown}, must be at least {least:g}s")
        if total > most:
            raise self.error(key, f"{shown}, must be at most {most:g}s")
        return total

    def mapping(self, key: str) -> Fields:
        """A mapping; an empty one where it is absent."""
        value = self.raw(key)
        where = f"{self.path}.{key}" if self.path else key
        return Fields({} if value is None else value, path=where, origin=self.origin)

    def items(self, key: str, *, most: int = _MOST_ITEMS) -> Iterator[Fields]:
        """The mappings of a list; none where it is absent."""
        where = f"{self.path}.{key}" if self.path else key
        for place, item in enumerate(self._list(key, most)):
            yield Fields(item, path=f"{where}[{place}]", origin=self.origin)

    def texts(
        self,
        key: str,
        *,
        shape: Shape | None = None,
        most: int = _MOST_ITEMS,
        most_characters: int = _LONGEST_TEXT,
        lines: bool = False,
    ) -> tuple[str, ...]:
        """A list of texts; empty where it is absent."""
        values = self._list(key, most)
        for place, value in enumerate(values):
            where = f"{key}[{place}]"
            if not isinstance(value, str) or not value:
                raise self.error(where, "must be a text, and not an empty one")
            self._check_text(where, value, shape, most_characters, lines)
        return tuple(values)

    def finish(self) -> None:
        """Refuse fields that no getter asked for."""
        unknown = sorted(str(key) for key in self._value.keys() - self._used)
        if unknown:
            raise self.error(
                plain(unknown[0], most=80),
                "is not a known field",
                hint=f"known here: {', '.join(sorted(self._used))}",
            )

    def _list(self, key: str, most: int) -> list[Any]:
        value = self.raw(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.error(key, "must be a list")
        if len(value) > most:
            raise self.error(key, f"has {len(value)} entries, at most {most} are allowed")
        return value


def _shown(value: Any) -> str:
    """A value in an error: what it is, at a bounded length."""
    return repr(value[:80]) if isinstance(value, str) else f"a {type(value).__name__}"
