"""Canonical and strict JSON, and digests.

What is hashed or signed is written canonically: sorted keys, no spaces, UTF-8. What comes from
outside is read strictly: duplicate keys, ``NaN`` and trailing data are errors, never a choice
between two readings.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final, NoReturn

DIGEST_PATTERN: Final = re.compile(r"sha256:[0-9a-f]{64}")


def canonical_json(value: Any) -> bytes:
    """The one byte form of a JSON value: sorted keys, no white space, UTF-8, no NaN.

    Raises ``ValueError`` or ``TypeError`` for what JSON cannot say.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest_of(data: bytes) -> str:
    """``sha256:<hex>`` of some bytes, the digest form of the OCI image spec."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def parse_json(data: bytes) -> Any:
    """Read JSON strictly: UTF-8, no duplicate keys, no NaN or Infinity, bounded nesting.

    All that is read can be written again. Raises ``ValueError`` with a message fit for an error
    text.
    """
    try:
        value = _DECODER.decode(data.decode("utf-8"))
        if b"\\ud" in data or b"\\uD" in data:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("has half of a surrogate pair, which is no text") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"duplicate key {key!r}")
            seen.add(key)
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite
)
