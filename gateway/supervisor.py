"""Keeps groups of worker processes alive over listening sockets that it holds itself.

The sockets are bound before the first worker starts and stay open here, so that connections wait in the kernel's queue
while a dead worker is replaced. Workers are fresh interpreters that inherit only their own sockets; settings go through
a pipe. That pipe's end, or the kernel (Linux), ends them when the supervisor dies.

Threads: one, the main thread; it waits for signals, statuses and times in one place.
"""

import contextlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from pydantic import ValidationError

from gateway.board import pass_on
from gateway.config import Settings
from gateway.exits import OTHER
from gateway.lifecycle import ServeError, Signals, close_all
from gateway.worker import Order, Status

DRAIN_S: Final = 10.0  # for requests in flight
READY_S: Final = 180.0  # for a worker to start: longer than it tries to reach a store, so that it can say why not
KILL_S: Final = 1.0  # beyond DRAIN_S, before what still runs is killed
STEADY_S: Final = 10.0  # a worker that lived this long starts afresh in counting failures
FIRST_PAUSE_S: Final = 0.05  # before a dead worker is replaced; doubles with each failure in a row
LONGEST_PAUSE_S: Final = 10.0
LARGEST_STATUS: Final = 64 << 10  # bytes

_log = logging.getLogger(__name__)


class Group(NamedTuple):
    """Workers of one kind on the same sockets."""

    name: str
    entry: str  # "module:function", a `gateway.worker.Build`
    listeners: tuple[socket.socket, ...]  # handed to the entry in this order
    size: int


class _Slot:
    """One place in a group, and the process that fills it now."""

    def __init__(self, group: Group, number: int) -> None:
        self.group, self.name = group, f"{group.name}-{number}"
        self.process: subprocess.Popen[bytes] | None = None
        self.status_fd = -1
        self.status = bytearray()
        self.board: socket.socket | None = None  # our end of what the process tells the others
        self.ready = False
        self.started_s = 0.0  # monotonic
        self.due_s = 0.0  # monotonic; when to start the next process, if none runs
        self.failures = 0  # in a row


class Supervisor:
    """Runs the groups until SIGTERM or SIGINT."""

    def __init__(
        self,
        groups: Sequence[Group],
        settings: Settings,
        *,
        log_level: int = logging.INFO,
        drain_s: float = DRAIN_S,
        ready_s: float = READY_S,
    ) -> None:
        """Take over the groups' listening sockets, which `run` closes.

        Args:
            groups: what to run.
            settings: handed to every worker.
            log_level: of the workers, as in `logging`.
            drain_s: for requests in flight when a stop is asked for.
            ready_s: for a worker to start.
        """
        self._slots = [_Slot(group, number) for group in groups for number in range(group.size)]
        self._listeners = [listener for group in groups for listener in group.listeners]
        self._settings, self._log_level = settings, log_level
        self._drain_s, self._ready_s = drain_s, ready_s
        self._selector = selectors.DefaultSelector()
        self._announced = False

    def run(self, announce: Callable[[], None]) -> None:
        """Start the workers and keep them; return after a stop was asked for and done.

        Args:
            announce: called once, when every worker is ready.

        Raises:
            ServeError: a worker could not start at first; all others were ended.
        """
        with Signals([signal.SIGTERM, signal.SIGINT, signal.SIGCHLD]) as signals, self._selector:
            self._selector.register(signals, selectors.EVENT_READ)
            try:
                # Signals are taken before processes are looked at: one that dies afterwards wakes the next `select`.
                while not signals.take() & {signal.SIGTERM, signal.SIGINT}:
                    self._reap()
                    self._start_due()
                    if not self._announced and all(slot.ready for slot in self._slots):
                        self._announced = True
                        announce()
                    for key, _ in self._selector.select(self._patience_s()):
                        if isinstance(key.data, _Slot):
                            if key.fileobj is key.data.board:
                                self._pass_on(key.data)
                            else:
                                self._read_status(key.data)
                self._stop(signals)
            finally:
                self._kill()

    def _patience_s(self) -> float | None:
        """Return the seconds until something is due, `None` for never."""
        times = [slot.due_s for slot in self._slots if slot.process is None]
        times += [slot.started_s + self._ready_s for slot in self._slots if slot.process is not None and not slot.ready]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _start_due(self) -> None:
        now_s = time.monotonic()
        for slot in self._slots:
            if slot.process is None and slot.due_s <= now_s:
                try:
                    self._start(slot)
                except OSError as error:  # no descriptor, process or memory left
                    if not self._announced:
                        raise ServeError(f"{slot.name} cannot be started: {error.strerror}") from error
                    slot.failures += 1
                    pause_s = _put_off(slot, now_s)
                    _log.warning("worker %s cannot be started: %s; again in %.2f s", slot.name, error, pause_s)
            elif slot.process is not None and not slot.ready and slot.started_s + self._ready_s <= now_s:
                late = f"{slot.name} was not ready after {self._ready_s:.0f} s"
                slot.status[:] = Status(ready=False, failure=late, exit_code=OTHER).model_dump_json().encode()
                slot.process.kill()
                slot.process.wait()

    def _start(self, slot: _Slot) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with theirs, contextlib.ExitStack() as undone:
            undone.callback(ours.close)
            self._start_with(slot, ours, theirs)
            undone.pop_all()

    def _start_with(self, slot: _Slot, ours: socket.socket, theirs: socket.socket) -> None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        listener_fds = tuple(listener.fileno() for listener in slot.group.listeners)
        try:
            process = subprocess.Popen(
                # -P: a folder named like one of our packages, where the user happens to be, must not be imported.
                [sys.executable, "-P", "-m", "gateway.worker"],
                stdin=subprocess.PIPE,
                stdout=2,  # stdout is the supervisor's alone
                pass_fds=(*listener_fds, writer, theirs.fileno()),
                # Ctrl-C in a terminal goes to the whole group: workers get theirs from us.
                start_new_session=True,
            )
        except OSError:
            close_all([reader, writer])
            raise
        os.close(writer)
        order = Order(
            name=slot.name,
            entry=slot.group.entry,
            listener_fds=listener_fds,
            status_fd=writer,
            board_fd=theirs.fileno(),
            drain_s=self._drain_s,
            log_level=self._log_level,
            settings=self._settings,
        )
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it died at once: reaping says so
                process.stdin.write(order.model_dump_json().encode() + b"\n")
                process.stdin.flush()
        slot.process, slot.status_fd, slot.status, slot.board = process, reader, bytearray(), ours
        slot.ready, slot.started_s = False, time.monotonic()
        self._selector.register(reader, selectors.EVENT_READ, slot)
        self._selector.register(ours, selectors.EVENT_READ, slot)

    def _read_status(self, slot: _Slot) -> None:
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(slot.status_fd, 65536)
            slot.status += data
        if b"\n" in slot.status or not data or len(slot.status) > LARGEST_STATUS:
            self._close_status(slot)
            slot.ready = _parse(slot.status).ready

    def _close_status(self, slot: _Slot) -> None:
        if slot.status_fd >= 0:
            self._selector.unregister(slot.status_fd)
            os.close(slot.status_fd)
            slot.status_fd = -1

    def _pass_on(self, slot: _Slot) -> None:
        if slot.board is not None:
            pass_on(slot.board, [other.board for other in self._slots if other is not slot and other.board is not None])

    def _close_board(self, slot: _Slot) -> None:
        if slot.board is not None:
            self._selector.unregister(slot.board)
            slot.board.close()
            slot.board = None

    def _reap(self) -> None:
        now_s = time.monotonic()
        for slot in self._slots:
            if slot.process is None or slot.process.poll() is None:
                continue
            code = slot.process.returncode
            if slot.status_fd >= 0:
                self._read_status(slot)
            status = _parse(slot.status)
            self._forget(slot)
            if not self._announced:
                raise ServeError(
                    status.failure or f"{slot.name} ended while starting ({code})", status.exit_code or OTHER
                )
            slot.failures = 0 if now_s - slot.started_s >= STEADY_S else slot.failures + 1
            pause_s = _put_off(slot, now_s)
            why = f": {status.failure}" if status.failure else ""
            _log.warning("worker %s ended (%d)%s; the next one starts in %.2f s", slot.name, code, why, pause_s)

    def _forget(self, slot: _Slot) -> None:
        self._close_status(slot)
        self._close_board(slot)
        if slot.process is not None and slot.process.stdin is not None:
            slot.process.stdin.close()
        slot.process, slot.ready = None, False

    def _stop(self, signals: Signals) -> None:
        """Let requests in flight finish, for a while; a second signal ends the patience."""
        for listener in self._listeners:
            listener.close()
        for slot in self._slots:
            if slot.process is not None:
                slot.process.terminate()
        deadline_s = time.monotonic() + self._drain_s + KILL_S
        while any(slot.process is not None and slot.process.poll() is None for slot in self._slots):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                _log.warning("requests still in flight after %.0f s were cut off", self._drain_s)
                break
            for key, _ in self._selector.select(left_s):
                if isinstance(key.data, _Slot):
                    if key.fileobj is key.data.board:
                        self._close_board(key.data)
                    else:
                        self._close_status(key.data)
            if signals.take() & {signal.SIGTERM, signal.SIGINT}:
                break

    def _kill(self) -> None:
        """End and collect whatever still runs; close the sockets."""
        for listener in self._listeners:
            listener.close()
        for slot in self._slots:
            if slot.process is not None:
                slot.process.kill()
                slot.process.wait()
                self._forget(slot)


def _parse(line: bytes | bytearray) -> Status:
    try:
        return Status.model_validate_json(bytes(line))
    except ValidationError:  # it died before it could say anything
        return Status(ready=False)


def _put_off(slot: _Slot, now_s: float) -> float:
    """Set when the next process starts, later with each failure; return the seconds until then."""
    pause_s: float = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(slot.failures, 10))
    slot.due_s = now_s + pause_s
    return pause_s
