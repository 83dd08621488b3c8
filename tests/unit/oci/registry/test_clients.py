"""Many stores of one registry look over one connection, and learn nothing of each other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx

from ocistate.oci import StoreOptions, open_store
from ocistate.oci.registry.clients import Clients
from ocistate.oci.registry.tls import Trust
from ocistate.reference import Reference

DIGEST = "sha256:" + "1" * 64


@dataclass
class Registry:
    """Answers every request with one manifest's headers and a cookie."""

    connections: int = 0
    requests: list[str] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while head := await reader.readuntil(b"\r\n\r\n"):
            self.requests.append(head.decode())
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\nSet-Cookie: user=first\r\n"
                b"Content-Type: application/vnd.oci.image.manifest.v1+json\r\n"
                b"Docker-Content-Digest: " + DIGEST.encode() + b"\r\n\r\n"
            )

    async def look(self, repository: str, options: StoreOptions) -> None:
        reference = Reference(
            scheme="oci", registry=f"127.0.0.1:{self.port}", repository=repository
        )
        async with open_store(reference, options) as store:
            assert (await store.resolve("v1")).digest == DIGEST


def with_registry(
    work: Callable[[Registry], Awaitable[None]], registry: Registry | None = None
) -> Registry:
    registry = registry or Registry()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await registry.serve(reader, writer)

    async def whole() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            registry.port = server.sockets[0].getsockname()[1]
            await work(registry)
            for writer in writers:
                writer.close()
                await writer.wait_closed()

    asyncio.run(whole())
    return registry


def test_looks_at_many_repositories_share_a_connection_and_no_cookies() -> None:
    async def work(registry: Registry) -> None:
        async with Clients() as clients:
            for number in range(5):
                await registry.look(f"team-{number}", StoreOptions(clients=clients))

    registry = with_registry(work)
    assert len(registry.requests) == 5
    assert registry.connections == 1
    assert not any("cookie" in request.lower() for request in registry.requests)


def test_without_shared_clients_each_store_has_its_own() -> None:
    async def work(registry: Registry) -> None:
        for number in range(2):
            await registry.look(f"team-{number}", StoreOptions())

    assert with_registry(work).connections == 2


@dataclass
class Guarded(Registry):
    """Asks for a token: the last one that its own token server gave out, and no other."""

    tokens: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            if head.startswith("GET /token"):
                self.tokens += 1
                body = f'{{"token": "t{self.tokens}", "expires_in": 300}}'
                writer.write(
                    f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
                )
            elif f"authorization: bearer t{self.tokens}\r" in head.lower():
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\nDocker-Content-Digest: "
                    + DIGEST.encode()
                    + b"\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n\r\n"
                )
            else:
                realm = f"http://127.0.0.1:{self.port}/token"
                challenge = f'WWW-Authenticate: Bearer realm="{realm}",service="s"'
                writer.write(
                    f"HTTP/1.1 401 No\r\nContent-Length: 0\r\n{challenge}\r\n\r\n".encode()
                )


def test_a_token_is_asked_for_once_and_again_when_it_is_refused() -> None:
    async def work(registry: Registry) -> None:
        assert isinstance(registry, Guarded)
        async with Clients() as clients:
            options = StoreOptions(clients=clients, docker_config=b"{}")
            for _ in range(3):
                await registry.look("team", options)
            assert registry.tokens == 1
            registry.tokens = 2  # the one we have holds no more
            await registry.look("team", options)
            assert registry.tokens == 3
            await registry.look("team", options)
            assert registry.tokens == 3

    with_registry(work, Guarded())


def test_an_access_that_nobody_uses_is_forgotten() -> None:
    now = 0.0
    clients = Clients(clock=lambda: now)
    one, other = clients.access("one"), clients.access("other")
    now = 1800.0
    assert clients.access("one") is one
    now = 3700.0
    clients.access("new")
    assert clients.access("one") is one
    assert clients.access("other") is not other


def test_what_is_trusted_otherwise_shares_nothing(tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_text("one")
    marks = [
        Trust().mark,
        Trust(ca_data=b"a").mark,
        Trust(ca_data=b"b").mark,
        Trust(ca_files=(ca,)).mark,
    ]
    ca.write_text("another")
    assert len({*marks, Trust(ca_files=(ca,)).mark}) == 5
    assert Trust(ca_data=b"a").mark == marks[1]


def test_clients_that_nobody_uses_any_more_are_closed() -> None:
    async def go() -> None:
        now = [0.0]
        made: list[httpx.AsyncClient] = []

        def make() -> httpx.AsyncClient:
            made.append(httpx.AsyncClient())
            return made[-1]

        async with Clients(clock=lambda: now[0]) as clients:
            for number in range(300):
                clients.get(number, make)
                now[0] += 60
            await asyncio.sleep(0.05)
            assert sum(not client.is_closed for client in made) <= 64
            assert clients.get(299, make) is made[299]
        assert all(client.is_closed for client in made)

    asyncio.run(go())
