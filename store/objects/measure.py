"""Counting what is asked of an object store: requests, failures, bytes and time, by method.

Around the bare store it counts requests as they are sent; around the retry wrapper, calls as they were made.

Threads: every method may be called from any thread; one lock covers the counters, never a call.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple, TypeVar

from store.errors import StoreError
from store.objects.base import Buffer, Fetched, ObjectInfo, ObjectStore
from store.objects.wrapper import Wrapper

METHODS: Final = ("get", "tail", "fetch", "head", "put", "put_if", "delete", "list", "now_ns")

T = TypeVar("T")


class Count(NamedTuple):
    """What one method has done."""

    calls: int = 0  # finished, failed ones included; a listing counts when it is begun
    failed: int = 0  # ended with a `StoreError`, whatever it says
    bytes_in: int = 0  # received
    bytes_out: int = 0  # sent with success
    time_ns: int = 0  # spent in calls, summed over threads

    def __sub__(self, earlier: "Count") -> "Count":
        return Count(*(now - before for now, before in zip(self, earlier, strict=True)))


class Snapshot(NamedTuple):
    """All counters at one moment."""

    methods: Mapping[str, Count]  # by name; all of `METHODS`

    @property
    def puts(self) -> int:
        """How many objects were asked to be written."""
        return self.methods["put"].calls + self.methods["put_if"].calls

    @property
    def requests(self) -> int:
        """How many calls there were in all."""
        return sum(count.calls for name, count in self.methods.items() if name != "now_ns")

    @property
    def bytes_in(self) -> int:
        """How many bytes of objects were received."""
        return sum(count.bytes_in for count in self.methods.values())

    @property
    def bytes_out(self) -> int:
        """How many bytes of objects were written."""
        return sum(count.bytes_out for count in self.methods.values())

    def since(self, earlier: "Snapshot") -> "Snapshot":
        """Return what was counted after `earlier`."""
        return Snapshot({name: count - earlier.methods[name] for name, count in self.methods.items()})


class Measuring(Wrapper):
    """Counts every call on its way to the inner store."""

    def __init__(self, inner: ObjectStore, *, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """Wrap `inner`, with all counters at zero."""
        super().__init__(inner)
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(METHODS, Count())

    def snapshot(self) -> Snapshot:
        """Return all counters as they are now."""
        with self._lock:
            return Snapshot(dict(self._counts))

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return a range of an object; see `ObjectStore.get`."""
        return self._counted("get", lambda: self._inner.get(key, offset=offset, size=size), received=len)

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        """Return an object's end and its whole size; see `ObjectStore.tail`."""
        return self._counted("tail", lambda: self._inner.tail(key, size), received=lambda found: len(found[0]))

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        """Return an object with its ETag; see `ObjectStore.fetch`."""
        return self._counted(
            "fetch",
            lambda: self._inner.fetch(key, unless=unless),
            received=lambda found: len(found.data) if found else 0,
        )

    def head(self, key: str) -> ObjectInfo:
        """Look at an object; see `ObjectStore.head`."""
        return self._counted("head", lambda: self._inner.head(key))

    def put(self, key: str, data: Buffer) -> str:
        """Write an object; see `ObjectStore.put`."""
        return self._counted("put", lambda: self._inner.put(key, data), sent=memoryview(data).nbytes)

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        """Write an object on a condition; see `ObjectStore.put_if`."""
        return self._counted("put_if", lambda: self._inner.put_if(key, data, match=match), sent=memoryview(data).nbytes)

    def delete(self, key: str) -> None:
        """Remove an object; see `ObjectStore.delete`."""
        self._counted("delete", lambda: self._inner.delete(key))

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield objects by prefix; see `ObjectStore.list`. The inner listing is handed on as it is."""
        return self._counted("list", lambda: self._inner.list(prefix, after=after))

    def now_ns(self) -> int:
        """Tell the inner store's time."""
        return self._counted("now_ns", self._inner.now_ns)

    def _counted(
        self, method: str, call: Callable[[], T], *, sent: int = 0, received: Callable[[T], int] | None = None
    ) -> T:
        began_ns = self._monotonic_ns()
        try:
            result = call()
        except StoreError:
            self._add(method, Count(calls=1, failed=1, time_ns=self._monotonic_ns() - began_ns))
            raise
        bytes_in = received(result) if received else 0
        self._add(method, Count(calls=1, bytes_in=bytes_in, bytes_out=sent, time_ns=self._monotonic_ns() - began_ns))
        return result

    def _add(self, method: str, more: Count) -> None:
        with self._lock:
            self._counts[method] = Count(*(held + new for held, new in zip(self._counts[method], more, strict=True)))
