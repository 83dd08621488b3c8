"""Store: one repository of artifacts, in a registry, a folder or an archive.

`Store` is put together from roles, so that what only reads can say so: Fetcher, Resolver,
ReferrerLister, Pusher, Deleter. What a store returns has been checked against its digest, and sizes
are bounded before a byte is kept. All methods raise errors of the ``StoreError`` branch: NotFound,
Unauthorized, Unavailable, ProtocolError, DigestMismatch, LimitExceeded, Conflict.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, Self

from ocistate.oci.model import Descriptor, Index, Manifest
from ocistate.oci.source import BlobSource
from ocistate.reference import Reference

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
"""Distribution spec 1.1: registries should accept manifests up to 4 MiB; we read no more."""


class Fetcher(Protocol):
    """Where manifests and blobs are read from, checked."""

    @property
    def reference(self) -> Reference:
        """The repository, without tag or digest."""
        ...

    async def fetch_manifest(self, target: str) -> Manifest | Index:
        """The manifest or index that a tag or digest names, its bytes checked."""
        ...

    async def fetch_blob(self, descriptor: Descriptor, *, limit: int) -> bytes:
        """A blob's bytes, checked for size and digest. LimitExceeded above ``limit`` bytes."""
        ...


class Resolver(Protocol):
    """Where tags lead."""

    async def resolve(self, target: str) -> Descriptor:
        """What a tag or digest names now, at the cost of one HEAD. Raises NotFound."""
        ...

    async def tags(self) -> list[str]:
        """All tags, sorted."""
        ...


class ReferrerLister(Protocol):
    """What refers to a manifest: signatures, attestations, reports."""

    async def referrers(self, digest: str, artifact_type: str | None = None) -> list[Descriptor]:
        """What refers to a manifest, of one artifact type if asked. Empty when nothing does."""
        ...


class Pusher(Protocol):
    """Where blobs and manifests are sent."""

    async def has_blob(self, descriptor: Descriptor) -> bool:
        """Whether the store holds the blob already."""
        ...

    async def push_blob(self, descriptor: Descriptor, source: BlobSource) -> bool:
        """Store a blob unless it is there. True when bytes were sent."""
        ...

    async def mount_blob(self, descriptor: Descriptor, origin: Reference) -> bool:
        """Take a blob from another repository of the same registry, without sending it.

        False when the store cannot or will not: then push it.
        """
        ...

    async def push_manifest(self, manifest: Manifest | Index, tag: str | None = None) -> Descriptor:
        """Store a manifest by its digest, or by ``tag`` if one is given.

        When it has a subject and no tag, it is listed among the subject's referrers afterwards, by
        the registry's own referrers API or else by the fallback tag.
        """
        ...


class Deleter(Protocol):
    """Where manifests and tags are removed."""

    async def delete(self, target: str) -> None:
        """Remove a manifest by digest, or a tag by name. NotFound when it is not there."""
        ...

    async def sweep(self) -> int:
        """Free what deleted manifests leave behind; how many bytes. Registries do it themselves."""
        ...


class Store(Fetcher, Resolver, ReferrerLister, Pusher, Deleter, Protocol):
    """One repository, in all its roles. Close it, or use it with ``async with``."""

    def stream_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        """A blob in pieces; the last piece comes only when size and digest are right."""
        ...

    async def close(self) -> None:
        """Close connections and files."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...
