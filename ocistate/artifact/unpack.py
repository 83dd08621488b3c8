"""Layers to files, safely: nothing in a hostile tar is used before it is checked.

Only regular files with plain relative paths come out; sizes, counts and names are bounded before
anything is kept; nothing is written here at all, that is ``ops/artifact/extract.py``'s work.
"""

from __future__ import annotations

import unicodedata
import zlib
from dataclasses import dataclass, field
from typing import Final

from ocistate.errors import UnsafeContent
from ocistate.tarread import read_entries

MAX_COMPRESSED_BYTES: Final = 64 * 1024 * 1024
"""What a layer may weigh in the registry: 15 MB of manifests compress to about one."""

_CHUNK_IN: Final = 16 * 1024
_CHUNK_OUT: Final = 256 * 1024
_MAX_MEMBERS: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a layer may unpack to. Far above real manifests, far below trouble."""

    total_bytes: int = 256 * 1024 * 1024
    file_bytes: int = 256 * 1024 * 1024
    files: int = 100_000
    path_length: int = 1024
    path_depth: int = 64


DEFAULT_LIMITS: Final = Limits()


@dataclass(slots=True)
class FileSet:
    """Files by path, taken in one by one: bounded, and the same files on any file system."""

    limits: Limits = DEFAULT_LIMITS
    files: dict[str, bytes] = field(default_factory=dict)
    total_bytes: int = 0
    _folded: dict[str, str] = field(default_factory=dict)
    _folders: set[str] = field(default_factory=set)

    def add(self, path: str, content: bytes) -> None:
        """Take in a file. Raises UnsafeContent when it is too much, or in another one's way."""
        self.check_size(path, len(content))
        key = _fold(path)
        if key in self._folded:
            raise UnsafeContent(
                f"{path!r} is there twice"
                if self._folded[key] == path
                else f"{path!r} and {self._folded[key]!r} are one file on some file systems"
            )
        if key in self._folders:
            raise UnsafeContent(f"{path!r} is a file and a folder")
        self._add_parents(path, key)
        self._folded[key] = path
        self.files[path] = content
        self.total_bytes += len(content)

    def add_folder(self, path: str) -> None:
        """Take note of a folder."""
        key = _fold(path)
        if key in self._folded:
            raise UnsafeContent(f"{path!r} is a file and a folder")
        self._add_parents(path, key)
        self._folders.add(key)

    def check_size(self, path: str, size: int) -> None:
        """Refuse one file more of that size before it is read. Raises UnsafeContent."""
        if len(self.files) >= self.limits.files:
            raise UnsafeContent(f"more than {self.limits.files} files")
        most, total = self.limits.file_bytes, self.limits.total_bytes
        if size > most:
            problem = f"{path!r} is too large: one file may have {most // 1024**2} MiB here"
        elif self.total_bytes + size > total:
            problem = f"with {path!r} it is too large: all files may have {total // 1024**2} MiB"
        else:
            return
        raise UnsafeContent(problem, hint="split the manifests into several artifacts")

    def _add_parents(self, path: str, key: str) -> None:
        while "/" in key:
            key = key.rpartition("/")[0]
            if key in self._folded:
                raise UnsafeContent(
                    f"{self._folded[key]!r} is a file, and a folder too for {path!r}"
                )
            if key in self._folders:
                break
            self._folders.add(key)


def decompress(data: bytes, limit: int) -> bytes:
    """Gunzip, several members too, up to ``limit`` bytes. Raises UnsafeContent."""
    view = memoryview(data)
    pieces: list[bytes] = []
    total = at = members = 0
    while at < len(view):
        members += 1
        if members > _MAX_MEMBERS:
            raise UnsafeContent("the layer's gzip stream has members without end")
        stream = zlib.decompressobj(wbits=31)
        while not stream.eof:
            chunk = view[at : at + _CHUNK_IN]
            try:
                piece = stream.decompress(chunk, min(_CHUNK_OUT, limit + 1 - total))
            except zlib.error as error:
                raise UnsafeContent(f"the layer is not gzip: {error}") from None
            at += len(chunk) - len(stream.unconsumed_tail) - len(stream.unused_data)
            total += len(piece)
            if total > limit:
                raise UnsafeContent(
                    f"the layer unpacks to more than {limit // 1024**2} MiB",
                    hint="split the manifests into several artifacts",
                )
            pieces.append(piece)
            if not piece and not chunk and not stream.eof:
                raise UnsafeContent("the layer's gzip stream ends too early")
    return b"".join(pieces)


def untar(
    data: bytes, *, limits: Limits = DEFAULT_LIMITS, skip_links: bool = False
) -> dict[str, bytes]:
    """The files of an uncompressed tar, by path.

    Links are refused; with ``skip_links`` (for artifacts of tools that pack them) left out.
    Raises UnsafeContent for traversal, devices, duplicates, bombs and broken archives.
    """
    found = FileSet(limits)
    untar_into(found, data, skip_links=skip_links)
    return found.files


def untar_into(found: FileSet, data: bytes, *, skip_links: bool = False) -> None:
    """Like ``untar``, beside files that are there already."""
    limits = found.limits
    for count, entry in enumerate(read_entries(data), start=1):
        if count > limits.files:
            raise UnsafeContent(f"the layer holds more than {limits.files} entries")
        path = safe_path(entry.name, limits)
        if entry.kind == "folder":
            if path:
                found.add_folder(path)
        elif entry.kind == "link":
            if not skip_links:
                raise UnsafeContent(f"{entry.name!r} in the layer is a link")
        elif not path:
            raise UnsafeContent(f"{entry.name!r} in the layer is a file without a name")
        else:
            found.check_size(path, entry.size)
            found.add(path, data[entry.start : entry.start + entry.size])


def safe_path(name: str, limits: Limits = DEFAULT_LIMITS) -> str:
    """A tar entry's name as a plain relative path with ``/``, empty for the folder itself.

    Raises UnsafeContent.
    """
    if not name or len(name) > limits.path_length:
        raise UnsafeContent(f"a path of {len(name)} characters")
    if name.startswith("/") or "\\" in name or ":" in name.split("/", 1)[0]:
        raise UnsafeContent(f"{name[:100]!r} is not a relative path")
    if not name.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise UnsafeContent(f"{name[:100]!r} has control characters")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UnsafeContent(f"{name[:100]!r} leaves the folder")
    if len(parts) > limits.path_depth or any(len(part.encode()) > 255 for part in parts):
        raise UnsafeContent(f"{name[:100]!r} is too deep or too long")
    return "/".join(parts)


def _fold(path: str) -> str:
    """One key for what a case-insensitive or normalising file system takes for one name."""
    if path.isascii():
        return path.casefold()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
