"""What the agent serves over HTTP: liveness, readiness, metrics, and webhooks that say "look now".

Nothing here can change what a Stack is or runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import h11

from ocistate.agent.http.webhooks import MAX_BODY, PROVIDERS, pushed_repositories
from ocistate.agent.runtime import Agent
from ocistate.agent.sharding.shards import Shards
from ocistate.agent.telemetry.instruments import WEBHOOKS
from ocistate.agent.telemetry.rate_limit import TokenBucket
from ocistate.errors import ConfigError, InputError, Unauthorized

log = logging.getLogger("ocistate.agent")

_HEAD_LIMIT: Final = 16 * 1024
_TIMEOUT: Final = 5.0
"""Seconds for one connection, idle or not."""
_CONNECTIONS: Final = 64
"""So many at a time: a new one takes the place of the one that was opened first."""
_HOOKS_A_SECOND: Final = 20.0
_HOOKS_AT_ONCE: Final = 60.0

_TEXT: Final = "text/plain; charset=utf-8"
_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int
    body: str | bytes = ""
    kind: str = _TEXT


@contextlib.asynccontextmanager
async def serving(
    listen: str, agent: Agent, *, secret: str = "", leases: Shards | None = None
) -> AsyncIterator[None]:
    """Serve on ``HOST:PORT``, or nothing if it is empty. Webhooks need a ``secret``."""
    if not listen:
        yield
        return
    host, _, port = listen.rpartition(":")
    if not port.isdecimal():
        raise ConfigError(f"--listen {listen!r} is not HOST:PORT", hint="write 127.0.0.1:8080")
    clock = asyncio.get_running_loop().time
    bucket = TokenBucket(_HOOKS_A_SECOND, _HOOKS_AT_ONCE, clock)
    site = _Routes(agent, leases, secret.encode(), bucket)
    try:
        server = await asyncio.start_server(site.meet, host.strip("[]") or None, int(port))
    except OSError as error:
        raise ConfigError(f"cannot listen on {listen}: {error.strerror}") from None
    async with server:
        yield


@dataclass(slots=True)
class _Routes:
    agent: Agent
    leases: Shards | None
    secret: bytes
    bucket: TokenBucket
    _open: dict[asyncio.StreamWriter, None] = field(default_factory=dict)
    """The connections, in the order in which they were opened."""

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request, within a bounded time."""
        self._make_room()
        self._open[writer] = None
        try:
            with contextlib.suppress(OSError, TimeoutError, h11.RemoteProtocolError):
                async with asyncio.timeout(_TIMEOUT):
                    await self._exchange(reader, writer)
        except Exception:
            log.exception("answering a request failed unexpectedly")
        finally:
            self._open.pop(writer, None)
            writer.close()

    def _make_room(self) -> None:
        """End the connections that were opened first when there are too many.

        A request is answered as soon as it is there, so that they are the ones on which nothing was
        asked: a probe is answered, however many others say nothing.
        """
        while len(self._open) >= _CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_LIMIT)

        async def event() -> object:
            while (found := wire.next_event()) is h11.NEED_DATA:
                if wire.they_are_waiting_for_100_continue:
                    writer.write(
                        _bytes(wire, h11.InformationalResponse(status_code=100, headers=[]))
                    )
                wire.receive_data(await reader.read(65536))
            return found

        request = await event()
        if not isinstance(request, h11.Request):
            return
        body = bytearray()
        while isinstance(piece := await event(), h11.Data):
            body += piece.data
            if len(body) > MAX_BODY:
                break
        reply = (
            Reply(413, f"more than {MAX_BODY} bytes\n")
            if len(body) > MAX_BODY
            else self._answer(request, bytes(body))
        )
        content = reply.body.encode() if isinstance(reply.body, str) else reply.body
        headers = [
            ("Content-Type", reply.kind),
            ("Content-Length", str(len(content))),
            ("Connection", "close"),
        ]
        for part in (
            h11.Response(status_code=reply.status, headers=headers),
            *([h11.Data(data=content)] if request.method != b"HEAD" else []),
            h11.EndOfMessage(),
        ):
            writer.write(_bytes(wire, part))
        await writer.drain()

    def _answer(self, request: h11.Request, body: bytes) -> Reply:
        try:
            return self._respond(request, body)
        except Exception:
            log.exception("answering a request failed unexpectedly")
            return Reply(500, "this is a bug in ocistate: the agent's log has the details\n")

    def _respond(self, request: h11.Request, body: bytes) -> Reply:
        path = request.target.decode("latin-1").partition("?")[0]
        if path.startswith("/hooks/"):
            if request.method != b"POST":
                return Reply(405, "only POST\n")
            return self._hook(path.removeprefix("/hooks/"), request, body)
        if request.method not in (b"GET", b"HEAD"):
            return Reply(405, "only GET\n")
        if path == "/healthz":
            trouble = self.agent.stuck()
            return Reply(503, f"{trouble}\n") if trouble else Reply(200, "ok\n")
        if path == "/readyz":
            trouble = self.agent.not_ready()
            return Reply(503, f"{trouble}\n") if trouble else Reply(200, "ok\n")
        if path == "/metrics":
            from ocistate.agent.http.metrics import render

            return Reply(200, render(self.agent, self.leases), _METRICS)
        return Reply(404, "not here\n")

    def _hook(self, provider: str, request: h11.Request, body: bytes) -> Reply:
        if provider not in PROVIDERS:
            return Reply(404, f"webhooks are: {', '.join(PROVIDERS)}\n")
        if not self.secret:
            return Reply(403, "webhooks are off: the agent has no OCISTATE_WEBHOOK_SECRET\n")
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers
        }
        try:
            repositories = pushed_repositories(provider, headers, body, self.secret)
        except Unauthorized as error:
            WEBHOOKS.labels(provider, "unauthorized").inc()
            return Reply(401, f"{error.message}\n")
        except InputError as error:
            WEBHOOKS.labels(provider, "malformed").inc()
            return Reply(400, f"{error.message}\n")
        # Only now: who does not know the secret cannot use up the allowance of those who do.
        if not self.bucket.take():
            WEBHOOKS.labels(provider, "limited").inc()
            return Reply(429, "too many at once\n")
        WEBHOOKS.labels(provider, "accepted").inc()
        count = sum(self.agent.pushed(repository) for repository in repositories)
        log.info("webhook %s: %d Stacks look now", provider, count)
        return Reply(202, json.dumps({"stacks": count}) + "\n", "application/json")


def _bytes(wire: h11.Connection, event: h11.Event) -> bytes:
    data = wire.send(event)
    assert isinstance(data, bytes)
    return data
