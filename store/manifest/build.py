"""Makes a manifest's bytes from a tree, what its files hold, and where their blocks lie. Pure; one thread a build.

Pages are coded one after another as their rows are made, so that besides the result, some 100 bytes a file, only 12
bytes for each file and 16 for each extent are taken.
"""

from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from store.codec import Coding, encode, encode_rows
from store.digest import Digest, PackId, stored_digest
from store.frame import MANIFEST_MAGIC, header, table_and_trailer
from store.manifest import layout
from store.manifest.blocktable import BlockTable
from store.manifest.contents import Contents
from store.manifest.layout import HOLE, PageRow, Pages, Section
from store.manifest.streams import Stream
from store.manifest.tree import Tree
from store.objects.base import Buffer

_PIECE = 1 << 20  # bytes of a column on disk that are read at once
_ROWS = 1 << 12  # rows of the table of blocks that are put together at once


class Built(NamedTuple):
    """A manifest, ready to be written."""

    id: Digest
    root: Digest  # digest of its table
    data: bytes | bytearray  # none of a state that the store holds already
    records: int
    files: int
    size: int  # plain bytes of all files
    packs: frozenset[PackId] = frozenset()  # in which its blocks lie
    blocks: "array[int]" = array("I")  # their rows in the table that it was built with, in the order of first use


def build(tree: Tree, contents: Contents, table: BlockTable, *, salt: bytes = b"") -> Built:
    """Encode a tree.

    Args:
        tree: its entries.
        contents: what its files hold; all must be known.
        table: where the blocks lie to which the contents refer.
        salt: 16 random bytes, or none: with them the root is another each time, the id is the same.
    """
    id = tree.id(contents.sha256.pieces(_PIECE))
    used = _Used(contents, table)
    sections: dict[int, Iterable[Buffer]] = {
        Section.NODES: [tree.nodes],
        Section.NAMES: [tree.names],
        Section.LINKS: [tree.links],
        Section.SHA256: contents.sha256.pieces(_PIECE),
        Section.MD5: contents.md5.pieces(_PIECE),
        Section.FILES: [used.files],
        Section.EXTENTS: [used.extents],
        Section.DIGESTS: used.digests(),
        Section.BLOCKS: used.places(),
        Section.PACKS: used.packs,
    }
    if salt:
        sections[Section.SALT] = [salt]
    if len(tree.nodes) > layout.PAGE_SIZE:
        sections[Section.GUIDE] = _guide(tree)  # last, so that it mostly comes along with the table
    data, root = paged(id, tree.header, sections)
    return Built(id, root, data, tree.records, tree.files, tree.size, frozenset(used.packs), used.blocks)


def _guide(tree: Tree) -> Iterator[bytes]:
    for start in range(0, len(tree.nodes), layout.PAGE_SIZE // layout.NODE.size * layout.NODE.size):
        *_, name_at, name_size, _, _ = layout.NODE.unpack_from(tree.nodes, start)
        yield layout.guide_row(tree.names[name_at : name_at + name_size])


class _Used:
    """The blocks that files use, in the order of first use, and the sections that refer to them."""

    def __init__(self, contents: Contents, table: BlockTable) -> None:
        self._table = table
        self.blocks = array("I")  # their rows in the table
        self.files, self.extents = bytearray(layout.FILE.pack(0)), bytearray()
        places = array("I", [HOLE]) * len(table)  # in `blocks`, by row
        rows = 0
        for extents in contents.extents():
            for offset, row in extents:
                place = HOLE
                if row != HOLE:
                    place = places[row]
                    if place == HOLE:
                        place = places[row] = len(self.blocks)
                        self.blocks.append(row)
                self.extents += layout.EXTENT.pack(offset, place)
            rows += len(extents)
            self.files += layout.FILE.pack(rows)
        numbers: dict[int, int] = {}  # in PACKS, by the table's
        for row in self.blocks:
            numbers.setdefault(table.pack_row(row), len(numbers))
        self._numbers = numbers
        self.packs = [table.packs[number] for number in numbers]

    def digests(self) -> Iterator[Buffer]:
        for start in range(0, len(self.blocks), _ROWS):
            yield b"".join(map(self._table.digest, self.blocks[start : start + _ROWS]))

    def places(self) -> Iterator[Buffer]:
        for start in range(0, len(self.blocks), _ROWS):
            yield b"".join(map(self._place, self.blocks[start : start + _ROWS]))

    def _place(self, row: int) -> bytes:
        pack, *rest = layout.BLOCK.unpack_from(self._table.places, row * layout.BLOCK.size)
        return layout.BLOCK.pack(self._numbers[pack], *rest)


def paged(id: Digest, head: bytes, sections: dict[int, Iterable[Buffer]]) -> tuple[bytearray, Digest]:
    """Return a manifest's object and its root.

    Args:
        id: of its content.
        head: the content header.
        sections: by kind, in pieces of any length.
    """
    data = bytearray(header(MANIFEST_MAGIC))
    pages: list[PageRow] = []
    described: list[tuple[int, Pages]] = []
    for kind, pieces in sections.items():
        width = layout.WIDTH[kind]
        page_size = layout.PAGE_SIZE // width * width
        first, plain = len(pages), 0
        stream = Stream(iter(pieces))
        while page := stream.take(page_size):
            coding, stored = _coded(kind, page, width)
            pages.append(PageRow(len(data), len(stored), coding, stored_digest(stored)))
            data += stored
            plain += len(page)
        described.append((kind, Pages(width, plain, page_size, first, len(pages) - first)))
    end, root = table_and_trailer(layout.encode_table(id, head, described, pages), at=len(data), magic=MANIFEST_MAGIC)
    data += end
    return data, root


def _coded(kind: int, page: Buffer, width: int) -> tuple[Coding, Buffer]:
    match layout.CODING.get(kind, Coding.PLAIN):
        case Coding.COLUMNS:
            return encode_rows(page, width)
        case Coding.ZSTD:
            return encode(page)
        case _:
            return Coding.PLAIN, page
