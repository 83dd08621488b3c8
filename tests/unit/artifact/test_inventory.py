"""The inventory: written and read back, and refused with the field that is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ocistate.artifact.inventory import (
    Image,
    Inventory,
    entry_of,
    is_clean,
    parse_inventory,
    sort_entries,
)
from ocistate.errors import ArtifactError
from ocistate.objects import Resource

DIGEST = "sha256:" + "0" * 64
WEB = Resource.of(
    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "a"}},
    path="web.yaml",
)
NODE = Resource.of({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}, path="n.yaml")
INVENTORY = Inventory(
    content_digest=DIGEST,
    source="https://example.com/shop.git",
    revision="main@abc",
    resources=sort_entries([entry_of(WEB), entry_of(NODE)]),
    images=(Image(name="nginx:1", pinned=False),),
)


def test_an_inventory_is_read_as_it_was_written() -> None:
    assert parse_inventory(INVENTORY.to_json()) == INVENTORY


def test_entries_are_sorted_by_identity() -> None:
    assert [entry.id.kind for entry in INVENTORY.resources] == ["Node", "Deployment"]


def change(entry: dict[str, Any] | None = None, **fields: Any) -> bytes:
    value = {**json.loads(INVENTORY.to_json()), **fields}
    if entry is not None:
        value["resources"][0].update(entry)
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"{", "not valid JSON"),
        (change(contentDigest="md5:1"), "contentDigest"),
        (change(resources={}), "resources is not a list"),
        (change(images=[1]), r"images\[0\]: not an image"),
        (change(source="a\x00b"), "source has control characters"),
        (change(revision=1), "revision is not text"),
        (change({"digest": "x"}), r"resources\[0\].digest"),
        (change({"index": -1}), r"resources\[0\].index"),
        (change({"index": True}), r"resources\[0\].index"),
        (change({"name": None}), "name is not text"),
        (change(resources=[json.loads(INVENTORY.to_json())["resources"][0]] * 2), "listed twice"),
    ],
)
def test_an_inventory_of_another_shape_is_refused(raw: bytes, problem: str) -> None:
    with pytest.raises(ArtifactError, match=problem):
        parse_inventory(raw)


@pytest.mark.parametrize(("text", "clean"), [("äß", True), ("a\x1b", False), ("\ud800", False)])
def test_texts_that_a_terminal_can_show(text: str, clean: bool) -> None:
    assert is_clean(text) is clean
