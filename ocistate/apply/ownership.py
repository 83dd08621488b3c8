"""Objects that carry an owner's mark: find them wherever they are, and change whose they are.

    found = await find_marked(client, namespace)
    for each in found.objects:
        error = await mark(client, each, to="…")

For owners that are gone: those that live hand their objects over themselves. What is done is done
with the rights of whoever asks, object by object, and only while it still is the owner's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ocistate.apply.live import id_of, live_of
from ocistate.apply.unlisted import is_broken, prompt_pages
from ocistate.concurrency import each as for_each
from ocistate.errors import ClusterError
from ocistate.kube import codec
from ocistate.kube.client import KubeClient
from ocistate.kube.discovery import ApiResource
from ocistate.kube.errors import StatusError
from ocistate.labels import DIGEST_ANNOTATION, STACK_LABEL, check_owner
from ocistate.objects import ObjectId

_AT_ONCE: Final = 8
_LABEL_PATH: Final = "/metadata/labels/" + STACK_LABEL.replace("/", "~1")
_DIGEST_PATH: Final = "/metadata/annotations/" + DIGEST_ANNOTATION.replace("/", "~1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A live object with an owner's mark on it."""

    id: ObjectId
    uid: str
    owner: str
    has_digest: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedObjects:
    """What was found, and the kinds that may not be listed."""

    objects: tuple[Marked, ...]
    unseen: tuple[str, ...]

    def by_owner(self) -> Mapping[str, list[Marked]]:
        """The objects of each owner."""
        owners: dict[str, list[Marked]] = defaultdict(list)
        for each in self.objects:
            owners[each.owner].append(each)
        return owners


async def find_marked(client: KubeClient, *, namespace: str = "", owner: str = "") -> MarkedObjects:
    """The objects of one owner, or of all; in one namespace, or everywhere. Raises ClusterError."""
    selector = f"{STACK_LABEL}={check_owner(owner)}" if owner else STACK_LABEL
    kinds = [
        each
        for each in await client.kinds(max_age=5.0)
        if {"list", "patch"} <= each.verbs and (each.namespaced or not namespace)
    ]
    objects: dict[str, Marked] = {}
    unseen: list[str] = []

    async def look(resource: ApiResource) -> None:
        try:
            for each in await _marked(client, resource, namespace, selector):
                # The same object may be served under two groups.
                objects[each.uid] = min(objects.get(each.uid, each), each, key=_by_id)
        except StatusError as error:
            if error.status == 403 or is_broken(error):
                unseen.append(str(resource))
            elif error.status not in (404, 405):
                raise

    await for_each(kinds, look, at_once=_AT_ONCE)
    if kinds and len(unseen) == len(kinds):
        where = f"the namespace {namespace}" if namespace else "all namespaces"
        raise ClusterError(
            f"you may list nothing in {where}", hint="name another namespace with -n"
        )
    return MarkedObjects(
        objects=tuple(sorted(objects.values(), key=_by_id)), unseen=tuple(sorted(unseen))
    )


def _by_id(marked: Marked) -> ObjectId:
    return marked.id


async def _marked(
    client: KubeClient, resource: ApiResource, namespace: str, selector: str
) -> list[Marked]:
    found = []
    items: list[codec.Partial] = []
    async for page in prompt_pages(client, resource, namespace, label_selector=selector):
        items += codec.decode_as(codec.PARTIAL_LIST, page).items or ()
    for item in items:
        metadata = item.metadata
        live = live_of(metadata)
        if live is not None:  # else a controller copied the label
            found.append(
                Marked(
                    id=id_of(resource, metadata),
                    uid=live.uid,
                    owner=live.owner,
                    has_digest=bool(live.marker),
                )
            )
    return found


async def mark(client: KubeClient, marked: Marked, *, to: str = "") -> ClusterError | None:
    """Make it another owner's, or no one's; the error, if that failed.

    It is refused when it has changed hands, or is another object of that name, meanwhile.
    """
    patch: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/uid", "value": marked.uid},
        {"op": "test", "path": _LABEL_PATH, "value": marked.owner},
    ]
    if to:
        patch.append({"op": "replace", "path": _LABEL_PATH, "value": check_owner(to)})
    else:
        patch.append({"op": "remove", "path": _LABEL_PATH})
        if marked.has_digest:
            patch.append({"op": "remove", "path": _DIGEST_PATH})
    try:
        await client.patch(marked.id, patch, type="json", metadata_only=True)
    except ClusterError as error:
        return error
    return None


async def mark_all(
    client: KubeClient, objects: Iterable[Marked], *, to: str = ""
) -> list[tuple[Marked, ClusterError | None]]:
    """`mark` many, a few at a time."""

    async def one(marked: Marked) -> tuple[Marked, ClusterError | None]:
        return marked, await mark(client, marked, to=to)

    done = await for_each(objects, one, at_once=_AT_ONCE)
    return sorted(done, key=lambda pair: pair[0].id)
