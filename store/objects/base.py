"""The one interface to where objects lie, and the values that cross it.

Implementations: `local` (a folder), `s3`, `memory`. Wrappers of the same shape: `retry`, `patience`, `measure`, `guard`
(conditional writes), `cached` (on disk).
Keys are `/`-separated ASCII paths without empty, `.` or `..` parts. Methods may be called from any thread, and block.
Every method may raise `StoreUnavailable`, `StoreDenied` or `StoreFull`; other errors are named at each.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol

from store.errors import ObjectCorrupt

Buffer = bytes | bytearray | memoryview
AtHand = Callable[[str, int, int], Buffer | None]  # the range (key, offset, size) if a cache has it without waiting

FETCH_LIMIT: Final = (4 << 20) + (64 << 10)  # bytes of an object that is compared and set: `gc/state`, sealed


class ObjectInfo(NamedTuple):
    """What a listing or a look says of an object. ETags of a listing may differ from those of `fetch` (SeaweedFS)."""

    key: str
    size: int
    etag: str
    modified_ns: int


def check_fetched(key: str, size: int) -> None:
    """Refuse to hold an object that nobody wrote as one to compare and set.

    Raises:
        ObjectCorrupt: it is longer than `FETCH_LIMIT`.
    """
    if size > FETCH_LIMIT:
        raise ObjectCorrupt(key, f"it takes {size} bytes, at most {FETCH_LIMIT} are expected")


class Fetched(NamedTuple):
    """A whole object and the ETag that a later `put_if` may name."""

    data: bytes
    etag: str


class ObjectStore(Protocol):
    """Objects by key: whole, in ranges, conditionally written."""

    @property
    def address(self) -> str:
        """Where this is, for messages: never holds a secret."""
        ...

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return `size` bytes from `offset`, or all up to the end; fewer (or none) only where the object ends.

        Raises:
            ObjectMissing: no such object.
        """
        ...

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        """Return the last `size` bytes (all of a shorter object) and the object's whole size, in one request.

        Raises:
            ObjectMissing: no such object.
        """
        ...

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        """Return the whole object with its ETag, or `None` when its ETag is still `unless`.

        Raises:
            ObjectMissing: no such object.
            ObjectCorrupt: it is longer than `FETCH_LIMIT`; it was not read.
        """
        ...

    def head(self, key: str) -> ObjectInfo:
        """Return size, ETag and time without the bytes.

        Raises:
            ObjectMissing: no such object.
        """
        ...

    def put(self, key: str, data: Buffer) -> str:
        """Write an object whole, durably and at once visible whole; return its ETag."""
        ...

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        """Write only if the object's ETag is `match`, or, for `None`, only if there is no object; return the new ETag.

        Never retried below: the caller decides what an unclear outcome means (docs/format.md, Commit).

        Raises:
            PreconditionFailed: the store said that the condition does not hold (HTTP 412, 409, 404).
            OutcomeUnknown: time-out, broken connection or 5xx; it may have been written.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        ...

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose keys begin with `prefix` and sort after `after`, streaming.

        A hint: in no particular order, possibly a moment old.
        """
        ...

    def now_ns(self) -> int:
        """Tell the store's own time (ns since 1970, UTC): S3's `Date` carried forward, or this machine's clock."""
        ...

    def close(self) -> None:
        """Let go of connections and files. Calls afterwards fail."""
        ...
