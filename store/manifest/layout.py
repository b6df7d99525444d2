"""The bytes of a manifest: its sections, their rows, its table, and its id (docs/format.md, Manifests).

A manifest has two parts. The *content* part has one canonical form; its BLAKE3 is the manifest's id, the same in
every store:

    content header, 40 bytes: magic "AFMC", version u16 = 1, zero u16, then as u64: records, bytes of names, bytes of
    links, files; behind it the sections NODES, NAMES, LINKS and SHA256, whole and plain.

The *location* part (all other sections) says where the bytes lie in this store; it may differ and may be rewritten.

    NODES row, 32 bytes                                       BLOCKS row, 20 bytes
    0   8  size: bytes of a file or of a link's target,       0   4  pack: row in PACKS
           number of entries of a folder                      4   4  offset in the pack
    8   8  mtime, ns since 1970, signed                       8   4  stored length
    16  4  first: record of a folder's first entry,           12  4  plain length
           number of the file, offset of a link's target      16  1  coding
    20  4  parent: record of its folder; 0 for the root       17  1  number of bases (reserved)
    24  4  offset of its name in NAMES                        18  2  zeros
    28  2  length of its name
    30  1  kind: 1 file, 2 folder, 3 link
    31  1  flags: bit 0 executable

    FILES row, 4 bytes: number of the file's first row in EXTENTS; one more row than files, so that row n+1 ends file n
    EXTENTS row, 12 bytes: offset in the file u64, row in BLOCKS u32 (0xFFFFFFFF: a hole up to the next row or the end)
    SHA256 32, MD5 16, DIGESTS 32 (of the chunk in the same row of BLOCKS), PACKS 16
    GUIDE row, 64 bytes: how the name of the first record of a page of NODES begins, zeros behind it; one row a page, so
    that a name is looked for in one page of a large folder, and not in as many as there are halvings

Records stand in breadth-first order: the root first, the entries of a folder together, sorted by raw bytes, folders
in the order of their records. All numbers little-endian. Everything here is pure.
"""

import enum
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from blake3 import blake3

from store.codec import Coding
from store.digest import PACK_ID_SIZE, Digest
from store.errors import FeatureMissing, ObjectCorrupt
from store.frame import HEADER
from store.objects.base import Buffer

NODE: Final = struct.Struct("<QqIIIHBB")
EXTENT: Final = struct.Struct("<QI")
BLOCK: Final = struct.Struct("<IIIIBBH")
FILE: Final = struct.Struct("<I")
CONTENT_HEADER: Final = struct.Struct("<4sHHQQQQ")
TABLE_HEADER: Final = struct.Struct("<32s40sHHI")
SECTION: Final = struct.Struct("<HHHBBQIIII")
PAGE: Final = struct.Struct("<QIB3s32s")

CONTENT_MAGIC: Final = b"AFMC"
HOLE: Final = 0xFFFFFFFF
EXECUTABLE: Final = 1
REQUIRED: Final = 1  # section flag: a reader that does not know the section must refuse

PAGE_SIZE: Final = 128 << 10  # plain bytes of a page, rounded down to whole rows
MAX_PAGE: Final = 1 << 20
MAX_TABLE: Final = 64 << 20
MAX_RECORDS: Final = 0xFFFFFFFE
MAX_NAME: Final = 0xFFFF
MAX_NAMES: Final = 0xFFFFFFFF
MAX_FILE: Final = (1 << 63) - 1  # bytes: what an offset can say to the system (off_t)


class Section(enum.IntEnum):
    """Kinds of sections. Never reuse a number."""

    NODES = 1
    NAMES = 2
    LINKS = 3
    SHA256 = 4
    MD5 = 16
    FILES = 17
    EXTENTS = 18
    DIGESTS = 19
    BLOCKS = 20
    PACKS = 21
    BASES = 22  # reserved for coding PATCH
    # 23 is reserved for owners, extended attributes and ACLs.
    SALT = 24  # only of a manifest at its second key
    GUIDE = 25  # only of a manifest whose NODES take several pages


CONTENT: Final = (Section.NODES, Section.NAMES, Section.LINKS, Section.SHA256)

WIDTH: Final[dict[int, int]] = {
    Section.NODES: NODE.size,
    Section.NAMES: 1,
    Section.LINKS: 1,
    Section.SHA256: 32,
    Section.MD5: 16,
    Section.FILES: FILE.size,
    Section.EXTENTS: EXTENT.size,
    Section.DIGESTS: 32,
    Section.BLOCKS: BLOCK.size,
    Section.PACKS: PACK_ID_SIZE,
    Section.BASES: 4,
    Section.SALT: 16,
    Section.GUIDE: 64,
}
OPTIONAL: Final = (Section.SALT, Section.GUIDE)  # readers need not know them

CODING: Final[dict[int, Coding]] = {
    Section.NODES: Coding.COLUMNS,
    Section.NAMES: Coding.ZSTD,
    Section.LINKS: Coding.ZSTD,
    Section.FILES: Coding.COLUMNS,
    Section.EXTENTS: Coding.COLUMNS,
    Section.BLOCKS: Coding.COLUMNS,
    Section.GUIDE: Coding.ZSTD,
}


class Pages(NamedTuple):
    """Where a section's pages stand in the table."""

    width: int  # bytes of a row
    plain: int  # bytes of the whole section
    page_size: int  # plain bytes of each page but the last; a multiple of `width`
    first: int  # number of its first page
    pages: int


class PageRow(NamedTuple):
    """One page as stored."""

    offset: int
    stored: int
    coding: int
    digest: Digest  # of the stored bytes


class TableOfContents(NamedTuple):
    """A manifest's table, decoded and held against itself."""

    id: Digest
    records: int
    files: int
    sections: dict[int, Pages]
    pages: list[PageRow]


def content_header(records: int, names: int, links: int, files: int) -> bytes:
    """Return the 40 bytes that the content part begins with."""
    return CONTENT_HEADER.pack(CONTENT_MAGIC, 1, 0, records, names, links, files)


def manifest_id(header: Buffer, sections: Iterable[Buffer]) -> Digest:
    """Return the id: BLAKE3 over the content header and the content sections, in the order of `CONTENT`."""
    hasher = blake3(header)
    for section in sections:
        hasher.update(section)
    return Digest(hasher.digest())


def guide_row(name: Buffer) -> bytes:
    """Return the row of GUIDE for a name. Rows sort as names do, since no name holds a zero."""
    width = WIDTH[Section.GUIDE]
    return bytes(name[:width]).ljust(width, b"\0")


def encode_table(id: Digest, header: bytes, sections: Iterable[tuple[int, Pages]], pages: list[PageRow]) -> bytes:
    """Return the plain bytes of a manifest's table."""
    rows = [
        SECTION.pack(
            kind,
            0 if kind in OPTIONAL else REQUIRED,
            s.width,
            CODING.get(kind, Coding.PLAIN),
            0,
            s.plain,
            s.page_size,
            s.first,
            s.pages,
            0,
        )
        for kind, s in sections
    ]
    return b"".join(
        (
            TABLE_HEADER.pack(id, header, len(rows), 0, len(pages)),
            *rows,
            *(PAGE.pack(p.offset, p.stored, p.coding, bytes(3), p.digest) for p in pages),
        )
    )


def decode_table(data: Buffer, key: str, size: int) -> TableOfContents:
    """Decode a manifest's table and refuse one that contradicts itself.

    Args:
        data: its plain bytes, whose digest was checked.
        key: the object, for messages.
        size: bytes of the whole object.

    Raises:
        ObjectCorrupt: counts, offsets or sizes that cannot be.  FeatureMissing: a required section that we don't know.
    """
    if len(data) < TABLE_HEADER.size:
        raise ObjectCorrupt(key, "its table is too short")
    id, header, n_sections, _, n_pages = TABLE_HEADER.unpack_from(data)
    magic, version, _, records, names, links, files = CONTENT_HEADER.unpack(header)
    if magic != CONTENT_MAGIC or version != 1:
        raise FeatureMissing("read", [f"manifest content of version {version}"])
    pages_at = TABLE_HEADER.size + n_sections * SECTION.size
    if pages_at + n_pages * PAGE.size != len(data):
        raise ObjectCorrupt(key, f"its table claims {n_sections} sections and {n_pages} pages in {len(data)} bytes")
    if not 1 <= records <= MAX_RECORDS or files > records or names > MAX_NAMES or links > MAX_NAMES:
        raise ObjectCorrupt(key, f"its table claims {records} records, {files} files, {names} bytes of names")
    pages = []
    end = HEADER.size
    for offset, stored, coding, _, digest in PAGE.iter_unpack(memoryview(data)[pages_at:]):
        if not 0 < stored <= MAX_PAGE + 4096 or offset != end or offset + stored > size:
            raise ObjectCorrupt(key, f"its table places a page of {stored} bytes at {offset}, after {end}")
        end = offset + stored
        pages.append(PageRow(offset, stored, coding, Digest(digest)))
    sections: dict[int, Pages] = {}
    described = 0
    for row in SECTION.iter_unpack(memoryview(data)[TABLE_HEADER.size : pages_at]):
        kind, flags, width, _, _, plain, page_size, first, count, _ = row
        if first != described or first + count > n_pages:  # no page belongs to two sections
            raise ObjectCorrupt(key, f"its table gives section {kind} the {count} pages from {first} on")
        described += count
        if kind not in WIDTH:
            if flags & REQUIRED:
                raise FeatureMissing("read", [f"manifest section {kind}"])
            continue
        if (
            kind in sections
            or width != WIDTH[kind]
            or plain % width
            or not width <= page_size <= MAX_PAGE
            or page_size % width
            or count != -(-plain // page_size)
        ):
            raise ObjectCorrupt(key, f"its table describes section {kind} as {row}")
        sections[kind] = Pages(width, plain, page_size, first, count)
    if described != n_pages:
        raise ObjectCorrupt(key, f"{n_pages - described} of its pages belong to no section")
    expected = {
        Section.NODES: records * NODE.size,
        Section.NAMES: names,
        Section.LINKS: links,
        Section.SHA256: files * 32,
    }
    expected |= {Section.MD5: files * 16, Section.FILES: (files + 1) * FILE.size}
    for kind in (*expected, Section.EXTENTS, Section.DIGESTS, Section.BLOCKS, Section.PACKS):
        if kind not in sections or sections[kind].plain != expected.get(kind, sections[kind].plain):
            raise ObjectCorrupt(key, f"section {kind} is missing or does not fit the counts")
    if sections[Section.DIGESTS].plain // 32 != sections[Section.BLOCKS].plain // BLOCK.size:
        raise ObjectCorrupt(key, "it has not as many digests as blocks")
    if Section.GUIDE in sections and sections[Section.GUIDE].plain != sections[Section.NODES].pages * 64:
        raise ObjectCorrupt(key, "its section GUIDE does not fit the pages of NODES")
    return TableOfContents(Digest(id), records, files, sections, pages)
