"""The HTTP connections to one API server: pools with bounds, and credentials that are kept fresh.

Streams have a pool of their own: what is watched never keeps a request from its turn. lightkube
builds TLS and tokens, and is imported when a session is opened, not before.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ocistate.errors import ConfigError
from ocistate.kube.answer import ENCODINGS
from ocistate.kube.exec_auth import Credential, ExecCredentials
from ocistate.kube.kubeconfig import ClusterAccess
from ocistate.reach import confine

if TYPE_CHECKING:
    import httpx2

MAX_STREAMS: Final = 320
"""Watches open at a time; whoever opens more waits, and not for long."""
_MAX_REQUESTS: Final = 128
_POOL_SECONDS: Final = 30.0
"""How long a request waits for its turn."""
_READ_SECONDS: Final = 75.0
"""A write may wait for admission webhooks, which have up to 30 s each."""


class Session:
    """The connections of one user to one API server, with valid credentials on every request.

    ``again`` reads how to reach the server once more: it is asked when the server's certificate is
    not trusted, or the credentials are refused, and used where it has changed.
    """

    def __init__(
        self,
        access: ClusterAccess,
        *,
        again: Callable[[], ClusterAccess] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.large = asyncio.Lock()
        """Held by whoever reads a large answer."""
        self._access = access
        self._again = again
        self._clock = clock
        self._credentials = ExecCredentials(access.plugin) if access.plugin else None
        self._credential: Credential | None = None
        self._pools: dict[bool, httpx2.AsyncClient] = {}
        self._locked_out: tuple[float, str] | None = None

    def locked_out(self) -> tuple[float, str]:
        """For how many seconds nothing has been let in or trusted, and why; 0 when all is well."""
        if self._locked_out is None:
            return 0.0, ""
        return self._clock() - self._locked_out[0], self._locked_out[1]

    async def send(
        self, request: Mapping[str, Any], *, stream: bool = False, read: float = _READ_SECONDS
    ) -> httpx2.Response:
        """Send one request, given as ``AsyncClient.build_request``'s arguments; ``url`` is a path.

        The body is the caller's to read, and the response to close. ``stream`` is for one that goes
        on for long, ``read`` the seconds it may be silent. What may have been renewed meanwhile is
        read again, once, when it is not taken. Raises ConfigError and httpx2's transport errors.
        """
        import httpx2

        try:
            response = await self._send(request, stream, read)
        except httpx2.ConnectError as error:
            if not _is_distrust(error):
                raise
            self._note("its certificate is not trusted")
            if not await self._renewed():
                raise
            response = await self._send(request, stream, read)
        if response.status_code == 401 and await self._has_others():
            await response.aclose()
            response = await self._send(request, stream, read)
        if response.status_code == 401:
            self._note("it refuses the credentials")
        else:
            self._locked_out = None
        return response

    def _note(self, why: str) -> None:
        since = self._locked_out[0] if self._locked_out is not None else self._clock()
        self._locked_out = (since, why)

    async def _has_others(self) -> bool:
        """Whether there are other credentials than those that were refused."""
        if self._credentials is None:
            return await self._renewed()
        await self._use(await self._credentials.get(refused=self._credential))
        return True

    async def _renewed(self) -> bool:
        """Whether the server is to be reached otherwise than before; then it is from now on."""
        try:
            access = self._again() if self._again is not None else self._access
        except ConfigError:
            return False  # a file that is just being replaced
        if access.mark == self._access.mark:
            return False
        self._access = access
        self._credentials = ExecCredentials(access.plugin) if access.plugin else None
        self._credential = None
        await self.aclose()
        return True

    async def _send(self, request: Mapping[str, Any], stream: bool, read: float) -> httpx2.Response:
        if self._credentials is not None:
            await self._use(await self._credentials.get())
        import httpx2
        from lightkube.core.exceptions import ConfigError as LightkubeConfigError

        http = self._pools.get(stream) or self._open(stream)
        # An absolute URL is parsed once; a path three times, to be joined with the server's.
        url = self._access.server.rstrip("/") + request["url"]
        timeout = httpx2.Timeout(connect=10, write=30, read=read, pool=_POOL_SECONDS)
        built = http.build_request(**{**request, "url": url, "timeout": timeout})
        if self._credential is not None and self._credential.token:
            built.headers["Authorization"] = f"Bearer {self._credential.token}"
        if self._access.tls_server_name:
            built.extensions["sni_hostname"] = self._access.tls_server_name
        try:
            return await http.send(built, stream=True)
        except LightkubeConfigError as error:  # a token's file that is gone
            raise ConfigError(f"context {self._access.context!r}: {error}") from None

    async def _use(self, credential: Credential) -> None:
        if credential is self._credential:
            return
        before, self._credential = self._credential, credential
        if self._pools and before is not None and credential.key != before.key:
            # Open connections are authenticated by the old certificate: start afresh.
            await self.aclose()

    def _open(self, stream: bool) -> httpx2.AsyncClient:
        import binascii

        import httpx2
        from lightkube.config.client_adapter import ConnectionParams
        from lightkube.core.exceptions import ConfigError as LightkubeConfigError

        try:
            parameters = ConnectionParams(proxy=self._access.proxy)
            arguments = parameters.httpx_params(self._access.config)
            if self._credential is not None and self._credential.certificate:
                _load_certificate(arguments["verify"], self._credential)
        except (OSError, ssl.SSLError, binascii.Error, LightkubeConfigError) as error:
            raise ConfigError(
                f"context {self._access.context!r}: its certificates or tokens cannot be used: "
                f"{error}"
            ) from None
        limits = httpx2.Limits(
            max_connections=MAX_STREAMS if stream else _MAX_REQUESTS,
            max_keepalive_connections=32,
            keepalive_expiry=60,
        )
        # What is not asked for is not decompressed: see `answer`.
        headers = {"Accept-Encoding": "identity" if stream else ENCODINGS}
        try:
            opened = httpx2.AsyncClient(**arguments, limits=limits, headers=headers)
        except httpx2.InvalidURL as error:
            raise ConfigError(
                f"context {self._access.context!r}: its server is no URL: {error}"
            ) from None
        if self._access.reach is not None:
            confine(opened, self._access.reach)
        self._pools[stream] = opened
        return opened

    async def aclose(self) -> None:
        """Close all connections."""
        pools, self._pools = self._pools, {}
        for http in pools.values():
            await http.aclose()


def _is_distrust(error: Exception) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _load_certificate(context: ssl.SSLContext, credential: Credential) -> None:
    # OpenSSL reads files only; these are readable by their owner alone and gone at once.
    with tempfile.NamedTemporaryFile("w") as certificate, tempfile.NamedTemporaryFile("w") as key:
        certificate.write(credential.certificate)
        certificate.flush()
        key.write(credential.key)
        key.flush()
        context.load_cert_chain(certificate.name, key.name)
