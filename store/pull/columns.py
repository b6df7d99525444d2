"""Where the bytes of a state's files lie, read from its manifest in the order of the files.

Four sections are read as columns: of each the pages around the present row are held, so that a file of one block costs
a few slices. Nothing is believed: extents with gaps, out of order or past the end, and blocks that cannot be, are
`ObjectCorrupt`, as everywhere. One thread.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from store.digest import DIGEST_SIZE, PACK_ID_SIZE, Digest, PackId
from store.errors import ObjectCorrupt
from store.frame import HEADER
from store.manifest import layout
from store.manifest.layout import HOLE, Section
from store.manifest.view import Manifest
from store.pack import Block, sizes_fit

_AHEAD: Final = 8  # pages read at once where one page follows another
_PACKS: Final = 1 << 12  # ids of packs held

_FILE, _FILE_SIZE = layout.FILE.unpack_from, layout.FILE.size
_EXTENT, _EXTENT_SIZE = layout.EXTENT.unpack_from, layout.EXTENT.size
_BLOCK, _BLOCK_SIZE = layout.BLOCK.unpack_from, layout.BLOCK.size


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
        self._pack_ids: dict[int, PackId] = {}

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

    # These are asked once or more for each file, hence without calls where the row is held already.

    def block(self, row: int) -> Block:
        """Return where one chunk lies."""
        blocks, digests = self._blocks, self._digests
        if not blocks.start <= row < blocks.stop:
            blocks.read(row)
        if not digests.start <= row < digests.stop:
            digests.read(row)
        pack, offset, stored, plain, coding, _, _ = _BLOCK(blocks.data, (row - blocks.start) * _BLOCK_SIZE)
        if not sizes_fit(stored, plain, coding) or offset < HEADER.size:
            raise ObjectCorrupt(self._key, f"block {row} claims {stored} bytes at {offset} for {plain}")
        at = (row - digests.start) * DIGEST_SIZE
        pack_id = self._pack_ids.get(pack) or self._pack_id(pack)
        return Block(Digest(digests.data[at : at + DIGEST_SIZE]), pack_id, offset, stored, plain, coding)

    def _pack_id(self, pack: int) -> PackId:
        packs = self._packs
        if not packs.start <= pack < packs.stop:
            packs.read(pack)
        if len(self._pack_ids) >= _PACKS:
            self._pack_ids.clear()
        at = (pack - packs.start) * PACK_ID_SIZE
        found = self._pack_ids[pack] = PackId(packs.data[at : at + PACK_ID_SIZE])
        return found

    def _extent(self, row: int) -> tuple[int, int]:
        extents = self._extents
        if not extents.start <= row < extents.stop:
            extents.read(row)
        offset, block = _EXTENT(extents.data, (row - extents.start) * _EXTENT_SIZE)
        return offset, block

    def _extent_rows(self, file: int) -> tuple[int, int]:
        files = self._files
        if not files.start <= file < files.stop:
            files.read(file)
        at = (file - files.start) * _FILE_SIZE
        (low,) = _FILE(files.data, at)
        if file + 1 == files.stop:
            files.read(file + 1)
            at = -_FILE_SIZE
        (stop,) = _FILE(files.data, at + _FILE_SIZE)
        if low > stop:
            raise ObjectCorrupt(self._key, f"file {file} has extents {low} to {stop}")
        return low, stop


class _Column:
    """Rows of one section, those of some pages at a time."""

    def __init__(self, manifest: Manifest, kind: Section) -> None:
        self._manifest, self._kind = manifest, kind
        self._pages = manifest.contents.sections[kind]
        self._rows = self._pages.plain // self._pages.width
        self._per_page = self._pages.page_size // self._pages.width
        self.start = self.stop = 0  # rows held
        self.data = b""

    def read(self, row: int) -> None:
        """Hold a row, and those around it.

        Raises:
            ObjectCorrupt: there is no such row.
        """
        if not 0 <= row < self._rows:
            raise ObjectCorrupt(self._manifest.key, f"row {row} of {self._rows} of section {int(self._kind)}")
        page = row // self._per_page
        count = min(_AHEAD if row == self.stop else 1, self._pages.pages - page)
        self.data = b"".join(self._manifest.pages(self._kind, page, count))
        self.start = page * self._per_page
        self.stop = min(self._rows, self.start + count * self._per_page)
