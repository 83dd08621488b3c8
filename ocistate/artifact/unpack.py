"""Layers to files, safely: nothing a hostile tar says is believed before it is checked.

Only regular files with plain relative paths come out; sizes, counts and names are bounded before
anything is kept; nothing is written here at all, that is ``steps/pull.py``'s work.
"""

from __future__ import annotations

import io
import tarfile
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

from ocistate.errors import UnsafeContent

_CHUNK: Final = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a layer may unpack to. Far above real manifests, far below trouble."""

    total_bytes: int = 256 * 1024 * 1024
    file_bytes: int = 64 * 1024 * 1024
    files: int = 100_000
    path_length: int = 1024
    path_depth: int = 64


DEFAULT_LIMITS: Final = Limits()


def decompress(data: bytes, limit: int) -> bytes:
    """Gunzip, several members too, up to ``limit`` bytes. Raises UnsafeContent."""
    pieces: list[bytes] = []
    total = 0
    while data:
        stream = zlib.decompressobj(wbits=31)
        try:
            while not stream.eof:
                piece = stream.decompress(data, min(_CHUNK, limit + 1 - total))
                data = stream.unconsumed_tail
                total += len(piece)
                if total > limit:
                    raise UnsafeContent(
                        f"the layer unpacks to more than {limit // 1024**2} MiB",
                        hint="split the manifests into several artifacts",
                    )
                pieces.append(piece)
                if not piece and not data and not stream.eof:
                    raise UnsafeContent("the layer's gzip stream ends too early")
        except zlib.error as error:
            raise UnsafeContent(f"the layer is not gzip: {error}") from None
        data = stream.unused_data
    return b"".join(pieces)


def untar(
    data: bytes, *, limits: Limits = DEFAULT_LIMITS, skip_links: bool = False
) -> dict[str, bytes]:
    """The files of an uncompressed tar, by path.

    Links are refused; with ``skip_links`` (for artifacts of tools that pack them) left out.
    Raises UnsafeContent for traversal, devices, duplicates, bombs and broken archives.
    """
    files: dict[str, bytes] = {}
    folded: dict[str, str] = {}
    total = 0
    buffer = io.BytesIO(data)
    try:
        with tarfile.open(fileobj=buffer, mode="r:") as tar:
            for count, member in enumerate(_members(tar), start=1):
                if count > limits.files:
                    raise UnsafeContent(f"the layer holds more than {limits.files} entries")
                path = safe_path(member.name, limits)
                if member.isdir():
                    continue
                if member.issym() or member.islnk():
                    if skip_links:
                        continue
                    raise UnsafeContent(f"{member.name!r} in the layer is a link")
                if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
                    raise UnsafeContent(f"{member.name!r} in the layer is not a regular file")
                total += member.size
                if member.size > limits.file_bytes or total > limits.total_bytes:
                    raise UnsafeContent(f"{member.name!r} in the layer is too large")
                _add(files, folded, path, _read(tar, member))
            end = tar.offset
    except (tarfile.TarError, EOFError, OverflowError, ValueError) as error:
        raise UnsafeContent(f"the layer is not a tar: {error}") from None
    except RecursionError:
        # tarfile reads extended headers one inside the other.
        raise UnsafeContent("the layer's headers are nested without end") from None
    if data[end:].strip(b"\0"):
        raise UnsafeContent("the layer goes on behind the tar's end")
    _refuse_file_as_folder(files)
    return files


def safe_path(name: str, limits: Limits = DEFAULT_LIMITS) -> str:
    """A tar entry's name as a plain relative path with ``/``. Raises UnsafeContent."""
    if not name or len(name) > limits.path_length:
        raise UnsafeContent(f"a path of {len(name)} characters in the layer")
    if name.startswith("/") or "\\" in name or ":" in name.split("/", 1)[0]:
        raise UnsafeContent(f"{name[:100]!r} in the layer is not a relative path")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise UnsafeContent(f"{name[:100]!r} in the layer has control characters")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UnsafeContent(f"{name[:100]!r} in the layer leaves the folder")
    if len(parts) > limits.path_depth or any(len(part.encode()) > 255 for part in parts):
        raise UnsafeContent(f"{name[:100]!r} in the layer is too deep or too long")
    return "/".join(parts)


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := tar.next()) is not None:
        # tarfile keeps every header it has seen; a hundred thousand of them are not needed twice.
        tar.members = []  # type: ignore[attr-defined]
        yield member


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    source: IO[bytes] | None = tar.extractfile(member)
    content = source.read() if source is not None else b""
    if len(content) != member.size:
        raise UnsafeContent(f"{member.name!r} in the layer ends too early")
    return content


def _add(files: dict[str, bytes], folded: dict[str, str], path: str, content: bytes) -> None:
    # On a case-insensitive or normalising file system both would be the same file.
    key = unicodedata.normalize("NFC", path).casefold()
    if not path or key in folded:
        raise UnsafeContent(f"{path!r} is in the layer twice")
    folded[key] = path
    files[path] = content


def _refuse_file_as_folder(files: dict[str, bytes]) -> None:
    for path in files:
        parent = path
        while "/" in parent:
            parent = parent.rpartition("/")[0]
            if parent in files:
                raise UnsafeContent(f"{parent!r} in the layer is a file and a folder")
