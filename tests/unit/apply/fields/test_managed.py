"""Is all that we applied still ours? Field sets as the API server writes them."""

from __future__ import annotations

from typing import Any

import pytest

from ocistate.apply.fields.managed import emptied_fields, filled_fields, holds, lost_fields

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
    assert list(lost_fields({}, APPLIED)) == [".metadata", ".spec"]


def test_holds_follows_pointers_into_maps_and_stops_at_lists() -> None:
    assert holds(entry(), ["spec", "replicas"])
    assert holds(entry(), ["spec", "selector", "matchLabels"])
    assert holds(entry(), ["spec", "containers", "0", "image"])
    assert not holds(entry(), ["spec", "paused"])
    assert not holds({}, ["spec"])


PORTS = [
    {"name": "https", "port": 443},
    {"name": "quic", "port": 443, "protocol": "UDP"},
    {"name": "dns", "port": 53, "protocol": "UDP"},
]


def held_ports(*keys: tuple[int, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}}
    items = {f'k:{{"port":{port},"protocol":"{protocol}"}}': fields for port, protocol in keys}
    return {"f:spec": {"f:ports": items}}


@pytest.mark.parametrize("ports", [PORTS, PORTS[::-1]])
@pytest.mark.parametrize(
    ("keys", "lost"),
    [
        ([(443, "TCP"), (443, "UDP"), (53, "UDP")], []),
        ([(443, "UDP"), (53, "UDP")], ["https"]),
        ([(443, "TCP"), (53, "UDP")], ["quic"]),
        ([(443, "TCP"), (443, "UDP")], ["dns"]),
        ([(53, "UDP")], ["https", "quic"]),
    ],
)
def test_an_item_whose_key_was_defaulted_is_not_taken_for_another(
    ports: list[dict[str, Any]], keys: list[tuple[int, str]], lost: list[str]
) -> None:
    told = list(lost_fields(held_ports(*keys), {"spec": {"ports": ports}}))
    names = [f".spec.ports[{place}]" for place, port in enumerate(ports) if port["name"] in lost]
    assert told == names


def test_items_that_leave_out_different_keys_get_one_each() -> None:
    entry: dict[str, Any] = {
        "f:spec": {
            'k:{"a":1,"b":1}': {".": {}, "f:a": {}},
            'k:{"a":1,"b":2}': {".": {}, "f:a": {}, "f:b": {}},
        }
    }
    assert list(lost_fields(entry, {"spec": [{"a": 1}, {"a": 1, "b": 2}]})) == []
    assert list(lost_fields(entry, {"spec": [{"b": 2}, {"a": 1}]})) == []


@pytest.mark.parametrize(
    ("value", "ours", "theirs", "filled"),
    [
        ([], {"f:x": {}}, {}, False),
        ([], {}, {}, False),  # a list that others share, of which the server records nothing
        ([], {}, {"f:x": {'k:{"name":"a"}': {".": {}}}}, False),
        ([], {}, {"f:x": {}}, True),
        ({}, {"f:x": {}}, {"f:x": {"f:a": {}}}, False),
        ({}, {}, {"f:x": {".": {}, "f:a": {}}}, False),
        ({}, {}, {"f:x": {}}, True),
        ({}, {}, {}, True),
        ({"a": 1}, {"f:x": {}}, {}, False),  # held as a whole
        ({"a": 1}, {"f:x": {}}, {"f:x": {"f:a": {}}}, True),
        ({"a": 1}, {"f:x": {"f:a": {}}}, {"f:x": {"f:b": {}}}, False),
    ],
)
def test_what_is_empty_counts_where_one_manager_alone_can_hold_it(
    value: Any, ours: dict[str, Any], theirs: dict[str, Any], filled: bool
) -> None:
    item = 'k:{"name":"c"}'
    told = filled_fields(
        {"f:spec": {"f:list": {item: {".": {}, "f:name": {}, **ours}}}},
        [{"f:data": {}}, {"f:spec": {"f:list": {item: theirs}}}],
        {"spec": {"list": [{"name": "c", "x": value}]}},
    )
    assert list(told) == ([".spec.list[0].x"] if filled else [])


FREE: dict[str, Any] = {
    "spec": {"free": {"a": "1", "nulls": {"b": None}}, "items": [{"n": "x", "m": {"c": "1"}}]}
}
EMPTIED: dict[str, Any] = {
    "f:spec": {"f:free": {}, "f:items": {'k:{"n":"x"}': {"f:n": {}, "f:m": {}}}}
}  # fmt: skip


@pytest.mark.parametrize(
    ("live", "emptied"),
    [
        # Held as a whole, by its schema: what is in it is ours.
        ({"spec": {"free": {"a": "1"}, "items": [{"n": "x", "m": {"c": "1"}}]}}, []),
        ({"spec": {"free": {}, "items": [{"n": "x", "m": {"c": "1"}}]}}, [".spec.free"]),
        ({"spec": {"free": {"a": "1"}, "items": [{"n": "y", "m": {"c": "1"}}]}},
         [".spec.items[0].m"]),
        ({"spec": {"free": {"a": "1"}, "items": [{"n": "x", "m": {}}]}}, [".spec.items[0].m"]),
        ({}, [".spec.free", ".spec.items[0].m"]),
        (None, [".spec.free", ".spec.items[0].m"]),
    ],
)  # fmt: skip
def test_a_map_of_which_only_the_map_is_left_is_emptied_if_nothing_is_in_it(
    live: dict[str, Any] | None, emptied: list[str]
) -> None:
    assert list(emptied_fields(EMPTIED, FREE, live)) == emptied


def test_what_holds_more_than_the_map_or_was_empty_is_not_emptied() -> None:
    entry: dict[str, Any] = {"f:spec": {"f:free": {".": {}, "f:a": {}, "f:nulls": {}}}}
    assert list(emptied_fields(entry, {"spec": {"free": FREE["spec"]["free"]}}, None)) == []
    assert list(emptied_fields({"f:spec": {}}, {"spec": {}}, None)) == []
    assert list(emptied_fields({}, {"spec": {"a": {"b": 1}}}, None)) == [], "lost, not emptied"
