"""Where a manifest's pages come from: the store, memory alone, or what was read a moment ago.

Each page is held against its digest before it is decoded, and kept decoded in a cache that all manifests share. Who
goes through a large folder once has a small one for that: it would fill the other with what nobody asks for again.
`StoredPages` and `WarmPages` may be used from any thread.
"""

import contextlib
import copy
from bisect import bisect_right
from collections.abc import Iterator
from typing import Protocol

from store.cache import ByteCache
from store.codec import Undecodable, decode
from store.digest import Digest, stored_digest
from store.errors import NotWarm, ObjectCorrupt
from store.flight import SingleFlight
from store.frame import Table
from store.manifest.layout import Section, TableOfContents
from store.objects.base import Buffer, ObjectStore

PageCache = ByteCache[tuple[bytes, int], Buffer]
PASSING = 8 << 20  # bytes of pages that are kept for who goes through large folders, all of them together
PASSING_PAGES = 8  # of a group, for them: 1 MiB in each of four sections
GROUP = 1 << 20  # stored bytes: what is read along with a page, one request either way
GROUP_PAGES = 32  # and most pages, which is 4 MiB in plain: some groups are a hundred times that
MERGE_LIMIT = 16 << 20  # most bytes read at once when a whole section is read
MERGE_PAGES = 128  # and most pages: some claim much more than they take
_NEAR = 16  # pages held by `NearPages`: the extents of a file lie in four sections


# What is read together: names by who looks at a tree, places by who reads its files. Digests are asked for more seldom.
_PARTS = (
    {Section.NODES, Section.NAMES, Section.LINKS, Section.GUIDE},
    {Section.SHA256, Section.MD5},
    {Section.FILES, Section.EXTENTS, Section.DIGESTS, Section.BLOCKS, Section.PACKS},
)


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


class PassingCache(ByteCache[tuple[bytes, int], Buffer]):
    """Pages for who goes through a large folder, besides those that are in memory anyhow."""

    def __init__(self, shared: PageCache, limit: int = PASSING) -> None:
        super().__init__(limit)
        self._shared = shared

    def get(self, key: tuple[bytes, int]) -> Buffer | None:
        found = super().get(key)
        return self._shared.get(key) if found is None else found


class StoredPages:
    """Fetches, verifies, decodes and keeps pages."""

    _together = GROUP_PAGES

    def __init__(
        self, objects: ObjectStore, key: str, contents: TableOfContents, table: Table, cache: PageCache
    ) -> None:
        self._objects, self._key, self._contents, self._cache = objects, key, contents, cache
        self._root = table.digest
        self._tail_at = table.tail_at  # pages that came with the table are used before asking for more
        self._tail = table.tail[: max(0, table.at - table.tail_at)]
        self._flights: SingleFlight[int, dict[int, Buffer]] = SingleFlight()
        self._sections = sorted((s for s in contents.sections.values() if s.pages), key=lambda s: s.first)
        self._parts = _parts(contents)

    def passing(self, cache: PageCache) -> "StoredPages":
        """Return the same with another cache, a small one, of which no group of pages takes too much."""
        twin = copy.copy(self)
        twin._cache, twin._together, twin._flights = cache, PASSING_PAGES, SingleFlight()
        return twin

    @property
    def cost(self) -> int:
        return 4_000 + len(self._tail) + 400 * len(self._contents.pages)

    def page(self, number: int) -> Buffer:
        page = self._cache.get((self._root, number))
        if page is not None:
            return page
        if not 0 <= number < len(self._contents.pages):
            raise ObjectCorrupt(self._key, f"page {number} of {len(self._contents.pages)}")
        group = self._group(number)
        if len(group) > self._together:
            start = number - (number - group.start) % self._together
            group = range(start, min(start + self._together, group.stop))
        found = self._flights.do(group.start, lambda: self._fetch(number, group))
        page = found.get(number)
        return page if page is not None else self._fetch(number, range(number, number + 1))[number]

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
        data = self._objects.get(self._key, offset=at, size=end - at)
        return [
            self._decoded(i, self._part_of(data, at, i)) if page is None else page
            for i, page in enumerate(cached, number)
        ]

    def _group(self, number: int) -> range:
        """Return the pages that are read along with one: its part of the manifest, or a stretch of that."""
        pages, tail_at = self._contents.pages, self._tail_at
        part = next((part for part in self._parts if number in part), None)
        if part is None or pages[number].offset >= tail_at:
            return range(number, number + 1)
        origin = pages[part.start].offset
        stretch = (pages[number].offset - origin) // GROUP
        first, stop = number, number + 1
        while first > part.start and (pages[first - 1].offset - origin) // GROUP == stretch:
            first -= 1
        while stop < part.stop and (pages[stop].offset - origin) // GROUP == stretch and pages[stop].offset < tail_at:
            stop += 1
        return range(first, stop)

    def _fetch(self, number: int, group: range) -> dict[int, Buffer]:
        """Fetch a page, and those of its group about it that are not in memory either."""
        pages = self._contents.pages
        if pages[number].offset >= self._tail_at:
            return {number: self._decoded(number, self._part_of(self._tail, self._tail_at, number))}
        first, stop = number, number + 1
        while first > group.start and self._cache.get((self._root, first - 1)) is None:
            first -= 1
        while stop < group.stop and self._cache.get((self._root, stop)) is None:
            stop += 1
        at, end = pages[first].offset, pages[stop - 1].offset + pages[stop - 1].stored
        data = self._objects.get(self._key, offset=at, size=end - at)
        found = {number: self._decoded(number, self._part_of(data, at, number))}
        for other in range(first, stop):
            if other != number:
                with contextlib.suppress(ObjectCorrupt):  # told to who asks for it
                    found[other] = self._decoded(other, self._part_of(data, at, other))
        return found

    def _part_of(self, data: Buffer, at: int, number: int) -> memoryview:
        """Return a page as stored out of the manifest's bytes from `at` on."""
        row = self._contents.pages[number]
        return memoryview(data)[row.offset - at : row.offset - at + row.stored]

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


def _parts(contents: TableOfContents) -> list[range]:
    """Return the pages of each part of a manifest, as far as its sections lie next to one another."""
    parts: list[tuple[int, range]] = []
    for kind, section in sorted(contents.sections.items(), key=lambda item: item[1].first):
        which = next((number for number, kinds in enumerate(_PARTS) if kind in kinds), -1)
        pages = range(section.first, section.first + section.pages)
        if parts and parts[-1][0] == which >= 0 and parts[-1][1].stop == pages.start:
            pages = range(parts.pop()[1].start, pages.stop)
        if which >= 0 and pages:
            parts.append((which, pages))
    return [pages for _, pages in parts]
