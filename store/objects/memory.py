"""An object store in memory, for tests that need full control of time and contents.

Threads: every method may be called from any thread; one lock covers the table, and nothing blocks under it.
ETags are numbered by write, so an object written again with the same bytes has another ETag.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from store.errors import ObjectMissing, PreconditionFailed, StoreUnavailable
from store.objects.base import Buffer, Fetched, ObjectInfo, check_fetched
from store.objects.keys import check_key, check_prefix, check_range


class _Held(NamedTuple):
    data: bytes
    etag: str
    modified_ns: int

    def info(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, len(self.data), self.etag, self.modified_ns)


class MemoryStore:
    """Objects in a dictionary. Nothing outlives the process."""

    def __init__(self, *, clock: Callable[[], int] = time.time_ns, name: str = "memory:") -> None:
        """Start empty.

        Args:
            clock: tells the time in ns since 1970; the times of objects and `now_ns` come from it.
            name: what messages call this store.
        """
        self._clock = clock
        self._name = name
        self._lock = threading.Lock()
        self._objects: dict[str, _Held] = {}
        self._numbers = itertools.count(1)
        self._closed = False

    @property
    def address(self) -> str:
        """What messages call this store."""
        return self._name

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return a range of an object; see `ObjectStore.get`."""
        check_range(key, offset, size)
        data = self._held(key).data
        return data[offset:] if size is None else data[offset : offset + size]

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        """Return an object's end and its whole size; see `ObjectStore.tail`."""
        check_range(key, 0, size)
        data = self._held(key).data
        return data[max(0, len(data) - size) :], len(data)

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        """Return an object with its ETag; see `ObjectStore.fetch`."""
        held = self._held(key)
        check_fetched(key, len(held.data))
        return None if held.etag == unless else Fetched(held.data, held.etag)

    def head(self, key: str) -> ObjectInfo:
        """Look at an object; see `ObjectStore.head`."""
        return self._held(key).info(key)

    def put(self, key: str, data: Buffer) -> str:
        """Write an object; see `ObjectStore.put`."""
        check_key(key)
        whole = bytes(data)
        with self._lock:
            return self._write(key, whole)

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        """Write an object on a condition; see `ObjectStore.put_if`."""
        check_key(key)
        whole = bytes(data)
        with self._lock:
            held = self._objects.get(key)
            if (held.etag if held else None) != match:
                raise PreconditionFailed(key)
            return self._write(key, whole)

    def delete(self, key: str) -> None:
        """Remove an object; see `ObjectStore.delete`."""
        check_key(key)
        with self._lock:
            self._open()
            self._objects.pop(key, None)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield what the keys' prefix selects, as it is at the first step; see `ObjectStore.list`."""
        check_prefix(prefix)
        with self._lock:
            self._open()
            found = [held.info(key) for key, held in self._objects.items() if key.startswith(prefix) and key > after]
        return iter(found)

    def now_ns(self) -> int:
        """Tell the injected clock's time."""
        return self._clock()

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._closed = True
            self._objects.clear()

    def _held(self, key: str) -> _Held:
        check_key(key)
        with self._lock:
            self._open()
            held = self._objects.get(key)
        if held is None:
            raise ObjectMissing(key, self._name)
        return held

    def _write(self, key: str, data: bytes) -> str:
        self._open()
        held = _Held(data, f"{next(self._numbers):x}", self._clock())
        self._objects[key] = held
        return held.etag

    def _open(self) -> None:
        if self._closed:
            raise StoreUnavailable(self._name, "it was closed")
