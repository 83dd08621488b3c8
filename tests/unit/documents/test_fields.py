"""Typed reading: each error names the path of what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ocistate.documents.fields import MOST_SECONDS, Fields
from ocistate.errors import ConfigError


def fields(**value: Any) -> Fields:
    return Fields(value, path="spec", origin="f.yaml:3")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("1h30m", 5400), ("500ms", 0.5), ("1.5s", 1.5), ("1m0s", 60)],
)
def test_durations(text: str, seconds: float) -> None:
    assert fields(x=text).seconds("x", 1) == seconds


@pytest.mark.parametrize(
    ("value", "read", "message"),
    [
        (1, lambda f: f.text("x"), "must be a text"),
        ("", lambda f: f.text("x"), "empty"),
        (None, lambda f: f.text("x"), "is required"),
        ("yes", lambda f: f.boolean("x", True), "true or false"),
        (1, lambda f: f.boolean("x", True), "true or false"),
        ("a", lambda f: f.choice("x", ("b", "c"), "b"), "is 'a'"),
        (-1, lambda f: f.integer("x", 0), "whole number"),
        (True, lambda f: f.integer("x", 0), "whole number"),
        (1.5, lambda f: f.integer("x", 0), "whole number"),
        (2**60, lambda f: f.integer("x", 0), "whole number"),
        ("", lambda f: f.seconds("x", 1), "not a duration"),
        ("5", lambda f: f.seconds("x", 1), "not a duration"),
        (5, lambda f: f.seconds("x", 1), "not a duration"),
        ("-5s", lambda f: f.seconds("x", 1), "not a duration"),
        ("0s", lambda f: f.seconds("x", 1, least=1), "at least"),
        ([], lambda f: f.mapping("x"), "must be a mapping"),
        ({}, lambda f: f.texts("x"), "must be a list"),
        ([""], lambda f: f.texts("x"), r"x\[0\]"),
        ([{}, 5], lambda f: list(f.items("x")), "must be a mapping"),
    ],
)
def test_the_error_names_origin_and_path(
    value: Any, read: Callable[[Fields], Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(fields(x=value))
    assert str(caught.value).startswith("f.yaml:3: spec.x")


def test_a_field_nobody_asked_for_is_refused() -> None:
    made = fields(name="x", nmae="y")
    made.text("name")
    with pytest.raises(ConfigError, match=r"spec\.nmae: is not a known field"):
        made.finish()


def test_defaults_stand_in_for_what_is_absent() -> None:
    made = fields(null=None)
    assert made.text("a", "d") == "d"
    assert made.boolean("null", True) is True
    assert made.integer("a", 7) == 7
    assert made.texts("a") == ()
    assert not made.has("null")
    assert made.mapping("a").text("b", "c") == "c"


@pytest.mark.parametrize(
    "text",
    ["9" * 400 + "h", "9" * 400 + "s", "0." + "9" * 400 + "s", "876001h", "9" * 5000 + "ms", "٣s"],
)
def test_a_duration_is_bounded_before_it_is_converted(text: str) -> None:
    with pytest.raises(ConfigError, match="not a duration of at most 100 years"):
        fields(x=text).seconds("x", 1)
    assert fields(x="876000h").seconds("x", 1) == MOST_SECONDS


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 10**5000], ids=["nan", "inf", "huge"]
)
def test_what_is_wrong_can_always_be_told(value: Any) -> None:
    reads: list[Callable[[Fields], Any]] = [
        lambda f: f.integer("x", 0),
        lambda f: f.seconds("x", 0),
        lambda f: f.choice("x", ("a",), "a"),
        lambda f: f.text("x"),
    ]
    for read in reads:
        with pytest.raises(ConfigError):
            read(fields(x=value))


def test_texts_are_printable_and_bounded_and_have_lines_where_they_may() -> None:
    assert fields(x="a\nb").text("x", lines=True) == "a\nb"
    for text in ("a\nb", "a\x1bb", "a\ud800", "a" * 5000):
        with pytest.raises(ConfigError):
            fields(x=text).text("x")
        with pytest.raises(ConfigError):
            fields(x=[text]).texts("x")
    with pytest.raises(ConfigError, match="at most 3"):
        fields(x=[{}] * 4).items("x", most=3).__next__()
