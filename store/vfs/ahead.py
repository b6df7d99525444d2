"""Read-ahead: who reads a file in order gets the next blocks before asking.

A reader is known by the file alone: NFS has no open. A window opens once a read that follows the last one had to wait.
It is as wide as four times what was read in order so far, up to `WINDOW`, so that a short file is not overrun and a
long one soon has as many requests under way as a far store needs. It closes when what it would fetch is all in memory
already, so that warm reading costs nothing. What lies ahead of all readers together is bounded by a share of the memory
cache, or they would push each other's blocks out before these are read. Any thread; `note` never blocks.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from store.errors import StoreError
from store.vfs.tree import Place

WINDOW: Final = 96 << 20  # bytes: as many units as there are jobs
UNIT: Final = 8 << 20  # bytes of one fetch, at multiples of it: one request, or two
LEAST: Final = 1 << 20  # bytes; a narrower window is not worth its requests
SLACK: Final = 8 << 20  # bytes: so far a client's reads overtake each other
GROWTH: Final = 4  # bytes ahead for each that was read in order
READERS: Final = 256  # files remembered
FORGOTTEN_S: Final = 30.0  # after this long without a read a reader takes no share of the memory any more
JOBS: Final = 12  # fetches under way; half as many again as connections that a far line needs, so that none rests
QUEUED: Final = 64  # fetches that wait for one of these; when there are more, a step is left out
SHARE: Final = 4  # one in so many bytes of the memory cache may lie ahead


@dataclass(slots=True)
class _Reader:
    expected: int  # where the next read begins if it goes on in order
    run: int  # bytes read in order
    seen_s: float
    opened: bool = False
    fetched: int = 0  # read ahead up to here


class ReadAhead:
    """Watches reads and fetches what comes next."""

    def __init__(
        self, fetch: Callable[[Place, int, int], bool], memory: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start.

        Args:
            fetch: brings (file, offset, size) into memory; tells whether anything had to be fetched.
            memory: bytes that the memory has room for.
            clock: seconds.
        """
        self._fetch, self._clock = fetch, clock
        self._most = min(memory // SHARE, JOBS * WINDOW)
        self._readers: OrderedDict[Place, _Reader] = OrderedDict()  # who read last stands last
        self._opened = 0
        self._pool = ThreadPoolExecutor(JOBS, thread_name_prefix="ahead")
        self._free = JOBS + QUEUED
        self._lock = threading.Lock()

    def warm(self, key: Place, offset: int, size: int) -> None:
        """Note a read that was answered from memory; it matters only for who is read ahead for."""
        reader = self._readers.get(key)
        if reader is not None and reader.opened:
            self.note(key, offset, size, waited=False)

    def note(self, key: Place, offset: int, size: int, *, waited: bool) -> None:
        """Note a read, and fetch ahead where it went on in order. Call it before waiting for the read's own blocks."""
        with self._lock:
            reader = self._seen(key, offset, size)
            if reader is None or (not reader.opened and not waited):
                return
            if not reader.opened:
                reader.opened, reader.fetched = True, reader.expected
                self._opened += 1
            for start, stop in self._steps(reader):
                if not self._free:
                    return
                try:
                    self._pool.submit(self._run, key, reader, start, stop - start)
                except RuntimeError:  # closed meanwhile
                    return
                self._free -= 1
                reader.fetched = stop

    def _seen(self, key: Place, offset: int, size: int) -> _Reader | None:
        """Note where a reader is; return it if it reads in order."""
        now_s = self._clock()
        reader = self._readers.get(key)
        if reader is None:
            self._readers[key] = _Reader(offset + size, size, now_s)
            if len(self._readers) > READERS:
                self._forget_first()
            return None
        self._readers.move_to_end(key)
        reader.seen_s = now_s
        while next(iter(self._readers.values())).seen_s < now_s - FORGOTTEN_S:
            self._forget_first()
        if not -SLACK <= offset - reader.expected <= SLACK:
            reader.expected, reader.run = offset + size, size
            self._shut(reader)
            return None
        reader.expected = max(reader.expected, offset + size)
        reader.run += size
        return reader

    def _steps(self, reader: _Reader) -> list[tuple[int, int]]:
        """Return the ranges that are to be fetched now: whole units, or the whole of a narrow window."""
        window = min(WINDOW, GROWTH * reader.run, self._most // self._opened)
        at, stop = max(reader.fetched, reader.expected), reader.expected + window
        if window < LEAST or stop - at < min(UNIT, window // 2):
            return []
        steps: list[tuple[int, int]] = []
        while at < stop:
            end = (at // UNIT + 1) * UNIT
            if end > stop and steps:  # later, and whole
                break
            steps.append((at, min(end, stop)))
            at = end
        return steps

    def _run(self, key: Place, reader: _Reader, offset: int, size: int) -> None:
        useful = False  # of a failure the reader itself will be told when it comes there
        try:
            useful = self._fetch(key, offset, size)
        except StoreError:
            pass
        finally:
            with self._lock:
                self._free += 1
                if not useful:
                    self._shut(reader)

    def _shut(self, reader: _Reader) -> None:
        if reader.opened:
            reader.opened = False
            self._opened -= 1

    def _forget_first(self) -> None:
        _, reader = self._readers.popitem(last=False)
        self._shut(reader)

    def close(self) -> None:
        """Stop the threads; fetches that have begun end."""
        self._pool.shutdown(wait=False, cancel_futures=True)
