"""Fields of a live object that are in the way of what is applied.

Where of several fields only one may be set (`value` or `valueFrom`, one volume source, a strategy
and what belongs to it), server-side apply adds ours beside the one that is there, and the API
server refuses both. So it does where another writer changed the key of an item (a port's number):
then two items have its name. It removes fields that we hold and do not send any more: so what is in
the way must be made ours first. Often no one holds it, since it is a default of the server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ocistate.apply.fields.managed import NOT_FIELDS, KeyedItems
from ocistate.kube.errors import StatusError
from ocistate.kube.refusals import says_exclusive, says_immutable

FieldPath = tuple[str, ...]
"""A place in a field set: ``("f:spec", "f:containers", 'k:{"name":"c"}', "f:image")``."""

_ONLY_PORT: Final = re.compile(r"spec\.ports\[\d+\]\.name")
"""A Service's only port needs no name, one beside another does."""
_INDEX: Final = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leftover:
    """A field of the live object that is not sent, though others beside it are; or an item of a
    list (``name`` is empty), with the items that are sent."""

    parent: str
    name: str
    path: FieldPath
    value: Any
    items: Sequence[Any] = ()


def in_the_way(
    error: StatusError, live: Mapping[str, Any], obj: Mapping[str, Any]
) -> list[FieldPath]:
    """The fields of ``live`` that an apply of ``obj`` was refused for, as far as it does not send
    them itself."""
    if error.status != 422:
        return []
    causes = {
        _INDEX.sub("", cause.field): cause.message
        for cause in error.causes
        if not says_immutable(cause.message)
    }
    blamed = set(causes)
    exclusive = {field for field, message in causes.items() if says_exclusive(message)}
    beside = {field.rpartition(".")[0] for field in exclusive} | exclusive
    crowded = {
        (_INDEX.sub("", cause.field.rpartition("[")[0]), cause.field.rpartition(".")[2])
        for cause in error.causes
        if cause.reason == "FieldValueDuplicate"
        or (cause.reason == "FieldValueRequired" and _ONLY_PORT.fullmatch(cause.field))
    }
    chosen: list[FieldPath] = []
    groups: dict[FieldPath, list[_Leftover]] = {}
    for each in _leftovers(live, obj, structure(live["metadata"].get("managedFields") or ())):
        if not each.name:
            if any(each.parent == listed and _collides(each, key) for listed, key in crowded):
                chosen.append(each.path)
            continue
        full = f"{each.parent}.{each.name}"
        if any(field == full or field.startswith(f"{full}.") for field in blamed):
            chosen.append(each.path)
        elif each.parent in beside:
            groups.setdefault(each.path[:-1], []).append(each)
    for group in groups.values():
        if any(path[:-1] == group[0].path[:-1] for path in chosen):
            continue
        # Alternatives are mappings, if any is: a probe's handlers, not its periods.
        arms = [each for each in group if isinstance(each.value, Mapping)] or group
        chosen += [each.path for each in arms]
    return chosen


def structure(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All that anybody holds, in one field set: which lists have keys, and which."""
    whole: dict[str, Any] = {}
    for entry in entries:
        if not entry.get("subresource"):
            whole = union(whole, entry.get("fieldsV1") or {})
    return whole


def union(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of two field sets."""
    both = dict(left)
    for key, value in right.items():
        both[key] = union(both[key], value) if key in both else value
    return both


def claim(entries: Sequence[Mapping[str, Any]], paths: Sequence[FieldPath]) -> list[dict[str, Any]]:
    """The managedFields with these fields in the last entry, and in no other one."""
    *others, ours = entries
    fields = dict(ours.get("fieldsV1") or {})
    for path in paths:
        node: dict[str, Any] = {}
        for part in reversed(path):
            node = {part: node}
        fields = union(fields, node)
        others = [
            each
            if each.get("subresource")
            else {**each, "fieldsV1": _removed(each.get("fieldsV1") or {}, path)}
            for each in others
        ]
    return [dict(each) for each in others if each.get("fieldsV1")] + [{**ours, "fieldsV1": fields}]


def pairs(
    live: Sequence[Any], sent: Sequence[Any], node: Mapping[str, Any]
) -> Iterator[tuple[str, int, int | None]]:
    """The items of a live list that have keys: name in the field set, place in the list, and place
    among what is sent."""
    keyed = KeyedItems(node)
    places = {held.name: at for at, held in enumerate(keyed.assign(sent)) if held is not None}
    for at, held in enumerate(keyed.assign(live)):
        if held is not None:
            yield held.name, at, places.get(held.name)


def _leftovers(
    live: Mapping[str, Any], obj: Mapping[str, Any], node: Mapping[str, Any]
) -> Iterator[_Leftover]:
    for key, value in obj.items():
        if key not in NOT_FIELDS and key != "metadata" and key in live:
            name = f"f:{key}"
            yield from _below(live[key], value, node.get(name) or {}, key, (name,))


def _below(
    live: Any, sent: Any, node: Mapping[str, Any], parent: str, path: FieldPath
) -> Iterator[_Leftover]:
    if isinstance(live, Mapping) and isinstance(sent, Mapping):
        for key, value in live.items():
            name = f"f:{key}"
            if sent.get(key) is None:
                yield _Leftover(parent=parent, name=key, path=(*path, name), value=value)
            else:
                inner = node.get(name) or {}
                yield from _below(value, sent[key], inner, f"{parent}.{key}", (*path, name))
    elif isinstance(live, list) and isinstance(sent, list):
        for name, at, place in pairs(live, sent, node):
            inner = (*path, name)
            if place is not None:
                yield from _below(live[at], sent[place], node[name], parent, inner)
            else:
                yield _Leftover(parent=parent, name="", path=inner, value=live[at], items=sent)


def _collides(item: _Leftover, key: str) -> bool:
    """Whether an item has the same there as one that is sent; none may lack it beside others."""
    return any(each.get(key) == item.value.get(key) for each in item.items)


def _removed(fields: Mapping[str, Any], path: FieldPath) -> dict[str, Any]:
    """A field set without the field at ``path``, nor what is empty without it."""
    name, *rest = path
    if name not in fields:
        return dict(fields)
    left = {key: value for key, value in fields.items() if key != name}
    if rest:
        inner = _removed(fields[name], tuple(rest))
        if inner:
            left[name] = inner
    return left
