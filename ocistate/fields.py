"""Typed reading of plain dicts that people or machines wrote: Stacks, policies, settings.

Each getter names the path of what is wrong (``spec.keys[1].pem``), and ``finish`` refuses what
nobody asked for, so that a misspelt field is an error and not a silent default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

from ocistate.errors import ConfigError

T = TypeVar("T", bound=str)

_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")


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

    def text(self, key: str, default: str | None = None) -> str:
        """A text; required when there is no default."""
        value = self.raw(key)
        if value is None:
            if default is None:
                raise self.error(key, "is required")
            return default
        if not isinstance(value, str) or (not value and default is None):
            raise self.error(key, "must be a text, and not an empty one")
        return value

    def choice(self, key: str, choices: tuple[T, ...], default: T) -> T:
        """One of a few words."""
        value = self.raw(key)
        if value is None:
            return default
        for choice in choices:
            if value == choice:
                return choice
        raise self.error(key, f"is {value!r}", hint=f"one of {', '.join(choices)}")

    def boolean(self, key: str, default: bool) -> bool:
        """true or false."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def integer(self, key: str, default: int, *, least: int = 0, most: int = 2**53 - 1) -> int:
        """A whole number within bounds."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.error(key, f"must be a whole number from {least} to {most}")
        return value

    def seconds(self, key: str, default: float, *, least: float = 0.0) -> float:
        """A duration as Go writes it (``1h30m``, ``10s``, ``500ms``), in seconds."""
        value = self.raw(key)
        if value is None:
            return default
        match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
        if match is None:
            raise self.error(key, f"is {value!r}, not a duration", hint="write 30s, 5m or 1h30m")
        hours, minutes, seconds, millis = match.groups(default="0")
        total = int(hours) * 3600 + int(minutes) * 60 + float(seconds) + int(millis) / 1000
        if total < least:
            raise self.error(key, f"is {value!r}, must be at least {least:g}s")
        return total

    def mapping(self, key: str) -> Fields:
        """A mapping; an empty one where it is absent."""
        value = self.raw(key)
        where = f"{self.path}.{key}" if self.path else key
        return Fields({} if value is None else value, path=where, origin=self.origin)

    def items(self, key: str) -> Iterator[Fields]:
        """The mappings of a list; none where it is absent."""
        where = f"{self.path}.{key}" if self.path else key
        for place, item in enumerate(self._list(key)):
            yield Fields(item, path=f"{where}[{place}]", origin=self.origin)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty where it is absent."""
        values = self._list(key)
        for place, value in enumerate(values):
            if not isinstance(value, str) or not value:
                raise self.error(f"{key}[{place}]", "must be a text, and not an empty one")
        return tuple(values)

    def finish(self) -> None:
        """Refuse fields that no getter asked for."""
        unknown = sorted(str(key) for key in self._value.keys() - self._used)
        if unknown:
            raise self.error(
                unknown[0],
                "is not a known field",
                hint=f"known here: {', '.join(sorted(self._used))}",
            )

    def _list(self, key: str) -> list[Any]:
        value = self.raw(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.error(key, "must be a list")
        return value
