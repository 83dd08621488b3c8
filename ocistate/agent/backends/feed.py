"""List one of our own kinds and watch it, for ever: whatever happens, it goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from ocistate.api.stack import GROUP
from ocistate.errors import OcistateError
from ocistate.kube.client import KubeClient
from ocistate.kube.collection import version_number

log = logging.getLogger("ocistate.agent")

_RETRY_SECONDS: Final = 2.0

Object = dict[str, Any]


@dataclass(slots=True)
class SeenVersions:
    """How far a cluster's history has been seen, as a whole and object by object."""

    reached: int = 0
    objects: dict[str, int] = field(default_factory=dict)
    """The version of each object, by its UID."""
    interrupted: bool = False
    """Whether the last watch ended with an error."""

    def replace(self, objects: Sequence[Object], version: str) -> bool:
        """All there are now; whether the cluster is in an earlier state than it was.

        Soon after a restore its versions may be higher again than the last one seen of this kind,
        but those of the objects that were changed in between are not.
        """
        now = {_uid(obj): _version(obj) for obj in objects}
        earlier = version_number(version) < self.reached or any(
            now[uid] < seen for uid, seen in self.objects.items() if uid in now
        )
        self.reached, self.objects = version_number(version), now
        return earlier

    def add(self, type_: str, obj: Object) -> None:
        """An event of a watch."""
        self.reached = max(self.reached, _version(obj))
        if type_ == "DELETED":
            self.objects.pop(_uid(obj), None)
        elif type_ != "BOOKMARK":
            self.objects[_uid(obj)] = _version(obj)


def _uid(obj: Object) -> str:
    return str(obj["metadata"].get("uid", ""))


def _version(obj: Object) -> int:
    return version_number(obj["metadata"]["resourceVersion"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One kind. ``listed`` is given all there are, ``changed`` each event after that.

    Neither may raise for the sake of a single object: all would be listed again, and again.
    """

    client: KubeClient
    kind: str
    namespace: str = ""
    listed: Callable[[Sequence[Object]], Awaitable[None]]
    changed: Callable[[str, Object], Awaitable[None]]
    restored: Callable[[], None] = lambda: None
    """Called when the cluster turns out to be in an earlier state than it was."""

    async def run(self) -> None:
        """List and watch until cancelled."""
        history = SeenVersions()
        while True:
            try:
                await self._list_and_watch(history)
            except OcistateError as error:
                log.warning("watching %s: %s", self.kind, error, extra={"reason": error.reason})
            except Exception:
                log.exception("watching %s failed unexpectedly", self.kind)
            history.interrupted = True
            await asyncio.sleep(_RETRY_SECONDS)

    async def _list_and_watch(self, history: SeenVersions) -> None:
        resource = await self.client.kind(GROUP, self.kind)
        listing = await self.client.list(resource, self.namespace)
        await self.listed(listing.items)
        since = listing.resource_version
        if history.replace(listing.items, since):
            log.warning("the cluster is in an earlier state than before: all is compared again")
            self.restored()
        if history.interrupted:
            log.info("watching %s continues: all were listed again", self.kind)
            history.interrupted = False
        while not await self.client.went_back(resource, self.namespace, since=since):
            watch = self.client.watch(resource, self.namespace, since=since)
            async with aclosing(watch) as events:
                async for type_, obj in events:
                    since = obj["metadata"]["resourceVersion"]
                    history.add(type_, obj)
                    if type_ != "BOOKMARK":
                        await self.changed(type_, obj)
