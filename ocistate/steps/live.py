"""An artifact against a cluster: what an apply would change, as the API server itself sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ocistate.artifact.diff import FieldChange, diff_objects, mask_secrets
from ocistate.cluster import wire
from ocistate.cluster.client import KubeClient
from ocistate.cluster.labels import ADOPTED_ANNOTATION, DIGEST_ANNOTATION, STACK_LABEL
from ocistate.cluster.observe import observe
from ocistate.cluster.prepare import Desired, IgnoreRule, Mode, Wanted, body, prepare, without
from ocistate.cluster.send import send
from ocistate.cluster.unlisted import Kind, blind
from ocistate.errors import ClusterError, OcistateError
from ocistate.objects import ObjectId, Resource

_AT_ONCE: Final = 8
_SERVERS: Final = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")
_MARKS: Final = {"labels": (STACK_LABEL,), "annotations": (DIGEST_ANNOTATION, ADOPTED_ANNOTATION)}


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDiff:
    """One object that an apply would change. ``error`` is why the API server would refuse it."""

    id: ObjectId
    change: Literal["added", "changed", "removed", "refused"]
    fields: tuple[FieldChange, ...] = ()
    error: str = ""


async def diff_live(
    client: KubeClient,
    resources: Sequence[Resource],
    *,
    owner: str,
    digest: str,
    namespace: str,
    force_namespace: bool = False,
    ignore: Sequence[IgnoreRule] = (),
    on_unlisted: Callable[[Kind, ClusterError], None],
) -> tuple[LiveDiff, ...]:
    """Dry-run every object on the server and compare it with what is there.

    ``owner``'s objects that the artifact has no more are removed ones. Our own marks are no
    difference; the values of Secrets are masked. ``on_unlisted`` is told of kinds that are broken,
    and left out. Raises ClusterError.
    """
    unlisted: dict[Kind, ClusterError] = {}
    kinds = await client.kinds()
    desired = prepare(
        resources,
        owner=owner,
        artifact=digest,
        namespaced=kinds.namespaced,
        namespace=namespace,
        force_namespace=force_namespace,
        ignore=ignore,
    )
    mine, _ = await observe(client, desired, on_unlisted=unlisted.__setitem__)
    desired = blind(desired, unlisted)
    for kind, error in unlisted.items():
        on_unlisted(kind, error)
    limit = asyncio.Semaphore(_AT_ONCE)
    new_namespaces = {each.id.name for each in desired.wanted if each.id.kind == "Namespace"}

    async def one(wanted: Wanted) -> LiveDiff | None:
        async with limit:
            return await _one(client, desired, wanted, new_namespaces)

    found = await asyncio.gather(*(one(wanted) for wanted in desired.wanted))
    removed = [
        LiveDiff(id=id, change="removed")
        for id, live in sorted(mine.items())
        if id not in desired.by_id and not live.protected
    ]
    return (*(each for each in found if each is not None), *removed)


async def _one(
    client: KubeClient, desired: Desired, wanted: Wanted, new_namespaces: set[str]
) -> LiveDiff | None:
    if wanted.problem is not None:
        return LiveDiff(id=wanted.id, change="refused", error=str(wanted.problem))
    if wanted.mode is Mode.IGNORE:
        return None
    version = wanted.resource.api_version.rpartition("/")[2]
    live = await client.get(wanted.id, version=version)
    if live is not None and wanted.mode is Mode.IF_NOT_PRESENT:
        return None
    try:
        _, answer = await send(client, body(wanted, desired.owner), dry_run=True)
    except OcistateError as error:
        # What the artifact itself brings is not there yet for a dry run.
        if live is None and wanted.id.namespace in new_namespaces:
            return LiveDiff(id=wanted.id, change="added")
        return LiveDiff(id=wanted.id, change="refused", error=error.message)
    if live is None:
        return LiveDiff(id=wanted.id, change="added")
    # Fields left to others stay as they are, whatever the dry run makes of their absence.
    after = wire.decode(answer)
    bare = [without(_bare(each), wanted.pointers) for each in (live, after)]
    old, new = mask_secrets(bare[0], bare[1])
    fields = tuple(diff_objects(old, new))
    return LiveDiff(id=wanted.id, change="changed", fields=fields) if fields else None


def _bare(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Without what the server keeps for itself, status, and our marks."""
    metadata = {k: v for k, v in obj["metadata"].items() if k not in _SERVERS}
    for field, marks in _MARKS.items():
        left = {k: v for k, v in (metadata.get(field) or {}).items() if k not in marks}
        metadata.pop(field, None)
        if left:
            metadata[field] = left
    return {**{k: v for k, v in obj.items() if k != "status"}, "metadata": metadata}
