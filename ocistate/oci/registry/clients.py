"""What many repositories' stores share, so that a look at each costs no connection and no token.

    async with Clients() as clients:
        options = StoreOptions(clients=clients)

Nothing is shared where the registry, whom it is trusted by or the certificate that is shown differ.
Credentials are no part of an HTTP client, and cookies are taken from no one; tokens are shared by
those alone who have the very same credentials for the very same repository.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, Self

import httpx2 as httpx

from ocistate.oci.registry.challenges import RegistryAccess

_KEEP_SECONDS: Final = 3600.0
_LOOK_SECONDS: Final = 300.0
_MOST: Final = 64
"""Clients beyond this are closed once no one can be using them any more; each takes up to 1 MB."""
_IDLE_SECONDS: Final = 600.0
"""A look at a registry, and a blob's way, take less; one that is cut off goes on with another."""


class Clients:
    """Clients, and accesses, by what they may be shared for. They belong to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clients: dict[Hashable, tuple[httpx.AsyncClient, float]] = {}
        """With when each was asked for last, in that order."""
        self._closing: set[asyncio.Task[None]] = set()
        self._accesses: dict[Hashable, tuple[RegistryAccess, float]] = {}
        self._clock = clock
        self._sweep_at = 0.0

    def get(self, key: Hashable, make: Callable[[], httpx.AsyncClient]) -> httpx.AsyncClient:
        """The client for a key, made when there is none yet."""
        now = self._clock()
        known = self._clients.pop(key, None)
        client = known[0] if known is not None else make()
        self._clients[key] = (client, now)
        while len(self._clients) > _MOST:
            oldest, (old, used) = next(iter(self._clients.items()))
            if now - used < _IDLE_SECONDS:
                break
            del self._clients[oldest]
            task = asyncio.get_running_loop().create_task(old.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        return client

    def access(self, key: Hashable) -> RegistryAccess:
        """What was learned and bought by those with this key; those not used for an hour go."""
        now = self._clock()
        if now >= self._sweep_at:
            kept = self._accesses.items()
            self._accesses = {k: each for k, each in kept if now - each[1] < _KEEP_SECONDS}
            self._sweep_at = now + _KEEP_SECONDS / 2
        known = self._accesses.get(key)
        access = known[0] if known is not None else RegistryAccess(seconds=_LOOK_SECONDS)
        self._accesses[key] = (access, now)
        return access

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.gather(*self._closing, return_exceptions=True)
        for client, _ in self._clients.values():
            await client.aclose()
        self._clients.clear()


def no_cookies() -> CookieJar:
    """A jar that takes nothing: what a registry remembers of one user is not shown for another."""
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
