"""The shape that wrappers of object stores share: everything goes to the inner store unless a wrapper says otherwise.

Threads: as the inner store.
"""

from collections.abc import Iterator

from store.objects.base import Buffer, Fetched, ObjectInfo, ObjectStore


class Wrapper:
    """An object store that passes every call on to another. Wrappers derive from it and change what they are about."""

    def __init__(self, inner: ObjectStore) -> None:
        """Wrap `inner`, which is closed with this one."""
        self._inner = inner

    @property
    def address(self) -> str:
        """Where the inner store is."""
        return self._inner.address

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return a range of an object; see `ObjectStore.get`."""
        return self._inner.get(key, offset=offset, size=size)

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        """Return an object's end and its whole size; see `ObjectStore.tail`."""
        return self._inner.tail(key, size)

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        """Return an object with its ETag; see `ObjectStore.fetch`."""
        return self._inner.fetch(key, unless=unless)

    def head(self, key: str) -> ObjectInfo:
        """Look at an object; see `ObjectStore.head`."""
        return self._inner.head(key)

    def put(self, key: str, data: Buffer) -> str:
        """Write an object; see `ObjectStore.put`."""
        return self._inner.put(key, data)

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        """Write an object on a condition; see `ObjectStore.put_if`."""
        return self._inner.put_if(key, data, match=match)

    def delete(self, key: str) -> None:
        """Remove an object; see `ObjectStore.delete`."""
        self._inner.delete(key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield objects by prefix; see `ObjectStore.list`."""
        return self._inner.list(prefix, after=after)

    def now_ns(self) -> int:
        """Tell the inner store's time."""
        return self._inner.now_ns()

    def close(self) -> None:
        """Close the inner store."""
        self._inner.close()
