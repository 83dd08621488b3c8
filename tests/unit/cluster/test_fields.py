"""Is all that we applied still ours? Field sets as the API server writes them."""

from __future__ import annotations

from typing import Any

import pytest

from ocistate.cluster.fields import covers, holds, lost_fields

APPLIED: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d", "namespace": "n", "labels": {"a": "b"}, "finalizers": ["x/<y>"]},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"a": "b"}},
        "empty": {},
        "nothing": None,
        "containers": [
            {"name": "c", "image": "x", "args": ["1", "2"], "ports": [{"containerPort": 80}]},
            {"name": "d", "image": "y"},
        ],
    },
    "status": {"phase": "ours never"},
}


def entry() -> dict[str, Any]:
    return {
        "f:metadata": {
            "f:labels": {"f:a": {}},
            "f:finalizers": {'v:"x/\\u003cy\\u003e"': {}},
        },
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:containers": {
                'k:{"name":"c"}': {
                    ".": {},
                    "f:name": {},
                    "f:image": {},
                    "f:args": {},
                    "f:ports": {
                        'k:{"containerPort":80,"protocol":"TCP"}': {
                            ".": {},
                            "f:containerPort": {},
                        }
                    },
                },
                'k:{"name":"d"}': {".": {}, "f:name": {}, "f:image": {}},
            },
        },
    }


def test_an_entry_with_everything_covers_what_was_applied() -> None:
    assert list(lost_fields(entry(), APPLIED)) == []
    assert covers(entry(), APPLIED)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (("f:spec", "f:replicas"), ".spec.replicas"),
        (("f:spec", "f:selector"), ".spec.selector"),
        (("f:metadata", "f:labels", "f:a"), ".metadata.labels.a"),
        (("f:metadata", "f:finalizers"), ".metadata.finalizers"),
        (("f:metadata", "f:finalizers", 'v:"x/\\u003cy\\u003e"'), ".metadata.finalizers[0]"),
        (("f:spec", "f:containers", 'k:{"name":"d"}'), ".spec.containers[1]"),
        (("f:spec", "f:containers", 'k:{"name":"c"}', "f:image"), ".spec.containers[0].image"),
        (("f:spec",), ".spec"),
    ],
)
def test_a_field_that_another_took_is_named(path: tuple[str, ...], told: str) -> None:
    broken = entry()
    node = broken
    for part in path[:-1]:
        node = node[part]
    del node[path[-1]]
    if not node:
        node["."] = {}
    assert list(lost_fields(broken, APPLIED)) == [told]


def test_no_entry_at_all_covers_nothing() -> None:
    assert not covers({}, APPLIED)


def test_holds_follows_pointers_into_maps_and_stops_at_lists() -> None:
    assert holds(entry(), ["spec", "replicas"])
    assert holds(entry(), ["spec", "selector", "matchLabels"])
    assert holds(entry(), ["spec", "containers", "0", "image"])
    assert not holds(entry(), ["spec", "paused"])
    assert not holds({}, ["spec"])
