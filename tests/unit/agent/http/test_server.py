"""Who asks is answered, however many others hold connections and say nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, cast

import pytest

from ocistate.agent.http.server import serving
from ocistate.agent.runtime import Agent
from testbed.process import free_port


class Quiet:
    """An agent that is well."""

    def stuck(self) -> str:
        return ""


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    try:
        return await reader.read()
    finally:
        writer.close()


POST = b"POST /hooks/generic HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"


@pytest.mark.parametrize("said", [b"", POST])
def test_a_probe_is_answered_beside_any_number_of_idle_connections(said: bytes) -> None:
    async def go() -> None:
        port = free_port()
        async with serving(f"127.0.0.1:{port}", cast(Agent, cast(Any, Quiet()))):
            with contextlib.ExitStack() as idle:
                for _ in range(200):
                    one = idle.enter_context(socket.create_connection(("127.0.0.1", port)))
                    one.sendall(said)
                    await asyncio.sleep(0)
                async with asyncio.timeout(2):
                    for _ in range(3):
                        assert (await ask(port)).startswith(b"HTTP/1.1 200")
                # Those opened first had to go; the last ones still have their time.
                one.setblocking(False)
                with pytest.raises(BlockingIOError):
                    one.recv(1)

    asyncio.run(go())


def test_an_idle_connection_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocistate.agent.http.server._TIMEOUT", 0.05)

    async def go() -> None:
        port = free_port()
        async with serving(f"127.0.0.1:{port}", cast(Agent, cast(Any, Quiet()))):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.timeout(5):
                assert await reader.read() == b""
            writer.close()

    asyncio.run(go())
