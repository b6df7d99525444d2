"""Where in a tree under construction each missing block has to go, and the writing of it.

A block is written to all its places at once, so that it is got once. A file that is one block whole is made only then,
with its content and its time in one go; every other has its size already. `fill` may be called from any thread, for
different blocks; a `LastFile` is one thread's. All offsets in bytes.
"""

import os
from collections.abc import Iterable
from typing import Final, NamedTuple

from store.digest import Digest
from store.objects.base import Buffer
from store.pack import Block
from store.pull.flush import start_writing

_MUCH: Final = 1 << 20  # bytes written into a file before it is worth a call to have them written out


class Whole(NamedTuple):
    """What a file is made with that one block fills."""

    executable: bool
    mtime_ns: int


class _Need(NamedTuple):
    block: Block
    places: list[tuple[bytes, int, Whole | None]]  # (path, offset, how to make the file)


class Places:
    """The blocks that are missing in one tree."""

    def __init__(self) -> None:
        self._needs: dict[Digest, _Need] = {}

    def __len__(self) -> int:
        return len(self._needs)

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._needs

    def add(self, block: Block, path: bytes, offset: int, whole: Whole | None = None) -> None:
        """Note that a block is missing at an offset of a file, which has its size already unless it is to be made."""
        need = self._needs.get(block.digest)
        if need is None:
            need = self._needs[block.digest] = _Need(block, [])
        need.places.append((path, offset, whole))

    def blocks(self) -> Iterable[Block]:
        """Return the missing blocks."""
        return [need.block for need in self._needs.values()]

    def fill(self, digest: Digest, plain: Buffer, last: "LastFile | None" = None) -> int:
        """Write a block, whose digest was checked, wherever it is missing; return the bytes written.

        Args:
            digest: its name.
            plain: its bytes.
            last: holds the file that was written last, where one file after another gets many blocks.

        Raises:
            OSError: it can't be written.
        """
        need = self._needs.pop(digest, None)
        if need is None:
            return 0
        for path, offset, whole in need.places:
            if whole is not None:
                make(path, plain, whole)
            elif last is not None:
                last.write(path, plain, offset)
            else:
                with LastFile() as file:
                    file.write(path, plain, offset)
        return len(plain) * len(need.places)


class LastFile:
    """Keeps the file open that was written last, and has what was written on its way to the disk when it is let go."""

    def __init__(self) -> None:
        self._path = b""
        self._descriptor = -1
        self._written = 0

    def __enter__(self) -> "LastFile":
        return self

    def __exit__(self, *exc: object) -> None:
        self._let_go()

    def write(self, path: bytes, data: Buffer, offset: int) -> None:
        """Write into a file that is there.

        Raises:
            OSError: it can't be written.
        """
        if path != self._path:
            self._let_go()
            self._descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            self._path = path
        write_at(self._descriptor, data, offset)
        self._written += len(data)

    def _let_go(self) -> None:
        if self._descriptor >= 0:
            try:
                if self._written >= _MUCH:
                    start_writing(self._descriptor)
            finally:
                os.close(self._descriptor)
                self._path, self._descriptor, self._written = b"", -1, 0


def make(path: bytes, plain: Buffer, whole: Whole) -> None:
    """Make a file with its content and its time.

    Raises:
        OSError: it is there, or can't be made or written.
    """
    descriptor = create(path, executable=whole.executable)
    try:
        write_at(descriptor, plain, 0)
        os.utime(descriptor, ns=(whole.mtime_ns, whole.mtime_ns))
    finally:
        os.close(descriptor)


def create(path: bytes, *, executable: bool) -> int:
    """Make a file that is not there yet; return it open for writing.

    Raises:
        OSError: it is there, or can't be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o777 if executable else 0o666)


def write_at(descriptor: int, data: Buffer, offset: int) -> None:
    """Write all of `data` at an offset."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
