"""An HTTP proxy in front of a real S3 server that spoils chosen exchanges, for tests of what a lost answer does.

Everything passes until a fault is set. A fault is an action and a condition: the first `times` requests that it fits
are treated so, all others pass. The `Host` header goes on as the client wrote it, so signatures stay valid.

Threads: one a connection; faults may be set at any time from any thread.
"""

import contextlib
import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from tests.support.s3 import S3Server

LONGEST_S: Final = 120.0  # for the server behind, and for an exchange that is held
_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


class Seen(NamedTuple):
    """One request as it arrived."""

    method: str
    key: str  # of the object, below the bucket; empty for the bucket's own
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def conditional_write(self) -> bool:
        """Whether it writes only if a condition holds."""
        return self.method == "PUT" and ("if-match" in self.headers or "if-none-match" in self.headers)


class Reply(NamedTuple):
    """One answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Exchange:
    """What an action can do with one request."""

    def __init__(self, proxy: "Proxy", handler: "_Handler", request: Seen, path: str) -> None:
        self.request = request
        self._proxy, self._handler, self._path = proxy, handler, path

    def forward(self) -> Reply:
        """Have the server do it, and return its whole answer."""
        return self._proxy.ask(self.request, self._path)

    def answer(self, reply: Reply, *, cut: int | None = None) -> None:
        """Send an answer; with `cut`, only so many bytes of its body, and then the end of the connection."""
        self._handler.send(reply, cut)

    def reset(self) -> None:
        """Break the connection as a crashed peer does."""
        self._handler.reset()

    def hold(self) -> None:
        """Say nothing until the proxy heals or closes, then break the connection."""
        self._proxy.healed.wait(LONGEST_S)
        self.reset()


Action = Callable[[Exchange], None]
Condition = Callable[[Seen], bool]


def through(exchange: Exchange) -> None:
    """Let it pass."""
    exchange.answer(exchange.forward())


def drop_request(exchange: Exchange) -> None:
    """Lose the request before the server sees it."""
    exchange.reset()


def hang(exchange: Exchange) -> None:
    """Take the request and never answer."""
    exchange.hold()


def instead(status: int, code: str, **headers: str) -> Action:
    """Answer in the server's place; `Retry_After="1"` is the header `Retry-After: 1`."""
    return lambda exchange: exchange.answer(refusal(status, code, **headers))


def cut(size: int) -> Action:
    """Let only the first bytes of the answer's body through, though it announces all."""
    return lambda exchange: exchange.answer(exchange.forward(), cut=size)


def after(first: Callable[[], object], then: Action) -> Action:
    """Do something before an action, once the request is there."""

    def action(exchange: Exchange) -> None:
        first()
        then(exchange)

    return action


def committed(action: Action, then: Callable[[], object] = lambda: None) -> Action:
    """Have the server do it, do something else, and only then lose or spoil the answer."""

    def spoil(exchange: Exchange) -> None:
        exchange.forward()
        then()
        action(exchange)

    return spoil


def refusal(status: int, code: str, **headers: str) -> Reply:
    """Return an error as S3 writes it."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>told to</Message></Error>".encode()
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Reply(status, (("Content-Type", "application/xml"), *named), body)


class _Fault(NamedTuple):
    action: Action
    fits: Condition
    left: list[int]  # one number


class Proxy:
    """A listening proxy; a context manager."""

    def __init__(self, server: S3Server) -> None:
        self._server = server
        self._upstream = urlsplit(server.endpoint)
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()
        self.healed = threading.Event()
        self.seen: list[Seen] = []
        self.spoilt: list[Seen] = []  # those that an action was taken on
        self._listener = _Listener(self)
        self._thread = threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> "Proxy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.heal()
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.server_address[1]}"

    def address(self, behind: str) -> str:
        """Spell the address of the same place as `behind`, reached through this proxy."""
        return behind.replace(quote(self._server.endpoint, safe=":/"), quote(self.endpoint, safe=":/"))

    def fault(self, action: Action, fits: Condition = lambda seen: True, *, times: int = 1) -> None:
        """Treat the next `times` requests that fit so."""
        with self._lock:
            self.healed.clear()
            self._faults.append(_Fault(action, fits, [times]))

    def heal(self) -> None:
        """Let everything pass from now on; exchanges that are held end."""
        with self._lock:
            self._faults.clear()
        self.healed.set()

    def take(self, request: Seen) -> Action:
        """Note a request and return what is to be done with it."""
        with self._lock:
            self.seen.append(request)
            for fault in self._faults:
                if fault.left[0] > 0 and fault.fits(request):
                    fault.left[0] -= 1
                    self.spoilt.append(request)
                    return fault.action
        return through

    def key(self, path: str) -> str:
        """Return the object that a request's path names."""
        plain = unquote(urlsplit(path).path).lstrip("/")
        return plain.removeprefix(self._server.bucket).lstrip("/")

    def ask(self, request: Seen, path: str) -> Reply:
        """Send a request on and return the answer."""
        connection = http.client.HTTPConnection(str(self._upstream.hostname), self._upstream.port, timeout=LONGEST_S)
        with contextlib.closing(connection):
            connection.putrequest(request.method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                if name not in ("connection", "expect", "transfer-encoding"):
                    connection.putheader(name, value)
            connection.endheaders(request.body)
            with connection.getresponse() as answer:
                headers = tuple(
                    (name, value)
                    for name, value in answer.getheaders()
                    if name.lower() not in _HOP_BY_HOP
                    or (request.method == "HEAD" and name.lower() == "content-length")
                )
                return Reply(answer.status, headers, answer.read())


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away in the middle are what this is about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def _any(self) -> None:
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Seen(self.command, proxy.key(self.path), headers, body)
        proxy.take(request)(Exchange(proxy, self, request, self.path))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

    def send(self, reply: Reply, cut: int | None) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body if cut is None else reply.body[:cut])
        if cut is not None:
            self.close_connection = True

    def reset(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        # Linger of zero seconds: the kernel sends a reset instead of an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def proxied(server: S3Server) -> Iterator[Proxy]:
    """Run a proxy in front of a server."""
    with Proxy(server) as proxy:
        yield proxy
