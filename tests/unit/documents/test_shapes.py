"""Shapes of texts: the same in the parser and in the schema."""

from __future__ import annotations

import re

import pytest

from ocistate.documents import shapes
from ocistate.documents.shapes import Shape

SAMPLES = {
    "NAME": (["a", "a.b-c", "0" * 253], ["", "A", "-a", "a-", "a..b", "0" * 254]),
    "NAMESPACE": (["a", "a-1"], ["a.b", "", "a" * 64]),
    "KIND": (["Deployment"], ["1a", "A-b", ""]),
    "API_VERSION": (["v1", "apps/v1", "a.example.com/v1"], ["/v1", "a/b/c", "apps/"]),
    "TAG": (["v1", "_a", "a" * 128], [".a", "-a", "a" * 129, "a b"]),
    "CHANNEL": (["prod", "a-1"], ["Prod", "a_b", ""]),
    "DIGEST": (["sha256:" + "0" * 64], ["sha256:" + "0" * 63, "sha256:" + "A" * 64]),
    "FOLDER": (["apps/web", "/a//b/", ".", "..a", ".a"], ["..", "a/../b", "../a", "a\x00"]),
    "POINTER": (["/spec/replicas", "/a~1b"], ["", "spec", "/a~2"]),
    "LINE": (["a text"], ["", "a\nb"]),
    "REPOSITORY": (["oci://a/b"], ["a b", "ä"]),
    "DATA_KEY": (["ca.crt"], ["a/b", ""]),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_parser_and_schema_agree(name: str) -> None:
    shape: Shape = getattr(shapes, name)
    schema, optional = shape.schema, shape.optional_schema
    good, bad = SAMPLES[name]
    for text, fits in [*((each, True) for each in good), *((each, False) for each in bad)]:
        assert shape.fits(text) is fits, text
        in_schema = re.search(schema["pattern"].replace("$", r"\Z"), text) is not None
        assert (in_schema and len(text) <= schema["maxLength"]) is fits, text
    assert re.search(optional["pattern"], "")


def test_a_line_end_is_part_of_no_shape() -> None:
    for shape in vars(shapes).values():
        if isinstance(shape, Shape):
            assert not shape.fits("a\n"), shape.what
