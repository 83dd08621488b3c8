"""What one API server serves, read when it is first needed and again when it may be out of date."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from ocistate.errors import ClusterError
from ocistate.kube import codec
from ocistate.kube.discovery import ApiResource, Kinds, parse_discovery, unknown_kind
from ocistate.kube.transport import DISCOVERY, Transport

_MAX_AGE: Final = 1.0
"""A kind that is not known is looked for again, but not more often than this (seconds)."""
_DOING: Final = "discover the kinds served"


class DiscoveryCache:
    """What one server serves, read once for all users of its connections and again on demand."""

    def __init__(
        self, transport: Transport, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._lock = asyncio.Lock()
        self._kinds = Kinds()
        self._at: float | None = None

    async def kinds(self, *, max_age: float | None = None) -> Kinds:
        """As `KubeClient.kinds`. Raises ClusterError."""
        asked = self._clock()
        async with self._lock:
            if self._at is None or (max_age is not None and asked - self._at >= max_age):
                self._kinds = await self._read()
                self._at = self._clock()
        return self._kinds

    async def kind(self, group: str, kind: str, version: str = "") -> ApiResource:
        """As `KubeClient.kind`."""
        found = self._kinds.find(group, kind, version)
        if found is None:
            found = (await self.kinds(max_age=_MAX_AGE)).find(group, kind, version)
        if found is None:
            raise unknown_kind(self._kinds, group, kind, version)
        return found

    async def _read(self) -> Kinds:
        documents = [
            codec.decode(await self._transport.send("GET", path, doing=_DOING, accept=DISCOVERY))
            for path in ("/api", "/apis")
        ]
        try:
            return parse_discovery(documents)
        except (ValueError, KeyError) as error:
            raise ClusterError(
                f"{_DOING}: {error}", hint="Kubernetes 1.27 or newer is needed"
            ) from None
