"""Which fields can be left to others."""

import pytest

from ocistate.documents.pointers import ignore_fault, tokens


def test_tokens_are_unescaped() -> None:
    assert tokens("/a~1b/~01/0") == ["a/b", "~1", "0"]


@pytest.mark.parametrize(
    "pointer",
    ["/spec/replicas", "/metadata/labels/team", "/metadata/annotations/x~1y", "/data"],
)
def test_what_does_not_say_whose_an_object_is_can_be_ignored(pointer: str) -> None:
    assert ignore_fault(pointer) == ""


@pytest.mark.parametrize(
    ("pointer", "fault"),
    [
        ("/", "is not a JSON pointer"),
        ("spec", "is not a JSON pointer"),
        ("/spec/~2", "is not a JSON pointer"),
        ("/kind", "says which object it is, or whose"),
        ("/metadata", "says which object it is, or whose"),
        ("/metadata/labels", "says which object it is, or whose"),
        ("/metadata/labels/ocistate.dev~1stack", "says which object it is, or whose"),
        ("/metadata/annotations/ocistate.dev~1digest", "says which object it is, or whose"),
        ("/metadata/labels/a/b", "says which object it is, or whose"),
    ],
)
def test_what_says_whose_an_object_is_cannot(pointer: str, fault: str) -> None:
    assert ignore_fault(pointer) == fault
