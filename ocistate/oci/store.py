"""Store: where artifacts live, one repository of it.

A registry (``oci/registry/store.py``) and a folder (``oci/local/layout.py``) offer the same few
verbs, so that everything above does not care which of them it talks to. Whatever a store hands out
has been checked against its digest; sizes are bounded before a byte is kept.
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


class Store(Fetcher, Protocol):
    """One repository of a registry or one layout folder.

    All verbs raise errors of the ``StoreError`` branch: NotFound, Unauthorized, Unavailable,
    ProtocolError, DigestMismatch, LimitExceeded, Conflict.
    """

    async def resolve(self, target: str) -> Descriptor:
        """What a tag or digest names now, at the cost of one HEAD. Raises NotFound."""
        ...

    def stream_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        """A blob in pieces; the last piece is only given out when size and digest are right."""
        ...

    async def has_blob(self, descriptor: Descriptor) -> bool:
        """Whether the store holds the blob already."""
        ...

    async def push_blob(self, descriptor: Descriptor, source: BlobSource) -> bool:
        """Store a blob unless it is there. True when bytes were sent."""
        ...

    async def mount_blob(self, descriptor: Descriptor, origin: Reference) -> bool:
        """Take a blob over from another repository of the same registry, without sending it.

        False when the store cannot or will not: then it is to be pushed.
        """
        ...

    async def push_manifest(self, manifest: Manifest | Index, tag: str | None = None) -> Descriptor:
        """Store a manifest by its digest, then by ``tag`` if one is given.

        When it has a subject, it is listed among the subject's referrers afterwards, by the
        registry's own referrers API or else by the fallback tag.
        """
        ...

    async def tags(self) -> list[str]:
        """All tags, sorted."""
        ...

    async def referrers(self, digest: str, artifact_type: str | None = None) -> list[Descriptor]:
        """What refers to a manifest, of one artifact type if asked. Empty when nothing does."""
        ...

    async def delete(self, target: str) -> None:
        """Remove a manifest by digest, or a tag by name. NotFound when it is not there."""
        ...

    async def sweep(self) -> int:
        """Free what deleted manifests leave behind; how many bytes. Registries do it themselves."""
        ...

    async def close(self) -> None:
        """Let go of connections and files."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...
