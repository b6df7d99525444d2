"""One client's connection: its socket, its thread, its calls in flight.

The thread receives into one buffer, takes every whole record, answers what is warm at once and sends those replies with
one `sendmsg`. What is not warm runs on the shared pool; those replies come when done, out of order, as RPC allows. A
call that takes too long there is answered with NFS3ERR_JUKEBOX, which tells the client to come again; what it fetched
meanwhile is in memory then.

A client may go over to TLS (`nfs.tls`): from then on what is received is decrypted and what is sent encrypted on this
thread, piece by piece. Nothing that came in the clear counts within: bytes behind the client's question whether TLS is
spoken, or calls that were not answered by then, end the connection.

Threads: `serve` runs on the connection's own thread, and only that thread reads or writes the socket. Jobs of the pool
append to `_done` and wake it. `hang_up` may be called from any thread: it shuts the socket down and does no more. Both
hold a lock, and so never touch a descriptor that was closed: by then it may be another connection's.
Bounds: calls that the pool has or that wait for it, and the bytes of replies (`nfs.limits`). Calls beyond are told to
come again, so that a warm one is never held up by those before it.
"""

import contextlib
import math
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from nfs.access import Access
from nfs.dispatch import Runnable, give_up, parse, run, run_blocking
from nfs.hot import FastLane
from nfs.limits import LEAST_BYTES, InFlight, Limits
from nfs.outgoing import MAX_PARTS, Batch
from nfs.securing import secure, tell
from nfs.seldom import Seldom
from nfs.tls import SecureStream, Tls, TlsFailed, refusal
from nfs.view import BlockingView, LateView, WarmView
from nfs.wire.errors import RecordRefused, WireError
from nfs.wire.nfs3types import DTPREF, NFS_PROGRAM, RTMAX
from nfs.wire.record import RecordReader
from nfs.wire.rpc import AUTH_TLS, accept_stat, accepted, auth_error, auth_stat, refused, starttls
from nfs.wire.xdr import Buffer
from store.errors import NotWarm

_log = structlog.get_logger("aetherfs.nfs")
_seldom: Final = Seldom(20, 10.0)
_READ: Final = 6
_COUNTED: Final = 256 << 10  # bytes: smaller batches are not worth counting among those in flight

Submit = Callable[[bytes, Callable[[], None]], object]


class _Cold(NamedTuple):
    """A call that may block."""

    record: bytes
    runnable: Runnable
    cost: int  # most bytes of its reply
    due_s: float  # monotonic; when the client is told to come again


class _Done(NamedTuple):
    """A reply from the pool."""

    ticket: int
    parts: list[Buffer]


class Connection:
    """Serves one socket until the client goes or `hang_up` is called."""

    def __init__(
        self,
        sock: socket.socket,
        access: Access,
        submit: Submit,
        limits: Limits,
        in_flight: InFlight,
        relieve: Callable[[], None],
        tls: Tls | None = None,
    ) -> None:
        """Take over a connected socket.

        Args:
            sock: connected and blocking; `recv` gives up after `limits.record_s`, `send` after at most `limits.send_s`,
                or sooner, so that it is known when the client took something last. Closed when `serve` returns.
            access: what the peer may see.
            submit: runs a job of a host on the pool.
            limits: the server's limits.
            in_flight: counts the bytes of all connections.
            relieve: called when these are too many.
            tls: how TLS is spoken; `None`: not.
        """
        self.host = access.host
        self._sock, self._access, self._submit = sock, access, submit
        self._limits, self._in_flight, self._relieve, self._tls = limits, in_flight, relieve, tls
        self._stream: SecureStream | None = None  # None: in the clear
        self._told_weak = False  # whether it was said that calls were refused for coming in the clear
        self._fast = FastLane(access)
        self._reader = RecordReader(limits.record_bytes)
        self._batch = Batch()
        self._waiting: deque[_Cold] = deque()  # not yet handed to the pool
        self._waiting_bytes = 0
        self._pending: dict[int, _Cold] = {}  # by ticket, in order: handed to the pool
        self._pending_bytes = 0
        self._tickets = 0
        self._hanging_up = False
        self._cut_off = False  # calls in flight are not to be answered any more
        self._heard_s = time.monotonic()  # when the client sent something last, or took something that it waited for
        self._began_s = 0.0  # when the record began that is not whole yet; 0: there is none
        self._sending_s = 0.0  # since when the client takes nothing of what is being sent; 0: nothing is
        self._done: deque[_Done] = deque()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._closing = threading.Lock()

    def serve(self) -> None:
        """Answer until the client goes."""
        try:
            self._loop()
        except TlsFailed as error:  # who set TLS up wants to know; who attacks is not to fill the log
            if (unsaid := _seldom.ask()) is not None:
                _log.warning("connection ended", peer=self.host.decode(), why=str(error), unsaid_before=unsaid)
        except WireError as error:
            _log.info("connection ended", peer=self.host.decode(), why=str(error))
        except OSError as error:  # reset, or not taking replies for too long
            _log.debug("connection lost", peer=self.host.decode(), why=str(error))
        finally:
            self._in_flight.add(-self._pending_bytes)
            self._pending.clear()  # jobs that have not begun see that nobody waits for them
            self.close()

    def close(self) -> None:
        """Close the socket and what wakes the thread: `serve` does in the end, where it is called."""
        with self._closing:
            self._sock.close()
            self._wake_in.close()
            self._wake_out.close()

    def idle_since_s(self) -> float:
        """Say (monotonic) since when the client sent and took nothing, never while its calls wait. From any thread."""
        return math.inf if self._pending or self._waiting else self._heard_s

    def stalled_s(self) -> float:
        """Say for how long the client has not taken what is being sent. May be called from any thread."""
        since_s = self._sending_s
        return time.monotonic() - since_s if since_s else 0.0

    def hang_up(self, *, at_once: bool) -> None:
        """Stop receiving; calls in flight are still answered, unless the connection is to end at once."""
        self._hanging_up = True
        self._cut_off = self._cut_off or at_once
        with self._closing, contextlib.suppress(OSError):  # the client or this server was faster
            self._sock.shutdown(socket.SHUT_RDWR if at_once else socket.SHUT_RD)
        self._wake()

    @property
    def secured(self) -> bool:
        """Tell whether the connection went over to TLS."""
        return self._stream is not None

    @property
    def certificate(self) -> bytes:
        """The certificate (DER) that the client has shown and that was found good; empty: it has shown none."""
        return self._stream.certificate if self._stream is not None else b""

    # The loop

    def _loop(self) -> None:
        receiving = True
        while (receiving or self._pending or self._waiting) and not self._cut_off:
            if self._wait_for_input(receiving):
                receiving = self._receive()
            if self._pending or self._waiting:
                self._work()
            self._send()
        if self._stream is not None and not self._cut_off:
            tell(self._sock, self._stream.farewell())

    def _wait_for_input(self, receiving: bool) -> bool:
        """Wait for the client, the pool, or a call's time to run out; tell whether to receive."""
        if not self._pending and not self._waiting:
            return receiving  # nothing else can happen: the receiving itself may wait
        poll = select.poll()
        poll.register(self._wake_in, select.POLLIN)
        if receiving:
            poll.register(self._sock, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(self._patience_ms())}
        if self._wake_in.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                self._wake_in.recv(4096)
        return self._sock.fileno() in ready

    def _patience_ms(self) -> float:
        """Return how long no call's time runs out."""
        oldest = next(iter(self._pending.values())) if self._pending else self._waiting[0]
        return max(0.0, (oldest.due_s - time.monotonic()) * 1000) + 1

    def _receive(self) -> bool:
        """Take what the client sent and answer what can be answered at once; return whether more may come.

        Raises:
            RecordRefused: a record is too long, or takes too long.
            TlsFailed: the client's TLS is no good, or comes where it must not.
        """
        stream = self._stream
        try:
            count = self._sock.recv_into(self._reader.room() if stream is None else stream.room)
        except BlockingIOError:  # nothing for `record_s`
            self._check_time(time.monotonic())
            return not self._hanging_up
        self._heard_s = time.monotonic()
        if stream is not None:
            if count:
                self._hold_certificate(stream)
                stream.received(count)
                self._open(stream)
            return count > 0 and not stream.ended and not self._hanging_up
        self._answer_all(self._reader.received(count))
        return count > 0 and not self._hanging_up

    def _hold_certificate(self, stream: SecureStream) -> None:
        """End the connection if its client's certificate was revoked meanwhile, or has expired."""
        assert self._tls is not None  # noqa: S101  # for the type checker: there is a stream
        try:
            stream.hold_against(self._tls.contexts.current, time.time())
        except TlsFailed as error:
            tell(self._sock, error.alert)
            raise

    def _open(self, stream: SecureStream) -> None:
        """Answer what was received by TLS."""
        opened = False
        try:
            while count := stream.take(self._reader.room()):
                self._answer_all(self._reader.received(count))
                opened = True
        except TlsFailed as error:
            tell(self._sock, error.alert)
            raise
        if not opened:
            self._keep_time(progress=False)
        if self._batch.empty and (said := stream.control()):  # else the replies carry it
            self._push([said])

    def _answer_all(self, records: list[bytes]) -> None:
        self._keep_time(progress=bool(records))
        self._fast.begin(self._heard_s)
        for record in records:
            if not self._fast.answer(record, self._batch):
                self._answer(record, last=record is records[-1])
            if self._batch.large_bytes >= LEAST_BYTES:
                self._send_if_much()

    def _keep_time(self, *, progress: bool) -> None:
        """Hold the client to the time that a record may take."""
        if not self._reader.partial and not (self._stream is not None and self._stream.partial):
            self._began_s = 0.0
        elif progress or not self._began_s:
            self._began_s = self._heard_s
        else:
            self._check_time(self._heard_s)

    def _secure(self, tls: Tls, xid: int, *, last: bool) -> None:
        """Go over to TLS, as the client wishes.

        Raises:
            TlsFailed: not everything before it was answered, there is something behind it, or the handshake fails.
        """
        if not last or self._reader.partial:
            raise TlsFailed("bytes came in the clear behind the question for TLS")
        if self._pending or self._waiting:
            raise TlsFailed("calls in the clear were not answered yet when the client asked for TLS")
        self._batch.small((starttls(xid),))
        self._send()
        stream = secure(self._sock, tls.contexts.current, timeout_s=self._limits.handshake_s)
        self._heard_s = time.monotonic()
        # What was trusted in the clear is to be looked at again.
        self._stream = stream
        self._access.secure(stream.certificate)
        self._fast = FastLane(self._access)
        self._open(stream)

    def _check_time(self, now_s: float) -> None:
        if self._began_s and now_s - self._began_s >= self._limits.record_s:
            raise RecordRefused(f"record not whole after {self._limits.record_s:g} s")

    # Calls

    def _answer(self, record: bytes, *, last: bool) -> None:
        """Answer a call, or have it wait. `last`: none came behind it so far."""
        runnable = parse(record)
        if isinstance(runnable, bytes):
            self._batch.small((runnable,))
            return
        call = runnable.call
        stat = refusal(call, self._tls, secured=self._stream is not None)
        if stat is not None:
            self._batch.small((auth_error(call.xid, stat),))
            if stat is auth_stat.AUTH_TOOWEAK and not self._told_weak and (unsaid := _seldom.ask()) is not None:
                self._told_weak = True
                _log.warning("calls in the clear are refused", peer=self.host.decode(), unsaid_before=unsaid)
            return
        if call.flavor == AUTH_TLS and call.args_at == len(record) and self._tls is not None:
            self._secure(self._tls, call.xid, last=last)
            return
        if call.prog == NFS_PROGRAM and call.proc:  # others are answered in ways that are refused to the fast lane's
            self._fast.trust(record, call.args_at)
        view = WarmView(self._access.now, self.host)
        try:
            results = run(record, runnable, view)
        except NotWarm:
            self._wait(record, runnable)
            return
        self._batch.reply(self._finished(record, runnable, results, view))

    def _wait(self, record: bytes, runnable: Runnable) -> None:
        """Have a call run where it may block, when it is its turn."""
        limits = self._limits
        if len(self._waiting) >= limits.waiting_calls or self._waiting_bytes + len(record) > limits.waiting_bytes:
            self._batch.reply(self._given_up(record, runnable))
            return
        due_s = time.monotonic() + limits.patience_s
        self._waiting.append(_Cold(record, runnable, _cost(record, runnable), due_s))
        self._waiting_bytes += len(record)

    def _work(self) -> None:
        """Take what the pool has done, end what takes too long, hand on what may begin."""
        while self._done:
            done = self._done.popleft()
            if self._settled(done.ticket) is not None:  # None: it came too late
                self._batch.reply(done.parts)
                self._send_if_much()
        now_s = time.monotonic()
        while self._pending:
            ticket, cold = next(iter(self._pending.items()))
            if cold.due_s > now_s:
                break
            self._settled(ticket)
            self._batch.reply(self._given_up(cold.record, cold.runnable))
        while self._waiting and self._waiting[0].due_s <= now_s:
            cold = self._next_waiting()
            self._batch.reply(self._given_up(cold.record, cold.runnable))
        while self._waiting and len(self._pending) < self._limits.pending_calls and self._may_begin():
            self._begin(self._next_waiting())

    def _next_waiting(self) -> _Cold:
        cold = self._waiting.popleft()
        self._waiting_bytes -= len(cold.record)
        return cold

    def _may_begin(self) -> bool:
        return not self._pending or self._pending_bytes + self._waiting[0].cost <= self._most_bytes()

    def _begin(self, cold: _Cold) -> None:
        ticket = self._tickets = self._tickets + 1
        self._pending[ticket] = cold
        self._pending_bytes += cold.cost
        self._in_flight.add(cold.cost)
        self._submit(self.host, lambda: self._job(ticket, cold.record, cold.runnable))

    def _settled(self, ticket: int) -> _Cold | None:
        cold = self._pending.pop(ticket, None)
        if cold is not None:
            self._pending_bytes -= cold.cost
            self._in_flight.add(-cold.cost)
        return cold

    def _job(self, ticket: int, record: bytes, runnable: Runnable) -> None:
        """Run a call on the pool."""
        if ticket not in self._pending:  # its time ran out, or the client is gone
            return
        view = BlockingView(self._access.now, self.host)
        results = run_blocking(record, runnable, view)
        reply = self._finished(record, runnable, results, view)
        if ticket not in self._pending:
            return
        self._done.append(_Done(ticket, reply))
        self._wake()

    def _wake(self) -> None:
        with self._closing, contextlib.suppress(OSError):  # full: it wakes anyway; closed: nobody waits
            self._wake_out.send(b"\0")

    def _given_up(self, record: bytes, runnable: Runnable) -> list[Buffer]:
        results = give_up(record, runnable, LateView(self._access.now, self.host))
        xid = runnable.call.xid
        return [refused(xid, results)] if isinstance(results, accept_stat) else accepted(xid, results)

    def _finished(
        self, record: bytes, runnable: Runnable, results: list[Buffer] | accept_stat, view: WarmView | BlockingView
    ) -> list[Buffer]:
        call = runnable.call
        if isinstance(results, accept_stat):
            return [refused(call.xid, results)]
        if view.lasting and call.prog == NFS_PROGRAM:
            view.kept.remember(call.proc, record[call.args_at :], results)
        return accepted(call.xid, results)

    # Sending

    def _most_bytes(self) -> int:
        """Return how many bytes of replies may be in flight on this connection."""
        if not self._in_flight.full:
            return self._limits.connection_bytes
        self._relieve()
        return LEAST_BYTES

    def _send_if_much(self) -> None:
        if self._batch.large_bytes >= self._most_bytes():
            self._send()

    def _send(self) -> None:
        parts = self._batch.take()
        if not parts:
            return
        total = sum(map(len, parts))
        counted = total if total >= _COUNTED else 0
        if counted:
            self._in_flight.add(counted)
        try:
            for piece in (parts,) if self._stream is None else self._stream.sealed(parts):
                self._push(piece)
        finally:
            if counted:
                self._in_flight.add(-counted)

    def _push(self, parts: list[Buffer]) -> None:
        self._sending_s = time.monotonic()
        try:
            self._send_all(parts)
        finally:
            self._sending_s = 0.0

    def _send_all(self, parts: list[Buffer]) -> None:
        first = 0
        while first < len(parts):
            try:
                sent = self._sock.sendmsg(parts[first : first + MAX_PARTS])
            except BlockingIOError:
                if self.stalled_s() >= self._limits.send_s:
                    raise
                continue
            while first < len(parts) and sent >= len(parts[first]):
                sent -= len(parts[first])
                first += 1
            if sent:
                parts[first] = memoryview(parts[first])[sent:]
            self._heard_s = self._sending_s = time.monotonic()


def _cost(record: bytes, runnable: Runnable) -> int:
    """Return how many bytes a call's reply may take."""
    if runnable.call.prog == NFS_PROGRAM and runnable.call.proc == _READ:
        return min(int.from_bytes(record[-4:], "big"), RTMAX)
    return DTPREF
