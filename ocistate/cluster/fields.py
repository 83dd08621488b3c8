"""Does our manager still hold every field it applied? Read from ``managedFields``, without values.

The API server takes a field away from us the moment another writer changes its value, removes it,
or takes it by force. So "our entry still covers all we applied" means "nothing of ours was
changed", and metadata alone tells it: after a restart, and for the price of a metadata-only list.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management

What this cannot see: writes that bypass the API server (restoring etcd), and another writer that
applies under our very manager name. Empty maps, empty lists and nulls are not looked for, since
the server may leave them out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ocistate.cluster.labels import FIELD_MANAGER

Key = tuple[Any, ...]
Held = tuple[dict[str, Any], Any]
"""The keys of a list's item, and the fields held of it."""

_EMPTY: Final[tuple[Any, ...]] = (None, {}, [])
NOT_FIELDS: Final = frozenset({"apiVersion", "kind", "status"})
"""Identity is not part of a field set; status is held by its own subresource."""
_NOT_METADATA: Final = frozenset({"name", "namespace"})


def our_fields(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ``fieldsV1`` of our server-side applies; empty when there is none."""
    for entry in metadata.get("managedFields") or ():
        who = (entry.get("manager"), entry.get("operation"))
        if who == (FIELD_MANAGER, "Apply") and not entry.get("subresource"):
            fields: Mapping[str, Any] = entry.get("fieldsV1") or {}
            return fields
    return {}


def lost_fields(entry: Mapping[str, Any], applied: Mapping[str, Any]) -> Iterator[str]:
    """The paths of ``applied`` that ``entry`` (a ``fieldsV1`` of our manager) does not hold."""
    for key, value in applied.items():
        if key in NOT_FIELDS or value in _EMPTY:
            continue
        if key == "metadata":
            value = {name: each for name, each in value.items() if name not in _NOT_METADATA}
        yield from _lost(entry.get(f"f:{key}"), value, f".{key}")


def covers(entry: Mapping[str, Any], applied: Mapping[str, Any]) -> bool:
    """Whether ``entry`` holds all of ``applied``."""
    return next(lost_fields(entry, applied), None) is None


def holds(entry: Mapping[str, Any], tokens: Sequence[str]) -> bool:
    """Whether ``entry`` holds the field at these JSON pointer tokens, or something below it.

    List positions have no names in a field set: a path into a list is taken as held when the
    list is.
    """
    node: Any = entry
    for token in tokens:
        if not isinstance(node, Mapping):
            return False
        if f"f:{token}" in node:
            node = node[f"f:{token}"]
        else:
            in_list = any(key.startswith(("k:", "v:", "i:")) for key in node)
            return in_list or (not node and node is not entry)
    return True


def _lost(node: Any, value: Any, path: str) -> Iterator[str]:
    if node is None:
        yield path
    elif not node:
        return  # a leaf, or an atomic list or map: held as a whole
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if each not in _EMPTY:
                yield from _lost(node.get(f"f:{key}"), each, f"{path}.{key}")
    elif isinstance(value, list):
        yield from _lost_items(node, value, path)


def _lost_items(node: Mapping[str, Any], items: list[Any], path: str) -> Iterator[str]:
    keyed = KeyedItems(node)
    for position, item in enumerate(items):
        place = f"{path}[{position}]"
        if not isinstance(item, Mapping):
            # A set: `v:` and the value's JSON, as Go writes it.
            if f"v:{_go_json(item)}" not in node and f"i:{position}" not in node:
                yield place
            continue
        for _, child in keyed.fitting(item)[:1]:
            yield from _lost(child, item, place)
            break
        else:
            yield place


class KeyedItems:
    """The items of a list that are told apart by keys, with the fields held of each."""

    def __init__(self, node: Mapping[str, Any]) -> None:
        self._all = [(json.loads(key[2:]), node[key]) for key in node if key.startswith("k:")]
        self._names = tuple(self._all[0][0]) if self._all else ()
        self._found: dict[tuple[str, ...], dict[Key, list[Held]]] = {}

    def fitting(self, item: Mapping[str, Any]) -> list[Held]:
        """The keys that an item may have, and what is held of it: a key that the item leaves out
        was defaulted by the server (protocol: TCP), and may be any."""
        given = tuple(name for name in self._names if name in item)
        if given not in self._found:
            by_key: dict[Key, list[Held]] = {}
            for keys, child in self._all:
                by_key.setdefault(key_of(keys, given), []).append((keys, child))
            self._found[given] = by_key
        return self._found[given].get(key_of(item, given), [])


def key_of(item: Mapping[str, Any], names: Sequence[str]) -> Key:
    """An item's keys, to look it up by."""
    values = [item.get(name) for name in names]
    return tuple(repr(each) if isinstance(each, (dict, list)) else each for each in values)


def _go_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
