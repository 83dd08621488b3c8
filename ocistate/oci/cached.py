"""What was read once by its digest, kept on disk: it can never be anything else.

Readers of many releases ask for the same manifests and blobs again and again. Every digest is
checked again when it is read from disk, so that a damaged cache costs a request and no more.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ocistate.canonical import digest_of
from ocistate.errors import ProtocolError
from ocistate.oci.model import Descriptor, Index, Manifest, parse_manifest
from ocistate.oci.store import Fetcher
from ocistate.reference import Reference

MAX_CACHE_BYTES: Final = 512 * 1024 * 1024
"""Above this the blobs that were not used for longest go, until half of it is left."""


def cache_folder(name: str) -> Path:
    """The user's own cache of something, below ``$XDG_CACHE_HOME``; it need not be there yet."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "ocistate" / name


@dataclass(frozen=True, slots=True)
class CachedFetcher:
    """A store's manifests (by digest) and blobs, from ``folder`` where they are there."""

    origin: Fetcher
    folder: Path

    @classmethod
    def of(cls, origin: Fetcher) -> CachedFetcher:
        """The user's own cache before a store."""
        cached = cls(origin, cache_folder("blobs"))
        cached.shrink()
        return cached

    @property
    def reference(self) -> Reference:
        return self.origin.reference

    async def fetch_manifest(self, target: str) -> Manifest | Index:
        raw = self._read(target)
        if raw is not None:
            with contextlib.suppress(ProtocolError):
                return parse_manifest(raw)
        found = await self.origin.fetch_manifest(target)
        if isinstance(found, Manifest):
            self._keep(found.descriptor.digest, found.raw)
        return found

    async def fetch_blob(self, descriptor: Descriptor, *, limit: int) -> bytes:
        raw = self._read(descriptor.digest)
        if raw is not None and len(raw) <= limit:
            return raw
        raw = await self.origin.fetch_blob(descriptor, limit=limit)
        self._keep(descriptor.digest, raw)
        return raw

    def shrink(self, most: int = MAX_CACHE_BYTES) -> None:
        """Remove what was not used for longest when there is more than ``most`` bytes."""
        entries = []
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.folder):
                status = entry.stat()
                entries.append((status.st_mtime, status.st_size, entry.path))
        total = sum(size for _, size, _ in entries)
        if total <= most:
            return
        for _, size, path in sorted(entries):
            if total <= most // 2:
                return
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= size

    def _path(self, digest: str) -> Path:
        return self.folder / digest.replace(":", "-")

    def _read(self, digest: str) -> bytes | None:
        if not digest.startswith("sha256:"):
            return None
        path = self._path(digest)
        try:
            raw = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return raw if digest_of(raw) == digest else None

    def _keep(self, digest: str, raw: bytes) -> None:
        # A full disk, or a home that cannot be written, costs time and nothing else.
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, name = tempfile.mkstemp(dir=self.folder)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(raw)
            os.replace(name, self._path(digest))
