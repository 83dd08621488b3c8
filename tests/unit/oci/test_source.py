"""Where the bytes of a blob come from: memory, a file, or a stream that begins again."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ocistate.oci.source import BlobSource, read_source
from tests.support.loop import in_loop

CONTENT = bytes(range(256)) * 10


async def stream() -> AsyncIterator[bytes]:
    for start in range(0, len(CONTENT), 100):
        yield CONTENT[start : start + 100]


@pytest.mark.parametrize("start", [0, 1, 99, 100, 101, len(CONTENT) - 1, len(CONTENT)])
@in_loop
async def test_every_source_gives_the_same_bytes_from_any_offset(
    start: int, tmp_path: Path
) -> None:
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)
    sources: list[BlobSource] = [CONTENT, path, stream]
    for source in sources:
        assert b"".join([piece async for piece in read_source(source, start)]) == CONTENT[start:]


@in_loop
async def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="regular"):
        [piece async for piece in read_source(tmp_path / "fifo")]
