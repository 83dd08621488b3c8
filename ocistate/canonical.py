"""Canonical and strict JSON, and digests.

What is hashed or signed is written canonically: sorted keys, no spaces, UTF-8. What comes from
outside is read strictly: duplicate keys, ``NaN`` and trailing data are errors, never a choice
between two readings. It is bounded too: the library reads nested values recursively, and takes the
square of a number's length for it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

DIGEST_PATTERN: Final = re.compile(r"sha256:[0-9a-f]{64}")

MAX_JSON_DEPTH: Final = 500
MAX_DIGITS: Final = 1000


def canonical_json(value: Any) -> bytes:
    """The one byte form of a JSON value: sorted keys, no white space, UTF-8, no NaN.

    Raises ``ValueError`` or ``TypeError`` for what JSON cannot express.
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
    text = data.decode("utf-8")
    check_nesting(data, MAX_JSON_DEPTH)
    try:
        value = _DECODER.decode(text)
        _check_surrogates(data, value)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def parse_json_stream(text: str, *, most_deep: int) -> Iterator[tuple[int, Any]]:
    """Read JSON values that follow one another, as strictly: each with the place it begins at.

    Between them may be white space, and lines with ``---``. Raises ``ValueError``.
    """
    data = text.encode()
    check_nesting(data, most_deep)
    at = _skip_between(text, 0)
    while at < len(text):
        try:
            value, end = _DECODER.raw_decode(text, at)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        _check_surrogates(data, value)
        yield at, value
        at = _skip_between(text, end)


def check_nesting(data: bytes, most: int) -> None:
    """Refuse JSON nested deeper than ``most`` before anything reads it recursively.

    Raises ``ValueError``. What is no JSON at all may pass, or count as deeper than it is.
    """
    if data.count(b"[") + data.count(b"{") <= most:
        return
    # Each round takes the innermost brackets off; those that were never closed stay.
    left = _TEXT.sub(b"", data).translate(_ALIKE, delete=_NO_BRACKETS)
    depth = 0
    while depth <= most and len(fewer := left.replace(b"[]", b"")) < len(left):
        left, depth = fewer, depth + 1
    if depth + left.count(b"[") > most:
        raise ValueError(f"nested too deeply: more than {most} levels")


def _skip_between(text: str, at: int) -> int:
    match = _BETWEEN.match(text, at)
    return match.end() if match else at


def _check_surrogates(data: bytes, value: Any) -> None:
    if b"\\ud" in data or b"\\uD" in data:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("has half of a surrogate pair, which is no text") from None


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
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_constant=_refuse_constant,
    parse_float=_finite,
    parse_int=_integer,
)
_TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_ALIKE: Final = bytes.maketrans(b"{}", b"[]")
_BETWEEN: Final = re.compile(r"(?:[ \t\r\n]+|^---[ \t]*(?=[\r\n]|\Z))*", re.MULTILINE)
