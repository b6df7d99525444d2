"""The readiness loop: one thread that owns every HTTP connection until a whole request has arrived.

It receives into a bounded buffer, answers what needs no thread (`dav.fast`), sends the contents of files without
waiting for their readers, and hands every other request to a thread of cheroot's with the bytes that were read, those
of a short body among them. When that has answered, the connection comes back, and with it, where the answer is a file,
its content to be sent. So who sends slowly, or nothing, or does not read, holds no thread; of those who send long
bodies slowly only some do (`gateway.web.requests`).

Threads: `run` owns the loop. `take_back`, `gone` and `drain` may be called from any other.
"""

import contextlib
import enum
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import structlog

from dav.fast import Answer, FastLane, Request, Whole
from dav.files import PIECE
from dav.wire.dates import http_date
from gateway.lifecycle import peer_of
from gateway.tls import Contexts
from gateway.web.client import HELD, JOINED, LEAST, TURN, Client, beyond
from gateway.web.framing import HSTS, short_body
from gateway.web.pace import LOOK_S, Pace
from gateway.web.tls import NotTls
from store.errors import StoreError

SWEEP_S: Final = 0.25  # between two looks at who has waited too long
HEAD_S: Final = 1.0  # how long the rest of a request may take while draining
FETCHERS: Final = 32  # threads that read cold pieces of files
LINGER_S: Final = 1.0  # how long an end is waited for, so that a client that is still sending gets its answer,
SENDING_S: Final = 60.0  # and as long as it does go on sending: some read nothing before they have sent all of a body
DROPPED: Final = 256 << 20  # bytes of that, at most
EVICTED_S: Final = 1.0  # a connection idle for longer goes for a new one, where there are too many
STALLED_S: Final = 1.0  # who takes nothing for longer goes, where all that do keep too much memory
GREETING_S: Final = 0.005  # for handshakes, before others are looked at again
GIVING_S: Final = 0.005  # for those who take more, and as much for what threads have done

_PLAINLY: Final = (  # to HTTP where TLS is spoken
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 42\r\nServer: AetherFS\r\n"
    b"Connection: close\r\n\r\nthis port speaks https, and this was http\n"
)
_SECURELY: Final = (  # to TLS where HTTP is spoken
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 42\r\nServer: AetherFS\r\n"
    b"Connection: close\r\n\r\nthis port speaks http, and this was https\n"
)
_HELLO: Final = b"\x16"  # what TLS begins with, and no request (RFC 8446 section 5.1)
SHORT_S: Final = 1.0  # when requests wait for a thread for so long,
TAKING_S: Final = 3.0  # who has taken nothing for so long of what a thread sends, such as a listing, goes
_ACCEPTS: Final = 64  # connections taken before the others have their turn
_PIPELINED: Final = 64  # buffers owed from which on no further request of a client is looked at
_IN: Final = select.EPOLLIN if hasattr(select, "EPOLLIN") else select.POLLIN
_OUT: Final = select.EPOLLOUT if hasattr(select, "EPOLLOUT") else select.POLLOUT
_NOTHING: Final = 0

_log = structlog.stdlib.get_logger("aetherfs.http")


class Bounds(Protocol):
    """What the loop needs of `HttpLimits`."""

    @property
    def header_bytes(self) -> int: ...
    @property
    def body_bytes(self) -> int: ...
    @property
    def timeout_s(self) -> float: ...
    @property
    def patience_s(self) -> float: ...
    @property
    def idle(self) -> int: ...


class _Step(enum.Enum):
    """What a client needs next."""

    SEND = enum.auto()
    WAIT = enum.auto()  # for more of it
    HAND_ON = enum.auto()


Noted = Callable[[Client, Request, Answer], None]


class Loop:
    """See the module."""

    def __init__(
        self, listener: socket.socket, lane: FastLane | None, hand: Callable[[Client], bool], limits: Bounds,
        *, noted: Noted | None = None, tls: Contexts | None = None, waiting: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        """Prepare.

        Args:
            listener: bound and listening, not blocking; may be shared.
            lane: answers what needs no thread; `None`: every request is handed on.
            hand: gives a client to a thread; `False`: there is no room.
            limits: see `HttpLimits`.
            noted: told of every answer that no thread gave.
            tls: what connections speak TLS by; `None`: they speak plainly.
            waiting: whether requests that were handed on wait for a thread.
        """
        self._waiting, self._short = waiting, 0  # and at how many looks in a row they did
        self._listener, self._lane, self._hand, self._limits, self._noted = listener, lane, hand, limits, noted
        self._tls = tls
        self._poll: Any = select.epoll() if hasattr(select, "epoll") else select.poll()
        self._unit = 1 if hasattr(select, "epoll") else 1000  # of the poll's time-outs, per second
        self._clients: dict[int, Client] = {}
        self._handed: set[Client] = set()
        self._done: deque[Callable[[], None]] = deque()  # what other threads want done here
        self.pace = Pace(self._wake)  # of all threads that work on answers
        self._fetchers = ThreadPoolExecutor(FETCHERS, thread_name_prefix="http-fetch")
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._tail, self._tail_s = b"", 0
        self._share = TURN  # bytes that each client may be sent in this pass
        self._ends_s = 0.0  # monotonic, when all must be over; 0: not draining
        self._drain_began_s = 0.0
        self._paused = False  # no connection is accepted until the next sweep
        self._finished = threading.Event()

    # For other threads

    def take_back(self, client: Client) -> None:
        """Own a client again that a thread has answered; its socket does not block any more."""
        self._later(lambda: self._returned(client))

    def gone(self, client: Client) -> None:
        """Take note that a thread has closed a client."""
        self._later(lambda: self._handed.discard(client))

    def drain(self, timeout_s: float) -> bool:
        """Accept no more, answer what has begun, close everything; return whether all of it ended in time."""
        now_s = time.monotonic()

        def begin() -> None:
            self._drain_began_s, self._ends_s = now_s, now_s + timeout_s

        self._later(begin)
        self._finished.wait(timeout_s + 1)
        return not self._handed and not self._clients

    def abandon(self) -> None:
        """Close what threads were cut off from; once the loop and all of them have ended."""
        for client in self._handed:
            client.socket.close()

    @property
    def crowded(self) -> bool:
        """There are as many connections as may be kept."""
        return self.connections > self._limits.idle

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._clients) + len(self._handed)

    def _later(self, job: Callable[[], None]) -> None:
        self._done.append(job)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it wakes anyway; closed: it has ended
            self._wake_out.send(b"\0")

    # The loop

    def run(self) -> None:
        """Serve until drained."""
        self._poll.register(self._listener, _IN)
        self._poll.register(self._wake_in, _IN)
        listener, wake = self._listener.fileno(), self._wake_in.fileno()
        swept_s = 0.0
        try:
            while not self._over():
                events = self._poll.poll(self._longest_s() * self._unit)
                began_s = time.monotonic()
                self._share = max(LEAST, TURN // max(1, len(events)))
                takers = []  # of more of what they are owed: after those who ask, for whom little is to be done
                newcomers = []  # whose handshakes are not over
                for fd, event in events:
                    client = self._clients.get(fd)
                    if client is not None:
                        if client.shaking:
                            newcomers.append(client)
                        elif event & _OUT:
                            takers.append(client)
                        else:
                            self._served(client, event)
                    elif fd == listener:
                        self._accept()
                    elif fd == wake:
                        with contextlib.suppress(BlockingIOError):
                            self._wake_in.recv(4096)
                self._greet(newcomers)
                self._give(takers)
                self._do_jobs()
                now_s = time.monotonic()
                self.pace.passed(now_s - began_s)
                if now_s - swept_s >= SWEEP_S:
                    swept_s = now_s
                    self._sweep(now_s)
        finally:
            self.pace.end()
            self._fetchers.shutdown(wait=False, cancel_futures=True)
            for client in list(self._clients.values()):
                client.socket.close()
            if hasattr(self._poll, "close"):  # that of epoll holds a descriptor
                self._poll.close()
            self._wake_in.close()
            self._wake_out.close()
            self._finished.set()

    def _longest_s(self) -> float:
        """Return how long may be waited for events."""
        if self._done:
            return 0.0
        if self.pace.waiting:
            return LOOK_S
        return SWEEP_S if self._clients or self._handed or self._ends_s or self._paused else 60.0

    def _give(self, takers: list[Client]) -> None:
        """Send to those who take more, for a while; who was given nothing for longest comes first."""
        takers.sort(key=lambda client: client.moved_s)
        until_s = time.monotonic() + GIVING_S
        for client in takers:
            if client.mask == _OUT:  # else it went meanwhile
                self._served(client, _OUT)
                if time.monotonic() > until_s:
                    return

    def _do_jobs(self) -> None:
        """Do what other threads want done here, for a while."""
        until_s = time.monotonic() + GIVING_S
        for _ in range(len(self._done)):
            self._done.popleft()()
            if time.monotonic() > until_s:
                return

    def _over(self) -> bool:
        if not self._ends_s:
            return False
        if time.monotonic() >= self._ends_s:
            return True
        return not self._clients and not self._handed and not self._done

    def _accept(self) -> None:
        for _ in range(_ACCEPTS):
            try:
                sock, address = self._listener.accept()
            except (BlockingIOError, ConnectionError):  # another process was faster, or the client is gone
                return
            except OSError as error:  # no descriptors left: those that wait are met again soon
                if not self._make_room():
                    _log.error("connection failed", detail=str(error))
                    self._paused = True
                    self._poll.modify(self._listener, _NOTHING)
                return
            full = self.connections >= self._limits.idle
            if full and not self._make_room():
                sock.close()
                return
            sock.setblocking(False)
            client = Client(sock, *peer_of(address), time.monotonic())
            client.mask = _IN
            if self._tls is not None:
                client.speak_tls(self._tls.current)
            try:
                self._poll.register(sock, _IN)
            except OSError as error:  # the system watches no more
                _log.error("connection failed", detail=str(error))
                sock.close()
                continue
            self._clients[sock.fileno()] = client
            if full:  # to make room all are looked at, which takes a millisecond
                return

    def _make_room(self) -> bool:
        """Close the connection that is idle for longest, if it is so for long enough."""
        idle = (client for client in self._clients.values() if not client.owed and not client.fetching)
        oldest = min(idle, key=lambda client: client.moved_s, default=None)
        if oldest is None or time.monotonic() - oldest.moved_s < EVICTED_S:
            return False
        self._close(oldest)
        return True

    def _served(self, client: Client, event: int) -> None:
        """Do what a client is ready for. What goes wrong ends its connection and no other."""
        try:
            if event & _OUT:
                client.moved_s = time.monotonic()
                self._advance(client)
            elif event & _IN:
                self._received(client)
            else:  # it is gone
                self._close(client)
        except Exception as error:  # the shell: said once, the others go on
            self._failed(client, error)

    def _greet(self, newcomers: list[Client]) -> None:
        """Go on with handshakes, each a millisecond's work, for a while; whoever is left over is ready again soon."""
        until_s = time.monotonic() + GREETING_S
        for client in newcomers:
            try:
                if client.mask and client.shake():  # else it went meanwhile
                    client.moved_s = time.monotonic()
                    self._await(client, _IN)
                    self._received(client)
                elif client.mask:
                    self._await(client, _OUT if client.unsent else _IN)
            except BlockingIOError:
                self._await(client, _OUT if client.unsent else _IN)
            except NotTls:
                client.speak_plainly()
                client.out.append(_PLAINLY)
                client.close_after = True
                self._served(client, _OUT)
            except Exception as error:  # as in `_served`
                self._failed(client, error)
            if time.monotonic() > until_s:
                return

    def _failed(self, client: Client, error: Exception) -> None:
        if isinstance(error, StoreError):  # content that cannot be read any more: the answer ends short
            _log.error("content broke off", error=str(error), address=client.address)
        elif not isinstance(error, OSError):  # else it is gone
            _log.error("connection failed", address=client.address, exc_info=error)
        self._close(client)

    # Requests

    def _received(self, client: Client) -> None:
        if client.secure is not None and self._tls is not None:
            client.secure.hold_against(self._tls.current, time.time())
        try:
            more = client.receive()
        except BlockingIOError:
            if client.unsent:  # what TLS itself has to say
                self._await(client, _OUT)
            return
        client.moved_s = time.monotonic()
        if self._lane is not None and not client.began_s and not self._ends_s and not client.linger_s:
            whole = self._lane.known(client.buffer, client.peer)
            if whole is not None:
                self._repeat(client, whole)
                return
        if client.linger_s:
            client.lingered += len(client.buffer)
            client.buffer = b""
            if not more or client.lingered > DROPPED:
                self._close(client)
            return
        if more:
            self._advance(client)
        else:
            self._ended(client)

    def _ended(self, client: Client) -> None:
        """See to one who will send no more; what it has asked for wholly is answered already."""
        begun = b"\r\n\r\n" in client.buffer and not client.owed
        if client.request is not None or begun:  # a body that ends too early is a thread's to complain of
            client.request = None  # its answer is none to a body that came whole
            self._hand_on(client)
        else:
            self._close(client)

    def _repeat(self, client: Client, whole: Whole) -> None:
        """Answer the very request that was answered so before, and nothing of which is left."""
        client.leave(b"")
        client.owe(whole.answer, self._ending(close=False))
        if not client.send(self._share):
            self._await(client, _OUT)
        elif client.ended:
            self._ended(client)
        if self._noted is not None:
            self._noted(client, whole.request, whole.answer)

    def _advance(self, client: Client) -> None:
        """Send what a client is owed and answer what else it has asked for, until it has to be waited for."""
        while self._flush(client):
            if client.close_after:
                self._finish(client)
                return
            step = self._take(client)
            if step is _Step.WAIT:
                if client.ended:
                    self._ended(client)
                else:
                    self._await(client, _IN)
                return
            if step is _Step.HAND_ON:
                self._hand_on(client)
                return

    def _take(self, client: Client) -> _Step:
        """Answer requests that are whole, in their order, as far as no thread is needed."""
        while client.body is None and len(client.out) < _PIPELINED and not client.close_after:
            buffer = client.buffer
            if len(buffer) < client.needs:
                return self._unfinished(client)
            end = buffer.find(b"\r\n\r\n", max(0, client.searched - 3))
            if end < 0:
                if buffer[:1] == _HELLO and self._tls is None:
                    client.out.append(_SECURELY)
                    client.close_after = True
                    return _Step.SEND
                if self._overdue(client):
                    break
                client.searched = len(buffer)
            request, stop = client.request, 0
            if request is None and end >= 0:
                request = self._lane.read(buffer[:end]) if self._lane and end <= self._limits.header_bytes else None
                client.request = request
                if request is None:
                    stop = self._until(buffer, end)
                    if len(buffer) >= stop:
                        break
            if request is not None:
                stop = end + 4 + request.fields.length
            if request is None or self._lane is None or len(buffer) < stop:
                client.needs = stop
                return self._unfinished(client)
            client.asked_body, client.began_s = buffer[end + 4 : stop], 0.0
            answer = self._lane.answer(request, client.asked_body, client.peer)
            if answer is None:
                break
            client.leave(buffer[stop:])
            client.close_after = bool(self._ends_s)
            client.owe(answer, self._ending(close=client.close_after))
            if self._noted is not None:
                self._noted(client, request, answer)
            if answer.size > JOINED:  # not kept for long: it is sent before others are looked at
                break
        return _Step.SEND if client.owed else _Step.HAND_ON

    def _unfinished(self, client: Client) -> _Step:
        # While it reads, it is the answer that is waited for, and not what it may ask next.
        client.began_s = (client.began_s or client.moved_s) if client.buffer and not client.owed else 0.0
        return _Step.SEND if client.owed else _Step.WAIT

    def _overdue(self, client: Client) -> bool:
        """Tell whether a head is too long, or ended in a way that some take for an end."""
        buffer, since = client.buffer, max(0, client.searched - 2)
        long = len(buffer) > self._limits.header_bytes
        return long or buffer.find(b"\n\n", since) >= 0 or buffer.find(b"\n\r\n", since) >= 0

    def _until(self, buffer: bytes, end: int) -> int:
        """Return up to which byte a short body goes, which a thread would have to wait for; 0: there is none."""
        length = short_body(buffer, end) if end <= self._limits.header_bytes else 0
        return end + 4 + length if 0 < length <= self._limits.body_bytes else 0

    def _hand_on(self, client: Client) -> None:
        self._drop(client)
        client.began_s, client.searched, client.needs = 0.0, 0, 0
        self._handed.add(client)
        if not self._hand(client):
            client.out.append(_refusal("503 Service Unavailable", self._ending(close=True)))
            client.close_after = True
            self._returned(client)

    def _returned(self, client: Client) -> None:
        self._handed.discard(client)
        try:
            client.moved_s, client.request, client.mask = time.monotonic(), None, _IN
            self._poll.register(client.socket, _IN)
            self._clients[client.socket.fileno()] = client
            if self._ends_s and not client.buffer:  # else the last answer is to what it has asked already
                client.close_after = True
            self._advance(client)
        except Exception as error:  # as in `_served`
            self._failed(client, error)

    def _ending(self, *, close: bool) -> bytes:
        """Return the end of a head."""
        now_s = int(time.time())
        if now_s != self._tail_s:
            tail = f"Date: {http_date(now_s)}\r\nServer: AetherFS\r\n".encode("ascii")
            self._tail_s, self._tail = now_s, tail if self._tls is None else b"%s: %s\r\n%s" % (*HSTS, tail)
        return self._tail + (b"Connection: close\r\n\r\n" if close else b"\r\n")

    # Sending

    def _flush(self, client: Client) -> bool:
        """Send what a client is owed; return whether it has taken all of it."""
        while client.owed:
            if not client.out and client.body is not None:
                if not client.fetching and not client.next_piece():
                    self._fetch(client)
                if client.fetching:
                    return False
            if not client.send(self._share) or client.body is not None:  # the others have their turn between two pieces
                self._await(client, _OUT)
                return False
        return True

    def _fetch(self, client: Client) -> None:
        """Have a thread read the next piece."""
        body = client.body
        assert body is not None, "asked of who is owed one"  # noqa: S101  # for the type checker
        self._await(client, _NOTHING)
        client.fetching = True

        def fetch() -> None:
            views: list[memoryview] | Exception
            try:
                with self.pace:
                    views = body.tree.read(body.file, body.at, min(PIECE, body.stop - body.at))
            except Exception as error:  # told where the client is
                views = error
            self._later(lambda: self._fetched(client, views))

        self._fetchers.submit(fetch)

    def _fetched(self, client: Client, views: list[memoryview] | Exception) -> None:
        client.fetching = False
        if self._clients.get(client.socket.fileno()) is not client:  # it went meanwhile
            return
        client.moved_s = time.monotonic()
        try:
            if isinstance(views, Exception):
                raise views
            client.take(views)
            self._advance(client)
        except Exception as error:  # as in `_served`
            self._failed(client, error)

    # Waiting and ending

    def _await(self, client: Client, mask: int) -> None:
        if client.mask != mask:
            client.mask = mask
            self._poll.modify(client.socket, mask)

    def _drop(self, client: Client) -> None:
        """Own a client no more."""
        fd, client.mask = client.socket.fileno(), _NOTHING
        if self._clients.pop(fd, None) is not None:
            with contextlib.suppress(OSError, ValueError, KeyError):
                self._poll.unregister(fd)

    def _finish(self, client: Client) -> None:
        """Send no more; close when the client has seen it, for a close with bytes unread would take the answer back."""
        client.linger_s, client.buffer, client.body = time.monotonic(), b"", None
        client.end()
        self._await(client, _IN)

    def _refuse(self, client: Client, status: str) -> None:
        try:
            client.socket.send(_refusal(status, self._ending(close=True)))
            self._finish(client)
        except OSError:
            self._close(client)

    def _close(self, client: Client) -> None:
        if client.secure is not None and not client.owed and not client.cut:  # else it must not look whole
            client.secure.end()
        self._drop(client)
        client.body = None
        client.out.clear()
        client.socket.close()

    def _sweep(self, now_s: float) -> None:
        """End who waits, or keeps waiting, for too long."""
        limits, draining = self._limits, bool(self._ends_s)
        if draining:
            with contextlib.suppress(OSError, ValueError, KeyError):
                self._poll.unregister(self._listener)
        elif self._paused:
            self._paused = False
            self._poll.modify(self._listener, _IN)
        for client in list(self._clients.values()):
            if client.fetching:
                continue
            still_s = now_s - client.moved_s
            if client.linger_s:
                lingers_s = now_s - client.linger_s
                if lingers_s > (LINGER_S if draining else SENDING_S) or min(lingers_s, still_s) > LINGER_S:
                    self._close(client)
                continue
            if client.began_s:
                late = still_s > limits.timeout_s or now_s - client.began_s > limits.patience_s
                if late or (draining and now_s - self._drain_began_s > HEAD_S):
                    self._refuse(client, "408 Request Timeout")
            elif (draining and not client.owed) or still_s > limits.timeout_s:
                self._close(client)
        self._short = self._short + 1 if self._waiting() else 0
        if self._short * SWEEP_S >= SHORT_S:
            for client in self._handed:  # their threads find the connection closed
                if client.sent_s and now_s - client.sent_s > TAKING_S:
                    with contextlib.suppress(OSError):
                        client.socket.shutdown(socket.SHUT_RDWR)
        stalled = [client for client in self._clients.values() if client.owed and now_s - client.moved_s > STALLED_S]
        for client in beyond(stalled, HELD):
            self._close(client)


def _refusal(status: str, ending: bytes) -> bytes:
    line = status.encode("ascii")
    return b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n%s" % (line, ending)
