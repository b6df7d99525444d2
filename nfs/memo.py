"""A bounded memory of things that never change.

Two generations: what is asked for or stored lies in the young one; when that is full it becomes the old one, and the
old one goes. So a lookup costs one or two dictionary reads, no order is kept, and the bound holds.

Threads: any thread may call. Each step is one operation on a dictionary or one assignment; a race costs at worst an
entry that is computed again.
"""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(Generic[K, V]):
    """Remember up to `limit` entries, the most recently used half of them for certain."""

    def __init__(self, limit: int) -> None:
        """Hold at most `limit` entries, 2 or more."""
        self._half = max(1, limit // 2)
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """Return what was remembered, or `None`."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Remember."""
        young = self._young
        if len(young) >= self._half:
            self._old = young
            self._young = young = {}
        young[key] = value

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
