"""Reads a manifest at random: opens the pages that an answer needs, and verifies each.

Nothing is believed: an entry whose folder, name, order or block lies outside what the format allows is
`ObjectCorrupt`, wherever it is met. `check` goes through everything, the id included. Opening reads one page,
whatever the size of the manifest. A `Manifest` never changes and may be used from any thread; `warm` is the same
manifest answering from memory alone, `passing` the same for who goes through a large folder once.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from store.digest import Digest, PackId
from store.errors import ObjectCorrupt, ObjectMissing
from store.frame import HEADER, MANIFEST_MAGIC, read_table
from store.kinds import Kind
from store.layout import manifest_key
from store.manifest import layout
from store.manifest.layout import HOLE, NODE, Section, TableOfContents
from store.manifest.pages import NearPages, PageSource, StoredPages, WarmPages
from store.manifest.pages import PageCache as PageCache
from store.manifest.streams import Stream
from store.objects.base import Buffer, ObjectStore
from store.pack import Block, sizes_fit

Row = tuple[int, int, int, int, int, int, int, int]  # of NODES, as `layout` has it

_FILE, _FOLDER, _LINK = int(Kind.FILE), int(Kind.FOLDER), int(Kind.LINK)
_MAX_FILE: Final = layout.MAX_FILE
_DOTS: Final = (b".", b"..")
_NAMES_TOGETHER: Final = 1 << 20  # bytes
_EXTENT: Final = layout.EXTENT.size
_TOGETHER: Final = 4096  # blocks looked at together
_NEIGHBOURS: Final = 8  # records are read together where at least one of so many is wanted


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


class Run(NamedTuple):
    """Records that follow one another, without where in the manifest they stand: equal ones are equal entries.

    Of a folder only how many entries it has is told, not what they are.
    """

    rows: list[tuple[int, int, int, int, int]]  # size, mtime_ns, bytes of the name, kind, flags
    names: bytes
    sha256: bytes  # of the files
    targets: list[bytes]  # of the links

    @property
    def folders(self) -> list[int]:
        """The positions of the folders among them."""
        return [position for position, row in enumerate(self.rows) if row[3] == Kind.FOLDER]


class Manifest:
    """One state of a dataset, read page by page."""

    def __init__(self, key: str, contents: TableOfContents, root: Digest, source: PageSource) -> None:
        self.key = key
        self.id = contents.id
        self.root = root
        self.records = contents.records
        self.files = contents.files
        self.contents = contents
        self._names, self._links = contents.sections[Section.NAMES].plain, contents.sections[Section.LINKS].plain
        self._source = source
        self._page = source.page
        self.warm = self
        self.passing = self

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

    def _checked(self, number: int, row: Row) -> Record:
        if not self._possible(number, row):
            raise ObjectCorrupt(self.key, f"record {number} is {row}")
        size, mtime_ns, first, parent, name_at, name_size, kind, flags = row
        return Record(size, mtime_ns, first, parent, name_at, name_size, Kind(kind), bool(flags & layout.EXECUTABLE))

    def _possible(self, number: int, row: Row) -> bool:
        """Tell whether a record can be what its row says."""
        size, _, first, parent, name_at, name_size, kind, _ = row
        if name_at + name_size > self._names or not (parent < number or number == 0 == parent):
            return False
        if kind == _FILE:
            return first < self.files and number > 0 and size <= layout.MAX_FILE
        if kind == _FOLDER:
            return size == 0 or (number < first and first + size <= self.records)
        return kind == _LINK and first + size <= self._links and number > 0

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
        for number, name, row in self.rows(folder_number, folder, start, stop):
            size, mtime_ns, first, parent, name_at, name_size, kind, flags = row
            executable = bool(flags & layout.EXECUTABLE)
            yield number, name, Record(size, mtime_ns, first, parent, name_at, name_size, Kind(kind), executable)

    def rows(self, folder_number: int, folder: Record, start: int, stop: int) -> Iterator[tuple[int, bytes, Row]]:
        """Yield the same with rows of NODES as they are, which is what long listings have time for.

        Raises:
            ObjectCorrupt: as `entries`.
        """
        start, stop = folder.first + start, folder.first + min(stop, folder.size)
        if start >= stop:
            return
        previous = self.name(self.record(start - 1)) if start > folder.first else b""
        rows = list(NODE.iter_unpack(self._bytes(Section.NODES, start * NODE.size, (stop - start) * NODE.size)))
        at, end = rows[0][4], rows[-1][4] + rows[-1][5]  # names of neighbours stand together, unless somebody lies
        names = self._bytes(Section.NAMES, at, end - at) if at <= end <= at + _NAMES_TOGETHER else b""
        origin, files, all_names = at, self.files, self._names
        clean = b"/" not in names and b"\0" not in names
        for number, row in enumerate(rows, start):
            name_at, name_end = row[4], row[4] + row[5]
            if name_at == at and name_end <= origin + len(names):
                name = names[name_at - origin : name_end - origin]
                good = clean and name not in _DOTS  # as `plausible` has it: what comes after another is not empty
            else:
                name = self._bytes(Section.NAMES, name_at, row[5])
                good = False
            at = name_end
            # As `_possible` has it for files, without the call; so for the name.
            usual = row[6] == _FILE and row[2] < files and row[0] <= _MAX_FILE and name_end <= all_names
            if not ((usual and row[3] < number) or self._possible(number, row)):
                raise ObjectCorrupt(self.key, f"record {number} is {row}")
            if row[3] != folder_number or name <= previous or not (good or plausible(name)):
                raise ObjectCorrupt(
                    self.key, f"record {number}, {name[:80]!r}, does not belong into folder {folder_number}"
                )
            previous = name
            yield number, name, row

    def run(self, number: int, count: int) -> "Run | None":
        """Return what `count` records from `number` on are, to be compared with as many of another manifest.

        Returns:
            `None` where they cannot be taken together: look at each.
        """
        if not 0 < count <= self.records - number:
            return None
        rows = list(NODE.iter_unpack(self._bytes(Section.NODES, number * NODE.size, count * NODE.size)))
        files = [row[2] for row in rows if row[6] == Kind.FILE]
        ends = [row[4] + row[5] for row in rows]
        if ends[:-1] != [row[4] for row in rows[1:]] or (files and files[-1] - files[0] != len(files) - 1):
            return None
        return Run(
            [(row[0], row[1], row[5], row[6], row[7]) for row in rows],
            self._bytes(Section.NAMES, rows[0][4], ends[-1] - rows[0][4]),
            self._bytes(Section.SHA256, files[0] * 32, len(files) * 32) if files else b"",
            [self._bytes(Section.LINKS, row[2], row[0]) for row in rows if row[6] == Kind.LINK],
        )

    def find(self, folder_number: int, folder: Record, name: bytes) -> tuple[int, Record] | None:
        """Find one entry of a folder by its exact name, or `None`."""
        low, high = self._guided(folder.first, folder.first + folder.size, name)
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

    def _guided(self, low: int, high: int, name: bytes) -> tuple[int, int]:
        """Narrow records in which a name is looked for down to a page or two, by one page of GUIDE if there is one."""
        rows = self.contents.sections[Section.NODES].page_size // NODE.size
        inside = range(low // rows + 1, (high - 1) // rows + 1)  # pages that begin among these records
        if Section.GUIDE not in self.contents.sections or not inside:
            return low, high
        wanted = layout.guide_row(name)
        before = bisect_left(inside, wanted, key=self._guide)
        upto = bisect_right(inside, wanted, lo=before, key=self._guide)
        return max(low, (inside.start + before - 1) * rows), min(high, (inside.start + upto) * rows)

    def _guide(self, page: int) -> bytes:
        return self._bytes(Section.GUIDE, page * layout.WIDTH[Section.GUIDE], layout.WIDTH[Section.GUIDE])

    # contents

    def sha256(self, file: int) -> bytes:
        """Return the SHA-256 of a file, by its number (`Record.first`)."""
        return self._bytes(Section.SHA256, file * 32, 32)

    def md5(self, file: int) -> bytes:
        """Return the MD5 of a file, by its number."""
        return self._bytes(Section.MD5, file * 16, 16)

    def digests(self, records: Sequence[int]) -> Iterator[tuple[bytes, bytes]]:
        """Yield SHA-256 and MD5 of files, by their records: of neighbours by three looks at the pages in all.

        Raises:
            ObjectCorrupt: no such record, or no such file.
        """
        if not records:
            return
        low, high = min(records), max(records)
        if low < 0 or high - low >= _NEIGHBOURS * len(records):
            files = [self.record(number).first for number in records]
        else:
            rows = self._bytes(Section.NODES, low * NODE.size, (high + 1 - low) * NODE.size)
            files = [NODE.unpack_from(rows, (number - low) * NODE.size)[2] for number in records]
        low, high = min(files), max(files)
        if high - low >= _NEIGHBOURS * len(files):
            yield from ((self.sha256(file), self.md5(file)) for file in files)
            return
        sha256 = self._bytes(Section.SHA256, low * 32, (high + 1 - low) * 32)
        md5 = self._bytes(Section.MD5, low * 16, (high + 1 - low) * 16)
        for file in files:
            at = file - low
            yield sha256[at * 32 : at * 32 + 32], md5[at * 16 : at * 16 + 16]

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
        low, stop = self._extent_rows(record.first)
        rows = list(layout.EXTENT.iter_unpack(self._bytes(Section.EXTENTS, low * _EXTENT, (stop - low) * _EXTENT)))
        blocks = self._blocks([row for _, row in rows if row != HOLE])
        found: list[tuple[int, Block | None]] = []
        end = 0
        for at, (start, row) in enumerate(rows, 1):
            block = None if row == HOLE else next(blocks)
            following = rows[at][0] if at < len(rows) else record.size
            length = block.plain if block is not None else following - start
            if start != end or length <= 0:
                raise ObjectCorrupt(self.key, f"file {record.first} has a run of {length} bytes at {start}")
            end = start + length
            found.append((start, block))
        if end != record.size:
            raise ObjectCorrupt(self.key, f"file {record.first} ends at {end} of {record.size}")
        return found

    def _blocks(self, rows: list[int]) -> Iterator[Block]:
        """Yield many blocks, those that stand together in BLOCKS by one look at it."""
        first = 0
        while first < len(rows):
            stop = first + 1
            while stop < len(rows) and stop - first < _TOGETHER and rows[stop] == rows[stop - 1] + 1:
                stop += 1
            row, count = rows[first], stop - first
            if not 0 <= row <= self.blocks - count:
                raise ObjectCorrupt(self.key, f"block {row + count - 1} of {self.blocks}")
            places = self._bytes(Section.BLOCKS, row * layout.BLOCK.size, count * layout.BLOCK.size)
            digests = self._bytes(Section.DIGESTS, row * 32, count * 32)
            for number, fields in enumerate(layout.BLOCK.iter_unpack(places)):
                yield self._block(row + number, fields, digests[number * 32 : number * 32 + 32])
            first = stop

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

    def pages(self, kind: int, first: int = 0, count: int | None = None) -> Iterator[Buffer]:
        """Yield a section, plain, page by page: all of it, or `count` pages from its page `first` on.

        A section may be larger than memory.
        """
        pages = self.contents.sections[kind]
        return self._source.run(pages.first + first, pages.pages - first if count is None else count)

    @property
    def cost(self) -> int:
        """Bytes that are held as long as this manifest is: its table and what came with it."""
        return self._source.cost

    def near(self) -> "Manifest":
        """Return the same manifest for one thread that reads much of it nearly in order, such as all extents.

        Its last pages are held, 2 MiB of them at most, so that most answers do not ask the shared cache.
        """
        return Manifest(self.key, self.contents, self.root, NearPages(self._source))

    def walk(self) -> Iterator[tuple[int, bytes, Record]]:
        """Yield (number, path, record) of everything below the root, in record order; `path` has no leading slash.

        Two sections are read from front to back, so that it takes little more than their bytes do.

        Raises:
            ObjectCorrupt: an entry that stands where another belongs, or a name that cannot be.
        """
        names = Stream(self.pages(Section.NAMES))
        rows = (row for page in self.pages(Section.NODES) for row in NODE.iter_unpack(page))
        root = self._checked(0, next(rows))
        names.take(root.name_size)
        folders = deque([(0, b"", root)])
        number = 1
        while folders:
            folder, base, top = folders.popleft()
            if top.size and top.first != number:
                raise ObjectCorrupt(self.key, f"folder {folder} begins at record {top.first}, not at {number}")
            previous = b""
            for row in itertools.islice(rows, top.size):
                record = self._checked(number, row)
                in_place = record.parent == folder and record.name_at == names.position
                name = names.take(record.name_size)
                if not in_place or name <= previous or not plausible(name):
                    raise ObjectCorrupt(
                        self.key, f"record {number}, {name[:80]!r}, does not belong into folder {folder}"
                    )
                previous = name
                path = b"/".join((base, name)) if base else name
                if record.kind == Kind.FOLDER:
                    folders.append((number, path, record))
                yield number, path, record
                number += 1
        if number != self.records:
            raise ObjectCorrupt(self.key, f"{number} of {self.records} records can be reached")

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
        rows = sections[Section.NODES].page_size // NODE.size
        for number, path, record in self.walk():
            if number != seen or record.name_at != names:
                raise ObjectCorrupt(self.key, f"record {number} or its name stands where another belongs")
            guided = number % rows == 0 and Section.GUIDE in sections
            if guided and self._guide(number // rows) != layout.guide_row(path.rpartition(b"/")[2]):
                raise ObjectCorrupt(self.key, f"section GUIDE has another name than record {number}")
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


def open_manifest(
    objects: ObjectStore, id: bytes, root: bytes | None, cache: PageCache, passing: PageCache | None = None
) -> Manifest:
    """Open a manifest with one request (two where its table is very large).

    Args:
        objects: the store.
        id: its id, 32 bytes.
        root: the digest in its trailer, as the tag has it. Where the first key has another, or nothing, the second key
            is tried; what has another root, or `None` was asked for, is held against the id, whole.
        cache: where decoded pages are kept, shared by all manifests.
        passing: where those are kept that are met in passing, if not there as well.

    Raises:
        ObjectMissing, ObjectCorrupt, FeatureMissing, and what the object store raises.
    """
    first: Manifest | None = None
    try:
        first = _open(objects, manifest_key(id.hex()), id, cache, passing)
    except ObjectMissing:
        if root is None:
            raise
    if first is not None and first.root == root:
        return first
    if root is not None:
        try:
            return _open(objects, manifest_key(id.hex(), root.hex()), id, cache, passing)
        except ObjectMissing:
            if first is None:
                raise
    assert first is not None, "what is missing was raised"  # noqa: S101  # for the type checker
    first.check()  # written anew since the tag was set: the id, and with it the content, must still be right
    return first


def _open(objects: ObjectStore, key: str, id: bytes, cache: PageCache, passing: PageCache | None) -> Manifest:
    table = read_table(objects, key, MANIFEST_MAGIC, limit=layout.MAX_TABLE)
    contents = layout.decode_table(table.plain, key, table.size)
    if contents.id != id:
        raise ObjectCorrupt(key, f"it says of itself that it is {contents.id.hex()[:12]}")
    stored = StoredPages(objects, key, contents, table, cache)
    manifest = Manifest(key, contents, table.digest, stored)
    manifest.warm = Manifest(key, contents, table.digest, WarmPages(table.digest, cache))
    if passing is not None:
        manifest.passing = Manifest(key, contents, table.digest, stored.passing(passing))
    return manifest
