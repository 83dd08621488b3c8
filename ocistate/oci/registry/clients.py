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
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, Self

import httpx2 as httpx

from ocistate.oci.registry.challenges import RegistryAccess

_KEEP_SECONDS: Final = 3600.0
_LOOK_SECONDS: Final = 300.0
_MOST_CLIENTS: Final = 64
"""Each takes up to 1 MB: the CAs it trusts. More are held only while more are in use."""
_MOST_ACCESSES: Final = 4096


@dataclass(slots=True)
class _SharedClient:
    client: httpx.AsyncClient
    users: int = 0


class Clients:
    """Clients, and accesses, by what they may be shared for. They belong to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clients: dict[Hashable, _SharedClient] = {}
        """The least recently used first."""
        self._closing: set[asyncio.Task[None]] = set()
        self._accesses: dict[Hashable, tuple[RegistryAccess, float]] = {}
        """With when each was asked for last, in that order."""
        self._clock = clock
        self._sweep_at = 0.0

    def acquire(self, key: Hashable, make: Callable[[], httpx.AsyncClient]) -> httpx.AsyncClient:
        """The client for a key, made when there is none yet; it stays open until `release`."""
        shared = self._clients.pop(key, None) or _SharedClient(make())
        shared.users += 1
        self._clients[key] = shared
        self._evict()
        return shared.client

    def release(self, key: Hashable) -> None:
        """One user less of the client for a key: one without any may be closed for others."""
        if (shared := self._clients.get(key)) is not None:
            shared.users -= 1
            self._evict()

    def _evict(self) -> None:
        idle = (key for key, shared in tuple(self._clients.items()) if not shared.users)
        while len(self._clients) > _MOST_CLIENTS and (key := next(idle, None)) is not None:
            closing = self._clients.pop(key).client.aclose()
            task = asyncio.get_running_loop().create_task(closing)
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def access(self, key: Hashable) -> RegistryAccess:
        """What was learned and bought by those with this key; those not used for an hour go."""
        now = self._clock()
        if now >= self._sweep_at:
            kept = self._accesses.items()
            self._accesses = {k: each for k, each in kept if now - each[1] < _KEEP_SECONDS}
            self._sweep_at = now + _KEEP_SECONDS / 2
        known = self._accesses.pop(key, None)
        access = known[0] if known is not None else RegistryAccess(seconds=_LOOK_SECONDS)
        self._accesses[key] = (access, now)
        if len(self._accesses) > _MOST_ACCESSES:
            # Its users go on with it; the next one asks for a token of its own.
            del self._accesses[next(iter(self._accesses))]
        return access

    def sizes(self) -> dict[str, int]:
        """How much is held, by what it is."""
        tokens = sum(len(access.tokens) for access, _ in self._accesses.values())
        return {
            "registry_clients": len(self._clients),
            "registry_accesses": len(self._accesses),
            "registry_tokens": tokens,
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.gather(*self._closing, return_exceptions=True)
        for shared in self._clients.values():
            await shared.client.aclose()
        self._clients.clear()


def no_cookies() -> CookieJar:
    """A jar that takes nothing: what a registry remembers of one user is not shown for another."""
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
