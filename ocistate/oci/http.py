"""Requests to one registry: credentials, redirects, retries and limits in one place.

What comes back is bounded before it is kept, and is never decompressed on the way: a registry could
otherwise answer kilobytes with gigabytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import InitVar, dataclass, field
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpcore2 as httpcore
import httpx2 as httpx

from ocistate import __version__
from ocistate.canonical import parse_json
from ocistate.errors import (
    LimitExceeded,
    NotFound,
    ProtocolError,
    StoreError,
    Unavailable,
)
from ocistate.oci.auth import (
    Challenge,
    Tokens,
    check_realm,
    parse_challenges,
    refused,
)
from ocistate.oci.clients import no_cookies
from ocistate.oci.links import check_link
from ocistate.oci.open import StoreOptions
from ocistate.oci.tls import Trust, find_trust
from ocistate.text import plain

if TYPE_CHECKING:
    from ocistate.oci.credentials import Credentials

Body = bytes | Callable[[], AsyncIterator[bytes]]

_MAX_REDIRECTS: Final = 5
_LONGEST_PAUSE: Final = 30.0
_MAX_ERROR_BODY: Final = 64 * 1024
_MAX_TOKEN_BODY: Final = 256 * 1024
_TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
_ASKS_WHO: Final = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE")
"""The TLS alerts of a server that will not have us without a client certificate of its liking."""
_MAX_WARNINGS: Final = 16
_LONGEST_WARNING: Final = 300
_MAX_CAUSES: Final = 10

# What one read takes from a socket, 64 KiB otherwise: a quarter of the work for a blob's bytes.
httpcore.AsyncHTTP11Connection.READ_NUM_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
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
    transfers: asyncio.Semaphore = field(init=False, repr=False)
    """Held while a blob is on its way: so many at a time, and no more."""
    _trust: Trust = field(init=False)
    _clients: dict[tuple[str, bool], httpx.AsyncClient] = field(default_factory=dict, repr=False)
    _tokens: Tokens = field(default_factory=Tokens, repr=False)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    """Held while credentials are looked for and tokens asked for: one is enough for all."""
    _warned: set[str] = field(default_factory=set, repr=False)
    _challenge: Challenge | None = None
    _credentials: Credentials | None = field(default=None, repr=False)
    _looked: bool = False

    def __post_init__(self, credentials: Credentials | None) -> None:
        self._credentials, self._looked = credentials, credentials is not None
        self.transfers = asyncio.Semaphore(self.options.transfers)
        endpoint = "registry-1.docker.io" if self.host == "docker.io" else self.host
        self._trust = find_trust(self.host, self.options)
        plain = self.options.insecure or (is_loopback(self.host) and not self._trust.is_given)
        self.base = f"{'http' if plain else 'https'}://{endpoint}"

    @property
    def asks(self) -> bool:
        """Whether the registry was seen to ask for credentials."""
        return self._challenge is not None

    async def close(self) -> None:
        """Close all connections."""
        if self.options.clients is None:
            for client in self._clients.values():
                await client.aclose()

    def _client(self, url: str) -> httpx.AsyncClient:
        """The client for a URL's scheme and host: a client certificate is the registry's to see,
        and reading the CAs costs a tenth of a second, so not for plain HTTP."""
        key = (urlsplit(url).scheme, self._is_ours(url))
        if key not in self._clients:
            shared = self.options.clients
            if shared is None:
                self._clients[key] = self._make_client(*key)
            else:
                times = (self.options.connect, self.options.silence)
                mark = (self.host, *times, self._trust.mark, *key)
                self._clients[key] = shared.get(mark, lambda: self._make_client(*key))
        return self._clients[key]

    def _make_client(self, scheme: str, ours: bool) -> httpx.AsyncClient:
        encrypted = scheme == "https"
        return httpx.AsyncClient(
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

    async def send(
        self,
        method: str,
        path: str,
        *,
        scope: str,
        doing: str,
        headers: dict[str, str] | None = None,
        body: Body = b"",
        limit: int = _MAX_ERROR_BODY,
        accept: tuple[int, ...] = (200,),
        repeat: bool = True,
        seconds: float | None = None,
    ) -> Answer:
        """One request and its whole answer, of at most ``limit`` bytes.

        ``path`` may be a URL that the registry named; credentials go along only to the registry
        itself. ``scope`` is the token's scope, or several with spaces between them; ``doing`` says
        in errors what was tried; ``seconds`` is the time for all of it. Other statuses than those
        in ``accept`` raise NotFound, Unauthorized, Unavailable or StoreError.
        """
        seconds = self.options.whole if seconds is None else seconds
        try:
            async with asyncio.timeout(seconds):
                async with self.stream(
                    method, path, scope=scope, doing=doing, headers=headers, body=body,
                    accept=accept, repeat=repeat,
                ) as response:  # fmt: skip
                    if method == "HEAD":
                        # The end of what is empty has to be read, for the connection to be kept.
                        content = (await anext(response.aiter_raw(), b""))[:0]
                    else:
                        content = await read_body(response, limit, doing)
                    return Answer(
                        response.status_code, response.headers, content, str(response.url)
                    )
        except TimeoutError:
            raise self._unavailable(doing, f"took more than {seconds:g} s") from None
        except httpx.HTTPError as error:
            raise self._unavailable(doing, _describe(error)) from None

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
    ) -> AsyncIterator[httpx.Response]:
        """As ``send``, with the body left to the caller, who meets httpx's errors reading it."""
        response = await self._attempts(method, path, scope, doing, headers or {}, body, repeat)
        try:
            self._show_warnings(response)
            if response.status_code not in accept:
                raise await self._error(response, doing)
            yield response
        finally:
            await response.aclose()

    async def _attempts(
        self, method: str, path: str, scope: str, doing: str, headers: dict[str, str],
        body: Body, repeat: bool,
    ) -> httpx.Response:  # fmt: skip
        """Send, and again after a while when the registry is only busy or briefly away."""
        failure = ""
        attempts = self.options.attempts if repeat else 1
        for attempt in range(attempts):
            pause = min(_LONGEST_PAUSE, 0.25 * 4**attempt) * (1 + self.jitter())
            try:
                response = await self._authorized(method, path, scope, doing, headers, body)
            except (httpx.TransportError, ssl.SSLError) as error:
                if _is_lasting(error):
                    raise self._unavailable(doing, _describe(error)) from None
                failure = _describe(error)
            else:
                last = attempt == attempts - 1
                if response.status_code not in _TRANSIENT or last:
                    return response
                failure = f"answered {response.status_code}"
                pause = _retry_after(response.headers.get("retry-after"), pause)
                await response.aclose()
            if attempt < attempts - 1:
                await self.sleep(pause)
        raise self._unavailable(doing, failure)

    async def _authorized(
        self, method: str, path: str, scope: str, doing: str, headers: dict[str, str], body: Body
    ) -> httpx.Response:
        """Send with what the registry is known to ask for; once more when it asks for something."""
        sent = await self._authorization(scope, doing)
        response = await self._follow(method, path, headers, body, sent)
        if response.status_code != 401 or not self._is_ours(str(response.url)):
            return response
        challenges = parse_challenges(response.headers.get_list("www-authenticate"))
        known = next((c for c in challenges if c.scheme in ("bearer", "basic")), None)
        if known is None:
            return response
        await response.aclose()
        self._challenge = known
        self._tokens.drop(self._token_key(known, scope), (sent or "").removeprefix("Bearer "))
        authorization = await self._authorization(scope, doing)
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
                self._told(method, 0)
                raise
            self._told(method, response.status_code)
            location = response.headers.get("location")
            if method not in ("GET", "HEAD") or not response.is_redirect or not location:
                return response
            await response.aclose()
            url = self.check_location(url, location)
        raise ProtocolError(f"{self.host} redirects more than {_MAX_REDIRECTS} times")

    def _told(self, method: str, status: int) -> None:
        if self.options.on_answer is not None:
            self.options.on_answer(method, status)

    def check_location(self, url: str, location: str) -> str:
        """Where a ``Location`` leads, if we may go there. Raises ProtocolError."""
        return check_link(url, location, self.host)

    def _is_ours(self, url: str) -> bool:
        asked, base = urlsplit(url), urlsplit(self.base)
        return (asked.scheme, asked.netloc) == (base.scheme, base.netloc)

    async def _authorization(self, scope: str, doing: str) -> str | None:
        challenge = self._challenge
        if challenge is None:
            return None
        async with self._asking:
            if not self._looked:
                from ocistate.oci.credentials import find_credentials

                # A credential helper is another program, and may take its time.
                self._credentials = await asyncio.to_thread(
                    find_credentials,
                    self.host,
                    self.options.docker_config,
                    repository=self.repository,
                )
                self._looked = True
            if challenge.scheme == "basic":
                return self._credentials.basic if self._credentials else None
            key = self._token_key(challenge, scope)
            token = self._tokens.get(key, self.clock())
            if token is None:
                answer = await self._ask_token_server(key, doing)
                token = self._tokens.put(key, answer, self.clock())
            return f"Bearer {token}"

    def _token_key(self, challenge: Challenge, scope: str) -> tuple[str, str, str]:
        # The scope is the one we need, whatever the registry says it wants.
        parameters = challenge.parameters
        return (parameters.get("realm", ""), parameters.get("service", ""), scope)

    async def _ask_token_server(self, key: tuple[str, str, str], doing: str) -> Any:
        """Distribution token spec: GET with Basic, or POST with a refresh token (OAuth2)."""
        realm = check_realm(key[0], self.base)
        client = self._client(realm)
        parameters: dict[str, Any] = {"service": key[1], "client_id": "ocistate"}
        credentials = self._credentials
        headers = {"Accept": "application/json"}
        if credentials is not None and credentials.identity_token:
            form = parameters | {
                "scope": key[2],
                "grant_type": "refresh_token",
                "refresh_token": credentials.identity_token,
            }
            request = client.build_request("POST", realm, data=form, headers=headers)
        else:
            if credentials is not None:
                headers["Authorization"] = credentials.basic
            parameters["scope"] = key[2].split()
            request = client.build_request("GET", realm, params=parameters, headers=headers)
        response = await client.send(request, stream=True)
        try:
            if response.status_code in (400, 401, 403):
                raise refused(self.host, credentials is not None, doing)
            if response.status_code != 200:
                raise self._unavailable(doing, f"its token server answered {response.status_code}")
            body = await read_body(response, _MAX_TOKEN_BODY, "its token")
        finally:
            await response.aclose()
        try:
            return parse_json(body)
        except ValueError:
            raise ProtocolError(f"{self.host}'s token server did not answer JSON") from None

    async def _error(self, response: httpx.Response, doing: str) -> StoreError:
        status = response.status_code
        said = ""
        with contextlib.suppress(httpx.HTTPError, StoreError, ValueError, KeyError, TypeError):
            first = parse_json(await read_body(response, _MAX_ERROR_BODY, doing))["errors"][0]
            said = f": {first.get('code', '')} {first.get('message', '')}"[:300]
        if status in (401, 403):
            return refused(self.host, self._credentials is not None, doing)
        if status == 404:
            return NotFound(f"{self.host} does not have it: {doing}")
        if status in _TRANSIENT or status >= 500:
            return self._unavailable(doing, f"answered {status}{said}")
        hint = "the registry does not allow this: ask who runs it" if status == 405 else ""
        return StoreError(f"{self.host} answered {status} to {doing}{said}", hint=hint)

    def _unavailable(self, doing: str, why: str) -> Unavailable:
        return Unavailable(
            f"{self.host} cannot be used for {doing}: {why}",
            hint="check the host, the network and the registry",
        )

    def _show_warnings(self, response: httpx.Response) -> None:
        if self.options.on_warning is not None:
            # Distribution spec 1.1, "Warnings": 299 - "text".
            for warning in response.headers.get_list("warning")[:4]:
                if warning.startswith('299 - "'):
                    text = plain(warning[7:-1], most=_LONGEST_WARNING)
                    if text not in self._warned and len(self._warned) < _MAX_WARNINGS:
                        self._warned.add(text)
                        self.options.on_warning(f"{self.host}: {text}")


async def read_body(response: httpx.Response, limit: int, doing: str) -> bytes:
    """A body of at most ``limit`` bytes. Raises LimitExceeded before more is kept."""
    declared = response.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise LimitExceeded(f"{doing}: an answer of {declared} bytes, more than {limit}")
    pieces, size = [], 0
    async for piece in response.aiter_raw():
        size += len(piece)
        if size > limit:
            raise LimitExceeded(f"{doing}: an answer of more than {limit} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def is_loopback(host: str) -> bool:
    """Whether ``host[:port]`` is this machine by its very name."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _is_lasting(error: BaseException) -> bool:
    """Whether trying again is in vain."""
    unsupported = isinstance(error, httpx.UnsupportedProtocol)
    return unsupported or _is_certificate(error) or _wants_certificate(error)


def _is_certificate(error: BaseException) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _wants_certificate(error: BaseException) -> bool:
    # The library above keeps the alert only as the cause of its own error.
    cause: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if cause is None:
            break
        if any(alert in str(cause) for alert in _ASKS_WHO):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _describe(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    if _is_certificate(error):
        return "its certificate is not trusted; name its CA with --ca-file"
    if _wants_certificate(error):
        return "it asks for a client certificate; name one with --client-cert and --client-key"
    if isinstance(error, httpx.ReadError) and not str(error) and _is_https(error):
        # The alert that says so may be lost with the connection.
        return (
            "it closed the connection without an answer; if it asks for a client certificate, name "
            "one with --client-cert and --client-key"
        )
    return text[:300]


def _is_https(error: httpx.RequestError) -> bool:
    try:
        return error.request.url.scheme == "https"
    except RuntimeError:
        return False


def _retry_after(value: str | None, pause: float) -> float:
    """RFC 9110, section 10.2.3: seconds or a date; never more than we are willing to wait."""
    if value is None:
        return pause
    if value.isdecimal():
        return min(float(value), _LONGEST_PAUSE)
    with contextlib.suppress(ValueError, TypeError):
        return min(max(0.0, parsedate_to_datetime(value).timestamp() - time.time()), _LONGEST_PAUSE)
    return pause
