"""What the agent serves over HTTP: liveness, readiness, metrics; nothing that changes a thing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from ocistate.agent.runtime import Agent
from ocistate.errors import ConfigError

_LINE_LIMIT: Final = 8192
_TIMEOUT: Final = 5.0


@contextlib.asynccontextmanager
async def serving(listen: str, agent: Agent) -> AsyncIterator[None]:
    """Serve ``/healthz``, ``/readyz`` and ``/metrics`` on ``HOST:PORT``, or nothing if empty."""
    if not listen:
        yield
        return
    host, _, port = listen.rpartition(":")
    if not port.isdecimal():
        raise ConfigError(f"--listen {listen!r} is not HOST:PORT", hint="write 127.0.0.1:8080")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(_TIMEOUT):
                line = await reader.readline()
                while (await reader.readline()).strip():
                    pass
                status, kind, body = _respond(line.decode("latin-1").split(" "), agent)
                head = (
                    f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                )
                writer.write(head.encode() + body)
                await writer.drain()
        writer.close()

    try:
        server = await asyncio.start_server(
            answer,
            host.strip("[]") or None,
            int(port),
            limit=_LINE_LIMIT,
        )
    except OSError as error:
        raise ConfigError(f"cannot listen on {listen}: {error.strerror}") from None
    async with server:
        yield


def _respond(request: list[str], agent: Agent) -> tuple[str, str, bytes]:
    path = request[1].partition("?")[0] if len(request) > 1 else ""
    if request[0] != "GET":
        return "405 Method Not Allowed", "text/plain", b"only GET\n"
    if path == "/healthz":
        return "200 OK", "text/plain", b"ok\n"
    if path == "/readyz":
        if agent.has_looked:
            return "200 OK", "text/plain", b"ok\n"
        return "503 Service Unavailable", "text/plain", b"Stacks have not been read yet\n"
    if path == "/metrics":
        from ocistate.agent.metrics import render

        return "200 OK", "text/plain; version=0.0.4; charset=utf-8", render(agent)
    return "404 Not Found", "text/plain", b"not here\n"
