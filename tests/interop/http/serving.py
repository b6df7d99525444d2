"""A gateway's HTTP server over a tree, on a real loopback socket, for as long as a test needs it."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from OpenSSL import SSL

from dav.fast import FastLane
from dav.reply import WsgiApp
from gateway.tls import Contexts
from gateway.web.access import AccessLog
from gateway.web.server import HttpLimits, HttpServer


class Serving:
    """A running server and where it listens."""

    def __init__(
        self, app: WsgiApp, threads: int, limits: HttpLimits | None, lane: FastLane | None, access: AccessLog | None,
        tls: Contexts | None,
    ) -> None:  # fmt: skip
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.server = HttpServer(self.listener, app, lane=lane, threads=threads, limits=limits, access=access, tls=tls)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def connect(self) -> socket.socket:
        """Open a connection of which the test sends every byte."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def connect_tls(self, context: SSL.Context | None = None) -> "Secured":
        """The same inside of TLS."""
        return Secured(self.connect(), context or SSL.Context(SSL.TLS_CLIENT_METHOD))


class Secured:
    """The client's end of a TLS connection, used like a socket; unlike `ssl`'s it can be ended in one direction."""

    def __init__(self, sock: socket.socket, context: SSL.Context) -> None:
        sock.setblocking(True)  # OpenSSL itself waits on it
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 20, 0))
        self.sock, self.tls = sock, SSL.Connection(context, sock)
        self.tls.set_connect_state()
        self.tls.do_handshake()

    def __enter__(self) -> "Secured":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def sendall(self, data: bytes) -> None:
        """Send; like all here raises OSError when the server has ended the connection."""
        try:
            self.tls.sendall(data)
        except SSL.Error as error:
            raise ConnectionResetError(*error.args) from error

    def shutdown(self, how: int) -> None:
        """Say that no more will be sent, and nothing else: the TCP connection stays as it is."""
        assert how == socket.SHUT_WR
        try:
            self.tls.shutdown()
        except SSL.Error as error:
            raise ConnectionResetError(*error.args) from error

    def recv(self, size: int) -> bytes:
        """Return what comes next, nothing at TLS's own end."""
        try:
            return self.tls.recv(size)
        except SSL.ZeroReturnError:
            return b""
        except SSL.Error as error:
            raise ConnectionResetError(*error.args) from error


@contextmanager
def serving(
    app: WsgiApp,
    *,
    threads: int = 8,
    limits: HttpLimits | None = None,
    lane: FastLane | None = None,
    access: AccessLog | None = None,
    tls: Contexts | None = None,
) -> Iterator[Serving]:
    """Serve until the block ends; then no thread of the server may be left."""
    running = Serving(app, threads, limits, lane, access, tls)
    try:
        yield running
    finally:
        running.server.drain(10)
        running.thread.join(60)
        running.listener.close()
        assert not running.thread.is_alive()
