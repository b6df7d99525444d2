"""Where in a tree under construction each missing block has to go, and the writing of it.

A block is written to all its places at once, so that it is got once. A file that is one block whole is made only then,
with its content and its time in one go; every other has its size already. `fill` may be called from any thread, for
different blocks. All offsets in bytes.
"""

import os
from collections.abc import Iterable
from typing import NamedTuple

from store.digest import Digest
from store.objects.base import Buffer
from store.pack import Block


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

    def fill(self, digest: Digest, plain: Buffer) -> int:
        """Write a block, whose digest was checked, wherever it is missing; return the bytes written.

        Raises:
            OSError: it can't be written.
        """
        need = self._needs.pop(digest, None)
        if need is None:
            return 0
        for path, offset, whole in need.places:
            if whole is None:
                descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            else:
                descriptor = create(path, executable=whole.executable)
            try:
                write_at(descriptor, plain, offset)
                if whole is not None:
                    os.utime(descriptor, ns=(whole.mtime_ns, whole.mtime_ns))
            finally:
                os.close(descriptor)
        return len(plain) * len(need.places)


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
