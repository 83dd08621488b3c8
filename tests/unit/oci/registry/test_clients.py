"""Many stores of one registry look over one connection, and learn nothing of each other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2 as httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ocistate.errors import Unavailable
from ocistate.oci import StoreOptions, open_store
from ocistate.oci.registry.clients import Clients
from ocistate.oci.registry.tls import Trust
from ocistate.reference import Reference

DIGEST = "sha256:" + "1" * 64


def make_ca() -> str:
    """A CA's certificate in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a CA")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


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


def test_clients_are_bounded_by_number_and_one_in_use_stays_open() -> None:
    async def go() -> None:
        made: list[httpx.AsyncClient] = []

        def make() -> httpx.AsyncClient:
            made.append(httpx.AsyncClient(verify=False))
            return made[-1]

        async with Clients() as clients:
            in_use = clients.acquire("in use", make)
            for number in range(300):
                clients.acquire(number, make)
                clients.release(number)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert sum(not client.is_closed for client in made) == 64
            assert clients.sizes()["registry_clients"] == 64
            assert not in_use.is_closed
            assert clients.acquire(299, make) is made[-1]  # used last, and so still there
            assert clients.acquire(0, make) is made[-1]  # closed, and so made again
            assert len(made) == 302
        assert all(client.is_closed for client in made)

    asyncio.run(go())


def test_more_clients_than_usual_stay_open_while_all_are_in_use() -> None:
    async def go() -> None:
        async with Clients() as clients:
            used = [clients.acquire(n, lambda: httpx.AsyncClient(verify=False)) for n in range(70)]
            assert not any(client.is_closed for client in used)
            for number in range(70):
                clients.release(number)
            assert clients.sizes()["registry_clients"] == 64

    asyncio.run(go())


def test_a_store_with_changing_cas_holds_no_more_clients_than_the_bound() -> None:
    async def go() -> None:
        async with Clients() as clients:
            ca_text = make_ca()
            for number in range(100):
                ca = f"{ca_text}\n# {number}\n".encode()
                options = StoreOptions(clients=clients, ca_data=ca, attempts=1)
                reference = Reference(scheme="oci", registry="localhost:9", repository="x")
                async with open_store(reference, options) as store:
                    with pytest.raises(Unavailable):
                        await store.resolve("v1")
            assert clients.sizes()["registry_clients"] == 64
            assert clients.sizes()["registry_accesses"] == 100

    asyncio.run(go())


def test_a_store_that_is_open_for_long_keeps_its_client_while_others_come_and_go() -> None:
    async def work(registry: Registry) -> None:
        async with Clients() as clients:
            options = StoreOptions(clients=clients)
            reference = Reference(
                scheme="oci", registry=f"127.0.0.1:{registry.port}", repository="x"
            )
            async with open_store(reference, options) as store:
                await store.resolve("v1")
                for number in range(200):
                    clients.acquire(number, lambda: httpx.AsyncClient(verify=False))
                    clients.release(number)
                assert (await store.resolve("v1")).digest == DIGEST

    assert with_registry(work).connections == 1


def test_accesses_are_bounded_by_number() -> None:
    clients = Clients(clock=lambda: 0.0)
    first, second = clients.access(0), clients.access(1)
    for number in range(2, 4097):
        clients.access(number)
        clients.access(0)
    assert clients.sizes()["registry_accesses"] == 4096
    assert clients.access(0) is first
    assert clients.access(1) is not second


def test_tokens_of_a_registry_that_names_ever_new_realms_are_bounded() -> None:
    clients = Clients(clock=lambda: 0.0)
    tokens = clients.access("one").tokens
    for number in range(1000):
        tokens.put((f"https://{number}", "s", "pull"), {"token": "t"}, 0.0)
    assert clients.sizes()["registry_tokens"] == len(tokens) == 16
    assert tokens.get(("https://999", "s", "pull"), 0.0) == "t"
    assert tokens.get(("https://0", "s", "pull"), 0.0) is None


def test_a_given_ca_is_used_without_reading_those_of_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[object] = []
    monkeypatch.setattr("ssl.SSLContext.load_default_certs", lambda self, *more: read.append(self))
    trust = Trust(ca_data=make_ca().encode(), instead=True)
    context = trust.context(ours=True)
    assert len(context.get_ca_certs()) == 1
    assert not read
    trust.context(ours=False)
    assert len(read) == 1
