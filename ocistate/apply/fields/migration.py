"""Who else holds fields of an object: taking them over from its former tool, and leaving some.

A tool that applied an object before us (``kubectl apply``, Flux, Argo CD) stays a holder of every
field it set, so a field that the artifact drops later would never be removed. Its entries are
therefore made ours, once, as kubectl's own migration from client-side apply does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

from ocistate.apply.desired.prepare import DesiredObject
from ocistate.apply.fields.managed import holds, our_fields
from ocistate.apply.fields.unions import claim, in_the_way, union
from ocistate.documents.pointers import tokens
from ocistate.kube import codec
from ocistate.kube.client import KubeClient
from ocistate.kube.errors import StatusError
from ocistate.labels import FIELD_MANAGER
from ocistate.objects import ObjectId

FORMER_MANAGERS: Final = frozenset(
    {
        ("kubectl-client-side-apply", "Update"),
        ("before-first-apply", "Update"),
        ("kubectl", "Apply"),
        ("kustomize-controller", "Apply"),
        ("flux", "Apply"),
        ("helm", "Update"),
        ("Helm", "Update"),
        ("helm-controller", "Update"),
        ("helm-controller", "Apply"),
        ("argocd-controller", "Apply"),
        ("argocd-controller", "Update"),
        ("argocd-application-controller", "Update"),
    }
)
"""Manager and operation of tools that own whole objects; people's edits are not among them."""

LEFT_MANAGER: Final = "ocistate-left"
"""Holds the last value of fields that were ours and are now left to others."""


def has_former_manager(metadata: codec.Metadata) -> bool:
    """Whether one of `FORMER_MANAGERS` holds fields of the object."""
    return any(
        (entry.manager, entry.operation) in FORMER_MANAGERS and not entry.subresource
        for entry in metadata.managedFields or ()
    )


async def take_over(client: KubeClient, id: ObjectId, *, version: str = "") -> None:
    """Make the former managers' fields ours; apply the object again afterwards.

    Raises StatusError 409 when the object changed meanwhile: try again.
    """
    live = await client.get(id, version=version, metadata_only=True)
    if live is not None:
        entries = merged_entries(live["metadata"].get("managedFields") or ())
        await _set_entries(client, id, live, entries, version)


async def make_room(
    client: KubeClient,
    id: ObjectId,
    obj: Mapping[str, Any],
    error: StatusError,
    *,
    takeover: bool,
    version: str = "",
) -> bool:
    """Make ours what the API server may have refused ``obj`` for, where we do not send it; whether
    there was anything: apply the object again then. Raises as `take_over` does."""
    live = await client.get(id, version=version) if error.status == 422 else None
    entries = room_for(obj, live, error, takeover=takeover) if live is not None else None
    if live is None or entries is None:
        return False
    await _set_entries(client, id, live, entries, version)
    return True


def room_for(
    obj: Mapping[str, Any], live: Mapping[str, Any], error: StatusError, *, takeover: bool
) -> list[Mapping[str, Any]] | None:
    """The managedFields that `make_room` would set, ours the last of them; None for no others."""
    before = live["metadata"].get("managedFields") or []
    former = FORMER_MANAGERS if takeover else frozenset()
    paths = in_the_way(error, live, obj)
    if not paths and not any(_is_former(entry, former) for entry in before):
        return None
    entries = merged_entries(before, former=former)
    if not any(_is_ours(entry) for entry in entries):
        entries = [*entries, _new_entry(live)]
    return [*claim(entries, paths)]


async def _set_entries(
    client: KubeClient,
    id: ObjectId,
    live: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    version: str,
) -> None:
    resource_version = live["metadata"]["resourceVersion"]
    await client.patch(
        id,
        [
            {"op": "replace", "path": "/metadata/managedFields", "value": entries},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
        ],
        type="json",
        version=version,
        metadata_only=True,
    )


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return _is_former(entry, {(FIELD_MANAGER, "Apply")})


def _is_former(entry: Mapping[str, Any], former: Set[tuple[str, str]]) -> bool:
    who = (str(entry.get("manager")), str(entry.get("operation")))
    return who in former and not entry.get("subresource")


def _new_entry(live: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "manager": FIELD_MANAGER,
        "operation": "Apply",
        "apiVersion": live["apiVersion"],
        "fieldsType": "FieldsV1",
        "fieldsV1": {},
    }


def merged_entries(
    entries: Sequence[Mapping[str, Any]],
    *,
    former: Set[tuple[str, str]] = FORMER_MANAGERS,
) -> list[Mapping[str, Any]]:
    """The managedFields with the former managers' entries merged into ours, which is the last."""
    kept: list[Mapping[str, Any]] = []
    ours: dict[str, Any] | None = None
    fields: dict[str, Any] = {}
    for entry in entries:
        mine = _is_ours(entry)
        if not (mine or _is_former(entry, former)):
            kept.append(entry)
            continue
        fields = union(fields, entry.get("fieldsV1") or {})
        if ours is None or mine:
            ours = {**entry, "manager": FIELD_MANAGER, "operation": "Apply"}
    return [*kept, {**ours, "fieldsV1": fields}] if ours is not None else kept


async def leave_fields(client: KubeClient, wanted: DesiredObject, version: str) -> None:
    """Hand fields that are now ignored, and that we still hold, to `LEFT_MANAGER`.

    Without that, applying the object without them would make the server remove or reset them.
    Fields below a list are not handed over: the server decides what becomes of them.
    """
    live = await client.get(wanted.id, version=version)
    if live is None:
        return
    held = our_fields(live["metadata"])
    left: dict[str, Any] = {}
    for pointer in wanted.pointers:
        path = tokens(pointer)
        if holds(held, path):
            _copy(live, left, path)
    if not left:
        return
    metadata = {"name": wanted.id.name, **left.pop("metadata", {})}
    if wanted.id.namespace:
        metadata["namespace"] = wanted.id.namespace
    await client.apply(
        {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": metadata, **left},
        manager=LEFT_MANAGER,
        metadata_only=True,
    )


def _copy(source: Any, target: dict[str, Any], path: Sequence[str]) -> None:
    """Copy the value at ``path``, if there is one and only mappings lead to it."""
    node = source
    for part in path:
        if not isinstance(node, Mapping) or part not in node:
            return
        node = node[part]
    for part in path[:-1]:
        target = target.setdefault(part, {})
    target[path[-1]] = node
