"""Canonical and strict JSON."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocistate.canonical import canonical_json, digest_of, parse_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_keys_are_sorted_and_no_space_is_left() -> None:
    assert canonical_json({"b": [1, {"z": None, "a": "é"}], "a": True}) == (
        '{"a":true,"b":[1,{"a":"é","z":null}]}'.encode()
    )


def test_the_digest_is_that_of_the_specification() -> None:
    empty = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert digest_of(b"{}") == f"sha256:{empty}"


@given(JSON.filter(lambda value: "inf" not in repr(value)))
def test_what_is_written_is_read_back(value: object) -> None:
    assert parse_json(canonical_json(value)) == value


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"a":1,"a":2}',
        b'{"x":{"a":1,"b":0,"a":1}}',
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"{} {}",
        b"{}x",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b"'a'",
        b"[1,]",
        b"1e999",
        b'["\\ud800"]',
        b'{"\\uDFFF": 1}',
        b"1" * 5000,
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the texts are the decoder's
        parse_json(raw)


def test_the_key_that_stands_twice_is_named() -> None:
    with pytest.raises(ValueError, match="duplicate key 'b'"):
        parse_json(b'{"a": 1, "b": 2, "c": {"a": 1}, "b": 3}')


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the texts are the decoder's
        canonical_json({"a": float("nan")})
    with pytest.raises(TypeError):
        canonical_json({"a": object()})


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 501 + b"]" * 501,
        b'{"a":[' * 251 + b"]}" * 251,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'["]]]",' * 501 + b"1" + b"]" * 501,
        b"[[]," * 501 + b"1" + b"]" * 501,
    ],
)
def test_bottomless_json_is_refused_before_it_is_read(data: bytes) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(data)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 500 + b"]" * 500,
        b"[" + b"[[]],{}," * 20_000 + b"[]]",
        b'["' + b"[" * 5000 + b'\\"' + b"{" * 5000 + b'\\\\"]',
    ],
)
def test_what_is_not_deep_is_read(data: bytes) -> None:
    assert canonical_json(parse_json(data)) == data


@pytest.mark.parametrize("digits", ["9" * 5_000, "-" + "9" * 1_000, "0." + "1" * 1_000])
def test_numbers_have_a_length(digits: str) -> None:
    with pytest.raises(ValueError, match="digits"):
        parse_json(f'{{"a": {digits}}}'.encode())
