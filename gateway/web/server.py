"""The HTTP server: a readiness loop in front, cheroot's engine behind, on a listening socket that is handed in.

The loop (`gateway.web.loop`) owns every connection until a request is whole, and answers what needs no thread; the rest
goes to a pool of cheroot's threads. What differs from cheroot as it comes: the socket is not bound here and may be
shared with other processes; file content goes to the socket as views, without a copy, and from the loop; a request body
that nobody read ends its connection instead of filling memory; drain has a deadline.
Threads: `serve_forever` owns one, the loop's; requests run on a pool of `threads`; `drain` is called from another.
"""

import contextlib
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import structlog
from cheroot import wsgi
from cheroot.makefile import MakeFile
from cheroot.workers import threadpool

from dav.fast import LARGEST, Answer, FastLane, Request, peer_environ
from dav.files import FileBody, MultipartBody
from dav.reply import LASTING, WHO, WsgiApp
from gateway.forwarded import Proxies
from gateway.tls import Contexts
from gateway.web.access import Accesses
from gateway.web.chunks import Chunks
from gateway.web.client import UNSENT, Client, keep_unsent
from gateway.web.loop import Loop
from gateway.web.requests import PATIENCE_S, HttpConnection
from store.errors import StoreError

_SHUTDOWN: Final[object] = vars(threadpool)["_SHUTDOWNREQUEST"]  # cheroot's mark for "no more", not in its types
CUT_S: Final = 1.0  # how long a thread may take to notice that its connection was cut
THREADS: Final = 64
READERS: Final = 4  # of so many threads one may wait for bytes of a body

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
        self, listener: socket.socket, app: WsgiApp, *, lane: FastLane | None = None, threads: int = THREADS,
        limits: HttpLimits | None = None, access: Accesses | None = None, tls: Contexts | None = None,
        proxies: Proxies | None = None,
    ) -> None:  # fmt: skip
        """Serve on `listener`, which is bound and listening; it stays the caller's to close.

        Args:
            listener: where.
            app: answers every request.
            lane: answers some without a thread, as `app` would.
            threads: most requests that run at a time.
            limits: bounds on what clients may make the server keep.
            access: told of every request.
            tls: what connections speak TLS by; `None`: they speak plainly. It is watched, and closed by `drain`.
            proxies: that `app` believes; `access` is told whom they ask for.
        """
        self._engine = _Engine(listener, app, lane, threads, limits or HttpLimits(), access, tls, proxies)
        self._engine.prepare()

    def serve_forever(self) -> None:
        """Accept and answer until `drain`."""
        self._engine.loop.run()

    @property
    def serving(self) -> bool:
        """Whether new requests are welcome: not once `drain` was called."""
        return self._engine.ready

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._engine.loop.connections

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

    requests: Any

    def __init__(
        self, listener: socket.socket, app: WsgiApp, lane: FastLane | None, threads: int, limits: HttpLimits,
        access: Accesses | None, tls: Contexts | None, proxies: Proxies | None,
    ) -> None:  # fmt: skip
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
        self.listener, self.limits, self.lane, self.access, self.tls = listener, limits, lane, access, tls
        self.proxies = proxies
        self._finished = False  # what `drain` found
        self.places = threading.BoundedSemaphore(max(1, threads // READERS))  # for who waits for bytes of a body
        self.gateway = _Gateway
        self.ConnectionClass = HttpConnection
        self.software = "AetherFS"
        self.max_request_header_size = limits.header_bytes
        self.max_request_body_size = limits.body_bytes
        self.loop = Loop(
            listener,
            lane,
            self._hand,
            limits,
            noted=self._note if access else None,
            tls=tls,
            waiting=lambda: bool(self.requests.qsize),
        )

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
        keep_unsent(self.listener, UNSENT)
        self.socket = self.listener
        self.requests.start()
        if self.tls is not None:
            self.tls.watch()
        self.ready = True
        self._start_time = time.time()

    def clear_stats(self) -> None:
        """Count, but not in cheroot's table of all servers there ever were: it would keep each of them for ever."""
        super().clear_stats()  # type: ignore[no-untyped-call]  # cheroot's types stop here
        vars(logging)["statistics"].pop(f"Cheroot HTTPServer {id(self)}", None)

    @property
    def can_add_keepalive_connection(self) -> bool:
        """Whether a connection may be kept for its next request; cheroot asks before it writes a head."""
        return self.ready and not self.loop.crowded

    def _hand(self, client: Client) -> bool:
        """Give a client to a thread; `False`: too many wait."""
        conn = client.engine
        if not isinstance(conn, HttpConnection):
            conn = HttpConnection(self, client.socket, MakeFile)
            conn.remote_addr, conn.remote_port = client.address, client.port
            conn.client, conn.gone = client, self.loop.gone
            client.engine = conn
        conn.begin(client.buffer)
        client.buffer = b""
        try:
            self.requests.put(conn)
        except queue.Full:
            return False
        return True

    def _note(self, client: Client, request: Request, answer: Answer) -> None:
        """Tell the access log of a request that no thread has answered."""
        assert self.access is not None, "told of only where there is one"  # noqa: S101  # for the type checker
        line, fields = request.line, request.fields.environ
        address, forwarded = client.address, fields.get("HTTP_X_FORWARDED_FOR", "")
        if forwarded and self.proxies is not None:
            address = self.proxies.client_of(address, forwarded)
        self.access.note(
            address, line.method.decode("ascii"), line.target.decode("ascii"), answer.status, answer.size,
            fields.get("HTTP_REFERER", ""), fields.get("HTTP_USER_AGENT", ""), str(answer.who),
        )  # fmt: skip

    def put_conn(self, conn: Any) -> None:
        """Give a connection back to the loop. On the thread that has answered it."""
        conn.client.buffer = b"" if conn.client.close_after else conn.left()
        with contextlib.suppress(OSError):  # it is closed: the loop finds out
            conn.socket.setblocking(False)
        self.loop.take_back(conn.client)

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """Log what cheroot has to say: a broken body with its reason, lost clients not at all."""
        if level >= 30:
            _log.error("connection failed", detail=msg[:2048], exc_info=traceback)

    def drain(self, timeout_s: float) -> bool:
        """End; see `HttpServer.drain`."""
        if not self.ready:
            return self._finished
        deadline = time.monotonic() + timeout_s
        self.ready = False  # answers from now on say `Connection: close`
        ended = self.loop.drain(timeout_s)
        workers = list(self.requests._threads)
        for _ in workers:
            with contextlib.suppress(queue.Full):
                self.requests._queue.put(_SHUTDOWN, timeout=max(0.0, deadline - time.monotonic()))
        self._join(workers, deadline if not ended else time.monotonic() + CUT_S)
        busy = [worker for worker in workers if worker.is_alive()]
        for worker in busy:
            conn = worker.conn
            if conn is not None:
                with contextlib.suppress(OSError):
                    conn.socket.shutdown(socket.SHUT_RDWR)
        self._join(busy, time.monotonic() + CUT_S)
        if not any(worker.is_alive() for worker in busy):
            self.loop.abandon()
        self._finished = ended and not busy
        if self.tls is not None:
            self.tls.close()
        if self.access is not None:
            self.access.close()
        return self._finished

    @staticmethod
    def _join(workers: Iterable[threading.Thread], until_s: float) -> None:
        for worker in workers:
            worker.join(max(0.0, until_s - time.monotonic()))


class _Gateway(wsgi.Gateway_10):
    """One request's way into the application and its answer's way out."""

    def get_environ(self) -> Any:
        """Return what the application is told. Its scheme is the connection's, whatever an absolute target says."""
        request = self.req
        if request.chunked_read:
            request.rfile = Chunks(request.conn.rfile, request.server.max_request_body_size)
        environ: dict[str, Any] = super().get_environ()  # type: ignore[no-untyped-call]  # cheroot's types stop here
        return environ | peer_environ(self.req.conn.client.peer)

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """Note the head of the answer, and whether the connection can be used again."""
        request = self.req
        unread = getattr(request.rfile, "remaining", 0) > request.server.limits.unread_bytes
        self.status = int(status[:3])
        # The end of an unread chunked body is not known, and so not where the next request begins.
        if unread or request.chunked_read or ("Connection", "close") in headers:
            request.close_connection = True
        return super().start_response(status, headers, exc_info)

    def respond(self) -> None:
        """Run the application and send what it yields; the content of files is the loop's to send."""
        client = self.req.conn.client
        client.cut = True  # until its end is reached
        response: Iterable[bytes | memoryview] = self.req.server.wsgi_app(self.env, self.start_response)
        self.req.conn.answered()
        self._note_access()
        if isinstance(response, FileBody | MultipartBody):
            self.req.ensure_headers_sent()
            if isinstance(response, MultipartBody):
                head, response = response.chain()
                client.out.append(head)
            client.body, client.cut = response, False
            return
        kept = self._kept()
        if isinstance(response, tuple):  # whole: the loop sends it
            if kept:  # now, for whoever asked for it may be gone, and others wait for it
                self._remember(kept.all(response))
            for piece in response:
                self.write(piece)
            self._wrote_all()
            return
        try:
            for piece in response:
                self.write(piece)
                self.req.conn.push()
                kept = kept and kept.more(piece)
            self._remember(kept)
            self._wrote_all()
        except StoreError as error:  # what is sent already can't be taken back: it ends short of its end
            if not self.req.sent_headers:
                raise
            _log.error("content broke off", error=str(error), address=self.env["REMOTE_ADDR"])
            self.req.close_connection, self.req.chunked_write = True, False
        finally:
            close: Callable[[], None] | None = getattr(response, "close", None)
            if close is not None:
                close()

    def _wrote_all(self) -> None:
        """Take note that the body is at its end."""
        self.req.ensure_headers_sent()
        short = bool(self.remaining_bytes_out) and self.req.method != b"HEAD"
        self.req.conn.client.cut = short
        if short:
            self.req.close_connection = True  # the only way left to say that the body is short

    def _note_access(self) -> None:
        access = self.req.server.access
        if access is not None:
            size = -1 if self.remaining_bytes_out is None else self.remaining_bytes_out
            access.note(
                self.env["REMOTE_ADDR"], self.env["REQUEST_METHOD"], self.env.get("REQUEST_URI", ""), self.status,
                0 if self.req.method == b"HEAD" else size,
                self.env.get("HTTP_REFERER", ""), self.env.get("HTTP_USER_AGENT", ""), str(self.env.get(WHO, "")),
            )  # fmt: skip

    def _kept(self) -> "_Kept | None":
        """Return where to keep an answer that says of itself that it lasts."""
        whole = self.req.conn.client.request is not None and self.req.method in (b"GET", b"PROPFIND")
        if not whole or not self.env.get(LASTING) or self.status >= 300:
            return None
        lines = [b"%s: %s\r\n" % (key, value) for key, value in self.req.outheaders if key != b"Content-Length"]
        return _Kept(b"HTTP/1.1 %s\r\n%s" % (self.req.status, b"".join(lines)))

    def _remember(self, kept: "_Kept | None") -> None:
        """Have the loop give an answer again."""
        if kept is None:
            return
        client, content = self.req.conn.client, b"".join(kept.pieces)
        head = b"%sContent-Length: %d\r\n" % (kept.head, len(content))
        self.req.server.lane.remember(
            client.request, client.asked_body, self.status, head, content, client.peer, self.env.get(WHO, "")
        )

    def write(self, piece: bytes | memoryview) -> None:
        """Write a piece of the body, behind the head. It waits with the connection to be sent."""
        request = self.req
        request.ensure_headers_sent()
        if not len(piece):
            return
        if request.chunked_write:
            request.write(bytes(piece))
            return
        if self.remaining_bytes_out is not None:
            self.remaining_bytes_out -= len(piece)
            if self.remaining_bytes_out < 0:
                raise BodyTooLong(request.uri)
        request.conn.client.out.append(piece)


class _Kept:
    """An answer as it is sent, to be given again."""

    def __init__(self, head: bytes) -> None:
        self.head = head  # status line and field lines, before the connection's own are added
        self.pieces: list[bytes] = []
        self._left = LARGEST

    def more(self, piece: bytes | memoryview) -> "_Kept | None":
        """Keep a piece; `None` once it is too much."""
        self._left -= len(piece)
        if self._left < 0:
            return None
        self.pieces.append(bytes(piece))
        return self

    def all(self, pieces: Iterable[bytes | memoryview]) -> "_Kept | None":
        """Keep several."""
        kept: _Kept | None = self
        for piece in pieces:
            kept = kept and kept.more(piece)
        return kept


class BodyTooLong(Exception):
    """An application yielded more than its Content-Length: a defect of ours."""

    def __init__(self, target: bytes) -> None:
        self.target = target
        super().__init__(f"more bytes than Content-Length said, for {target[:200]!r}")
