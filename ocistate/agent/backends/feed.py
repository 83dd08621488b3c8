"""List one of our own kinds and watch it, for ever: whatever happens, it goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from ocistate.api.stack import GROUP
from ocistate.errors import OcistateError
from ocistate.kube.client import KubeClient, version_number

log = logging.getLogger("ocistate.agent")

_RETRY_SECONDS: Final = 2.0

Object = dict[str, Any]


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
        reached = [0]
        while True:
            try:
                await self._list_and_watch(reached)
            except OcistateError as error:
                log.warning("watching %s: %s", self.kind, error, extra={"reason": error.reason})
            except Exception:
                log.exception("watching %s failed unexpectedly", self.kind)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _list_and_watch(self, reached: list[int]) -> None:
        resource = await self.client.kind(GROUP, self.kind)
        listing = await self.client.list(resource, self.namespace)
        await self.listed(listing.items)
        since = listing.resource_version
        if version_number(since) < reached[0]:
            log.warning("the cluster is in an earlier state than before: all is compared again")
            self.restored()
        reached[0] = version_number(since)
        while not await self.client.went_back(resource, self.namespace, since=since):
            watch = self.client.watch(resource, self.namespace, since=since)
            async with aclosing(watch) as events:
                async for type_, obj in events:
                    since = obj["metadata"]["resourceVersion"]
                    reached[0] = max(reached[0], version_number(since))
                    if type_ != "BOOKMARK":
                        await self.changed(type_, obj)
