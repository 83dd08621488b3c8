"""A TCP relay between the agent and a server: it counts, makes the server slow, and strikes."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self


class Tap:
    """Counts the pieces of what is said over some relays, and does harm at one of them.

    A piece is about a request, or the first words of a connection.
    """

    def __init__(self) -> None:
        self.pieces = 0
        self._lock = threading.Lock()
        self._at = 0
        self._lost = False
        self._harm: Callable[[], None] = lambda: None

    def strike(self, after: int, harm: Callable[[], None], *, lost: bool) -> None:
        """Do harm at the piece that comes after so many: it is lost, or just passed on before."""
        with self._lock:
            self._at, self._lost, self._harm = self.pieces + after, lost, harm

    def calm(self) -> None:
        """No harm is done any more."""
        with self._lock:
            self._at = 0

    @contextlib.contextmanager
    def piece(self) -> Iterator[None]:
        """Around the passing on of a piece. Raises ConnectionAbortedError where it is lost."""
        with self._lock:
            self.pieces += 1
            struck = self.pieces == self._at
            lost, harm = self._lost, self._harm
        if struck and lost:
            harm()
            raise ConnectionAbortedError
        yield
        if struck:
            harm()


class Relay:
    """Listens on a port of its own and passes everything on.

    ``sent`` counts bytes to the server; ``delay`` is how many seconds each piece of what the agent
    says takes.
    """

    def __init__(self, port: int, tap: Tap | None = None) -> None:
        self.sent = 0
        self.delay = 0.0
        self.tap = tap or Tap()
        self._target = port
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()

    def cut(self) -> None:
        """End all connections there are; new ones are taken as before."""
        while self._connections:
            with contextlib.suppress(OSError):
                self._connections.pop().shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self._connections += (client, server)
            for source, sink, counted in ((client, server, True), (server, client, False)):
                threading.Thread(
                    target=self._pump, args=(source, sink, counted), daemon=True
                ).start()

    def _pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not counted:
                    sink.sendall(data)
                    continue
                self.sent += len(data)
                time.sleep(self.delay)
                with self.tap.piece():
                    sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
