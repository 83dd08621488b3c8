"""A server between us and a real registry that breaks one thing at a time.

What the fault does not answer is passed on, so that all else is what a registry really says.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from ocistate.oci.model import MANIFEST

_HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "authorization", "date")


class Handler(BaseHTTPRequestHandler):
    """One request: to the fault first, and to the registry behind when that returns False."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet
    fault: ClassVar[Callable[[Handler], bool]]
    upstream: ClassVar[str]
    requests: ClassVar[list[tuple[str, str, str]]]
    """Method, path and ``Authorization`` of each request, in order."""
    ranges: ClassVar[list[str]]
    """``Content-Range`` of each request that has one."""

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def handle_all(self) -> None:
        auth = self.headers.get("Authorization", "")
        type(self).requests.append((self.command, self.path, auth))
        if self.headers.get("Content-Range"):
            type(self).ranges.append(self.headers["Content-Range"])
        self.left = int(self.headers.get("Content-Length") or 0)
        # The client may hang up on a misbehaving server at any moment.
        with suppress(OSError):
            if not type(self).fault(self):
                self.behave()

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = handle_all

    def body(self) -> bytes:
        """The request's body; the first call has it."""
        length, self.left = self.left, 0
        return self.rfile.read(length)

    def behave(self) -> None:
        """Pass the request on, and the answer back."""
        connection = http.client.HTTPConnection(self.upstream, timeout=20)
        kept = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
        try:
            connection.request(self.command, self.path, self.body(), kept)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        length = response.getheader("Content-Length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        self.wfile.write(content)

    def break_off(self, count: int) -> bool:
        """Pass on the first ``count`` bytes of the body, and hang up on both sides."""
        connection = http.client.HTTPConnection(self.upstream, timeout=20)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(self.rfile.read(count))
        connection.close()
        self.close_connection = True
        # Unread bytes make the kernel reset the connection, as a cut line would.
        return True

    def answer(
        self,
        body: bytes = b"",
        *,
        status: int = 200,
        kind: str = "application/octet-stream",
        digest: str = "",
        length: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> bool:
        self.body()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if length is not None:
            self.close_connection = True
        return True

    def pour(
        self,
        piece: bytes,
        *,
        status: int = 200,
        pause: float = 0.0,
        kind: str = MANIFEST,
        encoding: str = "",
    ) -> bool:
        """Chunks without end."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        chunk = b"%x\r\n%s\r\n" % (len(piece), piece)
        for _ in range(2000):
            self.wfile.write(chunk)
            self.wfile.flush()
            time.sleep(pause)
        self.close_connection = True
        return True


Fault = Callable[[Handler], bool]


class Registry:
    """The server before the registry at ``upstream``, and another one that must see no secret."""

    def __init__(self, fault: Fault, upstream: str) -> None:
        def make(fault: Fault) -> tuple[ThreadingHTTPServer, type[Handler]]:
            members = {
                "fault": staticmethod(fault), "upstream": upstream, "requests": [], "ranges": [],
            }  # fmt: skip
            handler = type("Faulty", (Handler,), members)
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            return server, handler

        self._server, self.handler = make(fault)
        self._other, self.stranger = make(lambda h: h.command == "PUT" and h.answer(status=201))
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.other = f"127.0.0.1:{self._other.server_port}"

    def close(self) -> None:
        for server in (self._server, self._other):
            server.shutdown()
            server.server_close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def methods(self) -> list[str]:
        """The requests' methods, in order."""
        return [method for method, _, _ in self.handler.requests]


def behaves(handler: Handler) -> bool:
    """No fault at all."""
    return False


def on(part: str, act: Fault, method: str = "") -> Fault:
    """Act on requests whose path holds ``part``; behave otherwise."""

    def fault(handler: Handler) -> bool:
        if part in handler.path and method in ("", handler.command):
            return act(handler)
        return False

    return fault


def once(fault: Fault) -> Fault:
    """A fault that shows one time only."""
    done: list[bool] = []

    def first(handler: Handler) -> bool:
        if done or not fault(handler):
            return False
        done.append(True)
        return True

    return first
