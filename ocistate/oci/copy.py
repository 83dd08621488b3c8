"""Copy artifacts from one store to another, with everything that refers to them.

    report = await copy(source, target, [[Wanted(target="v1", tags=("v1",))]])

What an artifact needs goes first: blobs, then the manifest that names them, then the index that
names that. Then goes what refers to it: signatures, attestations, what refers to those, and the
older formats' tags. The tag comes last, so that a reader who follows it finds the artifact whole
and signed. What the target holds already is not sent again: a copy that was cut short goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, ParamSpec, TypeVar

from ocistate.concurrency import Limiter, each
from ocistate.errors import LimitExceeded, NotFound
from ocistate.oci.model import EMPTY_CONFIG, Descriptor, Index, Manifest
from ocistate.oci.source import BlobSource
from ocistate.oci.store import Store
from ocistate.oci.tags import LEGACY_SUFFIXES, legacy_tag

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE: Final = 8
_SMALL: Final = 1024 * 1024
"""Blobs up to this size are fetched whole before they are sent."""
_MAX_MANIFESTS: Final = 1_000_000
_MAX_DEPTH: Final = 32
_FOREIGN: Final = ("nondistributable", "rootfs.foreign")


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyItem:
    """One artifact to copy: its tag or digest in the source, and its tags in the target."""

    target: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """One artifact that was copied: ``tags`` it got, ``unchanged`` those it had already."""

    digest: str
    tags: tuple[str, ...]
    unchanged: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class CopyReport:
    """What a copy did, or would do; ``passed_over`` lists what was left out, and why."""

    artifacts: list[Copied] = field(default_factory=list)
    manifests_sent: int = 0
    manifests_present: int = 0
    blobs_sent: int = 0
    blobs_mounted: int = 0
    blobs_present: int = 0
    bytes_sent: int = 0
    referrers: int = 0
    passed_over: list[str] = field(default_factory=list)


async def copy(
    source: Store,
    target: Store,
    groups: Sequence[Sequence[CopyItem]],
    *,
    dry_run: bool = False,
    at_once: int = AT_ONCE,
    source_tags: Collection[str] | None = None,
) -> CopyReport:
    """Copy groups of artifacts, each group when the one before it is whole in the target.

    ``at_once`` requests are under way at most.
    ``source_tags`` are all tags of the source where they are known: then none is asked for in vain.
    Raises StoreError; what had come through by then stays, and is not sent again the next time.
    """
    work = _Copy(source, target, dry_run, Limiter(at_once), source_tags)
    for group in groups:
        # As many artifacts as requests at a time: a manifest is held until it is sent.
        work.report.artifacts += await each(group, work.artifact, at_once=at_once)
    return work.report


class _Copy:
    def __init__(
        self,
        source: Store,
        target: Store,
        dry_run: bool,
        limiter: Limiter,
        source_tags: Collection[str] | None,
    ) -> None:
        self.report = CopyReport()
        self._source = source
        self._target = target
        self._dry_run = dry_run
        here, there = source.reference, target.reference
        self._mounts = here.scheme == there.scheme == "oci" and here.registry == there.registry
        self._limiter = limiter
        self._tags = None if source_tags is None else frozenset(source_tags)
        self._results: dict[tuple[str, str], asyncio.Future[Any]] = {}

    async def artifact(self, wanted: CopyItem) -> Copied:
        manifest = await self._request(self._source.fetch_manifest, wanted.target)
        frontier = await self._place(manifest)
        seen: set[str] = set()
        for _ in range(_MAX_DEPTH):
            frontier = [digest for digest in frontier if digest not in seen]
            seen.update(frontier)
            if not frontier:
                break
            found = await each(frontier, self._place_referrers, at_once=None)
            frontier = [digest for placed in found for digest in placed]
        else:
            raise LimitExceeded(
                f"what refers to {wanted.target} in {self._source.reference} is nested more than "
                f"{_MAX_DEPTH} deep"
            )
        unchanged = [tag for tag in wanted.tags if not await self._tag(manifest, tag)]
        return Copied(
            digest=manifest.descriptor.digest, tags=wanted.tags, unchanged=tuple(unchanged)
        )

    async def _place(self, manifest: Manifest | Index) -> list[str]:
        """Put a manifest into the target after all it needs; the digests of all manifests."""
        digest = manifest.descriptor.digest
        return await self._once("manifest", digest, lambda: self._place_new(manifest))

    async def _place_new(self, manifest: Manifest | Index) -> list[str]:
        digest = manifest.descriptor.digest
        if len(self._results) > _MAX_MANIFESTS:
            raise LimitExceeded(f"more than {_MAX_MANIFESTS} things to copy: copy fewer tags")
        placed = [digest]
        there = await self._has(digest)
        if isinstance(manifest, Index):
            for part in await each(manifest.manifests, self._place_listed, at_once=None):
                placed += part
        elif not there:
            await each((manifest.config, *manifest.layers), self._blob, at_once=None)
        if there:
            self.report.manifests_present += 1
            there = manifest.subject is None or await self._is_listed(manifest.subject, digest)
        else:
            self.report.manifests_sent += 1
        if not there and not self._dry_run:
            await self._request(self._target.push_manifest, manifest)
        return placed

    async def _place_listed(self, listed: Descriptor) -> list[str]:
        return await self._place(await self._request(self._source.fetch_manifest, listed.digest))

    async def _place_referrers(self, digest: str) -> list[str]:
        """Put what refers to a manifest into the target; the digests of all of that."""
        return await self._once("referrers", digest, lambda: self._place_new_referrers(digest))

    async def _place_new_referrers(self, digest: str) -> list[str]:
        listed = await self._request(self._source.referrers, digest)
        placed = [
            *await each(listed, lambda item: self._place_referrer(item, digest), at_once=None),
            *await each(LEGACY_SUFFIXES, lambda suffix: self._place_legacy(digest, suffix)),
        ]
        return [item for part in placed for item in part]

    async def _place_referrer(self, listed: Descriptor, subject: str) -> list[str]:
        try:
            manifest = await self._request(self._source.fetch_manifest, listed.digest)
        except NotFound:
            self._pass_over(f"{listed.digest} is listed as referring to {subject}, but not there")
            return []
        if manifest.subject is None or manifest.subject.digest != subject:
            self._pass_over(f"{listed.digest} is listed as referring to {subject}, but does not")
            return []
        self.report.referrers += 1
        return await self._place(manifest)

    async def _place_legacy(self, digest: str, suffix: str) -> list[str]:
        tag = legacy_tag(digest, suffix)
        if self._tags is not None and tag not in self._tags:
            return []
        try:
            manifest = await self._request(self._source.fetch_manifest, tag)
        except NotFound:
            return []
        if not await self._supersedes(manifest, tag):
            self._pass_over(f"the tag {tag}: the target holds something under it that is not here")
            return []
        self.report.referrers += 1
        placed = await self._place(manifest)
        await self._tag(manifest, tag)
        return placed

    async def _supersedes(self, manifest: Manifest | Index, tag: str) -> bool:
        """Whether all that the target has under an older format's tag is in the manifest too."""
        try:
            held = await self._request(self._target.fetch_manifest, tag)
        except NotFound:
            return True
        return held.raw == manifest.raw or (
            isinstance(held, Manifest)
            and isinstance(manifest, Manifest)
            and set(held.layers) <= set(manifest.layers)
        )

    async def _blob(self, blob: Descriptor) -> None:
        await self._once("blob", blob.digest, lambda: self._send_blob(blob))

    async def _send_blob(self, blob: Descriptor) -> None:
        foreign = any(mark in blob.media_type for mark in _FOREIGN)
        if foreign and not await self._request(self._source.has_blob, blob):
            self._pass_over(f"{blob.digest} is a layer that its author keeps elsewhere")
            return
        if self._mounts:
            if await self._request(self._target.has_blob, blob):
                self.report.blobs_present += 1
                return
            origin = self._source.reference
            if self._dry_run or await self._request(self._target.mount_blob, blob, origin):
                self.report.blobs_mounted += 1
                return
        if self._dry_run:
            sent = not await self._request(self._target.has_blob, blob)
        elif blob.size <= _SMALL:
            sent = await self._send_small(blob)
        else:
            stream: BlobSource = lambda: self._source.stream_blob(blob)  # noqa: E731
            sent = await self._request(self._target.push_blob, blob, stream)
        if sent:
            self.report.blobs_sent += 1
            self.report.bytes_sent += blob.size
        else:
            self.report.blobs_present += 1

    async def _send_small(self, blob: Descriptor) -> bool:
        async with self._limiter:
            if await self._target.has_blob(blob):
                return False
            if blob.digest == EMPTY_CONFIG.digest:
                data = b"{}"
            else:
                data = await self._source.fetch_blob(blob, limit=_SMALL)
            return await self._target.push_blob(blob, data)

    async def _tag(self, manifest: Manifest | Index, tag: str) -> bool:
        """Whether the tag had to be written."""
        try:
            held = await self._request(self._target.resolve, tag)
        except NotFound:
            held = None
        if held is not None and held.digest == manifest.descriptor.digest:
            return False
        if not self._dry_run:
            await self._request(self._target.push_manifest, manifest, tag)
        return True

    async def _has(self, digest: str) -> bool:
        try:
            await self._request(self._target.resolve, digest)
        except NotFound:
            return False
        return True

    async def _is_listed(self, subject: Descriptor, digest: str) -> bool:
        """Whether the target lists a referrer: one pushed by a killed writer may not be."""
        listed = await self._request(self._target.referrers, subject.digest)
        return any(item.digest == digest for item in listed)

    async def _request(
        self, method: Callable[P, Awaitable[T]], *args: P.args, **options: P.kwargs
    ) -> T:
        async with self._limiter:
            return await method(*args, **options)

    async def _once(self, kind: str, digest: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do something once; who asks for it again meanwhile waits for the same result.

        A failure is not handed on: it ends the whole copy.
        """
        known = self._results.get((kind, digest))
        if known is not None:
            result: T = await known
            return result
        future = self._results[(kind, digest)] = asyncio.get_running_loop().create_future()
        result = await work()
        future.set_result(result)
        return result

    def _pass_over(self, what: str) -> None:
        self.report.passed_over.append(what)
