"""One object that is nested too deep hides no other, and not itself."""

from __future__ import annotations

import json

import pytest

from ocistate.errors import ClusterError
from ocistate.kube import codec
from ocistate.kube.deep import flattened


def nested(levels: int, name: str = "deep", *, brackets: str = "[]") -> bytes:
    """An object as a server sends it; ``levels`` of it are below its spec and its field set."""
    opening, closing = ("[", "]") if brackets == "[]" else ('{"f:a":', "}")
    deep = opening * levels + "{}" + closing * levels
    return (
        f'{{"metadata":{{"name":"{name}","managedFields":[{{"manager":"m","fieldsV1":{deep}}}]}},'
        f'"spec":{deep}}}'
    ).encode()


def page(*items: bytes) -> bytes:
    return (
        b'{"kind":"List","metadata":{"resourceVersion":"7","continue":"next"},"items":['
        + b",".join(items)
        + b'],"more":{"items":[1]}}'
    )


@pytest.mark.parametrize("brackets", ["[]", "{}"])
@pytest.mark.parametrize("levels", [1_200, 9_000])
def test_a_list_is_read_but_for_what_is_deep_in_it(levels: int, brackets: str) -> None:
    good = [nested(5, name) for name in ("a", "b")]
    data = page(good[0], nested(levels, brackets=brackets), good[1])

    partial = codec.decode_as(codec.PARTIAL_LIST, data)
    assert [item.metadata.name for item in partial.items or ()] == ["a", "deep", "b"]
    first, deep, last = codec.decode_as(codec.RAW_LIST, data).items or []
    assert [bytes(first), bytes(last)] == good
    assert codec.decode(deep)["metadata"]["name"] == "deep"
    assert codec.decode_as(codec.PAGE, data).metadata.token == "next"
    assert len(codec.decode_as(codec.SHALLOW, data)["items"]) == 3


def test_news_of_it_is_read_so_too() -> None:
    line = b'{"type":"MODIFIED","object":' + nested(2_000) + b"}"
    event = codec.decode_as(codec.EVENT, line)
    assert event.type == "MODIFIED"
    assert codec.decode_as(codec.PARTIAL, event.object).metadata.name == "deep"


def test_by_itself_it_is_an_error() -> None:
    with pytest.raises(ClusterError):
        codec.decode(nested(5_000))


def test_text_that_looks_like_structure_is_text_and_what_is_flat_stays() -> None:
    whole = {"a": '[[{"' * 300, "b": [{"c": "\\\\"}, '\\"[' * 300], "d": {}}
    data = json.dumps(whole).encode()
    assert flattened(data) == data
    assert json.loads(flattened(b"[" * 500 + b"1" + b"]" * 500))
