"""Large reads: HTTP/1.1 bodies come in pieces of 1 MiB, everything else as it is asked for."""

from __future__ import annotations

import ssl
from typing import Any

import httpcore2 as httpcore
import httpx2 as httpx
import pytest

from ocistate.oci.registry.reads import BODY_READ, LARGE_READ, LargeReadStream, read_large
from tests.support.loop import in_loop


class Recorded(httpcore.AsyncMockStream):
    """A stream that keeps how much each read asked for."""

    def __init__(self, pieces: list[bytes], *, alpn: str = "") -> None:
        super().__init__(pieces)
        self.asked: list[int] = []
        self._alpn = alpn

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.asked.append(max_bytes)
        return await super().read(max_bytes, timeout)

    async def start_tls(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return self

    def get_extra_info(self, info: str) -> Any:
        return self if info == "ssl_object" and self._alpn else None

    def selected_alpn_protocol(self) -> str:
        return self._alpn


class Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, stream: Recorded) -> None:
        self.stream = stream

    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return self.stream

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing is retried")


@in_loop
async def test_a_client_reads_a_body_in_large_pieces() -> None:
    stream = Recorded([b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"blob"])
    client = httpx.AsyncClient(trust_env=False)
    pool: Any = client._transport
    pool._pool._network_backend = Backend(stream)
    async with read_large(client):
        answer = await client.get("http://127.0.0.1/")
    assert answer.content == b"blob"
    assert set(stream.asked) == {LARGE_READ}


@in_loop
async def test_a_proxy_of_the_environment_is_read_in_large_pieces_too() -> None:
    stream = Recorded([b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"blob"])
    client = httpx.AsyncClient(proxy="http://127.0.0.1:9", trust_env=False)
    (mount,) = client._mounts.values()
    proxy: Any = mount
    proxy._pool._network_backend = Backend(stream)
    async with read_large(client):
        assert (await client.get("http://registry.example.com/")).content == b"blob"
    assert set(stream.asked) == {LARGE_READ}


@pytest.mark.parametrize("asked", [1, 4096, BODY_READ - 1, LARGE_READ, 4 * LARGE_READ])
@in_loop
async def test_other_reads_take_what_they_ask_for(asked: int) -> None:
    inner = Recorded([b"x" * 10])
    assert await LargeReadStream(inner).read(asked) == b"x" * 10
    assert inner.asked == [asked]


@pytest.mark.parametrize(("alpn", "large"), [("h2", False), ("http/1.1", True), ("", True)])
@in_loop
async def test_http2_keeps_its_own_size_of_reads(alpn: str, large: bool) -> None:
    inner = Recorded([], alpn=alpn)
    stream = await LargeReadStream(inner).start_tls(ssl.create_default_context())
    assert isinstance(stream, LargeReadStream) is large
