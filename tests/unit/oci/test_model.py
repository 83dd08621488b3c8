"""Descriptors, manifests and indexes: what is read, what is refused, and that bytes stay."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ocistate.errors import ProtocolError
from ocistate.oci.model import (
    EMPTY_CONFIG,
    EMPTY_JSON,
    INDEX,
    MANIFEST,
    build_index,
    build_manifest,
    describe,
    parse_descriptor,
    parse_index,
    parse_manifest,
)

DIGEST = "sha256:" + "0" * 64
LAYER: dict[str, Any] = {"mediaType": "text/plain", "digest": DIGEST, "size": 1}


def manifest(**fields: Any) -> bytes:
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": EMPTY_JSON, "digest": DIGEST, "size": 2},
        "layers": [],
        **fields,
    }
    return json.dumps({key: item for key, item in value.items() if item is not None}).encode()


def test_a_manifest_keeps_the_bytes_it_was_read_from() -> None:
    raw = manifest(layers=[LAYER]) + b"\n"
    found = parse_manifest(raw)
    assert found.raw == raw
    assert found.descriptor.size == len(raw)
    assert [layer.media_type for layer in found.layers] == ["text/plain"]


def test_what_is_built_is_read_back() -> None:
    subject = describe(b"subject", MANIFEST)
    built = build_manifest(
        config=EMPTY_CONFIG,
        layers=(describe(b"x", "text/plain"),),
        artifact_type="a/b",
        subject=subject,
        annotations={"key": "value"},
    )
    assert parse_manifest(built.raw) == built
    assert (built.subject, built.artifact_type) == (subject, "a/b")
    index = build_index((built.descriptor,), {"key": "value"})
    assert parse_index(index.raw) == index


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"artifactType": "a/b"}, "a/b"),
        ({"config": {"mediaType": "c/d", "digest": DIGEST, "size": 2}}, "c/d"),
        ({}, None),
    ],
)
def test_the_artifact_type_is_that_of_the_config_where_none_is_given(
    fields: dict[str, Any], kind: str | None
) -> None:
    assert parse_manifest(manifest(**fields)).artifact_type == kind


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"schemaVersion": 1}, "schemaVersion is not 2"),
        ({"mediaType": INDEX}, "its mediaType is another"),
        ({"layers": None}, "layers is not a list"),
        ({"config": None}, "config: not a descriptor"),
        ({"manifests": []}, "both layers and manifests"),
        ({"annotations": {"a": 1}}, "annotations are not text by text"),
        ({"artifactType": 1}, "artifactType is not text"),
        ({"layers": [{**LAYER, "digest": "md5:1"}]}, r"layers\[0\]: its digest"),
        ({"layers": [{**LAYER, "size": -1}]}, r"layers\[0\]: its size"),
        ({"layers": [{**LAYER, "size": True}]}, "its size"),
        ({"layers": [{**LAYER, "size": 1 << 53}]}, "its size"),
        ({"layers": [{**LAYER, "mediaType": ""}]}, "no mediaType"),
        ({"subject": []}, "subject: not a descriptor"),
    ],
)
def test_a_manifest_of_another_shape_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ProtocolError, match=problem):
        parse_manifest(manifest(**fields))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"a":1,"a":2}'])
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_manifest(raw)
    with pytest.raises(ProtocolError):
        parse_index(raw)


def test_an_embedded_blob_must_match_its_digest() -> None:
    good = describe(b"data", "text/plain", embed=True)
    assert parse_descriptor(good.to_dict(), "layer").data == b"data"
    other = base64.b64encode(b"DATA").decode()
    for data, problem in ((other, "does not match its size and digest"), ("!", "not base64")):
        with pytest.raises(ProtocolError, match=problem):
            parse_descriptor({**good.to_dict(), "data": data}, "layer")
