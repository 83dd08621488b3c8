"""The referrers tag schema (distribution spec 1.1): referrers in an index at a tag.

For registries without a referrers API. There is no compare-and-swap: a writer that read before we
wrote may write over it, so a write counts once it was seen to last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final
from weakref import WeakValueDictionary

from ocistate.backoff import settle_time
from ocistate.errors import Conflict, NotFound, ProtocolError
from ocistate.oci.model import Descriptor, Index, Manifest, build_index
from ocistate.oci.registry.http import Http
from ocistate.oci.tags import fallback_tag
from ocistate.reference import Reference

_TRIES: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackTags:
    """The fallback tags of one repository, read with ``fetch`` and written with ``put``."""

    reference: Reference
    fetch: Callable[[str], Awaitable[Manifest | Index]]
    put: Callable[[Index, str], Awaitable[object]]
    http: Http
    _locks: WeakValueDictionary[str, asyncio.Lock] = field(
        default_factory=WeakValueDictionary, repr=False
    )

    async def read(self, digest: str) -> Index:
        """What is listed as referring to a manifest; an empty index when nothing is."""
        tag = fallback_tag(digest)
        try:
            found = await self.fetch(tag)
        except NotFound:
            return build_index(())
        if not isinstance(found, Index):
            raise ProtocolError(f"{self.reference}:{tag} is not an image index")
        return found

    async def add(self, manifest: Manifest | Index, subject: Descriptor) -> None:
        """List a referrer. Raises Conflict when other writers keep removing it."""
        entry = replace(manifest.descriptor, annotations=manifest.annotations)
        tag = fallback_tag(subject.digest)
        slowest = 0.0
        async with self._lock(subject.digest):
            for _ in range(_TRIES):
                begun = self.http.clock()
                index = await self.read(subject.digest)
                if any(item.digest == entry.digest for item in index.manifests):
                    return
                await self.put(build_index((*index.manifests, entry), index.annotations), tag)
                slowest = max(slowest, self.http.clock() - begun)
                await self.http.sleep(settle_time(slowest, self.http.jitter()))
        raise Conflict(
            f"other writers kept removing {entry.digest[:19]} from the referrers of "
            f"{subject.digest[:19]} in {self.reference}",
            hint="try again, with fewer writers at the same time",
        )

    async def remove(self, manifest: Manifest | Index, subject: Descriptor) -> None:
        """Remove a deleted referrer from the list, if it is in it."""
        tag = fallback_tag(subject.digest)
        async with self._lock(subject.digest):
            for _ in range(_TRIES):
                index = await self.read(subject.digest)
                kept = tuple(i for i in index.manifests if i.digest != manifest.descriptor.digest)
                if len(kept) == len(index.manifests):
                    return
                await self.put(build_index(kept, index.annotations), tag)
                await self.http.sleep(settle_time(0.0, self.http.jitter()))

    def _lock(self, digest: str) -> asyncio.Lock:
        """Held while a list is written, so that this process does not race itself."""
        return self._locks.setdefault(digest, asyncio.Lock())
