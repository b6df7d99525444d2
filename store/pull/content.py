"""The content part of a manifest as a local file, so that a pull goes over it as often as it likes.

It is fetched once, several requests at a time, and held against the manifest's id as it is written. What follows needs
neither requests nor decoding, and no more memory than a few pages, however many entries there are.

    0    96  HEAD: "AFPL", u32 version 2, id of the manifest (32), its root (32), records, bytes of names (u64 each)
    96   16  bytes of links, files (u64 each)
    112      the sections NODES, NAMES, LINKS, SHA256, whole and plain (docs/format.md, Manifests)

`store.pull.placed` puts more behind that. Of an encrypted store the file is sealed (`store.veil`). One thread.
"""

import itertools
import struct
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from store.digest import Digest
from store.errors import ObjectCorrupt
from store.layout import manifest_key
from store.manifest import layout
from store.manifest.layout import NODE, Pages, Section, TableOfContents
from store.manifest.view import Manifest
from store.objects.base import Buffer
from store.veil import Veil, open_file
from store.veiled_file import LocalFile, Pread, reader_of

HEAD: Final = struct.Struct("<4sI32s32sQQQQ")
MAGIC: Final = b"AFPL"
VERSION: Final = 2
PURPOSE: Final = b"pulled"
PAGE: Final = 128 << 10
_PIECE: Final = 8  # pages asked for by one request
_PARALLEL: Final = 8  # requests under way
_AHEAD: Final = 16  # pieces held or under way: 16 MiB
_ALONG: Final = 24 << 20  # bytes; less than the cache of pages holds
_LOCATIONS: Final = (Section.FILES, Section.EXTENTS, Section.DIGESTS, Section.BLOCKS, Section.PACKS)
_CHILDREN: Final = 4096  # entries of a folder held at a time
_PATHS: Final = 4096  # paths of folders remembered

Row = tuple[int, int, int, int, int, int, int, int]  # of NODES, as `layout` has it


class Content:
    """What a state holds, in a local file."""

    def __init__(self, file: LocalFile, id: bytes, root: bytes, counts: tuple[int, int, int, int]) -> None:
        """Use a file that holds it; closed by the caller."""
        self.file = file
        self.records, names, links, self.files = counts
        sizes = {
            Section.NODES: self.records * NODE.size,
            Section.NAMES: names,
            Section.LINKS: links,
            Section.SHA256: self.files * 32,
        }
        self._pages = _LocalPages(reader_of(file), sizes)
        self.end = HEAD.size + sum(sizes.values())
        table = TableOfContents(Digest(id), self.records, self.files, self._pages.sections, [])
        self.manifest = Manifest(manifest_key(id.hex()), table, Digest(root), self._pages).near()
        self._folders: dict[int, bytes] = {}

    def row(self, number: int) -> Row:
        """Return one record."""
        return NODE.unpack(self._pages.read(Section.NODES, number * NODE.size, NODE.size))

    def children(self, folder: int) -> Iterator[tuple[int, bytes, Row]]:
        """Yield (number, name, record) of a folder's entries; the content was walked, and so checked, before."""
        size, _, first, *_ = self.row(folder)
        for start in range(first, first + size, _CHILDREN):
            count = min(_CHILDREN, first + size - start)
            rows = list(NODE.iter_unpack(self._pages.read(Section.NODES, start * NODE.size, count * NODE.size)))
            base = rows[0][4]
            names = self._pages.read(Section.NAMES, base, rows[-1][4] + rows[-1][5] - base)
            for number, row in enumerate(rows, start):
                at = row[4] - base
                yield number, names[at : at + row[5]], row

    def path(self, number: int) -> bytes:
        """Return the path of an entry below the root, without a leading slash; empty for the root."""
        if not number:
            return b""
        _, _, _, parent, at, size, _, _ = self.row(number)
        above = self._folders.get(parent)
        if above is None:
            if len(self._folders) >= _PATHS:
                self._folders.clear()
            above = self._folders[parent] = self.path(parent)
        name = self._pages.read(Section.NAMES, at, size)
        return b"%b/%b" % (above, name) if above else name

    def sha256(self, file: int) -> bytes:
        """Return the SHA-256 of a file, by its number."""
        return self.manifest.sha256(file)

    def target(self, row: Row) -> bytes:
        """Return the target of a link."""
        return self._pages.read(Section.LINKS, row[2], row[0])


class _LocalPages:
    """Sections of a local file, one after another, as pages."""

    cost = 0

    def __init__(self, pread: Pread, sizes: dict[Section, int]) -> None:
        self._from_file = pread
        self.sections: dict[int, Pages] = {}
        self._starts: dict[int, int] = {}
        self._places: list[tuple[int, int]] = []  # of each page: where, and how many bytes
        at = HEAD.size
        for kind, size in sizes.items():
            count = -(-size // PAGE)
            self.sections[kind] = Pages(layout.WIDTH[kind], size, PAGE, len(self._places), count)
            self._starts[kind] = at
            self._places += [(at + start, min(PAGE, size - start)) for start in range(0, size, PAGE)]
            at += size

    def page(self, number: int) -> Buffer:
        at, size = self._places[number]
        return self._pread(at, size)

    def run(self, first: int, count: int) -> Iterator[Buffer]:
        return map(self.page, range(first, first + count))

    def read(self, kind: int, at: int, size: int) -> bytes:
        return self._pread(self._starts[kind] + at, size) if size else b""

    def _pread(self, at: int, size: int) -> bytes:
        data = self._from_file(size, at)
        if len(data) != size:
            raise OSError(0, "a file of this pull was cut short while it ran")
        return data


def fetch_content(manifest: Manifest, path: Path, *, along: bool = False, veil: Veil | None = None) -> Content:
    """Write a manifest's content into a new file.

    Args:
        manifest: whose.
        along: fetch what says where the files' bytes lie too, so that it is in memory when it is asked for, unless it
            is much.
        path: of the file; one that is there is replaced. Open, and to be removed by the caller, even after an error.
        veil: seals the file, where the store is encrypted.

    Raises:
        ObjectCorrupt: the content does not match the manifest's id.
        OSError: the file can't be written.
    """
    sections = manifest.contents.sections
    counts = (manifest.records, sections[Section.NAMES].plain, sections[Section.LINKS].plain, manifest.files)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    file = open_file(path, "x+b", veil, PURPOSE)
    try:
        file.write(HEAD.pack(MAGIC, VERSION, manifest.id, manifest.root, *counts))

        wanted_soon = _LOCATIONS if along and sum(sections[kind].plain for kind in _LOCATIONS) <= _ALONG else ()
        pages = pages_ahead(manifest, (*layout.CONTENT, *wanted_soon))

        def written() -> Iterator[Buffer]:
            for page in itertools.islice(pages, sum(sections[kind].pages for kind in layout.CONTENT)):
                file.write(page)
                yield page

        if layout.manifest_id(layout.content_header(*counts), written()) != manifest.id:
            raise ObjectCorrupt(manifest.key, "its content does not match its id")
        file.flush()
        deque(pages, maxlen=0)
        return Content(file, manifest.id, manifest.root, counts)
    except BaseException:
        file.close()
        raise


def pages_ahead(manifest: Manifest, kinds: Sequence[int]) -> Iterator[Buffer]:
    """Yield the pages of sections one after another, asking for some while earlier ones are used.

    A far store answers each request late, so many are under way from the first moment.
    """
    pieces = [
        (kind, first, min(_PIECE, manifest.contents.sections[kind].pages - first))
        for kind in kinds
        for first in range(0, manifest.contents.sections[kind].pages, _PIECE)
    ]
    under_way: deque[Future[list[Buffer]]] = deque()
    pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="pages")
    try:
        for kind, first, count in pieces:
            under_way.append(pool.submit(lambda *which: list(manifest.pages(*which)), kind, first, count))
            if len(under_way) >= _AHEAD:
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def numbers(count: int) -> "array[int]":
    """Return `count` zeros of 64 bits."""
    return array("Q", bytes(8 * count))
