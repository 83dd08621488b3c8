"""What an apply would make of one object, with all that it does beside sending it.

    found = await preview(client, id, obj)
    found.before, found.after          # the live object, and what it would be

The API server tells in dry runs. That fields of a former tool become ours, so that those that are
not sent any more are removed, takes two requests that no dry run can join: their result is worked
out here, and shown to the API server once more for its defaults and its verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ocistate.apply.desired.prepare import without
from ocistate.apply.fields.managed import NOT_FIELDS, our_fields, value_name
from ocistate.apply.fields.migration import has_former_manager, merged_entries, room_for
from ocistate.apply.fields.mutation import overruled
from ocistate.apply.fields.unions import pairs, structure
from ocistate.apply.send import send
from ocistate.kube import codec
from ocistate.kube.client import KubeClient
from ocistate.kube.errors import StatusError
from ocistate.labels import ADOPTED_ANNOTATION, DIGEST_ANNOTATION, STACK_LABEL
from ocistate.objects import ObjectId

_SERVERS: Final = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")
_METADATA: Final = ("labels", "annotations", "finalizers", "ownerReferences")
_MARKS: Final = {"labels": (STACK_LABEL,), "annotations": (DIGEST_ANNOTATION, ADOPTED_ANNOTATION)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The live object (None: there is none) and what it would be, without what the API server
    keeps for itself, status and our own marks."""

    before: Mapping[str, Any] | None
    after: Mapping[str, Any]
    overruled: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        return self.before != self.after


async def preview(
    client: KubeClient,
    id: ObjectId,
    obj: dict[str, Any],
    *,
    force: bool = True,
    takeover: bool = True,
    version: str = "",
    ignored: Sequence[str] = (),
) -> Preview:
    """Find it out. ``ignored`` are JSON pointers to fields that are left to others, whatever a dry
    run makes of their absence. Raises ClusterError as the apply itself would."""
    live = await client.get(id, version=version)
    try:
        sent, data = await send(client, obj, force=force, dry_run=True)
    except StatusError as error:
        entries = None
        if live is not None and force:
            entries = room_for(obj, live, error, takeover=takeover)
        if live is None or entries is None:
            raise
        whole = structure(entries)
        sets = [_fields_of(obj, whole), *_others(entries)]
        rest = _pruned(live, our_fields({"managedFields": entries}), sets)
        after = await _shown(client, id, live, _merged(rest, obj, whole), version)
        return _preview(live, after, ignored)
    after = codec.decode(data)
    found = overruled(sent, after)
    metadata = codec.decode_as(codec.PARTIAL, data).metadata
    if live is not None and takeover and has_former_manager(metadata):
        entries = merged_entries(after["metadata"]["managedFields"])
        sets = [our_fields(after["metadata"]), *_others(entries)]
        rest = _pruned(after, our_fields({"managedFields": entries}), sets)
        after = await _shown(client, id, live, rest, version)
    return _preview(live, after, ignored, found)


def _preview(
    live: Mapping[str, Any] | None,
    after: Mapping[str, Any],
    ignored: Sequence[str],
    overruled: tuple[str, ...] = (),
) -> Preview:
    before = None if live is None else without(bare(live), ignored)
    return Preview(before=before, after=without(bare(after), ignored), overruled=overruled)


def bare(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Without what the server keeps for itself, status, and our marks."""
    metadata = {k: v for k, v in obj["metadata"].items() if k not in _SERVERS}
    for field, marks in _MARKS.items():
        left = {k: v for k, v in (metadata.get(field) or {}).items() if k not in marks}
        metadata.pop(field, None)
        if left:
            metadata[field] = left
    return {**{k: v for k, v in obj.items() if k != "status"}, "metadata": metadata}


async def _shown(
    client: KubeClient,
    id: ObjectId,
    live: Mapping[str, Any],
    after: Mapping[str, Any],
    version: str,
) -> dict[str, Any]:
    """What the API server makes of an object that is to be like this."""
    patch: list[dict[str, Any]] = []
    for path, old, new in (("/", live, after), ("/metadata/", live["metadata"], after["metadata"])):
        for key in {**old, **new}:
            if key in NOT_FIELDS or key == "metadata" or (path != "/" and key not in _METADATA):
                continue
            if key not in new:
                patch.append({"op": "remove", "path": f"{path}{key}"})
            elif key not in old or old[key] != new[key]:
                patch.append({"op": "add", "path": f"{path}{key}", "value": new[key]})
    return await client.patch(id, patch, type="json", version=version, dry_run=True)


def _others(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The field sets of all entries but ours, which is the last."""
    return [each.get("fieldsV1") or {} for each in entries[:-1] if not each.get("subresource")]


def _pruned(value: Any, ours: Mapping[str, Any], kept: Sequence[Mapping[str, Any]]) -> Any:
    """Without the fields of ``ours`` of which no one keeps anything."""
    if isinstance(value, Mapping):
        left = dict(value)
        for name, node in ours.items():
            key = name[2:]
            if not name.startswith("f:") or key not in left:
                continue
            if still := [each[name] for each in kept if name in each]:
                left[key] = _pruned(left[key], node, still)
            else:
                del left[key]
        return left
    if isinstance(value, list):
        gone: set[int] = set()
        below: dict[int, Any] = {}
        for name, at, _ in pairs(value, (), ours):
            if still := [each[name] for each in kept if name in each]:
                below[at] = _pruned(value[at], ours[name], still)
            else:
                gone.add(at)
        return [
            below.get(at, item)
            for at, item in enumerate(value)
            if at not in gone and not _is_dropped(item, ours, kept)
        ]
    return value


def _is_dropped(item: Any, ours: Mapping[str, Any], kept: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an item of a set is ours alone, and no one keeps it."""
    name = value_name(item)
    return name in ours and not any(name in each for each in kept)


def _fields_of(value: Any, node: Mapping[str, Any]) -> dict[str, Any]:
    """The field set of what is sent, as far as the lists' keys are known."""
    if isinstance(value, Mapping):
        return {
            f"f:{key}": _fields_of(each, node.get(f"f:{key}") or {})
            for key, each in value.items()
            if each is not None
        }
    if isinstance(value, list):
        keyed = {name: _fields_of(value[at], node[name]) for name, at, _ in pairs(value, (), node)}
        return keyed or {name: {} for name in map(value_name, value) if name in node}
    return {}


def _merged(live: Any, sent: Any, node: Mapping[str, Any]) -> Any:
    """What is sent, on top of what is there."""
    if isinstance(live, Mapping) and isinstance(sent, Mapping):
        merged = dict(live)
        for key, value in sent.items():
            if value is None:
                merged.pop(key, None)
            else:
                inner = node.get(f"f:{key}") or {}
                merged[key] = _merged(live[key], value, inner) if key in live else value
        return merged
    if isinstance(live, list) and isinstance(sent, list):
        found = {place: (name, at) for name, at, place in pairs(live, sent, node)}
        if any(name.startswith("k:") for name in node):
            items = [
                _merged(live[found[place][1]], item, node[found[place][0]])
                if place in found
                else item
                for place, item in enumerate(sent)
            ]
            taken = {at for place, (_, at) in found.items() if place is not None}
            return items + [item for at, item in enumerate(live) if at not in taken]
    return sent
