"""Blocks in columns: where many chunks lie, found by digest or by row, for some 60 bytes each.

A dictionary of a million `Block`s takes 350 MB. Here a block is its digest, a row as a manifest's BLOCKS has it, and
4 to 16 bytes of a hash table: open addressing, linear probing, at most half full, keyed by Python's own (seeded) hash,
so that nobody can choose digests that collide. A row is never moved or taken out; one that is forgotten is only not
found any more.

Any thread may `find` and read rows while others `add`.
"""

import threading
from array import array
from collections.abc import Collection
from typing import Final

from store.digest import Digest, PackId
from store.manifest.layout import BLOCK
from store.pack import Block

_FIRST_SLOTS: Final = 1 << 10  # a power of two
MAX_ROWS: Final = 0xFFFFFFFE


class BlockTable:
    """Blocks by digest and by row."""

    def __init__(self) -> None:
        self.digests, self.places = bytearray(), bytearray()  # as in DIGESTS and BLOCKS, of packs in `packs`
        self.packs: list[PackId] = []
        self._pack_rows: dict[PackId, int] = {}
        self._doomed: set[PackId] = set()
        self._slots = array("I", bytes(4 * _FIRST_SLOTS))  # row + 1; 0: free
        self._adding = threading.Lock()

    def __len__(self) -> int:
        return len(self.places) // BLOCK.size

    def find(self, digest: Digest) -> int | None:
        """Return the row of a chunk, or `None`."""
        slots, digests = self._slots, self.digests
        mask = len(slots) - 1
        at = hash(digest) & mask
        while row := slots[at]:
            if digests.startswith(digest, row * 32 - 32):
                return row - 1
            at = (at + 1) & mask
        return None

    def add(self, block: Block) -> int:
        """Take a block; return its row, or the one that the chunk has already."""
        with self._adding:
            row = self.find(block.digest)
            if row is not None:
                return row
            row = len(self)
            pack = self._pack_rows.get(block.pack)
            if pack is None:
                pack = self._pack_rows[block.pack] = len(self.packs)
                self.packs.append(block.pack)
            self.digests += block.digest
            self.places += BLOCK.pack(pack, block.offset, block.stored, block.plain, block.coding, 0, 0)
            if block.pack not in self._doomed:
                if 2 * row >= len(self._slots):
                    self._rehash(2 * len(self._slots))
                _place(self._slots, block.digest, row)
            return row

    def block(self, row: int) -> Block:
        """Return one block."""
        pack, offset, stored, plain, coding, _, _ = BLOCK.unpack_from(self.places, row * BLOCK.size)
        return Block(self.digest(row), self.packs[pack], offset, stored, plain, coding)

    def digest(self, row: int) -> Digest:
        """Return the digest of one chunk."""
        return Digest(bytes(self.digests[row * 32 : row * 32 + 32]))

    def plain(self, row: int) -> int:
        """Return the plain length of one chunk."""
        plain: int = BLOCK.unpack_from(self.places, row * BLOCK.size)[3]
        return plain

    def pack_row(self, row: int) -> int:
        """Return in which of `packs` one block lies."""
        pack: int = BLOCK.unpack_from(self.places, row * BLOCK.size)[0]
        return pack

    def pack(self, row: int) -> PackId:
        """Return in which pack one block lies."""
        return self.packs[self.pack_row(row)]

    def forget(self, packs: Collection[PackId]) -> None:
        """Never again find a block of these packs."""
        with self._adding:
            self._doomed.update(packs)
            self._rehash(len(self._slots))

    def _rehash(self, size: int) -> None:
        slots = array("I", bytes(4 * size))
        for row in range(len(self)):
            if not self._doomed or self.pack(row) not in self._doomed:
                _place(slots, self.digest(row), row)
        self._slots = slots  # at once, so that `find` sees the one or the other whole


def _place(slots: "array[int]", digest: Digest, row: int) -> None:
    mask = len(slots) - 1
    at = hash(digest) & mask
    while slots[at]:
        at = (at + 1) & mask
    slots[at] = row + 1
