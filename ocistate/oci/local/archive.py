"""Store in one file: an OCI image layout in a tar, as skopeo's ``oci-archive:`` and oras know it.

    async with ArchiveStore(parse_reference("archive:shop.tar")) as store:
        await store.push_blob(descriptor, data)
        await store.push_manifest(manifest, "v1")
    # only here shop.tar is written, or replaced, in one step

The file is read where it lies. What is pushed is gathered in a folder beside it, and made into one
tar with what the old one holds when the store is left without an error; the same content makes the
same bytes. After an error or a crash the folder stays, so that the next try need not fetch it all.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self

from ocistate.durable import sync_folder, write_file
from ocistate.errors import (
    Conflict,
    LimitExceeded,
    NotFound,
    ProtocolError,
    StoreError,
    UnsafeContent,
)
from ocistate.nofollow import open_below, open_regular
from ocistate.oci.local.indexed import LAYOUT_FILE, MAX_INDEX_BYTES, IndexedStore, IndexListing
from ocistate.oci.local.layout import LayoutStore
from ocistate.oci.model import Descriptor, Index, Manifest
from ocistate.oci.source import BlobSource
from ocistate.reference import Reference
from ocistate.tarread import TarEntry, read_entries

_CHUNK: Final = 1024 * 1024
_MAX_ENTRIES: Final = 1_000_000
_GZIP: Final = b"\x1f\x8b"


class ArchiveStore(IndexedStore):
    """One archive. Reading a file that is not there raises NotFound; writing makes it.

    What is pushed is in the file once the store is left without an error, and not before.
    """

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        self._path = Path(reference.repository)
        self._old: _Tar | None = None
        self._new: _Gathered | None = None

    async def __aexit__(self, *exc: object) -> None:
        try:
            if self._new is not None and exc[0] is None:
                await asyncio.to_thread(self._write, self._new)
        finally:
            await self.close()

    async def close(self) -> None:
        """Let go of the file; what was pushed and not written yet stays beside it."""
        if self._new is not None:
            self._new.release()
            self._new = None
        if self._old is not None:
            self._old.close()
            self._old = None

    async def has_blob(self, descriptor: Descriptor) -> bool:
        old = self._opened()
        if old is not None and old.size_of(descriptor.digest) == descriptor.size:
            return True
        return self._new is not None and await self._new.layout.has_blob(descriptor)

    async def push_blob(self, descriptor: Descriptor, source: BlobSource) -> bool:
        if await self.has_blob(descriptor):
            return False
        return await self._gather().layout.push_blob(descriptor, source)

    async def push_manifest(self, manifest: Manifest | Index, tag: str | None = None) -> Descriptor:
        return await self._gather().layout.push_manifest(manifest, tag)

    async def delete(self, target: str) -> None:
        await self._gather().layout.delete(target)

    async def sweep(self) -> int:
        return 0  # only what is needed is written

    def _listing(self) -> IndexListing:
        if self._new is not None:
            return self._new.layout._listing()
        old = self._opened()
        if old is None:
            raise NotFound(f"{self._path} does not exist", hint="copy something into it first")
        return old.listing

    def _read_small(self, digest: str, limit: int) -> bytes:
        if self._new is not None and self._new.holds(digest):
            return self._new.layout._read_small(digest, limit)
        old = self._opened()
        size = old.size_of(digest) if old is not None else None
        if old is None or size is None:
            raise self._absent(digest)
        if size > limit:
            raise LimitExceeded(
                f"{digest} in {self._path} has {size} bytes, more than {limit} are not read of such"
            )
        return old.read(digest, 0, size)

    async def _read_pieces(self, digest: str) -> AsyncIterator[bytes]:
        if self._new is not None and self._new.holds(digest):
            async for piece in self._new.layout._read_pieces(digest):
                yield piece
            return
        old = self._opened()
        size = old.size_of(digest) if old is not None else None
        if old is None or size is None:
            raise self._absent(digest)
        with old.in_use():
            for offset in range(0, size, _CHUNK):
                yield await asyncio.to_thread(old.read, digest, offset, min(_CHUNK, size - offset))

    def _opened(self) -> _Tar | None:
        """The file as it is, None where there is none yet."""
        if self._new is not None:
            return self._old
        try:
            facts = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self._path} cannot be read: {error.strerror}") from None
        if self._old is None or not self._old.is_at(facts):
            before, self._old = self._old, _Tar(self._path)
            if before is not None:
                before.retire()
        return self._old

    def _gather(self) -> _Gathered:
        if self._new is None:
            old = self._opened()
            self._new = _Gathered.begin(self._path, old.listing if old else IndexListing.empty())
        return self._new

    def _write(self, new: _Gathered) -> None:
        """The new file: what the index needs of the old one and of what was gathered."""
        index = new.layout._listing().to_bytes()
        if self._old is not None and index == self._old.listing.to_bytes():
            new.remove()
            return
        digests = sorted(self._reachable())
        aside = new.folder / "archive.tar"
        try:
            with aside.open("wb") as stream:
                _add(stream, "oci-layout", len(LAYOUT_FILE), iter([LAYOUT_FILE]))
                _add(stream, "index.json", len(index), iter([index]))
                for digest in digests:
                    source = self._stored(new, digest)
                    if source is not None:
                        name = f"blobs/sha256/{digest.removeprefix('sha256:')}"
                        _add(stream, name, *source)
                stream.write(b"\0" * 1024)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(aside, self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise StoreError(
                f"{self._path} cannot be written: {error.strerror}",
                hint="check the path, its permissions and the space left; what came is kept",
            ) from None
        new.remove()

    def _stored(self, new: _Gathered, digest: str) -> tuple[int, Iterator[bytes]] | None:
        """A blob's size and bytes; None for what is named, but lies elsewhere by design."""
        path = new.path_of(digest)
        if path.is_file() and not path.is_symlink():
            return path.stat().st_size, _file_pieces(path)
        size = self._old.size_of(digest) if self._old is not None else None
        if self._old is None or size is None:
            return None
        return size, self._old.pieces(digest)


class _Tar:
    """An archive that is read in place: where in the file each blob is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._users, self._retired = 0, False
        try:
            self._file = open_regular(path)
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from None
        try:
            self._entries = self._read_entries()
            self.listing = self._read_listing()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the file open, though another one may take its place."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if self._retired and not self._users:
                self.close()

    def retire(self) -> None:
        """Close the file as soon as no one reads it any more."""
        self._retired = True
        if not self._users:
            self.close()

    def is_at(self, facts: os.stat_result) -> bool:
        """Whether this is still the file of the archive's name, and has not changed."""
        mine = os.fstat(self._file.fileno())
        return os.path.samestat(mine, facts) and mine.st_mtime_ns == facts.st_mtime_ns

    def size_of(self, digest: str) -> int | None:
        entry = self._entries.get(_name_of(digest))
        return None if entry is None else entry.size

    def read(self, digest: str, offset: int, size: int) -> bytes:
        """Some of a blob's bytes. Raises StoreError when the file is shorter than before."""
        entry = self._entries[_name_of(digest)]
        return self._pread(entry.start + offset, size)

    def pieces(self, digest: str) -> Iterator[bytes]:
        size = self._entries[_name_of(digest)].size
        for offset in range(0, size, _CHUNK):
            yield self.read(digest, offset, min(_CHUNK, size - offset))

    def _pread(self, offset: int, size: int) -> bytes:
        try:
            data = os.pread(self._file.fileno(), size, offset)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be read: {error.strerror}") from None
        if len(data) != size:
            raise StoreError(f"{self._path} became shorter while it was read")
        return data

    def _read_entries(self) -> dict[str, TarEntry]:
        """The layout's own files; what else a tar may hold is no one's business here."""
        found: dict[str, TarEntry] = {}
        try:
            for count, entry in enumerate(read_entries(_FileWindow(self._file))):
                if count > _MAX_ENTRIES:
                    raise LimitExceeded(f"{self._path} has more than {_MAX_ENTRIES} entries")
                name = entry.name.removeprefix("./")
                if entry.kind == "folder" or not _is_ours(name):
                    continue
                if entry.kind != "file":
                    raise ProtocolError(f"{self._path} holds {name!r} as a link")
                if name in found:
                    raise ProtocolError(f"{self._path} holds {name!r} twice")
                found[name] = entry
        except UnsafeContent as error:
            packed = os.pread(self._file.fileno(), 2, 0) == _GZIP
            raise ProtocolError(
                f"{self._path} is not an OCI archive: {error.message}",
                hint="it is compressed: unpack it with gunzip first" if packed else error.hint,
            ) from None
        except OSError as error:
            raise StoreError(f"{self._path} cannot be read: {error.strerror}") from None
        return found

    def _read_listing(self) -> IndexListing:
        entry = self._entries.get("index.json")
        if entry is None:
            raise ProtocolError(
                f"{self._path} is not an OCI archive: it holds no index.json",
                hint="'skopeo copy docker-archive:FILE oci-archive:FILE2' converts others",
            )
        if entry.size > MAX_INDEX_BYTES:
            raise LimitExceeded(
                f"the index of {self._path} is larger than {MAX_INDEX_BYTES // 1024**2} MiB"
            )
        return IndexListing.parse(self._pread(entry.start, entry.size))


class _Gathered:
    """What is pushed, until it is written: a layout in a hidden folder beside the archive.

    The folder is locked: of two writers of one archive, the second gets an error.
    """

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self.layout = LayoutStore(Reference(scheme="layout", registry="", repository=str(folder)))
        self._lock = lock

    @classmethod
    def begin(cls, archive: Path, listing: IndexListing) -> Self:
        """Gather for an archive that lists so much already; blobs of an earlier try are there."""
        folder = archive.parent / f".{archive.name}.partial"
        try:
            while True:
                folder.mkdir(exist_ok=True)
                lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if folder.exists() and os.path.samestat(os.fstat(lock), folder.stat()):
                        # The index of an earlier try is forgotten: what it lists is not asked for.
                        write_file(folder / "index.json", listing.to_bytes())
                        return cls(folder, lock)
                except BaseException:
                    os.close(lock)
                    raise
                os.close(lock)  # another writer has just finished, and removed the folder
        except BlockingIOError:
            raise Conflict(
                f"another process is writing {archive}", hint="wait until it is done"
            ) from None
        except OSError as error:
            raise StoreError(
                f"{error.filename or folder} cannot be written: {error.strerror}",
                hint="check the path, its permissions and the space left",
            ) from None

    def path_of(self, digest: str) -> Path:
        return self.folder / _name_of(digest)

    def holds(self, digest: str) -> bool:
        return self.path_of(digest).is_file()

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def release(self) -> None:
        os.close(self._lock)


class _FileWindow:
    """A file as ``read_entries`` looks at it: in parts, never whole."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file.fileno()
        self._size = os.fstat(self._file).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop, _ = part.indices(self._size)
        return os.pread(self._file, stop - start, start) if stop > start else b""


def _is_ours(name: str) -> bool:
    return name in ("index.json", "oci-layout") or name.startswith("blobs/sha256/")


def _name_of(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _add(stream: BinaryIO, name: str, size: int, pieces: Iterator[bytes]) -> None:
    """One file of the tar, with nothing in its header that differs from machine to machine."""
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    stream.write(header.tobuf(tarfile.GNU_FORMAT))
    for piece in pieces:
        stream.write(piece)
    stream.write(b"\0" * (-size % 512))


def _file_pieces(path: Path) -> Iterator[bytes]:
    with open_below(path.parent, path.name) as stream:
        while piece := stream.read(_CHUNK):
            yield piece
