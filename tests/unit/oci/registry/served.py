"""A registry that is a function: requests in, answers out, without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable
from typing import Any

import httpx2 as httpx

from ocistate.oci.options import StoreOptions
from ocistate.oci.registry.clients import Clients
from ocistate.oci.registry.http import Http
from ocistate.oci.registry.store import RegistryStore
from ocistate.reference import parse_reference

Answer = Callable[[httpx.Request], httpx.Response]


class Served(Clients):
    """HTTP clients that all lead to one function; ``requests`` are those that came."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.requests: list[httpx.Request] = []
        self.slept: list[float] = []
        self._answer = answer

    def acquire(self, key: Hashable, make: Callable[[], httpx.AsyncClient]) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._keep))

    def store(self, name: str = "oci://127.0.0.1:1/shop", **options: Any) -> RegistryStore:
        store = RegistryStore(
            parse_reference(name), StoreOptions(clients=self, docker_config=b"{}", **options)
        )
        store._http.sleep = self._sleep
        store._http.jitter = lambda: 0.0
        return store

    def http(self, **options: Any) -> Http:
        return Http(
            "127.0.0.1:1",
            StoreOptions(clients=self, docker_config=b"{}", **options),
            sleep=self._sleep,
            jitter=lambda: 0.0,
        )

    @property
    def asked(self) -> list[tuple[str, str]]:
        """Method and path of each request."""
        return [(request.method, request.url.path) for request in self.requests]

    async def _keep(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        answer = self._answer(request)

        async def body() -> AsyncIterator[bytes]:
            yield answer.content

        return httpx.Response(answer.status_code, headers=answer.headers, content=body())

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
