"""Compare an artifact with a cluster: what an apply would change, by the API server's dry run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ocistate.apply.desired.prepare import (
    ApplyMode,
    Desired,
    DesiredObject,
    IgnoredFields,
    body,
    prepare,
)
from ocistate.apply.observe import observe
from ocistate.apply.plan import make_plan
from ocistate.apply.preview import Preview, preview
from ocistate.apply.unlisted import blind
from ocistate.apply.writer import RECREATED
from ocistate.artifact.diff import FieldChange, diff_objects, mask_secrets
from ocistate.concurrency import each
from ocistate.errors import ClusterError
from ocistate.kube.client import KubeClient
from ocistate.kube.errors import StatusError
from ocistate.kube.refusals import explained, is_immutable
from ocistate.objects import GroupKind, ObjectId, Resource

_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDiff:
    """One object that an apply would change. ``error`` is why the API server would refuse it, or
    that it is not changed but recreated."""

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
    ignore: Sequence[IgnoredFields] = (),
    adopt_from: Collection[str] = (),
    on_unlisted: Callable[[GroupKind, ClusterError], None],
) -> tuple[LiveDiff, ...]:
    """Dry-run every object on the server and compare it with what is there.

    ``owner``'s objects that the artifact has no more are removed ones, as far as they are pruned;
    objects of other owners than those of ``adopt_from`` are refused. Our own marks are no
    difference; the values of Secrets are masked. ``on_unlisted`` gets the kinds that cannot be
    listed, and are left out. Raises ClusterError.
    """
    unlisted: dict[GroupKind, ClusterError] = {}
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
    mine, others = await observe(client, desired, on_unlisted=unlisted.__setitem__)
    desired = blind(desired, unlisted)
    for kind, error in unlisted.items():
        on_unlisted(kind, error)
    plan = make_plan(desired, mine, others, adopt_from=adopt_from)
    new_namespaces = {item.id.name for item in desired.wanted if item.id.kind == "Namespace"}
    left = {action.id for action in plan.skip}

    refused = [LiveDiff(id=item.id, change="refused", error=item.reason) for item in plan.refuse]
    left |= {action.id for action in plan.refuse}
    wanted = [item for item in desired.wanted if item.id not in left]
    found = await each(
        wanted, lambda item: _one(client, desired, item, new_namespaces), at_once=_AT_ONCE
    )
    removed = [LiveDiff(id=action.id, change="removed") for action in plan.prune]
    return (*refused, *(item for item in found if item is not None), *removed)


def field_changes(preview: Preview) -> tuple[FieldChange, ...]:
    """What a preview changes of an object that is there, with the values of Secrets masked."""
    if preview.before is None:
        return ()
    return tuple(diff_objects(*mask_secrets(preview.before, preview.after)))


async def _one(
    client: KubeClient, desired: Desired, wanted: DesiredObject, new_namespaces: set[str]
) -> LiveDiff | None:
    version = wanted.resource.api_version.rpartition("/")[2]
    if wanted.mode is ApplyMode.IF_NOT_PRESENT:
        there = await client.get(wanted.id, version=version, metadata_only=True)
        if there is not None:
            return None
    obj = body(wanted, desired.owner)
    try:
        found = await preview(client, wanted.id, obj, version=version, ignored=wanted.pointers)
    except StatusError as error:
        # What the artifact itself brings is not there yet for a dry run.
        if wanted.id.namespace in new_namespaces and error.status == 404:
            return LiveDiff(id=wanted.id, change="added")
        if wanted.mode is ApplyMode.RECREATE and is_immutable(error):
            return LiveDiff(id=wanted.id, change="changed", error=RECREATED)
        return LiveDiff(id=wanted.id, change="refused", error=explained(error).message)
    if found.before is None:
        return LiveDiff(id=wanted.id, change="added")
    fields = field_changes(found)
    return LiveDiff(id=wanted.id, change="changed", fields=fields) if fields else None
