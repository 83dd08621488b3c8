"""A tar's entries, read strictly: what packers write in ustar, GNU and PAX form.

Python's ``tarfile`` is made to read whatever it can, follows headers inside headers without end,
reads sparse maps, and searches PAX records with expressions that need quadratic time in some of
the versions we run on. Nothing of that is needed for regular files, so nothing of it is here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from ocistate.errors import UnsafeContent

_BLOCK: Final = 512
_LOOK: Final = 1024 * 1024
_MAX_EXTENSION: Final = 1024 * 1024
"""The most that Go's archive/tar reads of a PAX header or a long name, too."""
_PAX_LENGTH: Final = re.compile(rb"([1-9][0-9]{0,7}) ")
_UTF8_CHARSET: Final = "ISO-IR 10646 2000 UTF-8"

TarEntryKind = Literal["file", "folder", "link"]
_KINDS: Final[dict[bytes, TarEntryKind]] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"5": "folder",
    b"1": "link",
    b"2": "link",
}


class ByteWindow(Protocol):
    """Bytes that are looked at in parts: ``bytes`` themselves, or a file that is not read whole."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TarEntry:
    """One entry: its name as it is there, unchecked; where a file's content is."""

    name: str
    kind: TarEntryKind
    start: int = 0
    size: int = 0


def read_entries(data: ByteWindow) -> Iterator[TarEntry]:
    """The entries of an uncompressed tar, in its order. Raises UnsafeContent."""
    offset = 0
    long_name = ""
    pax: dict[str, str] = {}
    extended = False
    while True:
        block = data[offset : offset + _BLOCK]
        if len(block) < _BLOCK:
            raise UnsafeContent("the tar ends too early")
        offset += _BLOCK
        if not block.strip(b"\0"):
            break
        _check_sum(block)
        size = _size(block[124:136])
        kind = block[156:157]
        if kind in (b"x", b"g", b"L", b"K"):
            if size > _MAX_EXTENSION:
                raise UnsafeContent("a header in the tar is too large")
            _check_inside(data, offset, size)
            content = data[offset : offset + size]
            offset += _padded(size)
            if kind == b"g":
                _check_global(_pax_records(content))
            elif kind == b"x":
                if pax:
                    raise UnsafeContent("the tar's headers are nested")
                pax = _pax_records(content)
            elif kind == b"L":
                if long_name:
                    raise UnsafeContent("the tar's headers are nested")
                long_name = _text(content)
            if long_name and "path" in pax:
                raise UnsafeContent("a file in the tar has two long names")
            extended = extended or kind != b"g"
            continue
        name = pax.get("path") or long_name or _name(block)
        if "size" in pax:
            size = _decimal(pax["size"])
        entry = _entry(name, kind, offset, size)
        if entry.kind == "file":
            _check_inside(data, offset, size)
            offset += _padded(size)
        yield entry
        long_name, pax, extended = "", {}, False
    if extended:
        raise UnsafeContent("the tar ends too early")
    while rest := data[offset : offset + _LOOK]:
        if rest.strip(b"\0"):
            raise UnsafeContent("something goes on behind the tar's end")
        offset += _LOOK


def _entry(name: str, kind: bytes, offset: int, size: int) -> TarEntry:
    found = _KINDS.get(kind)
    if found is None:
        raise UnsafeContent(f"{name[:100]!r} in the tar is not a regular file")
    if found == "file" and name.endswith("/"):
        found = "folder"  # how tar was before it knew folders
    if found == "file":
        return TarEntry(name=name, kind=found, start=offset, size=size)
    if size:
        # Some readers would skip that many bytes, others would read them as the next header.
        raise UnsafeContent(f"{name[:100]!r} in the tar has a size, but no content")
    return TarEntry(name=name, kind=found)


def _check_sum(block: bytes) -> None:
    rest = block[:148] + b" " * 8 + block[156:]
    stated, unsigned = _octal(block[148:156]), sum(rest)
    if stated == unsigned:
        return
    signed = unsigned - 256 * sum(1 for byte in rest if byte > 127)
    if stated != signed:
        raise UnsafeContent("this is not a tar: a header's checksum is wrong")


def _size(field: bytes) -> int:
    if field[0] == 0x80:  # GNU's binary form for sizes from 8 GiB on
        return int.from_bytes(field[1:], "big")
    if field[0] & 0x80:
        raise UnsafeContent("this is not a tar: a negative size")
    return _octal(field)


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if digits.strip(b"01234567"):
        raise UnsafeContent("this is not a tar: a number is not octal")
    return int(digits, 8)


def _decimal(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 20:
        raise UnsafeContent("this is not a tar: a PAX size is not a number")
    return int(text)


def _name(block: bytes) -> str:
    name = _text(block[:100])
    # GNU's own form keeps times where POSIX keeps the prefix.
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    try:
        return field.partition(b"\0")[0].decode("utf-8")
    except UnicodeDecodeError:
        raise UnsafeContent("a path in the tar is not UTF-8") from None


def _pax_records(content: bytes) -> dict[str, str]:
    """``<length> <key>=<value>\\n``, again and again; the length counts itself."""
    records: dict[str, str] = {}
    offset = 0
    while offset < len(content):
        match = _PAX_LENGTH.match(content, offset)
        end = offset + int(match[1]) if match else 0
        if match is None or end > len(content) or content[end - 1 : end] != b"\n":
            raise UnsafeContent("this is not a tar: a PAX record is malformed")
        key, equals, value = content[match.end() : end - 1].partition(b"=")
        if not equals or not key:
            raise UnsafeContent("this is not a tar: a PAX record is malformed")
        if key.startswith(b"GNU.sparse."):
            raise UnsafeContent("a sparse file in the tar")
        # Other records (times, owners, attributes) may be anything, and mean nothing here.
        if key in (b"path", b"size", b"hdrcharset"):
            if b"\0" in value or not value:
                raise UnsafeContent("this is not a tar: a PAX record is malformed")
            records[key.decode()] = _text(value)
        offset = end
    if records.get("hdrcharset", _UTF8_CHARSET) != _UTF8_CHARSET:
        raise UnsafeContent("a path in the tar is not UTF-8")
    return records


def _check_global(records: dict[str, str]) -> None:
    """``git archive`` leaves a comment there; a path or size for all entries is nonsense."""
    if records.keys() & {"path", "size"}:
        raise UnsafeContent("the tar has one path or size for all its files")


def _check_inside(data: ByteWindow, offset: int, size: int) -> None:
    if offset + _padded(size) > len(data):
        raise UnsafeContent("the tar ends too early")


def _padded(size: int) -> int:
    return (size + _BLOCK - 1) // _BLOCK * _BLOCK
