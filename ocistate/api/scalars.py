"""Values that are a text on the wire and something better in Python.

A scalar is a type, a function that reads it from the wire, the schema that the API server holds it
to, and a function that writes it. `Duration` and its bounded kinds are made here; others are
registered by the modules that define them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

Schema = dict[str, Any]

_DURATION: Final = re.compile(
    r"(?:([0-9]{1,6})h)?(?:([0-9]{1,8})m)?(?:([0-9]{1,9}(?:\.[0-9]{1,9})?)s)?(?:([0-9]{1,12})ms)?"
)
_YEAR: Final = 366 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Scalar:
    """How one type is read and written. ``read`` raises ValueError or an error of the tree."""

    read: Callable[[Any], Any]
    write: Callable[[Any], str]
    schema: Mapping[str, Any]


class Duration(float):
    """Seconds, written as Go writes durations: ``1h30m``, ``10s``, ``500ms``."""

    least: ClassVar[float] = 0.0
    most: ClassVar[float] = _YEAR

    @classmethod
    def read(cls, value: Any) -> Self:
        """Read a duration. Raises ValueError."""
        match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
        if match is None:
            raise ValueError(f"is {str(value)[:40]!r}, not a duration; write 30s, 5m or 1h30m")
        hours, minutes, seconds, millis = match.groups(default="0")
        total = int(hours) * 3600 + int(minutes) * 60 + float(seconds) + int(millis) / 1000
        if not cls.least <= total <= cls.most or not math.isfinite(total):
            least, most = cls(cls.least).text, cls(cls.most).text
            raise ValueError(f"is {value[:40]!r}; give {least} to {most}")
        return cls(total)

    @property
    def text(self) -> str:
        """The duration as it is written: the inverse of ``read``."""
        millis = round(self * 1000)
        parts = []
        for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
            if millis >= size:
                parts.append(f"{millis // size}{unit}")
                millis %= size
        return "".join(parts) or "0s"

    @classmethod
    def scalar(cls) -> Scalar:
        """How this kind of duration is read and written."""
        return Scalar(
            read=cls.read,
            write=lambda value: cls(value).text,
            schema={"type": "string", "maxLength": 40, "pattern": f"^{_unnamed(_DURATION)}$"},
        )


def _unnamed(pattern: re.Pattern[str]) -> str:
    return pattern.pattern.replace("(?:", "(")


_SCALARS: Final[dict[type, Scalar]] = {}


def register(kind: type, scalar: Scalar) -> None:
    """Have a type read and written as a scalar wherever a struct has it."""
    _SCALARS[kind] = scalar


def scalar_of(kind: type) -> Scalar:
    """How a type is read and written. Raises KeyError for one that is no scalar."""
    return kind.scalar() if issubclass(kind, Duration) else _SCALARS[kind]
