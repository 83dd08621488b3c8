"""The tree of errors: one root, a stable reason each, a hint for people."""

from __future__ import annotations

from collections.abc import Iterator

from ocistate import errors
from ocistate.errors import NotFound, OcistateError, StoreError


def classes(root: type[OcistateError] = OcistateError) -> Iterator[type[OcistateError]]:
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from classes(child)


def test_every_error_is_in_the_drawing_of_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn = set(errors.__doc__.replace("─", " ").replace("│", " ").split())
    assert {each.__name__ for each in classes()} - drawn == set()


def test_reasons_are_words_that_a_condition_can_have() -> None:
    for each in classes():
        assert each.reason.isalnum(), each
        assert each.reason[0].isupper(), each


def test_a_hint_follows_the_message() -> None:
    error = NotFound("there is no v1", hint="push it")
    assert (error.message, error.hint) == ("there is no v1", "push it")
    assert "there is no v1" in str(error)
    assert "push it" in str(error)
    assert isinstance(error, StoreError)
