"""HTTP clients that many repositories' stores share, so that a look at each costs no connection.

    async with Clients() as clients:
        options = StoreOptions(clients=clients)

Nothing is shared where the registry, whom it is trusted by or the certificate that is shown differ.
Credentials are no part of a client, and cookies are taken from nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Self

import httpx2 as httpx


class Clients:
    """Clients by what they may be shared for. They belong to one event loop."""

    def __init__(self) -> None:
        self._clients: dict[Hashable, httpx.AsyncClient] = {}

    def get(self, key: Hashable, make: Callable[[], httpx.AsyncClient]) -> httpx.AsyncClient:
        """The client for a key, made when there is none yet."""
        if key not in self._clients:
            self._clients[key] = make()
        return self._clients[key]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()


def no_cookies() -> CookieJar:
    """A jar that takes nothing: what a registry remembers of one user is not shown for another."""
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
