"""Fetch a blob: checked on the way, taken up again where it broke off, and never for ever."""

from __future__ import annotations

import asyncio
import hashlib
from asyncio import selector_events
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import cache
from typing import Final

import httpcore2 as httpcore
import httpx2 as httpx

from ocistate.errors import DigestMismatch, ProtocolError, Unavailable
from ocistate.oci.model import Descriptor
from ocistate.oci.registry.http import RESUME_BACKOFF, Http
from ocistate.text import whole_number

CHUNK: Final = 1024 * 1024
_RESUMES: Final = 5
"""How often in a row a transfer may break off without having brought a chunk more."""
_BYTES_PER_WHOLE: Final = 16 * 1024 * 1024
_HASHED_AT_ONCE: Final = 2 * 1024 * 1024
"""A smaller blob is not worth a thread."""
_PIECES_AT_ONCE: Final = 64
"""A registry may send a byte at a time, and each piece costs more memory than it has bytes."""
_BROKEN_OFF: Final = (httpx.HTTPError, httpcore.NetworkError, httpcore.TimeoutException)


class Checked:
    """Bytes as they come in, against the descriptor they should be.

    The last piece is held back until size and digest are known to be right, so that no one takes a
    wrong blob for a whole one. A large blob is hashed in a thread, while the next bytes come in.
    """

    def __init__(self, descriptor: Descriptor, doing: str) -> None:
        self.size = 0
        self._descriptor = descriptor
        self._doing = doing
        self._hasher = hashlib.sha256()
        self._unhashed: list[bytes] = []
        self._waiting = 0
        self._hashing: asyncio.Future[None] | None = None
        self._held = b""

    async def feed(self, piece: bytes) -> bytes:
        """Take a piece in, give out the one before. Raises DigestMismatch for too many bytes."""
        self.size += len(piece)
        if self.size > self._descriptor.size:
            raise DigestMismatch(
                f"{self._doing}: more than the {self._descriptor.size} bytes it should have"
            )
        self._unhashed.append(piece)
        self._waiting += len(piece)
        if self._waiting >= _HASHED_AT_ONCE or len(self._unhashed) >= _PIECES_AT_ONCE:
            await self._hashed()
            pieces, self._unhashed, self._waiting = self._unhashed, [], 0
            self._hashing = asyncio.get_running_loop().run_in_executor(None, self._hash, pieces)
        before, self._held = self._held, piece
        return before

    async def finish(self) -> bytes:
        """The last piece, if all of it is right. Raises DigestMismatch."""
        await self._hashed()
        self._hash(self._unhashed)
        digest = f"sha256:{self._hasher.hexdigest()}"
        if (self.size, digest) != (self._descriptor.size, self._descriptor.digest):
            raise DigestMismatch(
                f"{self._doing}: {self.size} bytes with the digest {digest[:19]}",
                hint="the registry or something in between is broken or was tampered with",
            )
        return self._held

    async def _hashed(self) -> None:
        """Wait for the thread: one at a time hashes, so that the order and the memory are right."""
        if self._hashing is not None:
            await self._hashing

    def _hash(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            self._hasher.update(piece)


async def download(
    http: Http, path: str, descriptor: Descriptor, *, scope: str, doing: str
) -> AsyncIterator[bytes]:
    """A blob's pieces. Raises StoreError; what was given out by then is not to be used."""
    checked = Checked(descriptor, doing)
    if descriptor.size > _HASHED_AT_ONCE:
        _prepare_for_much()
    seconds = http.options.whole * (1 + descriptor.size / _BYTES_PER_WHOLE)
    deadline = http.clock() + seconds
    resumes, trouble = 0, "it ends too early"
    while True:
        begun = checked.size
        try:
            async with http.transfers:
                async for piece in _pieces(http, path, descriptor, begun, scope=scope, doing=doing):
                    if http.clock() > deadline:
                        raise Unavailable(f"{doing}: not done after {seconds:.0f} s")
                    if ready := await checked.feed(piece):
                        yield ready
            trouble = "it ends too early"
        except _BROKEN_OFF as error:
            trouble = str(error) or type(error).__name__
        if checked.size == descriptor.size:
            break
        resumes = 0 if checked.size - begun >= CHUNK else resumes + 1
        if resumes > _RESUMES:
            raise Unavailable(
                f"{doing}: {trouble}, {checked.size} of {descriptor.size} bytes came",
                hint="check the network and the registry",
            )
        await http.sleep(RESUME_BACKOFF.delay(resumes, http.jitter()))
    if last := await checked.finish():
        yield last


async def _pieces(
    http: Http, path: str, descriptor: Descriptor, start: int, *, scope: str, doing: str
) -> AsyncIterator[bytes]:
    """The bytes from ``start`` on, whether the registry knows how to go on or begins again."""
    headers = {"Range": f"bytes={start}-{descriptor.size - 1}"} if start else {}
    async with http.stream(
        "GET", path, scope=scope, doing=doing, headers=headers,
        accept=(200, 206) if start else (200,),
    ) as response:  # fmt: skip
        whole = response.status_code == 200
        if not whole and not response.headers.get("content-range", "").startswith(
            f"bytes {start}-"
        ):
            raise ProtocolError(f"{doing}: another part than the one asked for")
        declared = response.headers.get("content-length", str(descriptor.size))
        if whole and declared != str(descriptor.size):
            raise DigestMismatch(f"{doing}: {declared[:20]} bytes instead of {descriptor.size}")
        skip = start if whole else 0
        async for piece in _body(response, http.options.silence):
            rest = piece[skip:]
            skip = max(0, skip - len(piece))
            if rest:
                yield rest


async def _body(response: httpx.Response, silence: float) -> AsyncIterator[bytes]:
    """A body's bytes; most of a large one straight from the connection, which is not used again.

    Each layer above copies all bytes once more. Once the first piece is given out they hold none
    back, and where the length is known there is nothing but the body to read.
    """
    length = response.headers.get("content-length", "")
    known = whole_number(length)
    straight = response.http_version == "HTTP/1.1" and known is not None
    straight = straight and "transfer-encoding" not in response.headers
    rest = known or 0 if straight else 0
    async with aclosing(response.aiter_raw()) as pieces:
        async for piece in pieces:
            yield piece
            rest -= len(piece)
            if straight and rest > CHUNK:
                break
        else:
            return
        connection: httpcore.AsyncNetworkStream = response.extensions["network_stream"]
        while rest > 0 and (piece := await connection.read(min(rest, CHUNK), timeout=silence)):
            rest -= len(piece)
            yield piece


@cache
def _prepare_for_much() -> None:
    """Take more bytes at a time, in memory that is not asked for again each time."""
    # asyncio reads 256 KiB at most, and has no option for it; without the class it stays at that.
    transport = getattr(selector_events, "_SelectorTransport", None)
    if transport is not None:
        transport.max_size = CHUNK
    # glibc gives freed memory back beyond the size of the largest piece that it saw freed.
    bytes(24 * 1024 * 1024)
