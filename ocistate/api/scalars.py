"""Values that are a text on the wire and something better in Python.

A scalar is a type, a function that reads it from the wire, the schema that the API server holds it
to, and a function that writes it. `Duration` and its bounded kinds are made here; others are
registered by the modules that define them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from ocistate.documents import shapes
from ocistate.documents.fields import MOST_SECONDS, parse_duration

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scalar:
    """How one type is read and written. ``read`` raises ValueError or an error of the tree."""

    read: Callable[[Any], Any]
    write: Callable[[Any], str]
    schema: Mapping[str, Any]


class Duration(float):
    """Seconds, written as Go writes durations: ``1h30m``, ``10s``, ``500ms``."""

    least: ClassVar[float] = 0.0
    most: ClassVar[float] = MOST_SECONDS

    @classmethod
    def read(cls, value: Any) -> Self:
        """Read a duration. Raises ValueError."""
        total = parse_duration(value) if isinstance(value, str) else None
        if total is None:
            raise ValueError(
                f"is {str(value)[:40]!r}, not a duration of at most 100 years; "
                "write 30s, 5m or 1h30m"
            )
        if not cls.least <= total <= cls.most:
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
        low, high = cls(cls.least).text, cls(cls.most).text
        bounds = {
            "rule": f"duration(self) >= duration('{low}') && duration(self) <= duration('{high}')",
            "message": f"must be from {low} to {high}",
        }
        return Scalar(
            read=cls.read,
            write=lambda value: cls(value).text,
            schema={
                **shapes.DURATION.schema,
                "minLength": 1,
                "x-kubernetes-validations": [bounds],
            },
        )


_SCALARS: Final[dict[type, Scalar]] = {}


def register(kind: type, scalar: Scalar) -> None:
    """Have a type read and written as a scalar wherever a struct has it."""
    _SCALARS[kind] = scalar


def scalar_of(kind: type) -> Scalar:
    """How a type is read and written. Raises KeyError for one that is no scalar."""
    return kind.scalar() if issubclass(kind, Duration) else _SCALARS[kind]
