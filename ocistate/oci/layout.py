"""Store in a folder: the OCI image layout of the image spec 1.1.

Tags are the ``org.opencontainers.image.ref.name`` annotations of ``index.json``; what refers to an
artifact is found by reading the index. Blobs are written aside, synced and renamed, so that a torn
one is never seen; writers of the index take turns by a file lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

from ocistate.canonical import DIGEST_PATTERN, canonical_json, digest_of
from ocistate.durable import sync_folder, write_file
from ocistate.errors import DigestMismatch, LimitExceeded, NotFound, ProtocolError, StoreError
from ocistate.oci.model import (
    INDEX,
    Descriptor,
    Index,
    Manifest,
    build_index,
    parse_index,
    parse_manifest,
)
from ocistate.oci.store import MAX_MANIFEST_BYTES
from ocistate.reference import Reference

REF_NAME: Final = "org.opencontainers.image.ref.name"
_LAYOUT_FILE: Final = canonical_json({"imageLayoutVersion": "1.0.0"})
_CHUNK: Final = 1024 * 1024
_MAX_INDEX: Final = 64 * 1024 * 1024
_INDEX_TYPES: Final = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")


class LayoutStore:
    """One layout folder. Reading a folder that is not there raises NotFound; writing makes it."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference.base
        self._root = Path(reference.repository)

    @property
    def reference(self) -> Reference:
        return self._reference

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Nothing is kept open."""

    async def resolve(self, target: str) -> Descriptor:
        return self._find(target)

    async def fetch_manifest(self, target: str) -> Manifest | Index:
        found = self._find(target)
        raw = await self.fetch_blob(found, limit=MAX_MANIFEST_BYTES)
        if found.media_type in _INDEX_TYPES:
            return parse_index(raw, found.media_type)
        return parse_manifest(raw, found.media_type)

    async def fetch_blob(self, descriptor: Descriptor, *, limit: int) -> bytes:
        if descriptor.size > limit:
            raise LimitExceeded(
                f"{descriptor.digest} in {self._reference} has {descriptor.size} bytes, "
                f"more than the {limit} that are read of such a thing"
            )
        if descriptor.data:
            return descriptor.data
        return b"".join([piece async for piece in self.stream_blob(descriptor)])

    async def stream_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        path = self._blob(descriptor.digest)
        hasher = hashlib.sha256()
        left = descriptor.size
        held = b""
        try:
            with path.open("rb") as stream:
                while piece := await asyncio.to_thread(stream.read, _CHUNK):
                    left -= len(piece)
                    if left < 0:
                        break
                    hasher.update(piece)
                    # The last piece is held back until the digest is known to be right.
                    if held:
                        yield held
                    held = piece
        except FileNotFoundError:
            raise NotFound(f"{self._reference} has no blob {descriptor.digest}") from None
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from None
        if left or f"sha256:{hasher.hexdigest()}" != descriptor.digest:
            raise DigestMismatch(
                f"{path} is not what its name says",
                hint="the layout is damaged or was tampered with: copy the artifact anew",
            )
        if held:
            yield held

    async def has_blob(self, descriptor: Descriptor) -> bool:
        try:
            return self._blob(descriptor.digest).stat().st_size == descriptor.size
        except OSError:
            return False

    async def push_blob(self, descriptor: Descriptor, content: bytes | Path) -> bool:
        if await self.has_blob(descriptor):
            return False
        with self._writing():
            pass  # makes the layout; a blob itself needs no turn, its name is its content
        with self._reported():
            await asyncio.to_thread(self._write_blob, descriptor, content)
        return True

    async def push_manifest(self, manifest: Manifest | Index, tag: str | None = None) -> Descriptor:
        descriptor = manifest.descriptor
        await self.push_blob(descriptor, manifest.raw)
        with self._writing():
            entries = [entry for entry in self._index().manifests if _tag(entry) != tag or not tag]
            known = any(entry.digest == descriptor.digest for entry in entries)
            if tag:
                # An untagged entry gives way to the tagged one, as other tools write it.
                entries = [
                    entry
                    for entry in entries
                    if entry.digest != descriptor.digest or _tag(entry) is not None
                ]
                entries.append(_tagged(descriptor, tag))
            elif not known:
                entries.append(_tagged(descriptor, None))
            self._save(entries)
        return descriptor

    async def tags(self) -> list[str]:
        return sorted({tag for entry in self._index().manifests if (tag := _tag(entry))})

    async def referrers(self, digest: str, artifact_type: str | None = None) -> list[Descriptor]:
        found: dict[str, Descriptor] = {}
        for entry in self._index().manifests:
            if entry.media_type in _INDEX_TYPES or entry.digest in found:
                continue
            try:
                manifest = await self.fetch_manifest(entry.digest)
            except NotFound:
                continue  # listed, but not whole: a copy that was cut short
            if not isinstance(manifest, Manifest) or manifest.subject is None:
                continue
            if manifest.subject.digest == digest and (
                artifact_type is None or manifest.artifact_type == artifact_type
            ):
                found[entry.digest] = replace(manifest.descriptor, annotations=manifest.annotations)
        return list(found.values())

    async def delete(self, target: str) -> None:
        with self._writing():
            entries = self._index().manifests
            by_digest = bool(DIGEST_PATTERN.fullmatch(target))
            doomed = [e for e in entries if (e.digest if by_digest else _tag(e)) == target]
            if not doomed:
                raise NotFound(f"{self._reference} has no {target}")
            kept = [entry for entry in entries if entry not in doomed]
            if not by_digest and not any(e.digest == doomed[0].digest for e in kept):
                kept.append(_tagged(doomed[0], None))
            self._save(kept)
            if by_digest:
                self._blob(target).unlink(missing_ok=True)

    def _find(self, target: str) -> Descriptor:
        by_digest = bool(DIGEST_PATTERN.fullmatch(target))
        for entry in self._index().manifests:
            if (entry.digest if by_digest else _tag(entry)) == target:
                return _tagged(entry, None)
        if by_digest:
            # Listed in an index of the layout, but not in its own: by digest it is here as well.
            with contextlib.suppress(OSError, ProtocolError):
                raw = self._blob(target).read_bytes()
                if len(raw) <= MAX_MANIFEST_BYTES and digest_of(raw) == target:
                    return parse_manifest(raw).descriptor
        raise NotFound(
            f"{self._reference} has no {target}", hint="'ocistate ls' shows the tags there are"
        )

    def _index(self) -> Index:
        path = self._root / "index.json"
        try:
            if path.stat().st_size > _MAX_INDEX:
                raise LimitExceeded(f"{path} is larger than {_MAX_INDEX // 1024**2} MiB")
            return parse_index(path.read_bytes())
        except FileNotFoundError:
            if (self._root / "oci-layout").exists():
                return build_index(())
            raise NotFound(
                f"{self._root} is not an OCI image layout", hint="push something into it first"
            ) from None
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from None

    def _save(self, entries: list[Descriptor]) -> None:
        entries.sort(key=lambda entry: (_tag(entry) or "", entry.digest))
        write_file(self._root / "index.json", build_index(tuple(entries)).raw)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the layout's lock, making the layout first where there is none.

        Never to be held over an ``await``: another task of this process would wait for ever.
        """
        with self._reported():
            (self._root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
            with (self._root / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not (self._root / "oci-layout").exists():
                    write_file(self._root / "oci-layout", _LAYOUT_FILE)
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

    def _write_blob(self, descriptor: Descriptor, content: bytes | Path) -> None:
        target = self._blob(descriptor.digest)
        handle, name = tempfile.mkstemp(prefix=".tmp-", dir=target.parent)
        try:
            hasher, size = hashlib.sha256(), 0
            with os.fdopen(handle, "wb") as stream:
                for piece in _pieces(content):
                    hasher.update(piece)
                    size += len(piece)
                    stream.write(piece)
                stream.flush()
                os.fchmod(handle, 0o644)
                os.fsync(handle)
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
        return self._root / "blobs" / "sha256" / digest.removeprefix("sha256:")


def _tag(entry: Descriptor) -> str | None:
    """skopeo and oras write the tag; others write ``name:tag``, of which the tag counts."""
    name = entry.annotations.get(REF_NAME)
    return name.rpartition(":")[2] if name else None


def _tagged(descriptor: Descriptor, tag: str | None) -> Descriptor:
    others = {key: value for key, value in descriptor.annotations.items() if key != REF_NAME}
    return replace(descriptor, annotations=others | ({REF_NAME: tag} if tag else {}))


def _pieces(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as stream:
        while piece := stream.read(_CHUNK):
            yield piece
