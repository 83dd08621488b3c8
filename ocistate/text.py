"""Text that strangers may have chosen, made harmless before people or terminals see it."""

from __future__ import annotations

import json
from typing import Final

_MOST_DIGITS: Final = 20


def plain(text: str, *, lines: bool = False, most: int | None = None) -> str:
    """A text without what a terminal would obey, and of ``most`` characters at the most.

    Line feeds and tabs stay with ``lines``, and are spaces without.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _instead(c, lines) for c in text)
    return text if most is None or len(text) <= most else text[: most - 1] + "…"


def plain_json(text: str) -> str:
    """JSON in which what a terminal would obey is written as an escape; its value is the same."""
    if text.isascii():
        return text  # JSON itself leaves no control characters in
    return "".join(c if c == "\n" or c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1]


def whole_number(text: str, *, most: int = 2**53 - 1) -> int | None:
    """The number that ASCII digits mean; None for anything else, and for more than ``most``.

    Python's own ``int`` takes digits of all scripts, and fails on too many of them.
    """
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        return None
    number = int(text)
    return number if number <= most else None


def _instead(character: str, lines: bool) -> str:
    if character in "\n\t":
        return character if lines else " "
    return "\ufffd"
