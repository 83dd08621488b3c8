"""Does our manager still hold every field it applied? Read from ``managedFields``, without values.

The API server takes a field away from us the moment another writer changes its value, removes it,
or takes it by force. So "our entry still covers all we applied" means "nothing of ours was
changed", and metadata alone tells it: after a restart, and for the price of a metadata-only list.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management

Where the artifact says *empty*, the server records a field too (for an empty map, or a list that is
held as a whole), or none (for a list whose items others may add to). What became of these is told
by `filled_fields`, from what the other managers hold at the same place. A map without a schema
stays ours when another writer takes all of it away: there `emptied_fields` looks at values.

What this cannot see: writes that bypass the API server (restoring etcd), and another writer that
applies under our very manager name. Nulls are not looked for: they say that there is no field.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ocistate.labels import FIELD_MANAGER

ItemKey = tuple[Any, ...]

_EMPTY: Final[tuple[Any, ...]] = (None, {}, [])
NOT_FIELDS: Final = frozenset({"apiVersion", "kind", "status"})
"""Identity is not part of a field set; status is held by its own subresource."""
_NOT_METADATA: Final = frozenset({"name", "namespace"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldItem:
    """What is held of a list's item: its name in the field set, its keys, and its fields."""

    name: str
    keys: dict[str, Any]
    fields: dict[str, Any]


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
    keyed = KeyedItems(node).assign(items)
    for position, (item, held) in enumerate(zip(items, keyed, strict=True)):
        place = f"{path}[{position}]"
        if not isinstance(item, Mapping):
            if value_name(item) not in node and f"i:{position}" not in node:
                yield place
        elif held is None:
            yield place
        else:
            yield from _lost(held.fields, item, place)


def filled_fields(
    entry: Mapping[str, Any], others: Sequence[Mapping[str, Any]], applied: Mapping[str, Any]
) -> Iterator[str]:
    """The paths where ``applied`` is empty and another manager put something in, or took it away;
    and those of maps of which others hold what was ours.

    ``others`` are the field sets of the other managers. What others add to a map or a list that
    they share with us is theirs, as it is beside what we say there: only what can be held by one
    manager alone counts.
    """
    for key, value in applied.items():
        if key not in NOT_FIELDS:
            yield from _filled(entry, others, key, value, f".{key}")


def _filled(
    node: Mapping[str, Any], others: Sequence[Mapping[str, Any]], key: str, value: Any, path: str
) -> Iterator[str]:
    name = f"f:{key}"
    held = node.get(name)
    theirs = [each[name] for each in others if name in each]
    if isinstance(value, (Mapping, list)) and not value:
        # Theirs as a whole, without fields below it; or a map that is no one's any more.
        if held is None and (not all(theirs) or (isinstance(value, Mapping) and not theirs)):
            yield path
    elif isinstance(value, Mapping) and held is not None and not held:
        # Held as a whole, or a map of which only the map itself is left to us.
        if any(theirs):
            yield path
    elif held and isinstance(value, Mapping):
        for inner, each in value.items():
            yield from _filled(held, theirs, inner, each, f"{path}.{inner}")
    elif held and isinstance(value, list):
        for position, (item, mine) in enumerate(
            zip(value, KeyedItems(held).assign(value), strict=True)
        ):
            if mine is None:
                continue
            fields = [each[mine.name] for each in theirs if mine.name in each]
            for inner, each in item.items():
                yield from _filled(mine.fields, fields, inner, each, f"{path}[{position}].{inner}")


def emptied_fields(
    entry: Mapping[str, Any], applied: Mapping[str, Any], live: Mapping[str, Any] | None
) -> Iterator[str]:
    """The paths of maps that another writer emptied, so that only the map itself is left to us.

    A map that is held as a whole looks the same in a field set: what ``live`` has there decides.
    Without it, all that may be emptied are given.
    """
    for key, value in applied.items():
        if key not in NOT_FIELDS and key != "metadata":
            there = None if live is None else live.get(key, {})
            yield from _emptied(entry.get(f"f:{key}"), value, there, f".{key}")


def _emptied(node: Any, value: Any, live: Any, path: str) -> Iterator[str]:
    if isinstance(value, Mapping) and node is not None:
        if not node:
            if not live and any(each is not None for each in value.values()):
                yield path
            return
        for key, each in value.items():
            there = live.get(key, {}) if isinstance(live, Mapping) else live
            yield from _emptied(node.get(f"f:{key}"), each, there, f"{path}.{key}")
    elif isinstance(value, list) and node:
        for position, (item, held) in enumerate(
            zip(value, KeyedItems(node).assign(value), strict=True)
        ):
            if held is not None:
                there = _item(live, held.keys) if isinstance(live, list) else live
                yield from _emptied(held.fields, item, there, f"{path}[{position}]")


def _item(items: Sequence[Any], keys: Mapping[str, Any]) -> Mapping[str, Any]:
    for item in items:
        if isinstance(item, Mapping) and all(item.get(name) == keys[name] for name in keys):
            return item
    return {}


class KeyedItems:
    """The items of a list that are told apart by keys, with the fields held of each."""

    def __init__(self, node: Mapping[str, Any]) -> None:
        self._all = [
            HeldItem(name=name, keys=json.loads(name[2:]), fields=node[name])
            for name in node
            if name.startswith("k:")
        ]
        self._names = tuple(dict.fromkeys(name for held in self._all for name in held.keys))
        self._found: dict[tuple[str, ...], dict[ItemKey, list[HeldItem]]] = {}

    def assign(self, items: Sequence[Any]) -> list[HeldItem | None]:
        """What is held of each item; no two items have the same.

        A key that an item leaves out was defaulted by the server (protocol: TCP), and may be any
        that no other item needs.
        """
        fitting = [self._fitting(item) for item in items]
        taken: dict[str, int] = {}

        def place(position: int, tried: set[str]) -> bool:
            """Find one for an item, where need be by giving another item another one."""
            for held in fitting[position]:
                if held.name in tried:
                    continue
                tried.add(held.name)
                if held.name not in taken or place(taken[held.name], tried):
                    taken[held.name] = position
                    return True
            return False

        # Those that give more of their keys first: they can have no other.
        for position in sorted(range(len(items)), key=lambda each: -len(self._given(items[each]))):
            place(position, set())
        assigned: list[HeldItem | None] = [None] * len(items)
        for held in self._all:
            if held.name in taken:
                assigned[taken[held.name]] = held
        return assigned

    def _given(self, item: Any) -> tuple[str, ...]:
        if not isinstance(item, Mapping):
            return ()
        return tuple(name for name in self._names if item.get(name) is not None)

    def _fitting(self, item: Any) -> list[HeldItem]:
        if not isinstance(item, Mapping):
            return []
        given = self._given(item)
        if given not in self._found:
            by_key: dict[ItemKey, list[HeldItem]] = {}
            for held in self._all:
                by_key.setdefault(key_of(held.keys, given), []).append(held)
            self._found[given] = by_key
        return self._found[given].get(key_of(item, given), [])


def key_of(item: Mapping[str, Any], names: Sequence[str]) -> ItemKey:
    """An item's keys, to look it up by."""
    values = [item.get(name) for name in names]
    return tuple(repr(each) if isinstance(each, (dict, list)) else each for each in values)


def value_name(item: Any) -> str:
    """The name of a set's item in a field set: `v:` and the value's JSON, as Go writes it."""
    text = json.dumps(item, ensure_ascii=False, separators=(",", ":"))
    return "v:" + text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
