"""Read what is owned in the cluster, once, for a one-shot apply.

    mine, others = await observe(client, desired)
    plan = make_plan(desired, mine, others)

One metadata-only, label-selected list per kind. Whether an object is still as it was applied
follows from its managedFields (`ocistate.apply.fields.managed`), so nothing else is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ocistate.apply.desired.prepare import Desired
from ocistate.apply.live import checked, id_of, live_of
from ocistate.apply.plan import Live
from ocistate.apply.unlisted import PAGE_SECONDS, is_broken, prompt_pages
from ocistate.concurrency import each as for_each
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
    are read, and nothing cluster-scoped. ``on_unlisted`` is called for kinds that are broken;
    without it, one of them is an error.
    """
    served = await client.kinds(max_age=5.0)
    if kinds is None:
        looked = [each for each in served if {"list", "patch", "delete"} <= each.verbs]
    else:
        found = (served.find(*key) for key in {*kinds, *desired.kinds})
        looked = [each for each in found if each is not None]
    reading = _Reading(client, desired, tolerant=on_unlisted is not None)
    work = [(r, namespace) for r in looked for namespace in _namespaces(r, namespaces)]
    await for_each(work, lambda one: reading.look(*one), at_once=concurrency)
    if on_unlisted is not None and reading.broken:
        if len(reading.broken) == len({GroupKind(each.group, each.kind) for each in looked}):
            raise next(iter(reading.broken.values()))  # it is not the kinds
        reading.drop_broken()
        for key, error in sorted(reading.broken.items()):
            on_unlisted(key, error)
    return reading.mine, reading.others


def _namespaces(resource: ApiResource, chosen: Sequence[str] | None) -> Sequence[str]:
    """Where to list a kind: everywhere at once, or in the chosen namespaces."""
    if chosen is None:
        return ("",)
    return chosen if resource.namespaced else ()


@dataclass(slots=True)
class _Reading:
    """What has been read so far. ``tolerant``: kinds that are broken are noted, not raised."""

    client: KubeClient
    desired: Desired
    tolerant: bool
    mine: Owned = field(default_factory=dict)
    others: Owned = field(default_factory=dict)
    broken: dict[GroupKind, ClusterError] = field(default_factory=dict)

    async def look(self, resource: ApiResource, namespace: str) -> None:
        """Read one kind, as far as it may be read. Raises ClusterError."""
        try:
            await self._read(resource, namespace)
        except StatusError as error:
            key = GroupKind(resource.group, resource.kind)
            if self.tolerant and is_broken(error):
                self.broken[key] = error
            elif error.status == 403 and not namespace and resource.namespaced:
                # Not everywhere, then: where its objects shall be.
                ids = [id for id in self.desired.by_id if GroupKind(id.group, id.kind) == key]
                for narrower in sorted({id.namespace for id in ids}):
                    await self._read(resource, narrower)
            elif key in self.desired.kinds or error.status not in (401, 403, 404, 405):
                raise

    async def _read(self, resource: ApiResource, namespace: str) -> None:
        wanted = GroupKind(resource.group, resource.kind) in self.desired.kinds
        for last in (False, True):
            pages = prompt_pages(
                self.client,
                resource,
                namespace,
                label_selector=STACK_LABEL,
                limit=0 if last else 500,
                seconds=None if wanted else PAGE_SECONDS,
            )
            try:
                async for page in pages:
                    for item in codec.decode_as(codec.PARTIAL_LIST, page).items or ():
                        self._note(resource, item.metadata)
                return
            except StatusError as error:
                if last or not error.gone:
                    raise

    def _note(self, resource: ApiResource, metadata: codec.Metadata) -> None:
        id, live = id_of(resource, metadata), live_of(metadata)
        if live is None:
            return
        if live.owner == self.desired.owner:
            wanted = self.desired.by_id.get(id)
            self.mine[id] = checked(live, metadata, wanted, self.desired.owner)
        else:
            self.others[id] = live

    def drop_broken(self) -> None:
        """What was read of a kind before it broke is not all of it."""
        for objects in (self.mine, self.others):
            for id in [id for id in objects if GroupKind(id.group, id.kind) in self.broken]:
                del objects[id]
