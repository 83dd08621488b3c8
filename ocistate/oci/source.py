"""Where the bytes of a blob to push come from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from ocistate.nofollow import open_regular

BlobSource = bytes | Path | Callable[[], AsyncIterator[bytes]]
"""Bytes in memory, a file, or a stream: called for each attempt, it begins again."""

_CHUNK: Final = 1024 * 1024


async def read_source(source: BlobSource, start: int = 0) -> AsyncIterator[bytes]:
    """The bytes from ``start`` on in pieces, never all of a file or a stream at once.

    A stream is read from its beginning and what comes before ``start`` passed over. Raises OSError.
    """
    if isinstance(source, bytes):
        yield source[start:]
    elif isinstance(source, Path):
        with open_regular(source) as stream:
            stream.seek(start)
            while piece := await asyncio.to_thread(stream.read, _CHUNK):
                yield piece
    else:
        async for piece in source():
            rest = piece[start:]
            start = max(0, start - len(piece))
            if rest:
                yield rest
