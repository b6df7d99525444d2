"""Makes a manifest's bytes from a tree of entries. Pure; one thread a build."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from store.codec import Coding, encode, encode_rows
from store.digest import Digest, PackId, stored_digest
from store.errors import BadName
from store.frame import MANIFEST_MAGIC, header, table_and_trailer
from store.kinds import Kind
from store.manifest import layout
from store.manifest.layout import HOLE, PageRow, Pages, Section
from store.objects.base import Buffer
from store.pack import Block


@dataclass(slots=True)
class Content:
    """What a file holds."""

    sha256: bytes
    md5: bytes
    extents: list[tuple[int, Block | None]]  # (offset in the file, block or None for a hole), by offset, no gap


@dataclass(slots=True)
class Item:
    """One entry of the tree to be built."""

    name: bytes
    kind: Kind
    mtime_ns: int
    size: int = 0  # bytes of a file
    executable: bool = False
    target: bytes = b""  # of a link
    content: Content | None = None  # of a file
    children: list["Item"] = field(default_factory=list)


class Built(NamedTuple):
    """A manifest, ready to be written."""

    id: Digest
    root: Digest  # digest of its table
    data: bytes  # none of a state that the store holds already
    records: int
    files: int
    size: int  # plain bytes of all files
    order: list[Item]  # the items in the order of their records
    packs: frozenset[PackId] = frozenset()  # in which its blocks lie


class Outline(NamedTuple):
    """What a tree's identity rests on, but for the digests of its files."""

    order: list[Item]  # the items in the order of their records
    files: int
    size: int  # plain bytes of all files
    nodes: bytearray
    names: bytearray
    links: bytearray

    @property
    def header(self) -> bytes:
        """The content header."""
        return layout.content_header(len(self.order), len(self.names), len(self.links), self.files)

    def id(self, sha256: Iterable[Buffer]) -> Digest:
        """Return the manifest's id.

        Args:
            sha256: the section SHA256, in pieces: the digest of each file, in the order of the records.
        """
        return layout.manifest_id(self.header, (self.nodes, self.names, self.links, *sha256))


def build(top: Item, *, salt: bytes = b"") -> Built:
    """Encode a tree, all of whose files have their content.

    Args:
        top: its root, a folder with an empty name.
        salt: 16 random bytes, or none: with them the root is another each time, the id is the same.

    Raises:
        BadName: a name that cannot stand in a manifest (the walk refuses those earlier, with their paths).
    """
    outlined = outline(top)
    sha256, md5 = bytearray(), bytearray()
    spots = _Spots()
    for item in outlined.order:
        if item.kind == Kind.FILE:
            assert item.content is not None, "a file without content"  # noqa: S101  # a caller's mistake, not bad input
            sha256 += item.content.sha256
            md5 += item.content.md5
            spots.add(item.content)
    id = outlined.id([sha256])
    sections: dict[int, Buffer] = {
        Section.NODES: outlined.nodes,
        Section.NAMES: outlined.names,
        Section.LINKS: outlined.links,
        Section.SHA256: sha256,
        Section.MD5: md5,
        **spots.sections(),
    }
    if salt:
        sections[Section.SALT] = salt
    data, root = _paged(id, outlined.header, sections)
    order = outlined.order
    return Built(id, root, data, len(order), outlined.files, outlined.size, order, frozenset(spots.packs))


def outline(top: Item) -> Outline:
    """Lay a tree's records out; no file needs its content.

    Args:
        top: its root, a folder with an empty name.

    Raises:
        BadName: as `build`.
    """
    order = list(breadth_first(top))
    if len(order) > layout.MAX_RECORDS:
        raise BadName("", f"{len(order)} entries are more than one manifest holds ({layout.MAX_RECORDS})")
    nodes, names, links = bytearray(), bytearray(), bytearray()
    next_child, files, size = 1, 0, 0
    for item, parent in zip(order, _parents(order), strict=True):
        entry_size = item.size
        first = 0
        if item.kind == Kind.FOLDER:
            first, entry_size = (next_child, len(item.children)) if item.children else (0, 0)
            next_child += len(item.children)
        elif item.kind == Kind.LINK:
            first, entry_size = len(links), len(item.target)
            links += item.target
        else:
            first = files
            files += 1
            size += item.size
        flags = layout.EXECUTABLE if item.executable else 0
        nodes += layout.NODE.pack(
            entry_size, item.mtime_ns, first, parent, len(names), len(item.name), item.kind, flags
        )
        names += item.name
    if len(names) > layout.MAX_NAMES or len(links) > layout.MAX_NAMES:
        raise BadName("", "all names together are more than one manifest holds (4 GiB)")
    return Outline(order, files, size, nodes, names, links)


def breadth_first(top: Item) -> Iterator[Item]:
    """Yield the items in the order of their records; sorts each folder's entries by raw bytes on the way.

    Raises:
        BadName: a name that is empty, too long, doubled, `.`, `..`, or holds `/` or NUL.
    """
    yield top
    folders = [top]
    for folder in folders:
        folder.children.sort(key=lambda item: item.name)
        previous = b""
        for item in folder.children:
            if item.name == previous or item.name in (b".", b"..") or b"/" in item.name or b"\0" in item.name:
                raise BadName(repr(item.name), "cannot be the name of an entry, or stands there twice")
            if len(item.name) > layout.MAX_NAME:
                raise BadName(repr(item.name[:40]), f"a name of {len(item.name)} bytes is too long")
            previous = item.name
            yield item
            if item.kind == Kind.FOLDER:
                folders.append(item)


def _parents(order: list[Item]) -> list[int]:
    parents = [0]
    for record, item in enumerate(order):
        if item.kind == Kind.FOLDER:
            parents.extend([record] * len(item.children))
    return parents


class _Spots:
    """Collects where the bytes lie: the location part but for MD5."""

    def __init__(self) -> None:
        self.files, self.extents = bytearray(layout.FILE.pack(0)), bytearray()
        self.digests, self.blocks = bytearray(), bytearray()
        self._rows: dict[Digest, int] = {}
        self.packs: dict[PackId, int] = {}

    def add(self, content: Content) -> None:
        for offset, block in content.extents:
            self.extents += layout.EXTENT.pack(offset, HOLE if block is None else self._row(block))
        self.files += layout.FILE.pack(len(self.extents) // layout.EXTENT.size)

    def _row(self, block: Block) -> int:
        row = self._rows.get(block.digest)
        if row is None:
            row = self._rows[block.digest] = len(self._rows)
            pack = self.packs.setdefault(block.pack, len(self.packs))
            self.digests += block.digest
            self.blocks += layout.BLOCK.pack(pack, block.offset, block.stored, block.plain, block.coding, 0, 0)
        return row

    def sections(self) -> dict[int, Buffer]:
        return {
            Section.FILES: self.files,
            Section.EXTENTS: self.extents,
            Section.DIGESTS: self.digests,
            Section.BLOCKS: self.blocks,
            Section.PACKS: b"".join(self.packs),
        }


def _paged(id: Digest, head: bytes, sections: dict[int, Buffer]) -> tuple[bytes, Digest]:
    parts: list[Buffer] = [header(MANIFEST_MAGIC)]
    at = len(parts[0])
    pages: list[PageRow] = []
    described: list[tuple[int, Pages]] = []
    for kind, plain in sections.items():
        width = layout.WIDTH[kind]
        page_size = layout.PAGE_SIZE // width * width
        first = len(pages)
        for start in range(0, len(plain), page_size):
            page = memoryview(plain)[start : start + page_size]
            coding, stored = _coded(kind, page, width)
            pages.append(PageRow(at, len(stored), coding, stored_digest(stored)))
            parts.append(stored)
            at += len(stored)
        described.append((kind, Pages(width, len(plain), page_size, first, len(pages) - first)))
    end, root = table_and_trailer(layout.encode_table(id, head, described, pages), at=at, magic=MANIFEST_MAGIC)
    return b"".join((*parts, end)), root


def _coded(kind: int, page: memoryview, width: int) -> tuple[Coding, Buffer]:
    match layout.CODING.get(kind, Coding.PLAIN):
        case Coding.COLUMNS:
            return encode_rows(page, width)
        case Coding.ZSTD:
            return encode(page)
        case _:
            return Coding.PLAIN, page
