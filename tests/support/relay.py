"""A relay between an HTTP client and a gateway: every byte passes unchanged, and each exchange is kept.

Tests count with it what a client asked, and take recordings for golden files. A test may answer a request in the
gateway's place. Understands as much of HTTP/1.1 as the clients of the tests use (RFC 9112): bodies with a length or in
chunks, `Expect: 100-continue`, one request at a time on a connection.

Threads: one a connection; `exchanges` may be read at any time.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final
from urllib.parse import urlsplit

LONGEST_S: Final = 60.0  # for the gateway or the client to go on
_PIECE: Final = 1 << 16


@dataclass
class Exchange:
    """One request and its answer, as they were sent."""

    request: bytes
    answer: bytes = field(default=b"", repr=False)

    @property
    def method(self) -> str:
        """Such as `GET`."""
        return self.request.partition(b" ")[0].decode("ascii")

    @property
    def target(self) -> str:
        """As it was sent, so quoted."""
        return self.request.split(b" ", 2)[1].decode("latin-1")

    @property
    def status(self) -> int:
        """Of the final answer; 0 while there is none."""
        return int(self.answer.split(b" ", 2)[1]) if self.answer else 0

    def field(self, name: str) -> str | None:
        """Return the value of a field of the request."""
        return fields(self.request.partition(b"\r\n\r\n")[0]).get(name.lower())


Instead = Callable[[Exchange], bytes | None]


class Relay:
    """A listening relay; a context manager."""

    def __init__(self, gateway: str, instead: Instead = lambda _exchange: None) -> None:
        """Stand in front of a gateway.

        Args:
            gateway: its URL; what stands behind host and port is not looked at.
            instead: returns the answer to be given in the gateway's place, or `None` to let a request pass; it sees
                the body, unless the client waits with it.
        """
        parts = urlsplit(gateway)
        self._behind = (str(parts.hostname), parts.port or 80)
        self._instead = instead
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._open: set[socket.socket] = set()
        self.exchanges: list[Exchange] = []

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def asked(self, *methods: str) -> list[str]:
        """Return the targets of the requests with one of these methods, in their order."""
        return [exchange.target for exchange in list(self.exchanges) if exchange.method in methods]

    def __enter__(self) -> "Relay":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._behind, LONGEST_S) as gateway, contextlib.suppress(OSError):
            client.settimeout(LONGEST_S)
            self._open |= {client, gateway}
            with client.makefile("rb") as asking, gateway.makefile("rb") as answering:
                while self._exchange(asking, client, answering, gateway):
                    pass
            self._open -= {client, gateway}

    def _exchange(self, asking: BinaryIO, client: socket.socket, answering: BinaryIO, gateway: socket.socket) -> bool:
        """Pass one request and its answer on; return whether another may follow."""
        head = read_head(asking)
        if not head:
            return False
        exchange = Exchange(head)
        self.exchanges.append(exchange)
        body = request_body(asking, head)
        waits = fields(head).get("expect") is not None
        if not waits:
            exchange.request += b"".join(body)
        given = self._instead(exchange)
        if given is not None:
            exchange.answer = given
            client.sendall(given)
            return not waits
        gateway.sendall(exchange.request)
        answer = read_head(answering)
        while answer.startswith(b"HTTP/1.1 1"):
            client.sendall(answer)
            exchange.request += _pass(body, gateway)
            waits, answer = False, read_head(answering)
        exchange.answer = answer
        client.sendall(answer)
        exchange.answer += _pass(answer_body(answering, answer, exchange.method), client)
        closes = fields(answer).get("connection", "").lower() == "close"
        return bool(answer) and not closes and not waits


def read_head(stream: BinaryIO) -> bytes:
    """Read a head with the empty line at its end; `b""` at the end of the stream."""
    lines = []
    while line := stream.readline():
        lines.append(line)
        if line == b"\r\n":
            break
    return b"".join(lines)


def fields(head: bytes) -> dict[str, str]:
    """Return the fields of a head, names in lower case."""
    found = {}
    for line in head.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            found[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
    return found


def request_body(stream: BinaryIO, head: bytes) -> Iterator[bytes]:
    """Yield the body of a request in pieces, as it is sent."""
    named = fields(head)
    if "chunked" in named.get("transfer-encoding", "").lower():
        return _chunks(stream)
    return _counted(stream, int(named.get("content-length", 0)))


def answer_body(stream: BinaryIO, head: bytes, method: str) -> Iterator[bytes]:
    """Yield the body of an answer in pieces, as it is sent (RFC 9112 section 6.3)."""
    if not head or method == "HEAD" or head.split(b" ", 2)[1] in (b"204", b"304"):
        return iter(())
    named = fields(head)
    if "chunked" in named.get("transfer-encoding", "").lower():
        return _chunks(stream)
    if "content-length" in named:
        return _counted(stream, int(named["content-length"]))
    return iter(lambda: stream.read(_PIECE), b"")


def _counted(stream: BinaryIO, left: int) -> Iterator[bytes]:
    while left and (piece := stream.read(min(left, _PIECE))):
        left -= len(piece)
        yield piece


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while line := stream.readline():
        yield line
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            yield read_head(stream)  # the trailer section, most often empty
            return
        yield from _counted(stream, size + 2)


def _pass(pieces: Iterator[bytes], to: socket.socket) -> bytes:
    passed = []
    for piece in pieces:
        to.sendall(piece)
        passed.append(piece)
    return b"".join(passed)
