"""One client's connection: its socket, its thread, its calls in flight.

The thread receives into one buffer, takes every whole record, answers what is warm at once and sends those replies with
one `sendmsg`. What is not warm runs on the shared pool; those replies come when done, out of order, as RPC allows.

Threads: `serve` runs on the connection's own thread, and only that thread reads or writes the socket. Jobs of the pool
append to `_done` and wake it. `hang_up` may be called from any thread: it shuts the socket down and does no more.
Bounds: calls in flight and the bytes that their replies may take; when either is reached nothing more is received.
"""

import contextlib
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from nfs.dispatch import Runnable, parse, run, run_blocking
from nfs.export import Export
from nfs.hot import FastLane, Replies
from nfs.outgoing import MAX_PARTS, Batch
from nfs.view import BlockingView, WarmView
from nfs.wire.errors import WireError
from nfs.wire.nfs3types import DTPREF, NFS_PROGRAM, RTMAX, WTMAX
from nfs.wire.record import RecordReader
from nfs.wire.rpc import accept_stat, accepted, refused
from nfs.wire.xdr import Buffer
from store.errors import NotWarm

_log = structlog.get_logger("aetherfs.nfs")
_READ: Final = 6


class Limits(NamedTuple):
    """What one server takes on."""

    connections: int = 1024  # for a further one the longest idle goes, or it waits in the system's queue
    idle_s: float = 15.0  # a connection that was silent for so long may be closed: clients connect again by themselves
    pool_threads: int = 16  # calls that may block at the same time
    pending_calls: int = 64  # of one connection
    in_flight_bytes: int = 16 << 20  # of one connection: replies being made or sent
    record_bytes: int = WTMAX + 4096  # a WRITE of wtmax, refused politely, and its headers
    send_timeout_s: int = 60  # a client that takes nothing for so long is gone


class _Done(NamedTuple):
    """A reply from the pool, and what it was expected to cost."""

    parts: list[Buffer]
    cost: int


class Connection:
    """Serves one socket until the client goes or `hang_up` is called."""

    def __init__(
        self,
        sock: socket.socket,
        host: bytes,
        export: Export,
        replies: Replies,
        submit: Callable[[Callable[[], None]], object],
        limits: Limits,
    ) -> None:
        """Take over a connected socket.

        Args:
            sock: connected and blocking; closed when `serve` returns.
            host: the peer's address, as DUMP shows it.
            export: what is served.
            replies: the memory of replies, shared by all connections.
            submit: runs a job on the pool.
            limits: the server's limits.
        """
        self._sock, self._export, self._replies = sock, export, replies
        self._submit, self._limits, self._host = submit, limits, host
        self._view = WarmView(export, host)
        self._fast = FastLane(export, replies)
        self._reader = RecordReader(limits.record_bytes)
        self._batch = Batch()
        self._backlog: deque[bytes] = deque()  # records received and not yet begun
        self._pending = self._pending_bytes = 0
        self._hanging_up = False
        self._heard_s = time.monotonic()
        self._done: deque[_Done] = deque()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)

    def serve(self) -> None:
        """Answer until the client goes."""
        try:
            self._loop()
        except WireError as error:
            _log.info("connection ended", peer=self._host.decode(), why=str(error))
        except OSError as error:  # reset, or not taking replies for too long
            _log.debug("connection lost", peer=self._host.decode(), why=str(error))
        finally:
            self._sock.close()
            self._wake_in.close()
            self._wake_out.close()

    def idle_s(self) -> float:
        """Say for how long the client has sent nothing, 0 while it waits for replies. May be called from any thread."""
        return 0.0 if self._pending or self._backlog else time.monotonic() - self._heard_s

    def hang_up(self, *, at_once: bool) -> None:
        """Stop receiving; calls in flight are still answered, unless the connection is to end at once."""
        self._hanging_up = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR if at_once else socket.SHUT_RD)

    # The loop

    def _loop(self) -> None:
        receiving = True
        while receiving or self._pending or self._backlog:
            if self._wait_for_input(receiving):
                count = self._sock.recv_into(self._reader.room())
                self._heard_s = time.monotonic()
                receiving = count > 0 and not self._hanging_up
                self._backlog.extend(self._reader.received(count))
            self._work()

    def _wait_for_input(self, receiving: bool) -> bool:
        """Wait for the client or the pool; tell whether to receive."""
        may_receive = receiving and not self._backlog
        if not self._pending:
            return may_receive  # nothing else can happen: the receiving itself may wait
        poll = select.poll()
        poll.register(self._wake_in, select.POLLIN)
        if may_receive:
            poll.register(self._sock, select.POLLIN)
        ready = {fd for fd, _ in poll.poll()}
        if self._wake_in.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                self._wake_in.recv(4096)
        return self._sock.fileno() in ready

    def _work(self) -> None:
        """Send what is done, begin what may begin."""
        while self._done:
            done = self._done.popleft()
            self._pending -= 1
            self._pending_bytes -= done.cost
            self._batch.reply(done.parts)
            self._send_if_large()
        backlog, limits = self._backlog, self._limits
        while backlog and self._pending < limits.pending_calls and self._pending_bytes < limits.in_flight_bytes:
            record = backlog.popleft()
            if not self._fast.answer(record, self._batch):
                self._answer(record)
            self._send_if_large()
        self._send()

    def _answer(self, record: bytes) -> None:
        runnable = parse(record)
        if isinstance(runnable, bytes):
            self._batch.small((runnable,))
            return
        call = runnable.call
        self._fast.trust(record, call.args_at)
        self._view.lasting = True
        try:
            results = run(record, runnable, self._view)
        except NotWarm:
            cost = _cost(record, runnable)
            self._pending += 1
            self._pending_bytes += cost
            self._submit(lambda: self._job(record, runnable, cost))
            return
        self._batch.reply(self._finished(record, runnable, results, lasting=self._view.lasting))

    def _job(self, record: bytes, runnable: Runnable, cost: int) -> None:
        """Run a call on the pool."""
        view = BlockingView(self._export, self._host)
        results = run_blocking(record, runnable, view)
        self._done.append(_Done(self._finished(record, runnable, results, lasting=view.lasting), cost))
        with contextlib.suppress(OSError):  # full: it wakes anyway; closed: nobody waits
            self._wake_out.send(b"\0")

    def _finished(
        self, record: bytes, runnable: Runnable, results: list[Buffer] | accept_stat, *, lasting: bool
    ) -> list[Buffer]:
        call = runnable.call
        if isinstance(results, accept_stat):
            return [refused(call.xid, results)]
        if lasting and call.prog == NFS_PROGRAM:
            self._replies.remember(call.proc, record[call.args_at :], results)
        return accepted(call.xid, results)

    # Sending

    def _send_if_large(self) -> None:
        if self._batch.large_bytes >= self._limits.in_flight_bytes:
            self._send()

    def _send(self) -> None:
        parts = self._batch.take()
        first = 0
        while first < len(parts):
            sent = self._sock.sendmsg(parts[first : first + MAX_PARTS])
            while first < len(parts) and sent >= len(parts[first]):
                sent -= len(parts[first])
                first += 1
            if sent:
                parts[first] = memoryview(parts[first])[sent:]


def _cost(record: bytes, runnable: Runnable) -> int:
    """Return how many bytes a call's reply may take."""
    if runnable.call.prog == NFS_PROGRAM and runnable.call.proc == _READ:
        return min(int.from_bytes(record[-4:], "big"), RTMAX)
    return DTPREF
