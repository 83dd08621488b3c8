"""Typed reading: each error names the path of what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ocistate.errors import ConfigError
from ocistate.fields import Fields


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
