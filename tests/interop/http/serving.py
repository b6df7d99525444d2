"""A gateway's HTTP server over a tree, on a real loopback socket, for as long as a test needs it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dav.fast import FastLane
from dav.reply import WsgiApp
from gateway.web.access import AccessLog
from gateway.web.server import HttpLimits, HttpServer


class Serving:
    """A running server and where it listens."""

    def __init__(
        self, app: WsgiApp, threads: int, limits: HttpLimits | None, lane: FastLane | None, access: AccessLog | None
    ) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.server = HttpServer(self.listener, app, lane=lane, threads=threads, limits=limits, access=access)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def connect(self) -> socket.socket:
        """Open a connection of which the test sends every byte."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@contextmanager
def serving(
    app: WsgiApp,
    *,
    threads: int = 8,
    limits: HttpLimits | None = None,
    lane: FastLane | None = None,
    access: AccessLog | None = None,
) -> Iterator[Serving]:
    """Serve until the block ends; then no thread of the server may be left."""
    running = Serving(app, threads, limits, lane, access)
    try:
        yield running
    finally:
        running.server.drain(10)
        running.thread.join(10)
        running.listener.close()
        assert not running.thread.is_alive()
