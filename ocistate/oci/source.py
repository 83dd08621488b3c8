"""Where the bytes of a blob to push come from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

BlobSource = bytes | Path | Callable[[], AsyncIterator[bytes]]
"""Bytes in memory, a file, or a stream: called for each attempt, it begins anew."""

_CHUNK: Final = 1024 * 1024


async def read_source(source: BlobSource) -> AsyncIterator[bytes]:
    """The bytes in pieces, never all of a file or a stream at once. Raises OSError."""
    if isinstance(source, bytes):
        yield source
    elif isinstance(source, Path):
        with source.open("rb") as stream:
            while piece := await asyncio.to_thread(stream.read, _CHUNK):
                yield piece
    else:
        async for piece in source():
            yield piece
