"""Processes that read small files, so that a first push of many uses all CPUs: one Python process reads them on one.

They know nothing of the store, so they compress what it may have already: worth it where it has nothing yet. One that
can't be started, or dies, is done without: what it was asked for is read by who asked. `read` may be called from any
thread.
"""

import contextlib
import queue
from collections.abc import Sequence
from typing import Final

from store.chunker import Chunker
from store.push.reader import Find, Piece, Settings, Small, ingest_small
from store.workers import Worker, count, end, program, start

_PROGRAM: Final = program("store.push.reader")


class Readers:
    """As many processes as there are CPUs. Use as a context: they begin and end with it."""

    def __init__(self, chunker: Chunker, id_key: bytes | None, find: Find) -> None:
        """Start none yet; see `ingest_small`."""
        self._chunker, self._id_key, self._find = chunker, id_key, find
        self._all: list[Worker] = []
        self._idle: queue.LifoQueue[Worker | None] = queue.LifoQueue()  # `None`: the caller reads itself

    def __enter__(self) -> "Readers":
        with contextlib.suppress(OSError):  # as many as the system starts
            while len(self._all) < count():
                worker = start(_PROGRAM)
                self._all.append(worker)
                worker.line.send(Settings(self._chunker.settings, self._id_key))
                self._idle.put(worker)
        if self._idle.qsize() < count():  # one was not started, or died before it was told anything
            self._idle.put(None)
        return self

    def __exit__(self, *exc: object) -> None:
        end(self._all)

    def read(self, paths: Sequence[bytes]) -> list[Small]:
        """Read files, one after another; see `ingest_small`."""
        worker = self._idle.get()
        try:
            if worker is None:
                return ingest_small(paths, self._chunker, self._id_key, self._find)
            worker.line.send(list(paths))
            smalls: list[Small] = worker.line.recv()
        except (EOFError, ConnectionError):  # it died
            worker = None
            return ingest_small(paths, self._chunker, self._id_key, self._find)
        finally:
            self._idle.put(worker)
        rows = iter(self._find([one.digest for small in smalls for one in small.pieces if one.digest is not None]))
        return [
            small._replace(pieces=[one if one.digest is None else _known(one, next(rows)) for one in small.pieces])
            for small in smalls
        ]


def _known(one: Piece, row: int | None) -> Piece:
    return one if row is None else Piece(one.offset, one.size, one.digest, row, 0, b"")
