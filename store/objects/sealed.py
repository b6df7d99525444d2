"""Sealing in front of an object store: everything above reads and writes plain bytes under plain keys.

Objects are sealed in segments (`store.sealing.segments`), their keys hidden (`store.sealing.names`); `aetherfs.json`
passes as it is, since it is what tells how to open the rest. A read needs an object's header, for its salt and data
key: it comes along with the object's beginning or end, or takes a request of its own once; the last are remembered.

Sizes above are those of plain bytes. A listing by one group of datasets is the same here and below. A range that does
not open is asked for once more, past a cache below that may hold it damaged (`forget`).

Any thread; no lock is held across a request.
"""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from store.errors import ObjectCorrupt, ObjectMissing, OutcomeUnknown, PreconditionFailed
from store.layout import ROOT_KEY
from store.objects.base import AtHand, Buffer, Fetched, ObjectInfo, ObjectStore
from store.objects.keys import check_prefix, check_range
from store.objects.wrapper import Wrapper
from store.sealing.names import Names, kind_of
from store.sealing.secret_keys import KeyRing, KeyUnknown
from store.sealing.segments import (
    HEADER,
    SEGMENT,
    TAG,
    Cipher,
    NotSealed,
    count,
    new_header,
    open_range,
    plain_size,
    read_header,
    seal,
    sealed_size,
    start_of,
)

REMEMBERED: Final = 16_384  # headers, about 1 KB each
_NEAR: Final = 4 * SEGMENT  # a range that begins before this takes the header along

T = TypeVar("T")
Forget = Callable[[str, int, int], None]


class Sealed(Wrapper):
    """An encrypted store's objects, in plain."""

    def __init__(
        self, inner: ObjectStore, ring: KeyRing, store: str, *, forget: Forget | None = None,
        at_hand: AtHand | None = None,
    ) -> None:  # fmt: skip
        """Wrap `inner`.

        Args:
            inner: where sealed objects lie; closed with this one.
            ring: the store's keys.
            store: the store's id, 32 hex digits.
            forget: told (key, offset, size), as they are below, of a range that does not open: a cache drops it.
            at_hand: returns a range (key, offset, size), as they are below, if a cache has it without waiting.
        """
        super().__init__(inner)
        self._ring, self._store, self._names = ring, bytes.fromhex(store), Names(ring)
        self._forget, self._at_hand = forget, at_hand
        self._ciphers: OrderedDict[str, Cipher] = OrderedDict()
        self._lock = threading.Lock()

    # reading

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return a range of an object; see `ObjectStore.get`."""
        check_range(key, offset, size)
        if key == ROOT_KEY:
            return self._inner.get(key, offset=offset, size=size)
        return self._twice(key, offset, size or 1, lambda fresh: self._get(key, offset, size, fresh=fresh))

    def _get(self, key: str, offset: int, size: int | None, *, fresh: bool) -> bytes:
        hidden = self._names.hide(key)
        if size is None and not offset:
            return self._whole(key, self._inner.get(hidden), remember=True)
        cipher = None if fresh else self._known(key)
        first = offset // SEGMENT
        data, data_at = b"", 0
        if cipher is None:
            if size is not None and offset < _NEAR:
                wanted = start_of((offset + max(size, 1) - 1) // SEGMENT + 1)
                data = self._inner.get(hidden, size=wanted)
                if HEADER.size <= len(data) < wanted:  # all of it, so that its end can be held to as well
                    return self._whole(key, data, remember=True)[offset : offset + size]
            else:
                cipher = self._cipher(key, self._inner.get(hidden, size=HEADER.size))
            cipher = cipher or self._cipher(key, data)
        plain = cipher.header.plain
        end = plain if size is None else min(plain, offset + size)
        if offset >= end:
            if not cipher.proved:  # that there is nothing says the header, which is not to be believed as it is
                last = count(plain) - 1
                data = self._inner.get(hidden, offset=start_of(last), size=SEGMENT + TAG)
                open_range(cipher, data, last * SEGMENT, plain)
            return b""
        last = (end - 1) // SEGMENT
        if not data:
            data_at = start_of(first) if first else 0  # with its first segment comes its header, which is held to
            stop = min(start_of(last + 1), sealed_size(plain) - HEADER.size)
            data = self._inner.get(hidden, offset=data_at, size=stop - data_at)
        if not data_at and data[: HEADER.size] != cipher.header.raw:
            raise NotSealed("its header is not the one at its end, or another one than before")
        return open_range(cipher, memoryview(data)[start_of(first) - data_at :], offset, end)

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        """Return an object's end and its whole size; see `ObjectStore.tail`."""
        if key == ROOT_KEY:
            return self._inner.tail(key, size)
        return self._twice(key, 0, 1, lambda fresh: self._tail(key, size))

    def _tail(self, key: str, size: int) -> tuple[bytes, int]:
        wanted = sealed_size(size + SEGMENT)  # the first segment may be wanted for its last byte alone
        data, whole = self._inner.tail(self._names.hide(key), wanted)
        cipher = self._cipher(key, data[-HEADER.size :])
        plain = cipher.header.plain
        if whole != sealed_size(plain):
            raise NotSealed(f"it has {whole} bytes, where {sealed_size(plain)} were sealed: cut short, or longer")
        offset = max(0, plain - size)
        start = start_of(offset // SEGMENT) - (whole - len(data))
        return open_range(cipher, memoryview(data)[start:], offset, plain), plain

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        """Return an object with its ETag; see `ObjectStore.fetch`."""
        with self._named(key):
            found = self._inner.fetch(self._names.hide(key), unless=unless)
        if found is None or key == ROOT_KEY:
            return found
        try:
            return Fetched(self._whole(key, found.data), found.etag)
        except NotSealed as error:
            raise ObjectCorrupt(key, str(error)) from error

    def head(self, key: str) -> ObjectInfo:
        """Look at an object; see `ObjectStore.head`."""
        with self._named(key):
            info = self._inner.head(self._names.hide(key))
        return info._replace(key=key, size=info.size if key == ROOT_KEY else plain_size(info.size))

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield objects by prefix; see `ObjectStore.list`. What comes after a key is told from all that is there."""
        check_prefix(prefix)
        for info in self._inner.list(self._names.hide_prefix(prefix)):
            key = self._names.show(info.key)
            if key is not None and key.startswith(prefix) and key > after:
                yield info._replace(key=key, size=info.size if key == ROOT_KEY else plain_size(info.size))

    # writing

    def put(self, key: str, data: Buffer) -> str:
        """Write an object; see `ObjectStore.put`."""
        with self._named(key):
            return self._inner.put(self._names.hide(key), self._seal(key, data))

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        """Write an object on a condition; see `ObjectStore.put_if`."""
        with self._named(key):
            return self._inner.put_if(self._names.hide(key), self._seal(key, data), match=match)

    def delete(self, key: str) -> None:
        """Remove an object; see `ObjectStore.delete`."""
        with self._named(key):
            self._inner.delete(self._names.hide(key))

    def forget(self, key: str, offset: int, size: int) -> None:
        """Have a cache below drop a range, given as it is above."""
        if self._forget is not None:
            self._forget(*self.below(key, offset, size))

    def at_hand(self, key: str, offset: int, size: int) -> bytes | None:
        """Return a range, given as it is above, if a cache below has it without waiting."""
        cipher = self._known(key)
        end = offset + size
        if (
            self._at_hand is None
            or cipher is None
            or not cipher.proved
            or not 0 < end <= cipher.header.plain
            or not size
        ):
            return None
        start, last = offset // SEGMENT, (end - 1) // SEGMENT
        data = self._at_hand(self._names.hide(key), start_of(start), start_of(last + 1) - start_of(start))
        if data is None:
            return None
        try:
            return open_range(cipher, data, offset, end)
        except NotSealed:  # found out, and told, by who reads it with leave to wait
            return None

    def below(self, key: str, offset: int, size: int) -> tuple[str, int, int]:
        """Return which range of which object below a range lies in."""
        first, last = offset // SEGMENT, (offset + max(size, 1) - 1) // SEGMENT
        start = start_of(first) if first else 0
        return self._names.hide(key), start, start_of(last + 1) - start

    # one object

    def _seal(self, key: str, data: Buffer) -> Buffer:
        if key == ROOT_KEY:
            return data
        with self._lock:
            self._ciphers.pop(key, None)
        return seal(self._made(key, new_header(memoryview(data).nbytes, self._ring.current).raw), data)

    def _made(self, key: str, raw: Buffer) -> Cipher:
        header = read_header(raw)
        try:
            data_key = self._ring.data_key(header.key_id)
        except KeyUnknown as error:
            raise NotSealed(str(error)) from error
        return Cipher(header, data_key, kind=kind_of(key), store=self._store, name=key)

    def _whole(self, key: str, data: bytes, *, remember: bool = False) -> bytes:
        cipher = (self._cipher if remember else self._made)(key, data[: HEADER.size])
        plain = cipher.header.plain
        if len(data) != sealed_size(plain) or data[-HEADER.size :] != cipher.header.raw:
            raise NotSealed(f"it has {len(data)} bytes, where {sealed_size(plain)} were sealed: cut short, or longer")
        return open_range(cipher, memoryview(data)[HEADER.size :], 0, plain)

    def _known(self, key: str) -> Cipher | None:
        with self._lock:
            found = self._ciphers.get(key)
            if found is not None:
                self._ciphers.move_to_end(key)
            return found

    def _cipher(self, key: str, data: bytes) -> Cipher:
        """Make what opens an object from its first bytes, or its last header, and remember it."""
        cipher = self._made(key, data[: HEADER.size])
        with self._lock:
            self._ciphers[key] = cipher
            while len(self._ciphers) > REMEMBERED:
                self._ciphers.popitem(last=False)
        return cipher

    def _twice(self, key: str, offset: int, size: int, read: Callable[[bool], T]) -> T:
        """Read, and once more where it does not open: another object may stand there now, or a cache is damaged."""
        with self._named(key):
            try:
                return read(False)
            except NotSealed:
                with self._lock:
                    self._ciphers.pop(key, None)
                self.forget(key, offset, size)
            try:
                return read(True)
            except NotSealed as error:
                raise ObjectCorrupt(key, str(error)) from error

    @contextlib.contextmanager
    def _named(self, key: str) -> Iterator[None]:
        """Name in errors what was asked for, and not what it is called below."""
        try:
            yield
        except ObjectMissing as error:
            raise ObjectMissing(key, error.store) from error
        except PreconditionFailed as error:
            raise PreconditionFailed(key) from error
        except OutcomeUnknown as error:
            raise OutcomeUnknown(key, error.why, error.retry_after_s) from error
        except ObjectCorrupt as error:
            raise ObjectCorrupt(key, error.why) from error
