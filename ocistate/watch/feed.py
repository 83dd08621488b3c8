"""Feed lists and watch events of one kind into the store of owned objects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

import msgspec

from ocistate.apply.live import id_of
from ocistate.errors import ClusterError
from ocistate.health.evaluate import health_of
from ocistate.health.model import Health
from ocistate.kube import codec
from ocistate.kube.client import KubeClient
from ocistate.kube.collection import version_number, watch_error
from ocistate.kube.discovery import ApiResource
from ocistate.labels import STACK_LABEL
from ocistate.objects import ObjectId
from ocistate.watch.store import OwnedObjects

MOST_OBJECTS: Final = 200_000
"""Of one cluster: its owner may claim any number, and each takes memory."""


@dataclass(slots=True)
class KnownState:
    """What one kind was known to be before it is listed again."""

    reached: float = 0
    """The version that was known; infinite when nothing of it counts any more."""
    objects: dict[ObjectId, str] = field(default_factory=dict)
    """Those of another state of the cluster, and whose they were."""

    def is_ahead_of(self, listed: codec.ListMeta) -> bool:
        version = version_number(listed.resourceVersion)
        return 0 < version < self.reached


async def list_into(
    client: KubeClient,
    owned: OwnedObjects,
    resource: ApiResource,
    namespace: str = "",
    *,
    selector: str = STACK_LABEL,
    whole: bool,
    since: KnownState | None = None,
) -> str:
    """Feed a complete list to the store; return the version to watch from.

    ``since`` is what is known from before. Raises StatusError (``gone`` when the pages expired:
    list again) and ClusterUnavailable.
    """
    seen: list[ObjectId] = []
    version = ""
    past = since or KnownState()
    async for page in client.pages(
        resource, namespace, label_selector=selector, metadata_only=not whole
    ):
        if not version and past.is_ahead_of(codec.decode_as(codec.PAGE, page).metadata):
            past.objects |= owned.renew(resource, namespace)
        if whole:
            raw = codec.decode_as(codec.RAW_LIST, page)
            for item in raw.items or ():
                obj = _object(item, resource)
                metadata = codec.decode_as(codec.PARTIAL, item).metadata
                judged = await _judge(owned, resource, metadata, obj)
                seen.append(owned.see(resource, metadata, obj, judged))
            version = raw.metadata.resourceVersion
        else:
            partial = codec.decode_as(codec.PARTIAL_LIST, page)
            seen.extend(owned.see(resource, item.metadata, None) for item in partial.items or ())
            version = partial.metadata.resourceVersion
        _check_number(max(len(seen), len(owned)), resource)
        await asyncio.sleep(0)  # let others run between pages of many objects
    owned.only(resource, namespace, seen, before=past.objects)
    past.objects, past.reached = {}, version_number(version)
    return version


async def watch_into(
    client: KubeClient,
    owned: OwnedObjects,
    resource: ApiResource,
    namespace: str = "",
    *,
    since: str,
    selector: str = STACK_LABEL,
    whole: bool,
) -> AsyncGenerator[str, None]:
    """Feed events to the store, yielding the version reached after each; ends with the stream.

    Raises StatusError (``gone``: list again) and ClusterUnavailable.
    """
    lines = client.watch_lines(
        resource, namespace, since=since, label_selector=selector, metadata_only=not whole
    )
    async with aclosing(lines):
        async for line in lines:
            event = codec.decode_as(codec.EVENT, line)
            if event.type == "ERROR":
                raise watch_error(codec.decode(event.object), resource, namespace)
            metadata = codec.decode_as(codec.PARTIAL, event.object).metadata
            if event.type != "BOOKMARK":
                obj = _object(event.object, resource) if whole else None
                if event.type == "DELETED":
                    owned.forget(id_of(resource, metadata), metadata.uid, last=obj)
                else:
                    judged = await _judge(owned, resource, metadata, obj) if obj else None
                    owned.see(resource, metadata, obj, judged)
                    if event.type == "ADDED":
                        _check_number(len(owned), resource)
            yield metadata.resourceVersion


def _check_number(count: int, resource: ApiResource) -> None:
    if count > MOST_OBJECTS:
        raise ClusterError(
            f"{resource.kind}: more than {MOST_OBJECTS} objects of Stacks in one cluster",
            hint="is it an API server that answers? Such a cluster needs several agents",
        )


async def _judge(
    owned: OwnedObjects, resource: ApiResource, metadata: codec.Metadata, obj: dict[str, object]
) -> Health | None:
    """What the rules of an object's Stack make of it. In a thread: they are a tenant's, and may
    take as long as CEL lets them, while all others' watches share the event loop."""
    rules = owned.rules.of_object(resource, metadata)
    return await asyncio.to_thread(health_of, obj, checks=rules) if rules else None


def _object(data: bytes | msgspec.Raw, resource: ApiResource) -> dict[str, object]:
    obj: dict[str, object] = codec.decode_as(codec.SHALLOW, data)
    obj["apiVersion"] = resource.api_version
    obj["kind"] = resource.kind
    return obj
