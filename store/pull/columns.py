"""Where the bytes of a state's files lie, read from its manifest in the order of the files.

Four sections are read as columns: of each the pages around the present row are held, so that a file of one block costs
a few slices. Nothing is believed: extents with gaps, out of order or past the end, and blocks that cannot be, are
`ObjectCorrupt`, as everywhere. One thread.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from store.digest import Digest, PackId
from store.errors import ObjectCorrupt
from store.frame import HEADER
from store.manifest import layout
from store.manifest.layout import HOLE, Section
from store.manifest.view import Manifest
from store.objects.base import Buffer
from store.pack import Block, sizes_fit

_AHEAD: Final = 8  # pages read at once where one page follows another


class Run(NamedTuple):
    """A stretch of a file."""

    offset: int
    size: int
    block: Block | None  # None: a hole
    row: int  # of the block in the manifest; -1 for a hole


class Columns:
    """The extents of a manifest's files."""

    def __init__(self, manifest: Manifest) -> None:
        self._key = manifest.key
        self.blocks = manifest.blocks
        self._files = _Column(manifest, Section.FILES)
        self._extents = _Column(manifest, Section.EXTENTS)
        self._digests = _Column(manifest, Section.DIGESTS)
        self._blocks = _Column(manifest, Section.BLOCKS)
        self._packs = _Column(manifest, Section.PACKS)

    def runs(self, file: int, size: int) -> Iterator[Run]:
        """Yield the runs of a file, without any to spare.

        Args:
            file: its number.
            size: its bytes.

        Raises:
            ObjectCorrupt: they do not make up the file.
        """
        low, stop = self._extent_rows(file)
        end = 0
        following = self._extent(low) if low < stop else (0, HOLE)
        for at in range(low, stop):
            start, row = following
            following = self._extent(at + 1) if at + 1 < stop else (size, HOLE)
            block = None if row == HOLE else self.block(row)
            length = following[0] - start if block is None else block.plain
            if start != end or length <= 0:
                raise ObjectCorrupt(self._key, f"file {file} has a run of {length} bytes at {start}")
            end = start + length
            yield Run(start, length, block, -1 if block is None else row)
        if end != size:
            raise ObjectCorrupt(self._key, f"file {file} ends at {end} of {size}")

    def only_block(self, file: int, size: int) -> tuple[Block, int] | None:
        """Return the one block that is the whole file, and its row, where it is one."""
        low, stop = self._extent_rows(file)
        if stop - low != 1 or not size:
            return None
        start, row = self._extent(low)
        if row == HOLE:
            return None
        block = self.block(row)
        if start or block.plain != size:
            raise ObjectCorrupt(self._key, f"file {file} of {size} bytes has a run of {block.plain} at {start}")
        return block, row

    def block(self, row: int) -> Block:
        """Return where one chunk lies."""
        pack, offset, stored, plain, coding, _, _ = layout.BLOCK.unpack_from(*self._blocks.at(row))
        if not sizes_fit(stored, plain, coding) or offset < HEADER.size:
            raise ObjectCorrupt(self._key, f"block {row} claims {stored} bytes at {offset} for {plain}")
        return Block(Digest(self._digests.bytes(row)), PackId(self._packs.bytes(pack)), offset, stored, plain, coding)

    def _extent(self, row: int) -> tuple[int, int]:
        offset, block = layout.EXTENT.unpack_from(*self._extents.at(row))
        return offset, block

    def _extent_rows(self, file: int) -> tuple[int, int]:
        (low,) = layout.FILE.unpack_from(*self._files.at(file))
        (stop,) = layout.FILE.unpack_from(*self._files.at(file + 1))
        if low > stop:
            raise ObjectCorrupt(self._key, f"file {file} has extents {low} to {stop}")
        return low, stop


class _Column:
    """Rows of one section."""

    def __init__(self, manifest: Manifest, kind: Section) -> None:
        self._manifest, self._kind = manifest, kind
        self._pages = manifest.contents.sections[kind]
        self._width = self._pages.width
        self._rows = self._pages.plain // self._width
        self._per_page = self._pages.page_size // self._width
        self._start = self._stop = 0  # rows held
        self._data: Buffer = b""

    def at(self, row: int) -> tuple[Buffer, int]:
        """Return a buffer and where in it a row begins."""
        if not self._start <= row < self._stop:
            self._read(row)
        return self._data, (row - self._start) * self._width

    def bytes(self, row: int) -> bytes:
        """Return a row as it is."""
        data, at = self.at(row)
        return bytes(data[at : at + self._width])

    def _read(self, row: int) -> None:
        if not 0 <= row < self._rows:
            raise ObjectCorrupt(self._manifest.key, f"row {row} of {self._rows} of section {int(self._kind)}")
        page = row // self._per_page
        count = _AHEAD if row == self._stop else 1
        count = min(count, self._pages.pages - page)
        self._data = b"".join(self._manifest.pages(self._kind, page, count))
        self._start = page * self._per_page
        self._stop = min(self._rows, self._start + count * self._per_page)
