"""DSSE envelopes and bundles: known vectors, and what is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocistate.errors import InvalidSignature
from ocistate.signing.envelope import (
    BUNDLE_TYPE,
    MAX_BUNDLE_BYTES,
    SIGN_PREDICATE,
    build_bundle,
    build_named_statement,
    build_statement,
    pae,
    parse_bundle,
    parse_envelope,
    parse_statement,
)

DIGEST = "sha256:" + "ab" * 32


def bundle(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(build_bundle(b"payload", b"signature", "hint"))
    value.update(changes)
    return value


def envelope(**changes: Any) -> dict[str, Any]:
    inner: dict[str, Any] = bundle()["dsseEnvelope"]
    return bundle(dsseEnvelope={**inner, **changes})


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_pae_is_that_of_the_dsse_specification() -> None:
    # The example of the specification: protocol.md, "Test Vectors".
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_a_statement_is_the_one_cosign_signs() -> None:
    assert build_statement(DIGEST, SIGN_PREDICATE, {}) == (
        b'{"_type":"https://in-toto.io/Statement/v1","predicate":{},'
        b'"predicateType":"https://sigstore.dev/cosign/sign/v1",'
        b'"subject":[{"digest":{"sha256":"' + b"ab" * 32 + b'"}}]}'
    )


def test_a_bundle_comes_back_as_it_was_built() -> None:
    parsed = parse_bundle(build_bundle(b"payload", b"signature", "hint"))
    assert (parsed.payload, parsed.signature, parsed.hint) == (b"payload", b"signature", "hint")
    assert not parsed.has_certificate
    assert parsed.signed == pae("application/vnd.in-toto+json", b"payload")


def test_both_versions_of_the_statement_are_read() -> None:
    for version in ("v0.1", "v1"):
        payload = json.loads(build_statement(DIGEST, "t", {"a": 1}))
        payload["_type"] = f"https://in-toto.io/Statement/{version}"
        assert parse_statement(encode(payload)).digests == (DIGEST,)


SIGNATURE = {"sig": base64.b64encode(b"s").decode()}
CERTIFICATE = {"certificate": {"rawBytes": "AA=="}}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (bundle(mediaType="application/other"), "mediaType"),
        (bundle(messageSignature={}), "message"),
        (bundle(verificationMaterial={}), "not both"),
        (bundle(verificationMaterial={"publicKey": {"hint": "h"}, **CERTIFICATE}), "not both"),
        (bundle(verificationMaterial={"publicKey": {"hint": 5}}), "hint"),
        (bundle(verificationMaterial=[]), "verificationMaterial"),
        (bundle(dsseEnvelope=None), "dsseEnvelope"),
        (envelope(payloadType="text/plain"), "payloadType"),
        (envelope(signatures=[]), "exactly one"),
        (envelope(signatures=[SIGNATURE, SIGNATURE]), "exactly one"),
        (envelope(signatures=SIGNATURE), "exactly one"),
        (envelope(signatures=["x"]), "signatures"),
        (envelope(payload="cGF5bG9hZA"), "base64"),
        (envelope(payload="cGF5bG9hZB=="), "canonical"),
        (envelope(payload="cGF5\nbG9hZA=="), "base64"),
        (envelope(payload="_-_-"), "base64"),
        (envelope(payload=7), "payload"),
        ([], "object"),
    ],
)
def test_what_two_readers_might_read_differently_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(InvalidSignature, match=reason):
        parse_bundle(encode(value))


def test_duplicate_keys_and_trailing_data_are_refused() -> None:
    good = build_bundle(b"payload", b"signature", "hint")
    twice = good[:-1] + b',"mediaType":"' + BUNDLE_TYPE.encode() + b'"}'
    for raw in (twice, good + b"{}", b"\xef\xbb\xbf" + good, good[:-1], b"", good + b"\0"):
        with pytest.raises(InvalidSignature):
            parse_bundle(raw)


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "https://in-toto.io/Statement/v2"},
        {"subject": []},
        {"subject": [{"digest": {"sha512": "ab"}}]},
        {"subject": [{"digest": {"sha256": "AB" * 32}}]},
        {"subject": [{"digest": {"sha256": "ab"}}]},
        {"subject": "x"},
        {"subject": 5},
        {"predicateType": None},
        {"predicateType": "https://x/\x1b[2J"},
    ],
)
def test_statements_of_another_shape_are_refused(change: dict[str, Any]) -> None:
    payload = {**json.loads(build_statement(DIGEST, "t", {})), **change}
    with pytest.raises(InvalidSignature):
        parse_statement(encode(payload))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.binary(max_size=200) | JSON.map(encode))
def test_junk_is_refused_with_an_error_of_ours(junk: bytes) -> None:
    with pytest.raises(InvalidSignature):
        parse_bundle(junk)
    with pytest.raises(InvalidSignature):
        parse_statement(junk)


@given(st.sampled_from(["mediaType", "verificationMaterial", "dsseEnvelope"]), JSON)
def test_a_bundle_with_one_field_replaced_never_crashes(field: str, value: Any) -> None:
    changed = bundle(**{field: value})
    if changed != bundle():
        with pytest.raises(InvalidSignature):
            parse_bundle(encode(changed))


def test_nesting_without_end_is_refused() -> None:
    for raw in (b"[" * 100_000, b'{"a":' * 100_000):
        with pytest.raises(InvalidSignature):
            parse_bundle(raw)


def test_a_bundle_that_would_grow_large_in_memory_is_refused_before_it_is_read() -> None:
    junk = b'{"mediaType":[' + b"[]," * 2_000_000 + b"[]]}"
    for parse in (parse_bundle, parse_envelope):
        with pytest.raises(InvalidSignature, match="parts"):
            parse(junk)


def test_what_is_too_large_is_refused_by_its_size_alone() -> None:
    good = build_bundle(b"payload", b"signature", "hint")
    inner = encode(bundle()["dsseEnvelope"])
    for parse, raw in ((parse_bundle, good), (parse_envelope, inner)):
        padded = raw.ljust(MAX_BUNDLE_BYTES)
        assert parse(padded).payload == b"payload"
        with pytest.raises(InvalidSignature, match="too large"):
            parse(padded + b" ")


def test_a_bare_envelope_is_read_as_it_stands() -> None:
    raw = encode(bundle()["dsseEnvelope"])
    for certified in (False, True):
        parsed = parse_envelope(raw, has_certificate=certified)
        assert (parsed.payload, parsed.signature, parsed.raw) == (b"payload", b"signature", raw)
        assert (parsed.hint, parsed.has_certificate) == ("", certified)
    assert not parse_envelope(raw).has_certificate


def test_what_a_terminal_would_obey_is_no_hint() -> None:
    with pytest.raises(InvalidSignature, match="control"):
        parse_bundle(build_bundle(b"payload", b"signature", "\x1b[2J"))


def test_subjects_keep_their_names() -> None:
    payload = build_named_statement([("a", DIGEST), ("", DIGEST)], "t", {})
    assert json.loads(payload)["subject"][1] == {"digest": {"sha256": "ab" * 32}}
    statement = parse_statement(payload)
    assert (statement.names, statement.digests) == (("a", ""), (DIGEST, DIGEST))


def test_why_something_is_no_json_is_said() -> None:
    with pytest.raises(InvalidSignature, match="the bundle is not valid JSON: duplicate key 'a'"):
        parse_bundle(b'{"a":1,"a":2}')


def test_parts_of_every_kind_are_counted() -> None:
    for junk in (b"[" + b"1," * 20_001, b'{"a":' * 20_001, b"[" * 20_001):
        with pytest.raises(InvalidSignature, match="parts"):
            parse_bundle(junk)
