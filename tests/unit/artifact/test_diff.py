"""Differences of inventories and objects, with the values of Secrets masked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ocistate.artifact.diff import diff_inventories, diff_objects, mask_secret, mask_secrets
from ocistate.artifact.inventory import Inventory, InventoryEntry
from ocistate.objects import ObjectId

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def inventory(**digests: str) -> Inventory:
    return Inventory(
        content_digest="",
        source="",
        revision="",
        images=(),
        resources=tuple(
            InventoryEntry(
                id=ObjectId("", "ConfigMap", "", name), api_version="v1", digest=digest,
                path="a.yaml", index=0,
            )
            for name, digest in digests.items()
        ),
    )  # fmt: skip


def test_resources_are_added_changed_and_removed() -> None:
    found = diff_inventories(inventory(a="1", b="1", c="1"), inventory(b="2", c="1", d="1"))
    assert [(each.id.name, each.change) for each in found] == [
        ("a", "removed"), ("b", "changed"), ("d", "added"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [("/a", 1, 2)]),
        ({"a": 1}, {"a": True}, [("/a", 1, True)]),
        ({}, {"a": None}, [("/a", None, None)]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, [("/a/b/1", 2, 3)]),
        ({"a": [1]}, {"a": [1, 2]}, [("/a", [1], [1, 2])]),
        ({"a/b": 1, "c~d": 1}, {}, [("/a~1b", 1, None), ("/c~0d", 1, None)]),
        ({"a": {"b": 1}}, {"a": "text"}, [("/a", {"b": 1}, "text")]),
    ],
)
def test_fields_that_differ_have_their_json_pointer(
    before: Any, after: Any, changes: list[Any]
) -> None:
    assert [(c.pointer, c.before, c.after) for c in diff_objects(before, after)] == changes


def secret(**fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, **fields}


def test_values_of_a_secret_are_never_shown() -> None:
    applied = json.dumps(secret(stringData={"k": "hidden"}))
    given = secret(
        data={"k": "hidden"},
        stringData={"k": "hidden"},
        metadata={"annotations": {LAST_APPLIED: applied, "mine": "kept"}},
    )
    shown = mask_secret(given)
    assert "hidden" not in json.dumps(shown)
    assert shown["metadata"]["annotations"]["mine"] == "kept"
    assert "hidden" not in json.dumps(mask_secret(secret(data="hidden")))


def test_values_that_differ_still_differ() -> None:
    before, after = mask_secrets(
        secret(data={"same": "1", "other": "1"}), secret(data={"same": "1", "other": "2"})
    )
    assert [change.pointer for change in diff_objects(before, after)] == ["/data/other"]


def test_other_objects_are_shown_as_they_are() -> None:
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "v"}}
    assert mask_secret(config_map) == config_map
    assert mask_secrets(config_map, config_map) == (config_map, config_map)
