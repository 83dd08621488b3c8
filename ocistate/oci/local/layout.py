"""Store in a folder: the OCI image layout of the image spec 1.1.

Blobs are written aside, synced and renamed, so that a torn one is never seen; writers of the index
take turns by a file lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from ocistate.canonical import DIGEST_PATTERN
from ocistate.durable import sync_folder, write_file
from ocistate.errors import DigestMismatch, LimitExceeded, NotFound, ProtocolError, StoreError
from ocistate.nofollow import folder_below, open_below
from ocistate.oci.local.indexed import LAYOUT_FILE, MAX_INDEX_BYTES, IndexedStore, IndexListing
from ocistate.oci.model import Descriptor, Index, Manifest
from ocistate.oci.source import BlobSource, read_source
from ocistate.reference import Reference

_CHUNK: Final = 1024 * 1024
_GRACE: Final = 3600.0
"""Seconds for which what nothing names yet is left alone: a writer may be about to name it."""


class LayoutStore(IndexedStore):
    """One layout folder. Reading a folder that is not there raises NotFound; writing makes it."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        self._root = Path(reference.repository)
        self._known: tuple[tuple[int, int, int], IndexListing] | None = None

    async def close(self) -> None:
        """Nothing is kept open."""

    async def has_blob(self, descriptor: Descriptor) -> bool:
        try:
            facts = self._blob(descriptor.digest).lstat()
            return stat.S_ISREG(facts.st_mode) and facts.st_size == descriptor.size
        except OSError:
            return False

    async def push_blob(self, descriptor: Descriptor, source: BlobSource) -> bool:
        if await self.has_blob(descriptor):
            with contextlib.suppress(OSError):
                os.utime(self._blob(descriptor.digest))  # so that no one sweeps it now
            return False
        with self._writing():
            pass  # makes the layout; a blob itself needs no turn, its name is its content
        with self._reported():
            await self._write_blob(descriptor, source)
        return True

    async def push_manifest(self, manifest: Manifest | Index, tag: str | None = None) -> Descriptor:
        descriptor = manifest.descriptor
        await self.push_blob(descriptor, manifest.raw)
        with self._writing():
            before = self._listing()
            after = before.with_entry(descriptor, tag)
            if after is not before:
                self._save(after)
        return descriptor

    async def delete(self, target: str) -> None:
        with self._writing():
            listing = self._listing()
            if listing.find(target) is None:
                raise NotFound(f"{self._reference} has no {target}")
            self._save(listing.without(target))

    async def sweep(self) -> int:
        """Remove the blobs that nothing listed needs, and what killed writers left."""
        return await asyncio.to_thread(self._sweep)

    def _sweep(self) -> int:
        freed = 0
        with self._writing():
            needed = {digest.removeprefix("sha256:") for digest in self._reachable()}
            for path in (self._root / "blobs" / "sha256").iterdir():
                facts = path.lstat()
                if path.name not in needed and _is_old(facts):
                    path.unlink()
                    freed += facts.st_size
        return freed

    def _is_settled(self, digest: str) -> bool:
        try:
            return _is_old(self._blob(digest).lstat())
        except OSError:
            return False

    def _listing(self) -> IndexListing:
        path = self._root / "index.json"
        try:
            with open_below(self._root, path.name) as stream:
                facts = os.fstat(stream.fileno())
                state = _state(facts)
                if self._known is not None and self._known[0] == state:
                    return self._known[1]
                if facts.st_size > MAX_INDEX_BYTES:
                    raise LimitExceeded(f"{path} is larger than {MAX_INDEX_BYTES // 1024**2} MiB")
                listing = IndexListing.parse(stream.read())
        except FileNotFoundError:
            if (self._root / "oci-layout").exists():
                return IndexListing.empty()
            raise NotFound(
                f"{self._root} is not an OCI image layout", hint="push something into it first"
            ) from None
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from None
        self._known = (state, listing)
        return listing

    def _read_small(self, digest: str, limit: int) -> bytes:
        path = self._blob(digest)
        try:
            with open_below(self._root, _name_of(digest)) as stream:
                data = stream.read(limit + 1)
        except FileNotFoundError:
            raise self._absent(digest) from None
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from None
        if len(data) > limit:
            raise LimitExceeded(f"{path} has more than the {limit} bytes that are read of such")
        return data

    async def _read_pieces(self, digest: str) -> AsyncIterator[bytes]:
        path = self._blob(digest)
        try:
            with open_below(self._root, _name_of(digest)) as stream:
                while piece := await asyncio.to_thread(stream.read, _CHUNK):
                    yield piece
        except FileNotFoundError:
            raise self._absent(digest) from None
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from None

    def _save(self, listing: IndexListing) -> None:
        path = self._root / "index.json"
        write_file(path, listing.to_bytes())
        self._known = (_state(path.stat()), listing)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the layout's lock, making the layout first where there is none.

        Never to be held over an ``await``: another task of this process would wait for ever.
        """
        with self._reported():
            self._root.mkdir(parents=True, exist_ok=True)
            with folder_below(self._root, "blobs/sha256/x", make=True) as (_, _):
                pass  # they are folders, and no links to some
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with os.fdopen(os.open(self._root / ".lock", flags, 0o666), "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not (self._root / "oci-layout").exists():
                    write_file(self._root / "oci-layout", LAYOUT_FILE)
                yield

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{error.filename or self._root} cannot be written: {error.strerror}",
                hint="check the path, its permissions and the space left",
            ) from None

    async def _write_blob(self, descriptor: Descriptor, source: BlobSource) -> None:
        target = self._blob(descriptor.digest)
        handle, name = tempfile.mkstemp(prefix=".tmp-", dir=target.parent)
        try:
            hasher, size = hashlib.sha256(), 0
            with os.fdopen(handle, "wb", buffering=_CHUNK) as stream:
                async for piece in read_source(source):
                    hasher.update(piece)
                    size += len(piece)
                    if size > descriptor.size:
                        break
                    stream.write(piece)
                stream.flush()
                os.fchmod(handle, 0o644)
                if size == descriptor.size:
                    await asyncio.to_thread(os.fsync, handle)
            if size != descriptor.size or f"sha256:{hasher.hexdigest()}" != descriptor.digest:
                raise DigestMismatch(f"the content to store is not {descriptor.digest}")
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
        sync_folder(target.parent)

    def _blob(self, digest: str) -> Path:
        if not DIGEST_PATTERN.fullmatch(digest):
            raise ProtocolError(f"{digest!r} is not a digest")
        return self._root / _name_of(digest)


def _name_of(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _is_old(facts: os.stat_result) -> bool:
    return facts.st_mtime < time.time() - _GRACE


def _state(facts: os.stat_result) -> tuple[int, int, int]:
    """What changes with a file: a writer of an index replaces it, or changes its time."""
    return (facts.st_ino, facts.st_mtime_ns, facts.st_size)
