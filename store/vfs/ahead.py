"""Read-ahead: who reads a file in order gets the next blocks before asking.

A reader is known by the file alone: NFS has no open. A window opens once a read that follows the last one had to
wait, doubles with each step up to `WINDOW`, and closes when what it would fetch is all in memory already, so that
warm reading costs nothing. Any thread; `note` never blocks.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from store.errors import StoreError
from store.vfs.tree import Place

FIRST: Final = 2 << 20
WINDOW: Final = 16 << 20
READERS: Final = 256  # files remembered
JOBS: Final = 4  # fetches under way; when all are busy, a step is left out


@dataclass(slots=True)
class _Reader:
    expected: int  # where the next read begins if it goes on in order
    fetched: int = 0  # read ahead up to here
    window: int = 0  # 0: not opened yet


class ReadAhead:
    """Watches reads and fetches what comes next."""

    def __init__(self, fetch: Callable[[Place, int, int], bool]) -> None:
        """Start.

        Args:
            fetch: brings (file, offset, size) into memory; tells whether anything had to be fetched.
        """
        self._fetch = fetch
        self._readers: OrderedDict[Place, _Reader] = OrderedDict()
        self._pool = ThreadPoolExecutor(JOBS, thread_name_prefix="ahead")
        self._free = threading.Semaphore(JOBS)
        self._lock = threading.Lock()

    def warm(self, key: Place, offset: int, size: int) -> None:
        """Note a read that was answered from memory."""
        if key in self._readers:
            self.note(key, offset, size, waited=False)

    def note(self, key: Place, offset: int, size: int, *, waited: bool) -> None:
        """Note a read, and fetch ahead where it went on in order."""
        with self._lock:
            reader = self._readers.get(key)
            if reader is None:
                self._readers[key] = _Reader(offset + size)
                if len(self._readers) > READERS:
                    self._readers.popitem(last=False)
                return
            self._readers.move_to_end(key)
            in_order = (
                reader.expected - WINDOW <= offset <= reader.expected + FIRST
            )  # a client's reads overtake each other
            reader.expected = max(reader.expected, offset + size) if in_order else offset + size
            if not in_order:
                reader.window = 0
                return
            if not reader.window:
                if not waited:
                    return
                reader.window, reader.fetched = FIRST, reader.expected
            if reader.fetched - reader.expected > reader.window // 2 or not self._free.acquire(blocking=False):
                return
            reader.window = min(WINDOW, reader.window * 2)
            start = max(reader.fetched, reader.expected)
            reader.fetched = reader.expected + reader.window
        try:
            self._pool.submit(self._run, key, reader, start, reader.fetched - start)
        except RuntimeError:  # closed meanwhile
            self._free.release()

    def _run(self, key: Place, reader: _Reader, offset: int, size: int) -> None:
        try:
            if not self._fetch(key, offset, size):
                reader.window = 0
        except StoreError:
            reader.window = 0  # the reader itself will meet it, and be told
        finally:
            self._free.release()

    def close(self) -> None:
        """Stop the threads; fetches that have begun end."""
        self._pool.shutdown(wait=False, cancel_futures=True)
