"""Packs: one object of many blocks back to back, and the footer that lists them (docs/format.md, Packs).

    footer row, 48 bytes
    offset size field
    0      32   digest of the chunk (plain bytes)
    32     4    offset of the block in the pack
    36     4    stored length
    40     4    plain length
    44     1    coding
    45     1    number of bases (coding PATCH, reserved): that many digests follow after all rows, in row order
    46     2    zeros

The footer begins with the number of rows (8 bytes). A pack's id is random, so that no two attempts ever write one
object. `PackBuilder` belongs to one thread; decoding is pure.
"""

import os
import struct
from typing import Final, NamedTuple

from store.codec import Coding
from store.digest import DIGEST_SIZE, PACK_ID_SIZE, Digest, PackId
from store.errors import ObjectCorrupt
from store.frame import HEADER, PACK_MAGIC, header, read_table, table_and_trailer
from store.layout import pack_key
from store.objects.base import Buffer, ObjectStore

ROW: Final = struct.Struct("<32sIIIBBH")
_COUNT: Final = struct.Struct("<Q")

TARGET_SIZE: Final = 16 << 20  # a pack is closed once it holds this much
MAX_SIZE: Final = 64 << 20
MAX_BLOCKS: Final = 1 << 16  # so that a footer stays under 4 MiB
MAX_PLAIN: Final = 8 << 20  # most plain bytes of one block that any reader accepts
MAX_BASES: Final = 8  # of one block
SLACK: Final = 1024  # most bytes by which a coded (and sealed) block may be longer than its chunk
MAX_FOOTER: Final = _COUNT.size + MAX_BLOCKS * (ROW.size + MAX_BASES * DIGEST_SIZE)


class Block(NamedTuple):
    """Where a chunk lies, and how."""

    digest: Digest
    pack: PackId
    offset: int
    stored: int  # bytes as stored
    plain: int  # bytes of the chunk
    coding: int


class PackBuilder:
    """Collects blocks until the pack is large enough; holds its bytes once."""

    def __init__(self) -> None:
        self.id = PackId(os.urandom(PACK_ID_SIZE))
        self._data = bytearray(header(PACK_MAGIC))
        self._rows = bytearray()

    @property
    def size(self) -> int:
        """Bytes so far, without the footer."""
        return len(self._data)

    def full(self, aim: int = TARGET_SIZE) -> bool:
        """Tell whether the pack holds `aim` bytes, or all that one pack should."""
        return len(self._data) >= min(aim, TARGET_SIZE) or len(self._rows) >= MAX_BLOCKS * ROW.size

    @property
    def blocks(self) -> int:
        return len(self._rows) // ROW.size

    def add(self, digest: Digest, coding: int, stored: Buffer, plain: int) -> Block:
        """Append one block; the buffer is copied.

        Args:
            digest: of the chunk's plain bytes.
            coding: how `stored` is coded.
            stored: the block.
            plain: length of the chunk, 1 to MAX_PLAIN.
        """
        block = Block(digest, self.id, len(self._data), len(stored), plain, coding)
        self._rows += ROW.pack(digest, len(self._data), len(stored), plain, coding, 0, 0)
        self._data += stored
        return block

    def finish(self) -> bytearray:
        """Return the whole object; nothing can be added afterwards."""
        footer = _COUNT.pack(self.blocks) + self._rows
        end, _ = table_and_trailer(footer, at=len(self._data), magic=PACK_MAGIC)
        self._data += end
        return self._data


def read_footer(objects: ObjectStore, pack: PackId) -> list[Block]:
    """Read which blocks a pack holds, in the order in which they lie.

    Raises:
        ObjectMissing: no such pack.  ObjectCorrupt: its footer can't be what was written.
    """
    key = pack_key(pack.hex())
    table = read_table(objects, key, PACK_MAGIC, limit=MAX_FOOTER)
    plain = memoryview(table.plain)
    if len(plain) < _COUNT.size:
        raise ObjectCorrupt(key, "its footer is empty")
    (count,) = _COUNT.unpack_from(plain)
    rows = plain[_COUNT.size : _COUNT.size + count * ROW.size]
    if count > MAX_BLOCKS or len(rows) != count * ROW.size:
        raise ObjectCorrupt(key, f"its footer claims {count} blocks in {len(plain)} bytes")
    blocks = []
    end = HEADER.size
    all_bases = 0
    for digest, offset, stored, plain_size, coding, bases, _ in ROW.iter_unpack(rows):
        if offset != end or not sizes_fit(stored, plain_size, coding) or bases > MAX_BASES:
            raise ObjectCorrupt(key, f"its footer places a block of {stored} bytes at {offset}, after {end}")
        end = offset + stored
        all_bases += bases
        blocks.append(Block(Digest(digest), pack, offset, stored, plain_size, coding))
    if end != table.at or len(plain) != _COUNT.size + count * ROW.size + all_bases * DIGEST_SIZE:
        raise ObjectCorrupt(key, f"its footer does not end where its {count} blocks and {all_bases} bases do")
    return blocks


def sizes_fit(stored: int, plain: int, coding: int) -> bool:
    """Tell whether a block may claim these sizes: what a reader fetches and unpacks stays within bounds."""
    if coding == Coding.PLAIN:
        return 0 < plain <= MAX_PLAIN and stored == plain
    return 0 < plain <= MAX_PLAIN and 0 < stored <= plain + SLACK
