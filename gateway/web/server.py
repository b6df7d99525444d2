"""cheroot's engine on a listening socket that is handed in: connections, threads, limits, and a clean end.

What differs from cheroot as it comes: the socket is not bound here and may be shared with other processes (so it never
blocks in accept); a connection that sends nothing holds no thread, and a client that trickles only for a while
(`gateway.web.requests`); file content goes to the socket as views, without a copy; a request body that nobody read ends
its connection instead of filling memory; drain has a deadline.
Threads: `serve_forever` owns one; requests run on a pool of `threads`; `drain` is called from another.
"""

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import structlog
from cheroot import connections, server, wsgi
from cheroot.workers import threadpool

from dav.reply import WsgiApp
from gateway.web.requests import PATIENCE_S, HttpConnection

# cheroot's marks for "no more", not in its types.
_STOP: Final[object] = vars(server)["_STOPPING_FOR_INTERRUPT"]
_SHUTDOWN: Final[object] = vars(threadpool)["_SHUTDOWNREQUEST"]
HEAD_S: Final = 1.0  # how long the rest of a head may take while draining
CUT_S: Final = 1.0  # how long a thread may take to notice that its connection was cut
ACCEPT_PAUSE_S: Final = 0.1
THREADS: Final = 64  # a download holds one for as long as its reader takes

_log = structlog.stdlib.get_logger("aetherfs.http")


class HttpLimits(NamedTuple):
    """Bounds on what clients may make the server keep."""

    header_bytes: int = 64 * 1024  # request line and headers together; a path of 4096 bytes may be 12 KiB encoded
    body_bytes: int = 256 * 1024 * 1024  # largest request body taken at all; applications have bounds of their own
    unread_bytes: int = 64 * 1024  # of a body left unread, this much is read to keep the connection
    timeout_s: int = 20  # longest wait for a client, for each read and write, and between requests
    patience_s: float = PATIENCE_S  # longest wait for the bytes of one request in all, however they trickle in
    waiting: int = 1024  # connections with a request that waits for a thread; the next gets 503
    idle: int = 4096  # connections open without a request; a new one over it is closed, a used one not kept


class HttpServer:
    """One process's HTTP server."""

    def __init__(
        self, listener: socket.socket, app: WsgiApp, *, threads: int = THREADS, limits: HttpLimits | None = None
    ) -> None:
        """Serve `app` on `listener`, which is bound and listening; it stays the caller's to close."""
        self._engine = _Engine(listener, app, threads, limits or HttpLimits())
        self._engine.prepare()

    def serve_forever(self) -> None:
        """Accept and answer until `drain`."""
        self._engine.serve()

    def drain(self, timeout_s: float) -> bool:
        """Stop accepting, let requests in flight finish, close all connections.

        Args:
            timeout_s: how long requests may take to finish; connections still busy then are cut.

        Returns:
            Whether every request finished. A second call only repeats the answer.
        """
        return self._engine.drain(timeout_s)


class _Engine(wsgi.Server):
    """The parts of cheroot that are done otherwise. Names are cheroot's, the private ones it reaches into included."""

    _unservicable_conns: queue.Queue[object]
    _connections: Any
    requests: Any

    def __init__(self, listener: socket.socket, app: WsgiApp, threads: int, limits: HttpLimits) -> None:
        super().__init__(
            listener.getsockname()[:2],
            app,
            numthreads=threads,
            max=threads,
            server_name="AetherFS",
            timeout=limits.timeout_s,
            accepted_queue_size=limits.waiting,
            accepted_queue_timeout=0,
        )
        self.listener, self.limits = listener, limits
        self._finished = False  # what `drain` found
        self._accepting: threading.Thread | None = None
        self.gateway = _Gateway
        self.ConnectionClass = HttpConnection
        self.software = "AetherFS"
        self.max_request_header_size = limits.header_bytes
        self.max_request_body_size = limits.body_bytes
        self.keep_alive_conn_limit = limits.idle

    def prepare(self) -> None:
        """Take the listener instead of binding one.

        Not through cheroot's own way: that gives the socket a time-out, in which a process that lost the race for a
        connection would stand still, and looks at LISTEN_PID.
        """
        self._interrupt = None
        self.listener.setblocking(False)
        if self.listener.family in (socket.AF_INET, socket.AF_INET6):
            # Head and body are sent apart: without this the body waits for the head's acknowledgement.
            self.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = self.listener
        self._connections = connections.ConnectionManager(self)
        self.requests.start()
        self.ready = True
        self._start_time = time.time()

    def process_conn(self, conn: Any) -> None:
        """Give a connection to a thread, a new one only when it has sent something."""
        if conn.last_used is None:
            if self._connections.can_add_keepalive_connection:
                self._connections.put(conn)
            else:
                conn.close()
        else:
            super().process_conn(conn)

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """Log what cheroot has to say: a broken body with its reason, lost clients not at all.

        A failing accept (no descriptors left) comes through here, too, and again at once: it is slowed down.
        """
        if level >= 30:
            _log.error("connection failed", detail=msg[:2048], exc_info=traceback)
        if threading.current_thread() is self._accepting:
            time.sleep(ACCEPT_PAUSE_S)

    def serve(self) -> None:
        """Accept until `drain`, on the calling thread."""
        self._accepting = threading.current_thread()
        super().serve()

    def drain(self, timeout_s: float) -> bool:
        """End; see `HttpServer.drain`."""
        if not self.ready:
            return self._finished
        deadline = time.monotonic() + timeout_s
        self.ready = False  # answers from now on say `Connection: close`
        self._unservicable_conns.put(_STOP)
        self._connections.stop()
        self._take_waiting()
        self._connections.close()
        workers = list(self.requests._threads)
        for _ in workers:
            with contextlib.suppress(queue.Full):
                self.requests._queue.put(_SHUTDOWN, timeout=max(0.0, deadline - time.monotonic()))
        self._join(workers, min(deadline, time.monotonic() + HEAD_S))
        for worker in workers:
            conn = worker.conn  # whose head never gets whole is no request in flight
            if worker.is_alive() and conn is not None:
                conn.leave_head()
        self._join(workers, deadline)
        busy = [worker for worker in workers if worker.is_alive()]
        for worker in busy:
            conn = worker.conn
            if conn is not None:
                with contextlib.suppress(OSError):
                    conn.socket.shutdown(socket.SHUT_RDWR)
        self._join(busy, time.monotonic() + CUT_S)
        self._finished = not busy
        return self._finished

    @staticmethod
    def _join(workers: Iterable[threading.Thread], until_s: float) -> None:
        for worker in workers:
            worker.join(max(0.0, until_s - time.monotonic()))

    def put_conn(self, conn: Any) -> None:
        """Keep a connection for its next request; while draining, close it."""
        try:
            super().put_conn(conn)
        except (ValueError, KeyError):  # the selector was closed between cheroot's look and its use
            conn.close()

    def _take_waiting(self) -> None:
        """Hand over the connections whose request has arrived but was not looked at."""
        selector = self._connections._selector
        for descriptor, conn in list(selector.select(timeout=0)):
            if conn is self:
                continue
            selector.unregister(descriptor)
            try:
                self.requests._queue.put_nowait(conn)
            except queue.Full:
                conn.close()


class _Gateway(wsgi.Gateway_10):
    """One request's way into the application and its answer's way out."""

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """Note the head of the answer, and whether the connection can be used again."""
        request = self.req
        unread = getattr(request.rfile, "remaining", 0) > request.server.limits.unread_bytes
        # The end of an unread chunked body is not known, and so not where the next request begins.
        if unread or request.chunked_read or ("Connection", "close") in headers:
            request.close_connection = True
        return super().start_response(status, headers, exc_info)

    def respond(self) -> None:
        """Run the application and send what it yields."""
        response: Iterable[bytes | memoryview] = self.req.server.wsgi_app(self.env, self.start_response)
        try:
            for piece in response:
                if len(piece):
                    self.write(piece)
            self.req.ensure_headers_sent()
            if self.remaining_bytes_out and self.req.method != b"HEAD":
                self.req.close_connection = True  # the only way left to say that the body is short
        finally:
            close: Callable[[], None] | None = getattr(response, "close", None)
            if close is not None:
                close()

    def write(self, piece: bytes | memoryview) -> None:
        """Send a piece of the body; each part of it has the time-out for itself, so that slow readers may be slow."""
        request = self.req
        request.ensure_headers_sent()
        if request.chunked_write:
            request.write(bytes(piece))
            return
        if self.remaining_bytes_out is not None:
            self.remaining_bytes_out -= len(piece)
            if self.remaining_bytes_out < 0:
                raise BodyTooLong(request.uri)
        view = memoryview(piece)
        while view:
            view = view[request.conn.socket.send(view) :]


class BodyTooLong(Exception):
    """An application yielded more than its Content-Length: a defect of ours."""

    def __init__(self, target: bytes) -> None:
        self.target = target
        super().__init__(f"more bytes than Content-Length said, for {target[:200]!r}")
