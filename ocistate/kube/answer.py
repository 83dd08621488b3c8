"""Read what an API server answers, within limits: it may be a tenant's, and may never end.

A body or a line has so many bytes at most, as it came and when it is decompressed, and one large
one at a time is held of each server.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from ocistate.errors import ClusterError

if TYPE_CHECKING:
    import httpx2

MAX_OBJECT: Final = 8 * 1024 * 1024
"""etcd takes 1.5 MiB of an object; as JSON, with every character escaped, it may be more."""
MAX_PAGE: Final = 16 * 1024 * 1024
"""Of a list; where it is more, fewer objects are asked for at a time."""
ENCODINGS: Final = "gzip"
"""What may be asked for with ``Accept-Encoding``."""
_UNASKED: Final = 1024 * 1024
"""A body may grow to this beside any number of others."""
_UNASKED_LINE: Final = 128 * 1024
_UNZIPPED_AT_ONCE: Final = 256 * 1024


class AnswerTooLarge(ClusterError):
    """An answer is larger than it may be."""


class _Bytes:
    """Bytes that are gathered up to a limit; the lock is held while they are many."""

    def __init__(self, limit: int, unasked: int, large: asyncio.Lock, doing: str) -> None:
        self.size = 0
        self._limit = limit
        self._unasked = unasked
        self._large = large
        self._doing = doing
        self._pieces: list[bytes] = []
        self._held = False

    async def add(self, piece: bytes) -> None:
        """Raises AnswerTooLarge before more is kept."""
        if self.size + len(piece) > self._limit:
            raise AnswerTooLarge(
                f"{self._doing}: the API server's answer is larger than "
                f"{self._limit // (1024 * 1024)} MiB",
                hint="is it an API server that answers, and no proxy?",
            )
        if not self._held and self.size + len(piece) > self._unasked:
            await self._large.acquire()
            self._held = True
        self.size += len(piece)
        self._pieces.append(piece)
        if len(self._pieces) > 1024:  # a byte at a time costs more memory than it has bytes
            self._pieces = [b"".join(self._pieces)]

    def take(self) -> bytes:
        """What was gathered; nothing is then."""
        whole = b"".join(self._pieces)
        self.size, self._pieces = 0, []
        self._release()
        return whole

    def _release(self) -> None:
        if self._held:
            self._held = False
            self._large.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pieces = []  # an error's traceback would keep them for as long as the error is kept
        self._release()


async def read_body(
    response: httpx2.Response, *, limit: int, large: asyncio.Lock, doing: str
) -> bytes:
    """The whole body, decompressed. Raises AnswerTooLarge, ClusterError and transport errors.

    ``large`` is shared by all who read from one server.
    """
    with _Bytes(limit, _UNASKED, large, doing) as body:
        async for piece in _plain(response, doing):
            await body.add(piece)
        return body.take()


async def read_lines(
    response: httpx2.Response, *, limit: int, large: asyncio.Lock, doing: str
) -> AsyncGenerator[bytes, None]:
    """The body's lines as they come, without empty ones. Raises as `read_body`.

    What is compressed is refused.
    """
    _check_encoding(response, ("identity",), doing)
    with _Bytes(limit, _UNASKED_LINE, large, doing) as line:
        async for piece in response.aiter_raw():
            *whole, rest = piece.split(b"\n")
            for each in whole:
                await line.add(each)
                if line.size:
                    yield line.take()
            if rest:
                await line.add(rest)


async def _plain(response: httpx2.Response, doing: str) -> AsyncIterator[bytes]:
    """The body's pieces, decompressed where that was asked for, a little at a time."""
    if _check_encoding(response, ("identity", ENCODINGS), doing) == "identity":
        async for piece in response.aiter_raw():
            yield piece
        return
    unzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        async for piece in response.aiter_raw():
            while piece:
                yield unzip.decompress(piece, _UNZIPPED_AT_ONCE)
                piece = unzip.unconsumed_tail
    except zlib.error as error:
        raise ClusterError(f"{doing}: the API server's answer is damaged: {error}") from None
    if not unzip.eof:
        raise ClusterError(f"{doing}: the API server's answer ends too early")


def _check_encoding(response: httpx2.Response, known: tuple[str, ...], doing: str) -> str:
    encoding: str = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in known:
        raise ClusterError(
            f"{doing}: the API server's answer is compressed in a way that was not asked for",
            hint="is a proxy in between?",
        )
    return encoding
