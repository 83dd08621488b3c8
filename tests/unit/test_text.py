"""Text from strangers."""

from __future__ import annotations

import pytest

from ocistate.text import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("é ✓ 日本", "é ✓ 日本"),
        ("a\x1b[2Jb", "a\ufffd[2Jb"),
        ("\x9b31m", "\ufffd31m"),  # the same in one character
        ("abc\u202edcba", "abc\ufffddcba"),  # what turns the reading direction
        ("a\r\x00\x7fb", "a\ufffd\ufffd\ufffdb"),
        ("a\nb\tc", "a b c"),
        ("", ""),
    ],
)
def test_what_a_terminal_would_obey_is_taken_out(text: str, shown: str) -> None:
    assert plain(text) == shown
    assert plain(text).isprintable()


def test_lines_stay_where_they_are_wanted() -> None:
    assert plain("a\nb\tc\x1b", lines=True) == "a\nb\tc\ufffd"


def test_long_texts_are_cut_with_a_sign_of_it() -> None:
    assert plain("x" * 10, most=10) == "x" * 10
    assert plain("x" * 11, most=10) == "x" * 9 + "…"
