"""Requests that are repeated where that is safe, and errors that say what happened to what.

Repeated are: any request on 429 (the server has not begun it); an idempotent one also on a lost
connection and on 502, 503 and 504. The server's Retry-After is kept to, else the pause doubles,
with jitter.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from ocistate.backoff import Backoff
from ocistate.errors import ClusterError, ClusterUnavailable
from ocistate.kube import codec
from ocistate.kube.answer import MAX_OBJECT, read_body, read_lines
from ocistate.kube.errors import StatusError, status_error
from ocistate.kube.kubeconfig import ClusterAccess
from ocistate.kube.session import Session

if TYPE_CHECKING:
    import httpx2

JSON: Final = "application/json"
METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
DISCOVERY: Final = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
    for version in ("v2", "v2beta1")
)
APPLY_PATCH: Final = "application/apply-patch+yaml"

_BACKOFF: Final = Backoff(first=0.1, longest=5.0, spread=2.0)
"""From 0.1 s to 0.3 s at first, up to 15 s: as many clients fail at one moment, they spread out."""
_MAX_RETRY_AFTER: Final = 10.0
_WHOLE_SECONDS: Final = 120.0
"""For one attempt and all of its answer: an API server gives up after 60 s itself."""
_MAX_REFUSAL: Final = 256 * 1024
HeaderItems = Sequence[tuple[str, str]]


class Transport:
    """Sends requests to one API server.

    ``again`` is as for `Session`. ``session``, ``sleep`` and ``rng`` (0 to 1) are passed in by
    tests.
    """

    def __init__(
        self,
        access: ClusterAccess,
        *,
        again: Callable[[], ClusterAccess] | None = None,
        attempts: int = 6,
        session: Session | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.access = access
        self.on_answer: Callable[[str, int], None] = lambda method, status: None
        """Called with the method and status of every answer; status 0 is none."""
        self._again = again
        self._session = session or Session(access, again=again)
        self._attempts = attempts
        self._sleep = sleep
        self._rng = rng

    def apart(self) -> Transport:
        """The same server over connections of its own: neither ever waits for the other's."""
        other = Transport(self.access, again=self._again, attempts=self._attempts)
        other.on_answer = self.on_answer
        return other

    def locked_out(self) -> tuple[float, str]:
        """As `Session.locked_out`."""
        return self._session.locked_out()

    async def aclose(self) -> None:
        await self._session.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        doing: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
        headers: HeaderItems = (),
        idempotent: bool = True,
        secret: bool = False,
        guard: Callable[[], None] | None = None,
        limit: int = MAX_OBJECT,
    ) -> bytes:
        """Send a request and return the answer's body, of at most ``limit`` bytes.

        ``doing`` names it in errors; with ``secret``, what the server quotes of the body is left
        out of them. ``guard`` is called before each attempt and may refuse it by raising. Raises
        StatusError, AnswerTooLarge and ClusterUnavailable.
        """
        import httpx2

        request = _request(method, path, query, accept, headers)
        if body is not None:
            request["content"] = codec.encode(body)
            request["headers"].append(("Content-Type", content_type))
        attempt = 0
        while True:
            attempt += 1
            last = attempt == self._attempts
            retry_after = None
            if guard is not None:
                guard()
            try:
                async with asyncio.timeout(_WHOLE_SECONDS):
                    answer = await self._exchange(method, request, limit, doing, secret)
            except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
                self.on_answer(method, 0)
                if last or isinstance(error, httpx2.PoolTimeout):
                    raise self._unavailable(doing, error) from None
            except TimeoutError:
                self.on_answer(method, 0)
                slow = TimeoutError(f"no whole answer within {_WHOLE_SECONDS:g} s")
                raise self._unavailable(doing, slow) from None
            except httpx2.TransportError as error:
                self.on_answer(method, 0)
                # A read timeout is not repeated: the caller has waited more than a minute.
                if last or not idempotent or isinstance(error, httpx2.TimeoutException):
                    raise self._unavailable(doing, error) from None
            else:
                if isinstance(answer, bytes):
                    return answer
                safe = answer.status == 429 or (idempotent and answer.status in (502, 503, 504))
                if last or not safe:
                    raise answer
                retry_after = answer.retry_after
            await self._sleep(self._pause(attempt, retry_after))

    async def _exchange(
        self, method: str, request: dict[str, Any], limit: int, doing: str, secret: bool
    ) -> bytes | StatusError:
        """One attempt: the answer's body, or what the server says against it."""
        response = await self._session.send(request)
        try:
            refused = response.status_code >= 300
            limit = _MAX_REFUSAL if refused else limit
            body = await read_body(response, limit=limit, large=self._session.large, doing=doing)
        except ClusterError:
            # What is no refusal of an API server still has a status.
            if not refused:
                raise
            body = b""
        finally:
            await response.aclose()
        self.on_answer(method, response.status_code)
        return self._refusal(response, body, doing, secret) if refused else body

    async def lines(
        self,
        path: str,
        *,
        doing: str,
        query: Mapping[str, str],
        accept: str,
        silence: float,
        headers: HeaderItems = (),
    ) -> AsyncGenerator[bytes, None]:
        """Stream an answer's lines, until the server ends it; nothing is repeated.

        It ends too after ``silence`` seconds without a byte: the connection may be dead. Raises
        StatusError and ClusterUnavailable.
        """
        import httpx2

        request = _request("GET", path, query, accept, headers)
        large = self._session.large
        try:
            response = await self._session.send(request, stream=True, read=silence)
            try:
                if response.status_code != 200:
                    body = await read_body(response, limit=_MAX_REFUSAL, large=large, doing=doing)
                    raise self._refusal(response, body, doing)
                lines = read_lines(response, limit=MAX_OBJECT, large=large, doing=doing)
                async with aclosing(lines):
                    async for line in lines:
                        yield line
            except httpx2.ReadTimeout:
                return
            finally:
                await response.aclose()
        except (httpx2.TransportError, httpx2.StreamError) as error:
            raise self._unavailable(doing, error) from None

    def _refusal(
        self, response: httpx2.Response, content: bytes, doing: str, secret: bool = False
    ) -> StatusError:
        try:
            body = codec.decode(content)
        except ClusterError:
            body = None
        if self.access.reach is not None and not _is_status(body):
            body = None  # it may be no API server at all, and not for who named it to read
        try:
            retry_after = float(response.headers["Retry-After"])
        except (KeyError, ValueError):
            retry_after = None
        return status_error(
            response.status_code, body, doing=doing, secret=secret, retry_after=retry_after
        )

    def _pause(self, attempt: int, retry_after: float | None) -> float:
        drawn = self._rng()
        if retry_after is not None:
            return min(retry_after, _MAX_RETRY_AFTER) + 0.1 + 0.2 * drawn
        return _BACKOFF.delay(attempt, drawn)

    def _unavailable(self, doing: str, error: Exception) -> ClusterUnavailable:
        import httpx2

        words = str(error) or type(error).__name__
        if isinstance(error, httpx2.PoolTimeout):
            words = "too many requests to it are under way"
        if isinstance(error, httpx2.LocalProtocolError):
            # Its own words quote the header, which may be the token.
            words = "a token or name in the request has a character that no header may have"
        return ClusterUnavailable(
            f"{doing}: the API server {self.access.server} cannot be reached: {words}",
            hint=f"is it running, and is context {self.access.context!r} the right one?",
        )


def _request(
    method: str, path: str, query: Mapping[str, str] | None, accept: str, headers: HeaderItems
) -> dict[str, Any]:
    return {
        "method": method,
        "url": f"{path}?{urlencode(query)}" if query else path,
        "headers": [("Accept", accept), ("User-Agent", "ocistate"), *headers],
    }


def _is_status(body: Any) -> bool:
    return isinstance(body, Mapping) and (body.get("apiVersion"), body.get("kind")) == (
        "v1",
        "Status",
    )
