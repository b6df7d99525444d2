"""HTTP connections that are cut when a question takes too long in all.

A time-out of a socket bounds each piece alone: who sends a byte of a header, or of a handshake, now and then would hold
a thread, and all who wait for it, for hours. A thread asks one question at a time; `deadline` may be used by any.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

AGAIN_S: Final = 1.0  # until a connection that was not there yet is looked for again


class Question:
    """A question under way: which connection it is asked on, and whether that was cut."""

    def __init__(self) -> None:
        self.cut = False
        self._over = False
        self._connection: HTTPConnection | None = None
        self._socket: socket.socket | None = None  # which an answer may hold that the connection has let go of
        self._lock = threading.Lock()

    def asks(self, connection: HTTPConnection) -> None:
        """Take note of the connection."""
        with self._lock:
            self._connection, self._socket = connection, connection.sock

    def end(self) -> None:
        """Leave the connection alone from now on: another question may have it."""
        with self._lock:
            self._over = True

    def break_off(self) -> None:
        """Cut the connection, if the question is still under way. Whoever waits for bytes of it gets none."""
        with self._lock:
            if self._over:
                return
            self.cut = True
            sock = self._socket or (None if self._connection is None else self._connection.sock)
            if sock is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)  # below TLS, which another thread is busy with
        if sock is None:  # its name is still looked up
            _later(AGAIN_S, self.break_off)


class _Here(threading.local):
    question: Question | None = None  # of this thread


_HERE: Final = _Here()


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[Question]:
    """Bound what this thread asks of `managed` pools within the context; the question says whether it was cut."""
    question = _HERE.question = Question()
    timer = _later(seconds, question.break_off)
    try:
        yield question
    finally:
        question.end()
        timer.cancel()
        _HERE.question = None


def _later(seconds: float, action: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()
    return timer


def managed(pool: urllib3.PoolManager) -> urllib3.PoolManager:
    """Return a pool whose connections tell their question of themselves."""
    pool.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return pool


def _noted(connection: HTTPConnection) -> None:
    if _HERE.question is not None:
        _HERE.question.asks(connection)


class _Connection(HTTPConnection):
    def connect(self) -> None:
        _noted(self)
        super().connect()

    def request(self, *args: Any, **named: Any) -> None:
        _noted(self)
        super().request(*args, **named)
        _noted(self)


class _TlsConnection(_Connection, HTTPSConnection):
    """One by TLS, which tells of itself before and behind what HTTPSConnection does."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
