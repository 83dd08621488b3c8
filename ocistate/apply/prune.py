"""Delete what is no longer wanted, and only that: no one else's object, no one else's content."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from ocistate.apply.plan import Action
from ocistate.apply.result import ObjectState, Result, result_of
from ocistate.apply.unlisted import is_broken, prompt_pages
from ocistate.backoff import Backoff
from ocistate.concurrency import each as for_each
from ocistate.errors import ClusterError
from ocistate.kube import codec
from ocistate.kube.client import KubeClient
from ocistate.kube.discovery import ApiResource
from ocistate.kube.errors import UNKNOWN_KIND, StatusError
from ocistate.kube.stages import ApplyStage, stage_of
from ocistate.labels import PRUNE_ANNOTATION, STACK_LABEL
from ocistate.objects import GroupKind, ObjectId

_POLL: Final = Backoff(first=0.05, longest=1.0, spread=0.0)
# What a namespace has without anyone putting it there, or what follows from other objects.
_FURNITURE: Final = frozenset(
    {
        ("", "ConfigMap", "kube-root-ca.crt"),
        ("", "ConfigMap", "openshift-service-ca.crt"),
        ("", "ServiceAccount", "default"),
        ("", "ServiceAccount", "builder"),
        ("", "ServiceAccount", "deployer"),
    }
)
_DERIVED: Final = frozenset(
    {
        ("", "Event"),
        ("", "Endpoints"),
        ("events.k8s.io", "Event"),
        ("discovery.k8s.io", "EndpointSlice"),
        ("coordination.k8s.io", "Lease"),
        ("metrics.k8s.io", "PodMetrics"),
    }
)

_KINDS_AGE: Final = 1.0
"""Seconds that what is served may be old: what came since then would be deleted unseen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """How to delete.

    ``filled`` is what happens to a Namespace that holds others' objects, and to a CRD that defines
    others' objects: "keep" or "delete" it; the annotation ``ocistate.dev/prune: force`` on it means
    "delete". ``gone`` is how many seconds to wait until everything deleted is gone; custom
    resources are waited for up to ``finalizers`` seconds in any case while more is to be deleted,
    since it may be their controller.
    """

    propagation: str = "Background"
    filled: Literal["keep", "delete"] = "keep"
    gone: float = 0.0
    finalizers: float = 20.0

    async def one(
        self, client: KubeClient, action: Action, owner: str, *, dry_run: bool = False
    ) -> Result:
        """Delete one object if it is still the one that was planned for and still ``owner``'s."""
        live = action.live
        assert live is not None
        if not live.forced and (reason := await self._filled(client, action.id, owner)):
            return result_of(action, ObjectState.SKIPPED, reason=reason)
        version = live.resource_version
        for attempt in range(1, 6):
            try:
                await client.delete(
                    action.id,
                    uid=live.uid,
                    resource_version=version,
                    propagation=self.propagation,
                    dry_run=dry_run,
                )
            except StatusError as error:
                if error.code == UNKNOWN_KIND:
                    break  # its CRD is gone, and it with it
                if error.status != 409 or attempt == 5:
                    raise
            else:
                break
            # It changed since it was seen: look again whose it is now.
            now = await client.get(action.id, metadata_only=True)
            if now is None:
                break
            metadata = now["metadata"]
            if metadata["uid"] != live.uid:
                return result_of(
                    action, ObjectState.SKIPPED, reason="kept: another object took its name"
                )
            if (metadata.get("labels") or {}).get(STACK_LABEL) != owner:
                return result_of(
                    action, ObjectState.SKIPPED, reason="kept: it is no longer this owner's"
                )
            if (metadata.get("annotations") or {}).get(PRUNE_ANNOTATION) == "disabled":
                return result_of(
                    action, ObjectState.SKIPPED, reason="kept: ocistate.dev/prune is disabled"
                )
            version = metadata["resourceVersion"]
        return replace(result_of(action, ObjectState.DELETED, reason=action.reason), live=live)

    async def wait_gone(
        self,
        client: KubeClient,
        deleted: Sequence[Result],
        *,
        last: bool,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> list[ObjectId]:
        """Wait until what was deleted is gone, as long as the settings say; return what is not."""
        custom = any(stage_of(each.id.group, each.id.kind) is ApplyStage.CUSTOM for each in deleted)
        patience = max(self.gone, self.finalizers if custom and not last else 0.0)
        left = {each.id: each.live.uid for each in deleted if each.live is not None}
        deadline = clock() + patience
        polls = 0
        while left and patience > 0:
            left = await _still_there(client, left)
            if not left or clock() > deadline:
                break
            polls += 1
            await sleep(_POLL.delay(polls))
        return list(left)

    async def _filled(self, client: KubeClient, id: ObjectId, owner: str) -> str:
        """Why a Namespace or CRD is kept; empty when it may be deleted."""
        if self.filled == "delete":
            return ""
        if GroupKind(id.group, id.kind) == ("", "Namespace"):
            return await _others_in_namespace(client, id.name, owner)
        if GroupKind(id.group, id.kind) == ("apiextensions.k8s.io", "CustomResourceDefinition"):
            return await _others_of_definition(client, id, owner)
        return ""


async def _still_there(client: KubeClient, expected: Mapping[ObjectId, str]) -> dict[ObjectId, str]:
    """Those of the objects (and uids) that exist, by one list per kind and namespace."""
    left: dict[ObjectId, str] = {}
    places = {(id.group, id.kind, id.namespace) for id in expected}
    for group, kind, namespace in places:
        try:
            resource = await client.kind(group, kind)
        except StatusError as error:
            if error.code == UNKNOWN_KIND:
                continue
            raise
        listing = await client.list(
            resource, namespace, label_selector=STACK_LABEL, metadata_only=True
        )
        for item in listing.items:
            metadata = item["metadata"]
            id = ObjectId(group, kind, metadata.get("namespace", ""), metadata["name"])
            if expected.get(id) == metadata["uid"]:
                left[id] = metadata["uid"]
    return left


async def _others_in_namespace(client: KubeClient, namespace: str, owner: str) -> str:
    kinds = [
        resource
        for resource in await client.kinds(max_age=_KINDS_AGE)
        if resource.namespaced
        and {"list", "delete"} <= resource.verbs
        and GroupKind(resource.group, resource.kind) not in _DERIVED
    ]

    async def look(resource: ApiResource) -> str:
        return await _first_other(client, resource, namespace, owner)

    try:
        found = [text for text in await for_each(kinds, look, at_once=8) if text]
    except ClusterError as error:
        return f"kept: whether it holds others' objects cannot be told: {error.message}"
    if not found:
        return ""
    more = f" and objects of {len(found) - 1} other kinds" if len(found) > 1 else ""
    return f"kept: it holds objects that are not this owner's: {found[0]}{more}"


async def _others_of_definition(client: KubeClient, id: ObjectId, owner: str) -> str:
    plural, _, group = id.name.partition(".")
    for resource in await client.kinds(max_age=_KINDS_AGE):
        if (resource.group, resource.plural) == (group, plural):
            try:
                other = await _first_other(client, resource, "", owner)
            except ClusterError as error:
                return f"kept: whether others use it cannot be told: {error.message}"
            if other:
                return f"kept: others' objects of its kind would be deleted with it: {other}"
    return ""


async def _first_other(
    client: KubeClient, resource: ApiResource, namespace: str, owner: str
) -> str:
    """One object that is neither the owner's, nor controlled by another object, nor furniture."""
    selector = f"{STACK_LABEL}!={owner}"
    pages = prompt_pages(client, resource, namespace, label_selector=selector)
    try:
        async with aclosing(pages):
            async for page in pages:
                for item in codec.decode_as(codec.PARTIAL_LIST, page).items or ():
                    if not _comes_along(resource, item.metadata):
                        name = item.metadata.name
                        place = item.metadata.namespace
                        return str(ObjectId(resource.group, resource.kind, place, name))
    except StatusError as error:
        if error.status not in (404, 405) or is_broken(error):
            raise  # else the kind was just removed, or cannot be listed after all
    return ""


def _comes_along(resource: ApiResource, metadata: codec.Metadata) -> bool:
    """Whether it goes with something else, or is going anyway."""
    return (
        bool(metadata.ownerReferences)
        or metadata.deletionTimestamp is not None
        or (resource.group, resource.kind, metadata.name) in _FURNITURE
        or _is_token(resource, metadata)
    )


def _is_token(resource: ApiResource, metadata: codec.Metadata) -> bool:
    """Secrets that belong to a service account go with it."""
    annotations: Mapping[str, Any] = metadata.annotations or {}
    return resource.kind == "Secret" and "kubernetes.io/service-account.name" in annotations
