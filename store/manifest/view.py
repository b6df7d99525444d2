"""Reads a manifest at random: opens the pages that an answer needs, and verifies each.

Nothing is believed: an entry whose folder, name, order or block lies outside what the format allows is
`ObjectCorrupt`, wherever it is met. `check` goes through everything, the id included. Opening reads one page,
whatever the size of the manifest. A `Manifest` never changes and may be used from any thread; `warm` is the same
manifest answering from memory alone.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from store.cache import ByteCache
from store.codec import Undecodable, decode
from store.digest import Digest, PackId, stored_digest
from store.errors import NotWarm, ObjectCorrupt, ObjectMissing
from store.flight import SingleFlight
from store.frame import HEADER, MANIFEST_MAGIC, Table, read_table
from store.kinds import Kind
from store.layout import manifest_key
from store.manifest import layout
from store.manifest.layout import HOLE, NODE, Section, TableOfContents
from store.objects.base import Buffer, ObjectStore
from store.pack import Block, sizes_fit

PageCache = ByteCache[tuple[bytes, int], Buffer]
MERGE_LIMIT = 16 << 20  # most bytes read at once when a whole section is read
MERGE_PAGES = 128  # and most pages: some claim much more than they take


class Record(NamedTuple):
    """One entry as the manifest has it; fields as in `layout`."""

    size: int
    mtime_ns: int
    first: int
    parent: int
    name_at: int
    name_size: int
    kind: Kind
    executable: bool


class Span(NamedTuple):
    """A run of a file: part of a block, or of a hole."""

    block: Block | None  # None: zeros
    start: int  # first byte wanted, within the block
    size: int


class Manifest:
    """One state of a dataset, read page by page."""

    def __init__(self, key: str, contents: TableOfContents, root: Digest, source: "PageSource") -> None:
        self.key = key
        self.id = contents.id
        self.root = root
        self.records = contents.records
        self.files = contents.files
        self.contents = contents
        self._source = source
        self._page = source.page
        self.warm = self

    # records

    def record(self, number: int) -> Record:
        """Return one record, held against the table.

        Raises:
            ObjectCorrupt: no such record, or one that cannot be.
        """
        if not 0 <= number < self.records:
            raise ObjectCorrupt(self.key, f"record {number} of {self.records}")
        page, at = self._row(Section.NODES, number)
        return self._checked(number, NODE.unpack_from(page, at))

    def _checked(self, number: int, row: tuple[int, int, int, int, int, int, int, int]) -> Record:
        size, mtime_ns, first, parent, name_at, name_size, kind, flags = row
        sections = self.contents.sections
        good = name_at + name_size <= sections[Section.NAMES].plain and (parent < number or number == 0 == parent)
        if kind == Kind.FOLDER:
            good = good and (size == 0 or (number < first and first + size <= self.records))
        elif kind == Kind.FILE:
            good = good and first < self.files and number > 0
        elif kind == Kind.LINK:
            good = good and first + size <= sections[Section.LINKS].plain and number > 0
        else:
            good = False
        if not good:
            raise ObjectCorrupt(self.key, f"record {number} is {row}")
        return Record(size, mtime_ns, first, parent, name_at, name_size, Kind(kind), bool(flags & layout.EXECUTABLE))

    def name(self, record: Record) -> bytes:
        """Return an entry's name; empty for the root."""
        return self._bytes(Section.NAMES, record.name_at, record.name_size)

    def link(self, record: Record) -> bytes:
        """Return a link's target."""
        return self._bytes(Section.LINKS, record.first, record.size)

    def entries(self, folder_number: int, folder: Record, start: int, stop: int) -> Iterator[tuple[int, bytes, Record]]:
        """Yield (number, name, record) of a folder's entries from position `start` up to `stop`, sorted by name.

        Raises:
            ObjectCorrupt: an entry of another folder, a name that cannot be, or names out of order.
        """
        previous = self.name(self.record(folder.first + start - 1)) if 0 < start < folder.size else b""
        for number in range(folder.first + start, folder.first + min(stop, folder.size)):
            record = self.record(number)
            name = self.name(record)
            if record.parent != folder_number or name <= previous or not plausible(name):
                raise ObjectCorrupt(
                    self.key, f"record {number}, {name[:80]!r}, does not belong into folder {folder_number}"
                )
            previous = name
            yield number, name, record

    def find(self, folder_number: int, folder: Record, name: bytes) -> tuple[int, Record] | None:
        """Find one entry of a folder by its exact name, or `None`."""
        low, high = folder.first, folder.first + folder.size
        while low < high:
            middle = (low + high) // 2
            record = self.record(middle)
            found = self.name(record)
            if found == name:
                if record.parent != folder_number or not plausible(name):
                    raise ObjectCorrupt(self.key, f"record {middle} does not belong into folder {folder_number}")
                return middle, record
            low, high = (middle + 1, high) if found < name else (low, middle)
        return None

    # contents

    def sha256(self, file: int) -> bytes:
        """Return the SHA-256 of a file, by its number (`Record.first`)."""
        return self._bytes(Section.SHA256, file * 32, 32)

    def md5(self, file: int) -> bytes:
        """Return the MD5 of a file, by its number."""
        return self._bytes(Section.MD5, file * 16, 16)

    def block(self, row: int) -> Block:
        """Return where one chunk lies.

        Raises:
            ObjectCorrupt: no such row, or one that cannot be.
        """
        if not 0 <= row < self.blocks:
            raise ObjectCorrupt(self.key, f"block {row} of {self.blocks}")
        page, at = self._row(Section.BLOCKS, row)
        fields = layout.BLOCK.unpack_from(page, at)
        return self._block(row, fields, self._bytes(Section.DIGESTS, row * 32, 32))

    def _block(self, row: int, fields: tuple[int, ...], digest: bytes) -> Block:
        pack, offset, stored, plain, coding, _, _ = fields
        if not sizes_fit(stored, plain, coding) or offset < HEADER.size:
            raise ObjectCorrupt(self.key, f"block {row} claims {stored} bytes at {offset} for {plain}")
        if pack * 16 >= self.contents.sections[Section.PACKS].plain:
            raise ObjectCorrupt(self.key, f"block {row} lies in pack {pack}, which is not listed")
        return Block(Digest(digest), PackId(self._bytes(Section.PACKS, pack * 16, 16)), offset, stored, plain, coding)

    @property
    def blocks(self) -> int:
        """How many different chunks there are."""
        return self.contents.sections[Section.DIGESTS].plain // 32

    def spans(self, record: Record, offset: int, size: int) -> list[Span]:
        """Return the runs that make up `size` bytes of a file from `offset`, cut to the file's end.

        Raises:
            ObjectCorrupt: extents with gaps, out of order, or past the end.
        """
        end = min(offset + size, record.size)
        if offset >= end:
            return []
        low, stop = self._extent_rows(record.first)
        high = stop
        while high - low > 1:  # the last extent that begins at or before `offset`
            middle = (low + high) // 2
            low, high = (middle, high) if self._extent(middle)[0] <= offset else (low, middle)
        spans = []
        position = offset
        while position < end:
            if low >= stop:
                raise ObjectCorrupt(self.key, f"file {record.first} ends at {position} of {record.size}")
            start, row = self._extent(low)
            following = self._extent(low + 1)[0] if low + 1 < stop else record.size
            block = None if row == HOLE else self.block(row)
            length = following - start
            good = start <= position < following <= record.size and (block is None or block.plain == length)
            if not good:
                raise ObjectCorrupt(self.key, f"file {record.first} has a run of {length} bytes at {start}")
            take = min(end, following) - position
            spans.append(Span(block, position - start, take))
            position += take
            low += 1
        return spans

    def extents(self, record: Record) -> list[tuple[int, Block | None]]:
        """Return (offset, block or None for a hole) of a whole file, checked as `spans` does, without any to spare."""
        at = 0
        found: list[tuple[int, Block | None]] = []
        for span in self.spans(record, 0, record.size):
            found.append((at, span.block))
            at += span.size
        if len(found) != self.extent_count(record):
            raise ObjectCorrupt(self.key, f"file {record.first} has runs behind its end")
        return found

    def extent_count(self, record: Record) -> int:
        """Return of how many runs a file is made up."""
        low, stop = self._extent_rows(record.first)
        return stop - low

    def _extent_rows(self, file: int) -> tuple[int, int]:
        if not 0 <= file < self.files:
            raise ObjectCorrupt(self.key, f"file {file} of {self.files}")
        low = self._u32(Section.FILES, file)
        stop = self._u32(Section.FILES, file + 1)
        if low > stop or stop * layout.EXTENT.size > self.contents.sections[Section.EXTENTS].plain:
            raise ObjectCorrupt(self.key, f"file {file} has extents {low} to {stop}")
        return low, stop

    def _extent(self, row: int) -> tuple[int, int]:
        page, at = self._row(Section.EXTENTS, row)
        offset, block = layout.EXTENT.unpack_from(page, at)
        return offset, block

    def all_blocks(self) -> Iterator[Block]:
        """Yield every block of the manifest once, in the order of first use; reads three sections, page by page."""
        digests = (page[at : at + 32] for page in self.pages(Section.DIGESTS) for at in range(0, len(page), 32))
        rows = (row for page in self.pages(Section.BLOCKS) for row in layout.BLOCK.iter_unpack(page))
        for number, (fields, digest) in enumerate(zip(rows, digests, strict=True)):
            yield self._block(number, fields, bytes(digest))

    # whole sections

    def pages(self, kind: int) -> Iterator[Buffer]:
        """Yield a whole section, plain, page by page: a section may be larger than memory."""
        pages = self.contents.sections[kind]
        return self._source.run(pages.first, pages.pages)

    @property
    def cost(self) -> int:
        """Bytes that are held as long as this manifest is: its table and what came with it."""
        return self._source.cost

    def walk(self) -> Iterator[tuple[int, bytes, Record]]:
        """Yield (number, path, record) of everything below the root, in record order; `path` has no leading slash."""
        paths: dict[int, bytes] = {0: b""}
        for number in range(self.records):
            record = self.record(number)
            if record.kind == Kind.FOLDER and number not in paths:
                raise ObjectCorrupt(self.key, f"folder {number} lies in no folder")
            if record.kind == Kind.FOLDER:
                base = paths.pop(number)
                for child, name, entry in self.entries(number, record, 0, record.size):
                    path = b"/".join((base, name)) if base else name
                    if entry.kind == Kind.FOLDER:
                        paths[child] = path
                    yield child, path, entry

    def check(self) -> None:
        """Go through the whole manifest: its id, every entry, every extent.

        Raises:
            ObjectCorrupt: whatever is wrong first.
        """
        sections = self.contents.sections
        head = layout.content_header(
            self.records, sections[Section.NAMES].plain, sections[Section.LINKS].plain, self.files
        )
        if layout.manifest_id(head, (page for kind in layout.CONTENT for page in self.pages(kind))) != self.id:
            raise ObjectCorrupt(self.key, "its content does not match its id")
        seen, names, links, files = 1, 0, 0, 0
        for number, _, record in self.walk():
            if number != seen or record.name_at != names:
                raise ObjectCorrupt(self.key, f"record {number} or its name stands where another belongs")
            seen += 1
            names += record.name_size
            if record.kind == Kind.FILE:
                self.extents(record)
            if record.first != {Kind.FILE: files, Kind.LINK: links}.get(record.kind, record.first):
                raise ObjectCorrupt(self.key, f"record {number} has its content where another's belongs")
            files += record.kind == Kind.FILE
            links += record.size if record.kind == Kind.LINK else 0
        if (seen, files) != (self.records, self.files) or (names, links) != (
            sections[Section.NAMES].plain, sections[Section.LINKS].plain,
        ):  # fmt: skip
            raise ObjectCorrupt(
                self.key, f"{seen} of {self.records} records can be reached, {files} of {self.files} files"
            )

    # pages

    def _row(self, kind: int, row: int) -> tuple[Buffer, int]:
        pages = self.contents.sections[kind]
        number, at = divmod(row * pages.width, pages.page_size)
        if not 0 <= number < pages.pages:
            raise ObjectCorrupt(self.key, f"row {row} of section {kind}")
        return self._page(pages.first + number), at

    def _u32(self, kind: int, row: int) -> int:
        page, at = self._row(kind, row)
        return int.from_bytes(page[at : at + 4], "little")

    def _bytes(self, kind: int, at: int, size: int) -> bytes:
        """Return bytes of a section, which may go over the border of pages."""
        pages = self.contents.sections[kind]
        if at + size > pages.plain:
            raise ObjectCorrupt(self.key, f"{size} bytes at {at} of section {kind}")
        if not size:
            return b""
        number, start = divmod(at, pages.page_size)
        found = bytes(self._page(pages.first + number)[start : start + size])
        while len(found) < size:
            number += 1
            found += bytes(self._page(pages.first + number)[: size - len(found)])
        return found


def plausible(name: bytes) -> bool:
    """Tell whether a name may stand in a folder."""
    return bool(name) and name not in (b".", b"..") and b"/" not in name and b"\0" not in name


def open_manifest(objects: ObjectStore, id: bytes, root: bytes | None, cache: PageCache) -> Manifest:
    """Open a manifest with one request (two where its table is very large).

    Args:
        objects: the store.
        id: its id, 32 bytes.
        root: the digest in its trailer, as the tag has it. Where the first key has another, or nothing, the second key
            is tried; what has another root, or `None` was asked for, is held against the id, whole.
        cache: where decoded pages are kept, shared by all manifests.

    Raises:
        ObjectMissing, ObjectCorrupt, FeatureMissing, and what the object store raises.
    """
    first: Manifest | None = None
    try:
        first = _open(objects, manifest_key(id.hex()), id, cache)
    except ObjectMissing:
        if root is None:
            raise
    if first is not None and first.root == root:
        return first
    if root is not None:
        try:
            return _open(objects, manifest_key(id.hex(), root.hex()), id, cache)
        except ObjectMissing:
            if first is None:
                raise
    assert first is not None, "what is missing was raised"  # noqa: S101  # for the type checker
    first.check()  # written anew since the tag was set: the id, and with it the content, must still be right
    return first


def _open(objects: ObjectStore, key: str, id: bytes, cache: PageCache) -> Manifest:
    table = read_table(objects, key, MANIFEST_MAGIC, limit=layout.MAX_TABLE)
    contents = layout.decode_table(table.plain, key, table.size)
    if contents.id != id:
        raise ObjectCorrupt(key, f"it says of itself that it is {contents.id.hex()[:12]}")
    manifest = Manifest(key, contents, table.digest, _StoredPages(objects, key, contents, table, cache))
    manifest.warm = Manifest(key, contents, table.digest, _WarmPages(table.digest, cache))
    return manifest


class PageSource(Protocol):
    """Decoded pages by number."""

    def page(self, number: int) -> Buffer: ...

    def run(self, first: int, count: int) -> Iterator[Buffer]: ...

    @property
    def cost(self) -> int: ...


class _WarmPages:
    """Pages from memory alone."""

    def __init__(self, root: Digest, cache: PageCache) -> None:
        self._root, self._cache = root, cache

    def page(self, number: int) -> Buffer:
        page = self._cache.get((self._root, number))
        if page is None:
            raise NotWarm
        return page

    def run(self, first: int, count: int) -> Iterator[Buffer]:
        return map(self.page, range(first, first + count))

    @property
    def cost(self) -> int:
        return 0  # its twin is counted


class _StoredPages:
    """Fetches, verifies, decodes and keeps pages."""

    def __init__(
        self, objects: ObjectStore, key: str, contents: TableOfContents, table: Table, cache: PageCache
    ) -> None:
        self._objects, self._key, self._contents, self._cache = objects, key, contents, cache
        self._root = table.digest
        self._tail_at = table.tail_at  # pages that came with the table are used before asking for more
        self._tail = table.tail[: max(0, table.at - table.tail_at)]
        self._flights: SingleFlight[int, Buffer] = SingleFlight()
        self._sections = sorted((s for s in contents.sections.values() if s.pages), key=lambda s: s.first)

    @property
    def cost(self) -> int:
        return 4_000 + len(self._tail) + 400 * len(self._contents.pages)

    def page(self, number: int) -> Buffer:
        page = self._cache.get((self._root, number))
        return page if page is not None else self._flights.do(number, lambda: self._fetch(number))

    def run(self, first: int, count: int) -> Iterator[Buffer]:
        """Yield consecutive pages, with few requests: they lie back to back."""
        number = first
        while number < first + count:
            stop, size = number, 0
            most = min(first + count, number + MERGE_PAGES)
            while stop < most and size + self._contents.pages[stop].stored <= MERGE_LIMIT:
                size += self._contents.pages[stop].stored
                stop += 1
            stop = max(stop, number + 1)
            yield from self._run(number, stop)
            number = stop

    def _run(self, number: int, stop: int) -> list[Buffer]:
        cached = [self._cache.get((self._root, page)) for page in range(number, stop)]
        rows = self._contents.pages[number:stop]
        at, end = rows[0].offset, rows[-1].offset + rows[-1].stored
        missing = sum(page is None for page in cached)
        if missing < 2 or at >= self._tail_at or end - at > 2 * MERGE_LIMIT:
            return [self.page(number + i) if page is None else page for i, page in enumerate(cached)]
        data = memoryview(self._objects.get(self._key, offset=at, size=end - at))
        return [
            self._decoded(number + i, data[row.offset - at : row.offset - at + row.stored]) if page is None else page
            for i, (row, page) in enumerate(zip(rows, cached, strict=True))
        ]

    def _fetch(self, number: int) -> Buffer:
        if not 0 <= number < len(self._contents.pages):
            raise ObjectCorrupt(self._key, f"page {number} of {len(self._contents.pages)}")
        row = self._contents.pages[number]
        if row.offset >= self._tail_at:
            start = row.offset - self._tail_at
            return self._decoded(number, memoryview(self._tail)[start : start + row.stored])
        return self._decoded(number, self._objects.get(self._key, offset=row.offset, size=row.stored))

    def _decoded(self, number: int, stored: Buffer) -> Buffer:
        row = self._contents.pages[number]
        found = bisect_right(self._sections, number, key=lambda pages: pages.first) - 1
        section = self._sections[found] if found >= 0 else None
        if section is None or number >= section.first + section.pages:  # of a section that we do not know
            raise ObjectCorrupt(self._key, f"page {number} belongs to no section")
        if stored_digest(stored) != row.digest:
            raise ObjectCorrupt(self._key, f"page {number} does not match its digest")
        size = min(section.page_size, section.plain - (number - section.first) * section.page_size)
        try:
            page = bytes(decode(row.coding, stored, size, section.width))
        except Undecodable as error:
            raise ObjectCorrupt(self._key, f"page {number}: {error}") from error
        self._cache.put((self._root, number), page, len(page))
        return page
