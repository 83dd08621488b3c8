"""Send a blob: in one request where that works, in chunks and from where it broke off where not.

Distribution spec 1.1, "Pushing blobs". A small blob goes along with the very first request, which
some registries take; others answer with a place to put it, as they do for every larger one. When
that request breaks off, or is refused for its size, the registry is asked how much it has, and the
rest goes in chunks: what then breaks off is one chunk. A registry that has no record of the upload
gets the blob from its beginning.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from ocistate.errors import (
    DigestMismatch,
    NotFound,
    ProtocolError,
    StoreError,
    Unauthorized,
    Unavailable,
)
from ocistate.oci.model import Descriptor
from ocistate.oci.registry.http import RESUME_BACKOFF, Body, Http, SmallResponse
from ocistate.oci.source import BlobSource, read_source
from ocistate.text import whole_number

_SMALL: Final = 64 * 1024
_CHUNK: Final = 16 * 1024 * 1024
_LARGEST_CHUNK: Final = 512 * 1024 * 1024
_TRIES: Final = 5
"""How often in a row an upload may break off without having sent a chunk more."""
_BYTES_PER_WHOLE: Final = 16 * 1024 * 1024
_BINARY: Final = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """An upload that the registry has begun: where it goes on, and how much has come through."""

    url: str
    offset: int = 0
    chunk: int = _CHUNK


@dataclass(slots=True, kw_only=True)
class Uploader:
    """Uploads into one repository. ``path`` is ``/v2/NAME/blobs/uploads/``."""

    http: Http
    path: str
    scope: str
    _takes_at_once: bool = True
    """Whether the registry may take a blob with the first request; some never do."""

    async def upload(self, blob: Descriptor, source: BlobSource, *, doing: str) -> None:
        """Send a blob. Raises StoreError; DigestMismatch when the source is not what it should."""
        async with self.http.transfers:
            if isinstance(source, bytes) and len(source) <= _SMALL and self._takes_at_once:
                session = await self._at_once(blob, source, doing)
            else:
                session = await self._begin(doing)
            if session is not None:
                await self._send(session, blob, source, doing)

    async def mount(self, blob: Descriptor, origin: str, *, doing: str, scopes: str) -> bool:
        """Take a blob over from another repository of the registry, if it will; nothing is sent."""
        query = urlencode({"mount": blob.digest, "from": origin}, quote_via=quote)
        try:
            answer = await self.http.send(
                "POST", f"{self.path}?{query}", scope=scopes, doing=doing,
                accept=(201, 202, 404, 405),
            )  # fmt: skip
        except Unauthorized:
            return False  # read access there and write access here are different rights
        if answer.status == 202:
            # Begun as an upload instead: to send the blob, a new one is begun.
            await self._cancel(self._session(answer, doing), doing)
        return answer.status == 201

    async def _at_once(self, blob: Descriptor, content: bytes, doing: str) -> _Session | None:
        """None when the first request was all it took."""
        url = f"{self.path}?{urlencode({'digest': blob.digest}, quote_via=quote)}"
        answer = await self.http.send(
            "POST", url, scope=self.scope, doing=doing, headers=_BINARY, body=content,
            accept=(201, 202, 400, 405, 411, 413, 415, 501),
        )  # fmt: skip
        if answer.status == 201:
            return None
        self._takes_at_once = False
        return self._session(answer, doing) if answer.status == 202 else await self._begin(doing)

    async def _begin(self, doing: str) -> _Session:
        answer = await self.http.send(
            "POST", self.path, scope=self.scope, doing=doing, accept=(202,)
        )
        return self._session(answer, doing)

    def _session(self, answer: SmallResponse, doing: str) -> _Session:
        location = answer.headers.get("location", "")
        if not location:
            raise ProtocolError(f"{doing}: no Location to upload to")
        least = answer.headers.get("oci-chunk-min-length", "")
        asked = whole_number(least) if least.isdecimal() else 0
        if asked is None or asked > _LARGEST_CHUNK:
            raise ProtocolError(
                f"{doing}: wants chunks of at least {least[:20]} bytes",
                hint=f"at most {_LARGEST_CHUNK} are sent at a time",
            )
        return _Session(
            url=self.http.check_location(answer.url, location), chunk=max(_CHUNK, asked)
        )

    async def _send(
        self, session: _Session, blob: Descriptor, source: BlobSource, doing: str
    ) -> None:
        in_chunks, tries, furthest = False, 0, 0
        while True:
            begun = session.offset
            try:
                if not in_chunks and not begun:
                    in_chunks = not await self._whole(session, blob, source, doing)
                    if not in_chunks:
                        return
                while session.offset < blob.size:
                    session = await self._one_chunk(session, blob, source, doing)
                await self._commit(session, blob, doing)
                return
            except (Unavailable, NotFound) as error:
                # Only what never came through before is progress: a registry may lose it all.
                tries = 1 if session.offset > furthest else tries + 1
                furthest = max(furthest, session.offset)
                if tries >= _TRIES:
                    raise Unavailable(
                        f"{error.message}; {session.offset} of {blob.size} bytes came through",
                        hint=error.hint,
                    ) from None
            in_chunks = True
            await self.http.sleep(RESUME_BACKOFF.delay(tries, self.http.jitter()))
            session = await self._status(session, blob, doing)

    async def _whole(
        self, session: _Session, blob: Descriptor, source: BlobSource, doing: str
    ) -> bool:
        """All in one request; False when that is too large for the registry."""
        answer = await self.http.send(
            "PUT", _with_digest(session.url, blob), scope=self.scope, doing=doing,
            headers={**_BINARY, "Content-Length": str(blob.size)},
            body=source if isinstance(source, bytes) else _exactly(source, 0, blob.size, doing),
            accept=(201, 202, 204, 413), repeat=False, seconds=self._seconds(blob.size),
        )  # fmt: skip
        return answer.status != 413

    async def _one_chunk(
        self, session: _Session, blob: Descriptor, source: BlobSource, doing: str
    ) -> _Session:
        start = session.offset
        size = min(session.chunk, blob.size - start)
        answer = await self.http.send(
            "PATCH", session.url, scope=self.scope, doing=doing,
            headers={
                **_BINARY,
                "Content-Length": str(size),
                "Content-Range": f"{start}-{start + size - 1}",
            },
            body=_exactly(source, start, size, doing),
            accept=(202, 204, 416), repeat=False, seconds=self._seconds(size),
        )  # fmt: skip
        if answer.status == 416:
            raise Unavailable(
                f"{self.http.host} has something else than the first {start} bytes: {doing}"
            )
        return replace(
            session, url=self._next(answer, session), offset=_received(answer, start + size, blob)
        )

    async def _commit(self, session: _Session, blob: Descriptor, doing: str) -> None:
        await self.http.send(
            "PUT", _with_digest(session.url, blob), scope=self.scope, doing=doing,
            headers=_BINARY, accept=(201, 202, 204), repeat=False,
            seconds=self._seconds(blob.size),
        )  # fmt: skip

    async def _status(self, session: _Session, blob: Descriptor, doing: str) -> _Session:
        """How much the registry has; from the beginning when it does not know."""
        try:
            answer = await self.http.send(
                "GET", session.url, scope=self.scope, doing=doing, accept=(202, 204)
            )
            offset = _received(answer, 0, blob)
            return replace(session, url=self._next(answer, session), offset=offset)
        except ProtocolError:
            raise
        except StoreError:
            return await self._begin(doing)

    async def _cancel(self, session: _Session, doing: str) -> None:
        try:
            await self.http.send(
                "DELETE", session.url, scope=self.scope, doing=doing, accept=(200, 202, 204, 404)
            )
        except StoreError:
            return  # it is the registry's to clean up

    def _next(self, answer: SmallResponse, session: _Session) -> str:
        location = answer.headers.get("location")
        return self.http.check_location(answer.url, location) if location else session.url

    def _seconds(self, size: int) -> float:
        return self.http.options.whole * (1 + size / _BYTES_PER_WHOLE)


def _received(answer: SmallResponse, default: int, blob: Descriptor) -> int:
    """The offset to go on at: ``Range: 0-N`` is what has come through. Raises ProtocolError."""
    begin, _, end = answer.headers.get("range", "").removeprefix("bytes=").partition("-")
    last = whole_number(end)
    if begin != "0" or last is None:
        return default
    # Of nothing at all, too, registries say "0-0".
    offset = last + 1 if last else 0
    if offset > blob.size:
        raise ProtocolError(f"{answer.url[:200]} has got more bytes than there are")
    return offset


def _with_digest(url: str, blob: Descriptor) -> str:
    parts = urlsplit(url)
    digest = urlencode({"digest": blob.digest}, quote_via=quote)
    return urlunsplit(parts._replace(query=f"{parts.query}&{digest}" if parts.query else digest))


def _exactly(source: BlobSource, start: int, size: int, doing: str) -> Body:
    """The part of a source to send; the request is broken off when there is too little of it."""

    async def pieces() -> AsyncIterator[bytes]:
        left = size
        async for piece in read_source(source, start):
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                break
        if left > 0:
            raise DigestMismatch(
                f"{doing}: the content ends {left} bytes too early",
                hint="the file was changed while it was read",
            )

    return pieces
