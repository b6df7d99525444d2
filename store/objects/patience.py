"""Saying what a call waits for, when it has waited long: a slow line, a stuck server, a network folder that hangs.

Around the retry wrapper it covers all attempts of a call, and the pauses between them. It changes nothing but tells.

Threads: every method may be called from any thread. A thread of its own, begun by the first call, wakes when the oldest
call under way has lasted long enough; it ends when the store is closed, or with the process.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from store.objects.base import Buffer, Fetched, ObjectInfo, ObjectStore
from store.objects.wrapper import Wrapper

LONG_S: Final = 30.0  # a call that lasts so long is told of, and again each time as long has passed

OnLong = Callable[[str], None]


class _Call(NamedTuple):
    what: str
    began_s: float
    due_s: float


class Patient(Wrapper):
    """Tells of calls that take long."""

    def __init__(
        self,
        inner: ObjectStore,
        on_long: OnLong,
        *,
        long_s: float = LONG_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wrap `inner`.

        Args:
            inner: where calls go; closed with this one.
            on_long: told in a sentence what is waited for, and how long already; called on a thread of this object.
            long_s: seconds after which a call counts as long.
            clock: tells seconds that never go back.
        """
        super().__init__(inner)
        self._on_long, self._long_s, self._clock = on_long, long_s, clock
        self._calls: dict[int, _Call] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return a range of an object; see `ObjectStore.get`."""
        with self._under_way("reading", key):
            return self._inner.get(key, offset=offset, size=size)

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        """Return an object's end and its whole size; see `ObjectStore.tail`."""
        with self._under_way("reading", key):
            return self._inner.tail(key, size)

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        """Return an object with its ETag; see `ObjectStore.fetch`."""
        with self._under_way("reading", key):
            return self._inner.fetch(key, unless=unless)

    def head(self, key: str) -> ObjectInfo:
        """Look at an object; see `ObjectStore.head`."""
        with self._under_way("looking at", key):
            return self._inner.head(key)

    def put(self, key: str, data: Buffer) -> str:
        """Write an object; see `ObjectStore.put`."""
        with self._under_way("writing", key):
            return self._inner.put(key, data)

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        """Write an object on a condition; see `ObjectStore.put_if`."""
        with self._under_way("writing", key):
            return self._inner.put_if(key, data, match=match)

    def delete(self, key: str) -> None:
        """Remove an object; see `ObjectStore.delete`."""
        with self._under_way("removing", key):
            self._inner.delete(key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield objects by prefix; see `ObjectStore.list`. What the caller does between two objects does not count."""
        listing = self._inner.list(prefix, after=after)
        while True:
            with self._under_way("listing", prefix):
                info = next(listing, None)
            if info is None:
                return
            yield info

    def close(self) -> None:
        """Close the inner store; nothing is told any more."""
        self._closed.set()
        self._inner.close()

    def tell(self) -> float:
        """Tell of the calls that have become long; return in how many seconds to look again."""
        now_s = self._clock()
        with self._lock:
            late = {number: call for number, call in self._calls.items() if call.due_s <= now_s}
            for number, call in late.items():
                self._calls[number] = call._replace(due_s=now_s + self._long_s)
            next_s = min((call.due_s for call in self._calls.values()), default=now_s + self._long_s)
        for call in late.values():
            self._on_long(
                f"still {call.what} after {now_s - call.began_s:.0f} s: no whole answer from store {self.address} yet"
            )
        return next_s - now_s

    @contextlib.contextmanager
    def _under_way(self, doing: str, key: str) -> Iterator[None]:
        now_s = self._clock()
        with self._lock:
            number = next(self._numbers)
            self._calls[number] = _Call(f"{doing} {key!r}", now_s, now_s + self._long_s)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="patience", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._calls[number]

    def _watch(self) -> None:
        wait_s = self._long_s
        while not self._closed.wait(wait_s):
            wait_s = self.tell()
