"""Fetch a blob: checked on the way, taken up again where it broke off, and never for ever."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Final

import httpx2 as httpx

from ocistate.errors import DigestMismatch, ProtocolError, Unavailable
from ocistate.oci.http import Http
from ocistate.oci.model import Descriptor

CHUNK: Final = 1024 * 1024
_RESUMES: Final = 5
"""How often in a row a transfer may break off without having brought a chunk more."""
_BYTES_PER_WHOLE: Final = 16 * 1024 * 1024


class Checked:
    """Bytes as they come in, against the descriptor they should be.

    The last piece is held back until size and digest are known to be right, so that nobody takes a
    wrong blob for a whole one.
    """

    def __init__(self, descriptor: Descriptor, doing: str) -> None:
        self.size = 0
        self._descriptor = descriptor
        self._doing = doing
        self._hasher = hashlib.sha256()
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """Take a piece in, give out the one before. Raises DigestMismatch for too many bytes."""
        self.size += len(piece)
        if self.size > self._descriptor.size:
            raise DigestMismatch(
                f"{self._doing}: more than the {self._descriptor.size} bytes it should have"
            )
        self._hasher.update(piece)
        before, self._held = self._held, piece
        return before

    def finish(self) -> bytes:
        """The last piece, if all of it is right. Raises DigestMismatch."""
        digest = f"sha256:{self._hasher.hexdigest()}"
        if (self.size, digest) != (self._descriptor.size, self._descriptor.digest):
            raise DigestMismatch(
                f"{self._doing}: {self.size} bytes with the digest {digest[:19]}",
                hint="the registry or something in between is broken or was tampered with",
            )
        return self._held


async def download(
    http: Http, path: str, descriptor: Descriptor, *, scope: str, doing: str
) -> AsyncIterator[bytes]:
    """A blob's pieces. Raises StoreError; what was given out by then is not to be used."""
    checked = Checked(descriptor, doing)
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
                    if ready := checked.feed(piece):
                        yield ready
            trouble = "it ends too early"
        except httpx.HTTPError as error:
            trouble = str(error) or type(error).__name__
        if checked.size == descriptor.size:
            break
        resumes = 0 if checked.size - begun >= CHUNK else resumes + 1
        if resumes > _RESUMES:
            raise Unavailable(
                f"{doing}: {trouble}, {checked.size} of {descriptor.size} bytes came",
                hint="check the network and the registry",
            )
        await http.sleep(0.1 * 2**resumes)
    if last := checked.finish():
        yield last


async def _pieces(
    http: Http, path: str, descriptor: Descriptor, start: int, *, scope: str, doing: str
) -> AsyncIterator[bytes]:
    """The bytes from ``start`` on, whether the registry knows how to go on or begins anew."""
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
        async for piece in response.aiter_raw():
            rest = piece[skip:]
            skip = max(0, skip - len(piece))
            if rest:
                yield rest
