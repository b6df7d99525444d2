"""Where in a tree under construction each missing block has to go, and the writing of it.

A block is written to all its places at once, so that it is got once. `fill` may be called from any thread, for
different blocks. All offsets in bytes.
"""

import os
from collections.abc import Iterable
from typing import NamedTuple

from store.digest import Digest
from store.objects.base import Buffer
from store.pack import Block


class _Need(NamedTuple):
    block: Block
    places: list[tuple[bytes, int]]  # (path, offset)


class Places:
    """The blocks that are missing in one tree."""

    def __init__(self) -> None:
        self._needs: dict[Digest, _Need] = {}

    def __len__(self) -> int:
        return len(self._needs)

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._needs

    def add(self, block: Block, path: bytes, offset: int) -> None:
        """Note that a block is missing at an offset of a file, which has its size already."""
        need = self._needs.get(block.digest)
        if need is None:
            need = self._needs[block.digest] = _Need(block, [])
        need.places.append((path, offset))

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
        for path, offset in need.places:
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                write_at(descriptor, plain, offset)
            finally:
                os.close(descriptor)
        return len(plain) * len(need.places)


def write_at(descriptor: int, data: Buffer, offset: int) -> None:
    """Write all of `data` at an offset."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
