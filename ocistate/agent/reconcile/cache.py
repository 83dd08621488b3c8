"""The last good content of each Stack, kept on disk by digest: a registry may go away.

It is an OCI image layout of one artifact, so that reading it checks every digest again.
"""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from ocistate.artifact.unpack import DEFAULT_LIMITS, Limits
from ocistate.errors import OcistateError, Unavailable
from ocistate.oci import open_store
from ocistate.oci.model import Manifest
from ocistate.oci.store import Store
from ocistate.ops.artifact.fetch import Content, fetch_content, fetch_manifest
from ocistate.reference import Reference

_MAX_BLOB = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ContentCache:
    """One Stack's contents. ``root`` holds a folder a digest."""

    root: Path
    limits: Limits = DEFAULT_LIMITS

    async def load(self, digest: str) -> Content | None:
        """What is kept of a digest; None when it is not there, or not whole any more."""
        folder = self._folder(digest)
        if not (folder / "index.json").exists():
            return None
        try:
            async with _layout(folder) as store:
                manifest = await fetch_manifest(store, digest)
                return await fetch_content(store, manifest, limits=self.limits)
        except OcistateError:
            # Worth nothing: the registry has it, and if that is gone too, the caller says so.
            self._drop(folder)
            return None

    async def fetch(self, store: Store, digest: str) -> tuple[Content, str]:
        """Take an artifact from a store, by digest and nothing else; and why it can't be kept.

        It is read from what is kept, so that nothing is downloaded twice.
        """
        manifest = await fetch_manifest(store, digest)
        trouble = await self.keep(store, manifest)
        kept = None if trouble else await self.load(digest)
        if kept is None:
            kept = await fetch_content(store, manifest, limits=self.limits)
        return kept, trouble

    async def keep(self, store: Store, manifest: Manifest) -> str:
        """Keep an artifact from a store; why that can't be, else an empty text.

        Raises Unavailable when the store is out of reach.
        """
        folder = self._folder(manifest.descriptor.digest)
        self._drop(folder)  # what is there is not whole: a blob of the right size may be rotten
        try:
            _make_room(folder, manifest)
            await self._keep(store, manifest, folder)
        except Unavailable:
            raise
        except OSError as error:
            self._drop(folder)
            return f"{self.root}: {error.strerror}"
        except OcistateError as error:
            self._drop(folder)
            return str(error)
        return ""

    def keep_only(self, digests: set[str]) -> None:
        """Let go of all other digests."""
        wanted = {self._folder(digest).name for digest in digests}
        if not self.root.is_dir():
            return
        for folder in self.root.iterdir():
            if folder.name not in wanted:
                self._drop(folder)

    async def _keep(self, store: Store, manifest: Manifest, folder: Path) -> None:
        async with _layout(folder) as layout:
            for blob in (manifest.config, *manifest.layers):
                await layout.push_blob(blob, await store.fetch_blob(blob, limit=_MAX_BLOB))
            await layout.push_manifest(manifest)

    def _folder(self, digest: str) -> Path:
        return self.root / digest.removeprefix("sha256:")

    @staticmethod
    def _drop(folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)


def limits_of_memory(most: Path = Path("/sys/fs/cgroup/memory.max")) -> Limits:
    """What an artifact may unpack to where the agent may have so much memory: a file is read as a
    whole, in several forms, and takes eight times its size."""
    try:
        memory = int(most.read_text())
    except (OSError, ValueError):
        return DEFAULT_LIMITS  # no limit, or another kind of system
    return replace(DEFAULT_LIMITS, file_bytes=min(DEFAULT_LIMITS.file_bytes, memory // 8))


def _make_room(folder: Path, manifest: Manifest) -> None:
    """Make a folder for an artifact. Raises OSError where it is not worth a download."""
    folder.mkdir(parents=True, exist_ok=True)
    size = sum(blob.size for blob in (manifest.descriptor, manifest.config, *manifest.layers))
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _layout(folder: Path) -> Store:
    return open_store(Reference(scheme="layout", registry="", repository=str(folder)))
