"""Read what is owned in the cluster, once: the eyes of a one-shot apply and of a restart.

    mine, others = await observe(client, desired)
    plan = make_plan(desired, mine, others)

One metadata-only, label-selected list per kind. Whether an object is still as it was applied is
told by its managedFields (`ocistate.apply.fields.managed`), so nothing else is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from ocistate.apply.desired.prepare import Desired
from ocistate.apply.live import checked, id_of, live_of
from ocistate.apply.plan import Live
from ocistate.apply.unlisted import PAGE_SECONDS, is_broken, prompt_pages
from ocistate.concurrency import together
from ocistate.errors import ClusterError
from ocistate.kube import codec
from ocistate.kube.client import KubeClient
from ocistate.kube.discovery import ApiResource
from ocistate.kube.errors import StatusError
from ocistate.labels import STACK_LABEL
from ocistate.objects import GroupKind, ObjectId

Owned = dict[ObjectId, Live]


async def observe(
    client: KubeClient,
    desired: Desired,
    *,
    kinds: Iterable[GroupKind] | None = None,
    namespaces: Sequence[str] | None = None,
    concurrency: int = 8,
    on_unlisted: Callable[[GroupKind, ClusterError], None] | None = None,
) -> tuple[Owned, Owned]:
    """The live objects of ``desired.owner``, and those of other owners.

    ``kinds`` are the kinds to look at, beside those of ``desired``: by default every kind the
    cluster serves that can be listed and deleted, so that what an earlier artifact left behind is
    found. A kind that may not be listed everywhere is looked for where it is wanted; one that may
    not be listed there either is an error only when it is wanted. With ``namespaces`` only these
    are read, and nothing cluster-scoped. ``on_unlisted`` is told of kinds that are broken; without
    it, one of them is an error.
    """
    broken: dict[GroupKind, ClusterError] = {}
    served = await client.kinds(max_age=5.0)
    if kinds is None:
        looked = [each for each in served if {"list", "patch", "delete"} <= each.verbs]
    else:
        found = (served.find(*key) for key in {*kinds, *desired.kinds})
        looked = [each for each in found if each is not None]
    mine: Owned = {}
    others: Owned = {}
    limit = asyncio.Semaphore(concurrency)

    def places(resource: ApiResource) -> Sequence[str]:
        if namespaces is None:
            return ("",)
        return namespaces if resource.namespaced else ()

    async def look(resource: ApiResource, namespace: str) -> None:
        async with limit:
            try:
                await _read(client, resource, namespace, desired, mine, others)
            except StatusError as error:
                key = GroupKind(resource.group, resource.kind)
                if on_unlisted is not None and is_broken(error):
                    broken[key] = error
                elif error.status == 403 and not namespace and resource.namespaced:
                    # Not everywhere, then: where its objects shall be.
                    narrower = {
                        id.namespace for id in desired.by_id if GroupKind(id.group, id.kind) == key
                    }
                    for each in sorted(narrower):
                        await _read(client, resource, each, desired, mine, others)
                elif key in desired.kinds or error.status not in (401, 403, 404, 405):
                    raise

    await together(
        look(resource, namespace) for resource in looked for namespace in places(resource)
    )
    if on_unlisted is not None and broken:
        if len(broken) == len({GroupKind(each.group, each.kind) for each in looked}):
            raise next(iter(broken.values()))  # it is not the kinds
        for key, error in sorted(broken.items()):
            for objects in (mine, others):  # what was read before it broke is not all
                for id in [id for id in objects if GroupKind(id.group, id.kind) == key]:
                    del objects[id]
            on_unlisted(key, error)
    return mine, others


async def _read(
    client: KubeClient,
    resource: ApiResource,
    namespace: str,
    desired: Desired,
    mine: Owned,
    others: Owned,
) -> None:
    for last in (False, True):
        try:
            async for page in prompt_pages(
                client,
                resource,
                namespace,
                label_selector=STACK_LABEL,
                limit=0 if last else 500,
                seconds=None
                if GroupKind(resource.group, resource.kind) in desired.kinds
                else PAGE_SECONDS,
            ):
                for item in codec.decode_as(codec.PARTIAL_LIST, page).items or ():
                    metadata = item.metadata
                    id = id_of(resource, metadata)
                    live = live_of(metadata)
                    if live is None:
                        continue
                    if live.owner == desired.owner:
                        wanted = desired.by_id.get(id)
                        mine[id] = checked(live, metadata, wanted, desired.owner)
                    else:
                        others[id] = live
            return
        except StatusError as error:
            if last or not error.gone:
                raise
