"""Where a manifest's pages come from: the store, memory alone, or what was read a moment ago.

Each page is held against its digest before it is decoded, and kept decoded in a cache that all manifests share.
`StoredPages` and `WarmPages` may be used from any thread.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Protocol

from store.cache import ByteCache
from store.codec import Undecodable, decode
from store.digest import Digest, stored_digest
from store.errors import NotWarm, ObjectCorrupt
from store.flight import SingleFlight
from store.frame import Table
from store.manifest.layout import TableOfContents
from store.objects.base import Buffer, ObjectStore

PageCache = ByteCache[tuple[bytes, int], Buffer]
MERGE_LIMIT = 16 << 20  # most bytes read at once when a whole section is read
MERGE_PAGES = 128  # and most pages: some claim much more than they take
_NEAR = 16  # pages held by `NearPages`: the extents of a file lie in four sections


class PageSource(Protocol):
    """Decoded pages by number."""

    def page(self, number: int) -> Buffer: ...

    def run(self, first: int, count: int) -> Iterator[Buffer]: ...

    @property
    def cost(self) -> int: ...


class NearPages:
    """Pages that were asked for a moment ago, without a lock. One thread."""

    def __init__(self, source: PageSource) -> None:
        self._source = source
        self._pages: dict[int, Buffer] = {}
        self.run = source.run
        self.cost = source.cost

    def page(self, number: int) -> Buffer:
        page = self._pages.get(number)
        if page is None:
            if len(self._pages) >= _NEAR:
                self._pages.clear()
            page = self._pages[number] = self._source.page(number)
        return page


class WarmPages:
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


class StoredPages:
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
