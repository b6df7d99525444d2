"""A local file of an encrypted store: read and written at random, and nothing in it can be read without the key.

    header  offset size type       field
            0      4    bytes[4]   magic "AFVL"
            4      4    u32        version, 1
            8      32   bytes[32]  salt, random for each file
            40     36   sealed     plain bytes of the file (u64)
            76          pages of `PAGE` plain bytes, each sealed; the last one is filled up with zeros

    sealed  nonce (12), AES-256-GCM of the bytes, tag (16)

The key is HKDF-SHA256(key of the veil, salt, "aetherfs/1/local"). Associated data are the file's purpose and the page's
number (2^64 - 1 for the size), so that a page opens nowhere but at its place. What is missing behind the size, and what
was changed, is found when it is read. Somebody who can write to the file can put back an earlier page of this very
file, or an earlier file: callers hold what they read against digests of their own, or have only time to lose.

**No nonce is used twice under one key.** Each file draws 32 random bytes for a key of its own, so two files share a key
with a chance of 2^-128 even among 2^64 files. Within a file every write of a page or of the size draws a new random
nonce of 96 bits, also where a page is written again, or a file by a later process, and nothing but the nonce in
front of the sealed bytes remembers it. Among n writes two are the same with a chance of n^2 / 2^97: a file of a
million entries takes less than 2^14 writes, which is 2^-69, and GCM's usual bound of 2^32 writes is 64 TiB. The system
draws the random bytes; a process's copy (fork) draws others.

A few decoded pages are held, changed ones too, until `flush`: entries are met in an order that goes along several
places of a file at once (each depth of a tree is one), and unsealing a page for each would cost more than the rest of
the work. Pages that were written are not in the file before `flush`, and the size is written last: a process killed in
between leaves what was there before, except where it was written over. One thread.
"""

import io
import os
import struct
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol

from store.objects.base import Buffer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HEADER: Final = struct.Struct("<4sI32s")
MAGIC: Final = b"AFVL"
VERSION: Final = 1
PAGE: Final = 16 << 10
NONCE: Final = 12
TAG: Final = 16
SALT: Final = 32
HELD: Final = 16  # decoded pages
_SIZE: Final = struct.Struct("<Q")
_SIZE_SLOT: Final = NONCE + _SIZE.size + TAG
_PAGES: Final = HEADER.size + _SIZE_SLOT
_SLOT: Final = NONCE + PAGE + TAG
_OF_SIZE: Final = (1 << 64) - 1  # stands for a page's number
_BLANK: Final = bytes(PAGE)

Pread = Callable[[int, int], bytes]  # (size, offset) -> bytes, fewer at the end


class VeilBroken(OSError):
    """A local file is damaged, or another store's: as good as none."""


class LocalFile(Protocol):
    """What pushes and pulls ask of a local file, sealed or not."""

    def read(self, size: int = -1, /) -> bytes: ...
    def write(self, data: Buffer, /) -> int: ...
    def seek(self, at: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...
    def flush(self) -> None: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...
    def __enter__(self) -> "LocalFile": ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class VeiledFile:
    """One sealed file, opened."""

    def __init__(self, file: io.FileIO, cipher: "AESGCM", purpose: bytes, size: int | None, *, passing: bool) -> None:
        """Take a file; use `Veil`.

        Args:
            file: unbuffered; closed with this.
            cipher: of this file's key.
            purpose: what the file is for.
            size: plain bytes it has; `None`: it is new.
            passing: it ends when it is closed, so that nothing more need be written then.
        """
        self._file, self._cipher, self._purpose, self._passing = file, cipher, purpose, passing
        self._descriptor = file.fileno()
        self._at, self._size, self._size_there = 0, size or 0, size
        self._pages: dict[int, bytes | bytearray] = {}  # that which was used last stands last
        self._changed: set[int] = set()  # of these

    def __enter__(self) -> "VeiledFile":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, fewer at the end; all that is left if `size` is negative.

        Raises:
            VeilBroken: they are not what was written.
        """
        data = self.pread(size if size >= 0 else max(0, self._size - self._at), self._at)
        self._at += len(data)
        return data

    def pread(self, size: int, at: int) -> bytes:
        """Return bytes from an offset on, fewer at the end; errors as for `read`."""
        number, start = divmod(at, PAGE)
        end = min(at + size, self._size) - number * PAGE
        if end <= start:
            return b""
        if end <= PAGE:
            return bytes(self._page(number)[start:end])
        return b"".join(self._parts(number, start, end))

    def _parts(self, number: int, start: int, end: int) -> Iterator[bytes | bytearray]:
        """Yield bytes of several pages; those that are taken whole are not held, as nobody will come back soon."""
        while end > 0:
            page = self._pages.get(number)
            if page is None:
                page = self._page(number) if start or end < PAGE else self._unsealed(number)
            yield page[start:end] if start or end < PAGE else page
            number, start, end = number + 1, 0, end - PAGE

    def write(self, data: Buffer, /) -> int:
        """Write all of `data`; what lies between the end and where this stands becomes zeros.

        Raises:
            OSError: it can't be written.  VeilBroken: what is to be changed is not what was written.
        """
        view = memoryview(data).cast("B")
        written = len(view)
        if written and self._at > self._size:
            self._extend(self._at)
        while view:
            number, start = divmod(self._at, PAGE)
            part = view[: PAGE - start]
            page = self._writable(number, whole=len(part) == PAGE)
            page[start : start + len(part)] = part
            self._at += len(part)
            self._size = max(self._size, self._at)
            view = view[len(part) :]
        return written

    def _extend(self, size: int) -> None:
        """Make all pages up to a new size; the rest of the last one holds zeros already."""
        for number in range(-(-self._size // PAGE), -(-size // PAGE)):
            self._writable(number, whole=True)
            self._size = min(size, (number + 1) * PAGE)
        self._size = size

    def seek(self, at: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to an offset, from the start or (`os.SEEK_END`) from the end."""
        self._at = at if whence == os.SEEK_SET else self._size + at
        return self._at

    def tell(self) -> int:
        """Return where `read` and `write` go on."""
        return self._at

    def flush(self) -> None:
        """Write what was changed. Errors as for `write`; what could not be written stays to be written."""
        for number in sorted(self._changed):
            self._seal(number, self._pages[number])
        if self._size != self._size_there:
            self._write(HEADER.size, _OF_SIZE, _SIZE.pack(self._size))
            self._size_there = self._size

    def fileno(self) -> int:
        """Return the descriptor, for `os.fsync`."""
        return self._descriptor

    def close(self) -> None:
        """Write what was changed, unless nobody will read it, and close the file."""
        if not self._file.closed:
            try:
                if not self._passing:
                    self.flush()
            finally:
                self._file.close()
                self._pages.clear()
                self._changed.clear()

    # pages

    def _page(self, number: int) -> bytes | bytearray:
        page = self._pages.pop(number, None)
        if page is None:
            self._make_room()
            page = self._unsealed(number)
        self._pages[number] = page
        return page

    def _writable(self, number: int, *, whole: bool) -> bytearray:
        """Return a page to be changed; one that is written whole, or lies behind the end, need not be read."""
        page = self._pages.pop(number, None)
        if page is None:
            self._make_room()
            page = _BLANK if whole or number * PAGE >= self._size else self._unsealed(number)
        if not isinstance(page, bytearray):
            page = bytearray(page)
        self._pages[number] = page
        self._changed.add(number)
        return page

    def _make_room(self) -> None:
        while len(self._pages) >= HELD:
            number, page = next(iter(self._pages.items()))
            if number in self._changed:
                self._seal(number, page)
            del self._pages[number]

    def _seal(self, number: int, page: bytes | bytearray) -> None:
        self._write(_PAGES + number * _SLOT, number, page)
        self._changed.discard(number)

    def _write(self, at: int, number: int, plain: bytes | bytearray) -> None:
        nonce = os.urandom(NONCE)
        view = memoryview(nonce + self._cipher.encrypt(nonce, plain, self._about(number)))
        while view:
            written = os.pwrite(self._descriptor, view, at)
            view, at = view[written:], at + written

    def _unsealed(self, number: int) -> bytes:
        return unsealed(self._descriptor, self._cipher, _PAGES + number * _SLOT, _SLOT, self._about(number))

    def _about(self, number: int) -> bytes:
        return about(self._purpose, number)


def about(purpose: bytes, number: int) -> bytes:
    """Return the associated data of a page."""
    return number.to_bytes(8, "little") + purpose


def unsealed(descriptor: int, cipher: "AESGCM", at: int, size: int, about: bytes) -> bytes:
    """Read sealed bytes of a file.

    Raises:
        VeilBroken: they are not what was written.
    """
    from cryptography.exceptions import InvalidTag

    data = os.pread(descriptor, size, at)
    if len(data) != size:
        raise VeilBroken(0, f"a local file was cut short: at byte {at} are {len(data)} of {size}")
    try:
        return cipher.decrypt(data[:NONCE], data[NONCE:], about)
    except InvalidTag:
        raise VeilBroken(0, f"a local file is damaged at byte {at}, or another store's") from None


def read_size(descriptor: int, cipher: "AESGCM", purpose: bytes) -> int:
    """Read how many plain bytes a sealed file has; errors as for `unsealed`."""
    data = unsealed(descriptor, cipher, HEADER.size, _SIZE_SLOT, about(purpose, _OF_SIZE))
    (size,) = _SIZE.unpack(data)
    return int(size)


def reader_of(file: LocalFile) -> Pread:
    """Return what reads a file at any offset, once it is flushed."""
    return file.pread if isinstance(file, VeiledFile) else partial(os.pread, file.fileno())


def goes_on_at(file: LocalFile, at: int) -> int:
    """Return where to put what follows `at`, so that what is durable before it is not written a second time.

    In a plain file that is `at` itself. A page of a sealed one can only be written whole, and power may fail meanwhile.
    """
    return -(-at // PAGE) * PAGE if isinstance(file, VeiledFile) else at
