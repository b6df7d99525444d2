"""A least-recently-used cache in memory, bounded in bytes. Any thread."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_OVERHEAD = 200  # bytes of bookkeeping an entry, so that many tiny values are bounded too


class ByteCache(Generic[K, V]):
    """Values by key; the least recently used go once their costs exceed `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._used = 0

    @property
    def used(self) -> int:
        """Bytes held at the moment, bookkeeping included; never above `limit`."""
        return self._used

    def get(self, key: K) -> V | None:
        # Without the lock, which would double the cost: each step is one operation of a dictionary.
        entry = self._entries.get(key)
        if entry is None:
            return None
        try:  # noqa: SIM105  # as quick as can be
            self._entries.move_to_end(key)
        except KeyError:  # it went meanwhile
            pass
        return entry[0]

    def put(self, key: K, value: V, cost: int) -> None:
        """Keep a value of `cost` bytes, unless it alone is above the limit."""
        cost += _OVERHEAD
        with self._lock:
            old = self._entries.pop(key, None)
            if old is not None:
                self._used -= old[1]
            if cost > self.limit:
                return
            self._entries[key] = (value, cost)
            self._used += cost
            while self._used > self.limit:
                _, (_, freed) = self._entries.popitem(last=False)
                self._used -= freed

    def drop(self, key: K) -> None:
        with self._lock:
            old = self._entries.pop(key, None)
            if old is not None:
                self._used -= old[1]
