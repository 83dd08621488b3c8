"""Text that strangers may have chosen, made harmless before people or terminals see it."""

from __future__ import annotations


def plain(text: str, *, lines: bool = False, most: int | None = None) -> str:
    """A text without what a terminal would obey, and of ``most`` characters at the most.

    Line feeds and tabs stay with ``lines``, and are spaces without.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _instead(c, lines) for c in text)
    return text if most is None or len(text) <= most else text[: most - 1] + "…"


def _instead(character: str, lines: bool) -> str:
    if character in "\n\t":
        return character if lines else " "
    return "\ufffd"
