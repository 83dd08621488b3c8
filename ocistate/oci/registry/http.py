"""Requests to one registry: credentials, redirects, retries and limits in one place.

What comes back is bounded before it is kept, and is never decompressed on the way: or else a
registry could answer kilobytes with gigabytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import InitVar, dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx2 as httpx

from ocistate import __version__
from ocistate.backoff import Backoff
from ocistate.concurrency import Limiter
from ocistate.errors import ConfigError, ProtocolError
from ocistate.oci.options import StoreOptions
from ocistate.oci.registry.answers import (
    LONGEST_PAUSE,
    MAX_ERROR_BODY,
    TRANSIENT,
    describe,
    error_of,
    is_lasting,
    pause_of,
    read_body,
    unavailable,
)
from ocistate.oci.registry.authorize import Authorizer
from ocistate.oci.registry.challenges import RegistryAccess, refused
from ocistate.oci.registry.clients import no_cookies
from ocistate.oci.registry.links import check_link
from ocistate.oci.registry.reads import read_large
from ocistate.oci.registry.tls import Trust, find_trust
from ocistate.reach import confine
from ocistate.text import plain

if TYPE_CHECKING:
    from ocistate.oci.registry.credentials import Credentials

Body = bytes | Callable[[], AsyncIterator[bytes]]

RESUME_BACKOFF: Final = Backoff(first=0.2, longest=5.0, spread=1.0)
"""Before a blob that broke off goes on."""
_BACKOFF: Final = Backoff(first=0.25, longest=LONGEST_PAUSE, growth=4.0, spread=1.0)
_MAX_REDIRECTS: Final = 5
_MAX_WARNINGS: Final = 16
_LONGEST_WARNING: Final = 300


@dataclass(frozen=True, slots=True)
class SmallResponse:
    """A small answer, read whole."""

    status: int
    headers: httpx.Headers
    body: bytes
    url: str


@dataclass(slots=True)
class Http:
    """One registry's endpoint. ``host`` is ``host[:port]``; close it with ``close``."""

    host: str
    options: StoreOptions
    repository: str = ""
    """Some have credentials of their own."""
    credentials: InitVar[Credentials | None] = None
    """These and no others, wherever others may be found."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random
    base: str = field(init=False)
    transfers: Limiter = field(init=False, repr=False)
    """Held while a blob is on its way: so many at a time, and no more."""
    _trust: Trust = field(init=False)
    _clients: dict[tuple[str, bool, bool], httpx.AsyncClient] = field(
        default_factory=dict, repr=False
    )
    _acquired: list[Hashable] = field(default_factory=list, repr=False)
    """What the shared ones among them are shared by: they are open until they are released."""
    _access: RegistryAccess = field(init=False, repr=False)
    _authorizer: Authorizer = field(init=False, repr=False)
    _warned: set[str] = field(default_factory=set, repr=False)

    def __post_init__(self, credentials: Credentials | None) -> None:
        self.transfers = Limiter(self.options.transfers)
        endpoint = "registry-1.docker.io" if self.host == "docker.io" else self.host
        self._trust = find_trust(self.host, self.options)
        plain = self.options.insecure or (is_loopback(self.host) and not self._trust.is_given)
        if plain and self.host.endswith(":80"):
            raise ConfigError(
                f"{self.host} names the port that plain HTTP has anyway",
                hint="leave it out: what goes by two names could be two places to a policy",
            )
        self.base = f"{'http' if plain else 'https'}://{endpoint}"
        shared = self.options.clients
        if credentials is not None or shared is None:
            self._access = RegistryAccess()
            if credentials is not None:
                self._access.give(credentials)
        else:
            self._access = shared.access(self._who())
        self._authorizer = Authorizer(
            host=self.host,
            base=self.base,
            client=self._token_client,
            clock=self.clock,
            access=self._access,
            repository=self.repository,
            docker_config=self.options.docker_config,
        )

    @property
    def asks(self) -> bool:
        """Whether the registry was seen to ask for credentials."""
        return self._access.challenge is not None

    def _who(self) -> Hashable:
        """Equal where another store would show the registry the very same credentials."""
        config = self.options.docker_config
        mark = hashlib.sha256(config).digest() if config is not None else None
        return (self.base, self.repository, self._trust.mark, mark)

    async def close(self) -> None:
        """Close all connections; those of shared clients stay for the others."""
        clients, acquired = self._clients, self._acquired
        self._clients, self._acquired = {}, []
        if self.options.clients is not None:
            for key in acquired:
                self.options.clients.release(key)
        else:
            for client in clients.values():
                await client.aclose()

    def _client(self, url: str, *, abroad: bool = False) -> httpx.AsyncClient:
        """The client for a URL's scheme and host: a client certificate is the registry's to see,
        and reading the CAs costs a tenth of a second, so not for plain HTTP."""
        key = (urlsplit(url).scheme, self._is_ours(url), abroad)
        if key not in self._clients:
            shared = self.options.clients
            if shared is None:
                self._clients[key] = self._make_client(*key)
            else:
                times = (self.options.connect, self.options.silence)
                mark = (self.host, *times, self._trust.mark, self.options.reach, *key)
                self._clients[key] = shared.acquire(mark, lambda: self._make_client(*key))
                self._acquired.append(mark)
        return self._clients[key]

    def _token_client(self, realm: str) -> httpx.AsyncClient:
        """The client for a token server, whose answer goes on to the registry: where both are not
        one host, it must not be a private network that the registry has an answer fetched from."""
        return self._client(realm, abroad=urlsplit(realm).hostname != urlsplit(self.base).hostname)

    def _make_client(self, scheme: str, ours: bool, abroad: bool) -> httpx.AsyncClient:
        encrypted, reach = scheme == "https", self.options.reach
        client = httpx.AsyncClient(
            timeout=httpx.Timeout(self.options.silence, connect=self.options.connect, pool=None),
            verify=self._trust.context(ours=ours) if encrypted else False,
            http2=encrypted,
            # What we may follow, and what goes along, is decided here and not in the library.
            follow_redirects=False,
            trust_env=not is_loopback(self.host),
            headers={"User-Agent": f"ocistate/{__version__}", "Accept-Encoding": "identity"},
            cookies=no_cookies(),
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=16),
        )
        client = read_large(client)
        return client if reach is None else confine(client, reach.public() if abroad else reach)

    async def send(
        self,
        method: str,
        path: str,
        *,
        scope: str,
        doing: str,
        headers: dict[str, str] | None = None,
        body: Body = b"",
        limit: int = MAX_ERROR_BODY,
        accept: tuple[int, ...] = (200,),
        repeat: bool = True,
        seconds: float | None = None,
    ) -> SmallResponse:
        """One request and its whole answer, of at most ``limit`` bytes.

        ``path`` may be a URL that the registry named; credentials go along only to the registry
        itself. ``scope`` is the token's scope, or several with spaces between them; ``doing`` says
        in errors what was tried; ``seconds`` is the time for all of it. Other statuses than those
        in ``accept`` raise NotFound, Unauthorized, Unavailable or StoreError.
        """
        try:
            async with self._in_time(doing, seconds), self.stream(
                method, path, scope=scope, doing=doing, headers=headers, body=body,
                accept=accept, repeat=repeat, seconds=seconds,
            ) as response:  # fmt: skip
                if method == "HEAD":
                    # The end of what is empty has to be read, for the connection to be kept.
                    content = (await anext(response.aiter_raw(), b""))[:0]
                else:
                    content = await read_body(response, limit, doing)
                return SmallResponse(
                    response.status_code, response.headers, content, str(response.url)
                )
        except httpx.HTTPError as error:
            raise unavailable(self.host, doing, describe(error)) from None

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        scope: str,
        doing: str,
        headers: dict[str, str] | None = None,
        body: Body = b"",
        accept: tuple[int, ...] = (200,),
        repeat: bool = True,
        seconds: float | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """As ``send``, with the body left to the caller, who meets httpx's errors reading it.

        ``seconds`` is the time until the body begins, and for the whole of an error.
        """
        response: httpx.Response | None = None
        try:
            async with self._in_time(doing, seconds):
                response = await self._attempts(
                    method, path, scope, doing, headers or {}, body, repeat
                )
                self._show_warnings(response)
                if response.status_code not in accept:
                    raise await error_of(
                        response,
                        self.host,
                        doing,
                        has_credentials=self._access.credentials is not None,
                        quote=self.options.reach is None,
                    )
            yield response
        finally:
            if response is not None:
                await response.aclose()

    @contextlib.asynccontextmanager
    async def _in_time(self, doing: str, seconds: float | None) -> AsyncIterator[None]:
        """End what takes longer, by default than one small request may. Raises Unavailable."""
        seconds = self.options.whole if seconds is None else seconds
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise unavailable(self.host, doing, f"took more than {seconds:g} s") from None

    async def _attempts(
        self, method: str, path: str, scope: str, doing: str, headers: dict[str, str],
        body: Body, repeat: bool,
    ) -> httpx.Response:  # fmt: skip
        """Send, and again after a while when the registry is only busy or briefly away."""
        failure = ""
        attempts = self.options.attempts if repeat else 1
        for attempt in range(attempts):
            pause = _BACKOFF.delay(attempt + 1, self.jitter())
            try:
                response = await self._authorized(method, path, scope, doing, headers, body)
            except (httpx.TransportError, ssl.SSLError) as error:
                if is_lasting(error):
                    raise unavailable(self.host, doing, describe(error)) from None
                failure = describe(error)
            else:
                last = attempt == attempts - 1
                if response.status_code not in TRANSIENT or last:
                    return response
                failure = f"answered {response.status_code}"
                pause = pause_of(response.headers.get("retry-after"), pause)
                await response.aclose()
            if attempt < attempts - 1:
                await self.sleep(pause)
        raise unavailable(self.host, doing, failure)

    async def _authorized(
        self, method: str, path: str, scope: str, doing: str, headers: dict[str, str], body: Body
    ) -> httpx.Response:
        """Send with what the registry is known to ask for; once more when it asks for something."""
        sent = await self._authorizer.header(scope, doing)
        response = await self._follow(method, path, headers, body, sent)
        if response.status_code not in (401, 403) or not self._is_ours(str(response.url)):
            return response
        if sent is not None:
            self._access.refused(sent)
        asked = response.headers.get_list("www-authenticate")
        if response.status_code == 403 or not self._authorizer.take(asked):
            return response
        await response.aclose()
        authorization = await self._authorizer.header(scope, doing)
        if authorization is None:
            raise refused(self.host, False, doing)
        return await self._follow(method, path, headers, body, authorization)

    async def _follow(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: Body,
        authorization: str | None,
    ) -> httpx.Response:
        """Send, following redirects of reads; the credentials stay with the registry."""
        url = path if "://" in path else self.base + path
        for _ in range(_MAX_REDIRECTS + 1):
            client = self._client(url)
            request = client.build_request(
                method, url, headers=headers, content=body() if callable(body) else body
            )
            if authorization and self._is_ours(url):
                request.headers["Authorization"] = authorization
            try:
                response = await client.send(request, stream=True)
            except BaseException:
                self._observe(method, 0)
                raise
            self._observe(method, response.status_code)
            location = response.headers.get("location")
            if method not in ("GET", "HEAD") or not response.is_redirect or not location:
                return response
            await response.aclose()
            url = self.check_location(url, location)
        raise ProtocolError(f"{self.host} redirects more than {_MAX_REDIRECTS} times")

    def _observe(self, method: str, status: int) -> None:
        if self.options.on_answer is not None:
            self.options.on_answer(method, status)

    def check_location(self, url: str, location: str) -> str:
        """Where a ``Location`` leads, if we may go there. Raises ProtocolError."""
        return check_link(url, location, self.host)

    def _is_ours(self, url: str) -> bool:
        asked, base = urlsplit(url), urlsplit(self.base)
        return (asked.scheme, asked.netloc) == (base.scheme, base.netloc)

    def _show_warnings(self, response: httpx.Response) -> None:
        if self.options.on_warning is not None:
            # Distribution spec 1.1, "Warnings": 299 - "text".
            for warning in response.headers.get_list("warning")[:4]:
                if warning.startswith('299 - "'):
                    text = plain(warning[7:-1], most=_LONGEST_WARNING)
                    if text not in self._warned and len(self._warned) < _MAX_WARNINGS:
                        self._warned.add(text)
                        self.options.on_warning(f"{self.host}: {text}")


def is_loopback(host: str) -> bool:
    """Whether ``host[:port]`` is this machine by its very name."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
