"""Plain YAML scalars as kubectl resolves them.

YAML 1.1 as PyYAML has it differs: times of day would become numbers, dates would become objects,
and ``1e3`` or ``0o17`` would stay texts.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import Final

# How sigs.k8s.io/yaml resolves plain scalars, seen by running it: underscores go first, then
# strconv.ParseInt with base 0, then a float.
_DECIMAL: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_BASED: Final = re.compile(r"([-+]?)0(?:[bB]([01]+)|[oO]?([0-7]+)|[xX]([0-9a-fA-F]+))")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_BOOLS: Final = {
    word: truth
    for words, truth in (
        ("y Y yes Yes YES true True TRUE on On ON", True),
        ("n N no No NO false False FALSE off Off OFF", False),
    )
    for word in words.split()
}
WORDS: Final[dict[str, bool | None]] = {
    **_BOOLS,
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
}
_NUMBER_STARTS: Final = frozenset("+-.0123456789")
_MOST_INT: Final = 2**64 - 1
_LEAST_INT: Final = -(2**63)


def plain_value(text: str) -> str | int | float | bool | None:
    """What a scalar without quotes and tag is. Raises ValueError for what JSON cannot hold."""
    if text in WORDS:
        return WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    number = _number(text)
    if isinstance(number, float):
        return whole(number)
    if number is None and _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a number JSON can hold")
    return text if number is None else number


def plain_key(text: str) -> str:
    """The same as a key: numbers and booleans become text, as kubectl makes them.

    Raises ValueError.
    """
    if text in WORDS:
        truth = WORDS[text]
        if truth is None:
            raise ValueError("a key must not be null")
        return "true" if truth else "false"
    number = _number(text) if text[0] in _NUMBER_STARTS else None
    if number is None:
        return text
    if isinstance(number, int):
        return str(number)
    key = f"{number:.6g}"
    if float(key) != number:
        raise ValueError(f"the key {text} would be rounded to {key}")
    return key


def whole(value: float) -> int | float:
    """Go writes whole floats below 1e21 without a fraction, and an int field takes only that."""
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


def _number(text: str) -> int | float | None:
    """The number that a plain scalar is to kubectl, None for text.

    What fits no 64 bits is a float, and what fits no float is text: a commit like ``9e12345`` is.
    """
    if len(text) > 2000:
        return None
    plain = text.replace("_", "")
    if len(plain) <= 21 and _DECIMAL.fullmatch(plain):
        value = int(plain)
        if _LEAST_INT <= value <= _MOST_INT:
            return value
    based = _BASED.fullmatch(plain)
    if based and len(plain) <= 70:
        sign, binary, octal, hexadecimal = based.groups()
        digits, base = (binary, 2) if binary else (octal, 8) if octal else (hexadecimal, 16)
        value = int(digits, base) * (-1 if sign == "-" else 1)
        if _LEAST_INT <= value <= _MOST_INT:
            return value
    if len(plain) <= 1000 and _FLOAT.fullmatch(plain):
        number = float(plain)
        if isfinite(number):
            return number
    return None
