"""From metadata on the wire to the small record that is kept of each owned object."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from sys import intern
from typing import Any, Final

from ocistate.apply.desired.prepare import DesiredObject, body
from ocistate.apply.fields.managed import emptied_fields, filled_fields, lost_fields
from ocistate.apply.plan import Live
from ocistate.kube import codec
from ocistate.kube.discovery import ApiResource
from ocistate.kube.stages import ApplyStage, stage_of
from ocistate.labels import (
    ADOPTED_ANNOTATION,
    DIGEST_ANNOTATION,
    FIELD_MANAGER,
    PRUNE_ANNOTATION,
    STACK_LABEL,
    WAVE_ANNOTATION,
)
from ocistate.objects import ObjectId

_EMPTY: Final = re.compile(rb":(?:\{\}|\[\])")
"""In canonical JSON: an object without an empty map or list needs no second look."""
_LABEL_FIELD: Final = f'"f:{STACK_LABEL}"'.encode()


def live_of(metadata: codec.Metadata) -> Live | None:
    """What is kept of an object; None for one that is no one's.

    The label alone is no proof: controllers copy labels to what they derive (a Service's to its
    Endpoints), and whoever may edit an object may write any Stack's name on it. We must have
    written it.
    """
    owner = (metadata.labels or {}).get(STACK_LABEL, "")
    if not owner or not any(
        entry.manager == FIELD_MANAGER
        and not entry.subresource
        and _LABEL_FIELD in bytes(entry.fieldsV1)
        for entry in metadata.managedFields or ()
    ):
        return None
    entry = our_entry(metadata)
    annotations = metadata.annotations or {}
    try:
        wave = int(annotations.get(WAVE_ANNOTATION, "0"))
    except ValueError:
        wave = 0
    return Live(
        uid=metadata.uid,
        resource_version=metadata.resourceVersion,
        owner=intern(owner),
        marker=intern(annotations.get(DIGEST_ANNOTATION, "")),
        fields=hash(bytes(entry.fieldsV1)) if entry is not None else 0,
        deleting=metadata.deletionTimestamp is not None,
        protected=annotations.get(PRUNE_ANNOTATION) == "disabled",
        forced=annotations.get(PRUNE_ANNOTATION) == "force",
        adopted=annotations.get(ADOPTED_ANNOTATION) == "true",
        wave=wave,
    )


def id_of(resource: ApiResource, metadata: codec.Metadata) -> ObjectId:
    """The object's identity; texts that many objects share are kept once."""
    return ObjectId(resource.group, resource.kind, intern(metadata.namespace), metadata.name)


def our_entry(metadata: codec.Metadata) -> codec.ManagedFields | None:
    """The managedFields entry of our server-side applies."""
    for entry in metadata.managedFields or ():
        if entry.manager == FIELD_MANAGER and entry.operation == "Apply" and not entry.subresource:
            return entry
    return None


def field_set(entry: codec.ManagedFields | None) -> Mapping[str, Any]:
    """The entry's set of fields, empty when there is none."""
    if entry is None or not bytes(entry.fieldsV1):
        return {}
    decoded = codec.decode(entry.fieldsV1)
    return decoded if isinstance(decoded, dict) else {}


def checked(
    live: Live,
    metadata: codec.Metadata,
    wanted: DesiredObject | None,
    owner: str,
    obj: Mapping[str, Any] | None = None,
) -> Live:
    """``live`` with ``intact`` found out, where it claims to be what is wanted. ``obj`` is the
    whole object, if it is at hand."""
    if wanted is None or live.marker != wanted.marker:
        return live
    applied = body(wanted, owner, adopted=live.adopted)
    lost = next(_changed_fields(metadata, wanted, applied), None)
    if lost is None and stage_of(wanted.id.group, wanted.id.kind) is ApplyStage.CUSTOM:
        # All other kinds have a schema for every map.
        lost = next(emptied_fields(field_set(our_entry(metadata)), applied, obj), None)
    return replace(live, intact=lost is None)


def _changed_fields(
    metadata: codec.Metadata, wanted: DesiredObject, applied: Mapping[str, Any]
) -> Iterator[str]:
    ours = field_set(our_entry(metadata))
    yield from lost_fields(ours, applied)
    others = [
        field_set(entry)
        for entry in metadata.managedFields or ()
        if entry.manager != FIELD_MANAGER and not entry.subresource
    ]
    if others or _EMPTY.search(wanted.resource.json):
        yield from filled_fields(ours, others, applied)


def last_writer(metadata: codec.Metadata) -> str:
    """The manager, other than us, that wrote last outside of status; empty when there is none."""
    others = [entry for entry in metadata.managedFields or () if not _ours(entry)]
    return max(others, key=lambda entry: entry.time).manager if others else ""


def _ours(entry: codec.ManagedFields) -> bool:
    return bool(entry.subresource == "status") or (
        entry.manager == FIELD_MANAGER and entry.operation == "Apply"
    )
