"""One state of a dataset as nodes: manifest records seen through the tag by which they were reached.

The tag's creation number is part of every place and fileid, so that two tags of one state are two folders: a kernel
gives a folder one name, and would move it from one to the other (docs/decisions/0001-tag-in-handles.md). Any thread.
"""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final, NamedTuple

from blake3 import blake3

from store.cache import ByteCache
from store.catalogue.head import Content
from store.digest import Digest
from store.errors import NotAFolder, NotWarm, ObjectCorrupt, PathMissing, StaleNode
from store.flight import SingleFlight
from store.kinds import Kind
from store.manifest.layout import EXECUTABLE
from store.manifest.view import Manifest, Record
from store.pack import Block
from store.vfs.tree import Entry, Node, Place, Space

_new = tuple.__new__  # a named tuple's own is written in Python
_KINDS: Final = {int(kind): kind for kind in Kind}
_ODD: Final = 0x9E3779B97F4A7C15
_MASK: Final = (1 << 64) - 1
MAPPED: Final = 16_384  # extents: a file of up to about 1 GiB is mapped whole
SMALL: Final = 64 << 10  # bytes: files up to here are read along with those that are read before and after them
AROUND: Final = 512 << 10  # most bytes of these
GROUP: Final = 64  # records among which they are looked for
QUICK: Final = 512  # extents: a map of more takes over a millisecond, which is too much where nobody may wait
TABLED: Final = 65_536  # entries: the names of a larger folder are not all looked at because one is not found


Run = tuple[Block | None, int, int]  # block (None: a hole), first byte in it, how many


class FileMap(NamedTuple):
    """Where a file's bytes lie."""

    offsets: list[int]  # first byte of each run; the first is 0
    blocks: list[Block | None]  # None: a hole
    size: int

    def runs(self, offset: int, size: int) -> list[Run]:
        """Return the runs of a range of the file, cut to its end."""
        offsets, blocks = self.offsets, self.blocks
        end = offset + size
        if end > self.size:
            end = self.size
        if offset >= end:
            return []
        at = bisect_right(offsets, offset) - 1
        found: list[Run] = []
        last = len(offsets) - 1
        while True:
            start = offsets[at]
            following = offsets[at + 1] if at < last else self.size
            if following >= end:
                found.append((blocks[at], offset - start, end - offset))
                return found
            found.append((blocks[at], offset - start, following - offset))
            offset = following
            at += 1


class Caches:
    """What all states share, bounded in bytes."""

    def __init__(self, limit: int = 32 << 20) -> None:
        self.maps: ByteCache[Place, FileMap] = ByteCache(limit)
        self.mapping: SingleFlight[Place, FileMap] = SingleFlight()  # a large file's takes a while
        self.lookups: ByteCache[tuple[Place, bytes], Node] = ByteCache(limit)
        self.equivalents: ByteCache[tuple[Digest, int], dict[str, list[int]]] = ByteCache(limit)


class StateTree:
    """The files of one state."""

    def __init__(self, dataset: int, tag: int, content: Content, manifest: Manifest, caches: Caches) -> None:
        self.dataset, self.tag, self.content, self.manifest = dataset, tag, content, manifest
        self.prefix = manifest.id[:16]
        self._caches = caches
        self._seed = _seed(dataset, tag, self.prefix)
        self._waited_for = -GROUP  # the record of a small file that somebody had to wait for last
        self._along = -1  # the first record of the group that was fetched last

    def manifest_for(self, *, passing: bool) -> Manifest:
        """Return the manifest, for who goes through it once or not."""
        return self.manifest.passing if passing else self.manifest

    def place(self, number: int) -> Place:
        return Place(Space.STATE, self.dataset, self.tag, self.prefix, number)

    def node(self, number: int, record: Record) -> Node:
        """Return a record as a node."""
        fileid = (self._seed + number * _ODD) & _MASK or 1  # one to one within a state, since the factor is odd
        mtime_ns = record.mtime_ns
        return Node(record.kind, self.place(number), fileid, record.size, mtime_ns, mtime_ns, record.executable, False)

    def root(self) -> Node:
        return self.node(0, self.manifest.record(0))

    def found(self, number: int, *, warm: bool = False) -> Node:
        """Return the node of a record that a place names.

        Raises:
            StaleNode: there is no such record.  NotWarm: only where `warm`.
        """
        manifest = self.manifest.warm if warm else self.manifest
        if number >= manifest.records:
            raise StaleNode(f"record {number} of a state that has {manifest.records}")
        return self.node(number, manifest.record(number))

    def parent(self, number: int, *, warm: bool = False) -> Node:
        """Return the folder above a record other than the root.

        Raises:
            NotWarm: only where `warm`.
        """
        manifest = self.manifest.warm if warm else self.manifest
        above = manifest.record(number).parent
        record = manifest.record(above)
        if record.kind != Kind.FOLDER:
            raise ObjectCorrupt(self.manifest.key, f"record {number} lies in {above}, which is no folder")
        return self.node(above, record)

    def lookup(self, manifest: Manifest, number: int, name: bytes) -> Node:
        """Find a name in a folder.

        Args:
            manifest: `self.manifest`, or its `warm` twin.
            number: record of the folder.
            name: the exact bytes, else the only name that is canonically equivalent.

        Raises:
            PathMissing, NotAFolder, NotWarm.
        """
        key = (self.place(number), name)
        node = self._caches.lookups.get(key)
        if node is not None:
            return node
        record = manifest.record(number)
        if record.kind != Kind.FOLDER:
            raise NotAFolder(name)
        found = manifest.find(number, record, name)
        if found is None and not name.isascii():
            found = self._equivalent(manifest, number, record, name)
        if found is None:
            raise PathMissing(name)
        node = self.node(*found)
        self._caches.lookups.put(key, node, 300 + len(name))
        return node

    def _equivalent(self, manifest: Manifest, number: int, folder: Record, name: bytes) -> tuple[int, Record] | None:
        """Find the only name that is canonically equivalent; in a large folder only if it is wholly (de)composed."""
        try:
            wanted = unicodedata.normalize("NFC", name.decode())
        except UnicodeDecodeError:
            return None
        if folder.size > TABLED:
            forms = {wanted.encode(), unicodedata.normalize("NFD", wanted).encode()}
            hits = [hit for form in sorted(forms) if (hit := manifest.find(number, folder, form)) is not None]
            return hits[0] if len(hits) == 1 else None
        key = (manifest.root, number)
        table = self._caches.equivalents.get(key)
        if table is None:
            table = {}
            for child, found, _ in manifest.entries(number, folder, 0, folder.size):
                if not found.isascii():
                    text = unicodedata.normalize("NFC", found.decode("utf-8", "surrogateescape"))
                    table.setdefault(text, []).append(child)
            self._caches.equivalents.put(key, table, 1000 + 200 * len(table))
        numbers = table.get(wanted, [])
        return (numbers[0], manifest.record(numbers[0])) if len(numbers) == 1 else None

    def entries(self, manifest: Manifest, number: int, after: int, limit: int) -> tuple[list[Entry], bool]:
        """Return up to `limit` entries of a folder behind cookie `after`, and whether that is the end."""
        record = manifest.record(number)
        if record.kind != Kind.FOLDER:
            raise NotAFolder(manifest.name(record))
        stop = min(record.size, after + limit)
        return list(self._entries(manifest, number, record, after, stop)), stop >= record.size

    def _entries(self, manifest: Manifest, number: int, folder: Record, start: int, stop: int) -> Iterator[Entry]:
        dataset, tag, prefix, seed = self.dataset, self.tag, self.prefix, self._seed
        for cookie, (child, name, row) in enumerate(manifest.rows(number, folder, start, stop), start + 1):
            # As `place` and `node`, without the calls: a large folder is as quick as this.
            place = _new(Place, (Space.STATE, dataset, tag, prefix, child))
            fileid = (seed + child * _ODD) & _MASK or 1
            size, mtime_ns, kind, executable = row[0], row[1], _KINDS[row[6]], row[7] & EXECUTABLE != 0
            node = _new(Node, (kind, place, fileid, size, mtime_ns, mtime_ns, executable, False))
            yield _new(Entry, (cookie, name, node))

    def file_map(self, manifest: Manifest, number: int) -> FileMap | Record:
        """Return where a file's bytes lie, or its record alone where it is too large to be mapped whole.

        Raises:
            NotWarm: only of the `warm` twin, which neither waits for others nor takes long.
        """
        place = self.place(number)
        found = self._caches.maps.get(place)
        if found is None:
            record = manifest.record(number)
            count = manifest.extent_count(record)
            if count > MAPPED:
                return record
            if count <= QUICK:
                return self._map(manifest, place, record)
            if manifest is self.manifest.warm:
                raise NotWarm
            found = self._caches.mapping.do(place, lambda: self._map(manifest, place, record))
        return found

    def _map(self, manifest: Manifest, place: Place, record: Record) -> FileMap:
        known = self._caches.maps.get(place)
        if known is not None:
            return known
        extents = manifest.extents(record)
        if extents and extents[0][0]:
            raise ObjectCorrupt(manifest.key, f"file of record {place.record} does not begin at 0")
        found = FileMap([offset for offset, _ in extents], [block for _, block in extents], record.size)
        self._caches.maps.put(place, found, 400 + 300 * len(extents))
        return found

    def runs(self, manifest: Manifest, number: int, offset: int, size: int) -> list[Run]:
        """Return the runs of a range of a file, cut to its end."""
        found = self.file_map(manifest, number)
        if isinstance(found, Record):
            return [(span.block, span.start, span.size) for span in manifest.spans(found, offset, size)]
        return found.runs(offset, size)

    def along(self, number: int) -> list[Block]:
        """Return what to fetch along with a small file that is being waited for, if the one before stood near it.

        Who goes through a folder reads one file after another: their blocks lie together, and come by one request, or
        out of one piece of the disk cache.
        """
        near, manifest, first = abs(number - self._waited_for) < GROUP, self.manifest, number - number % GROUP
        self._waited_for = number
        if not near or first == self._along:  # else all who wait for files of one group would look for them
            return []
        self._along = first
        blocks: list[Block] = []
        size = 0
        for other in (*range(number + 1, min(first + GROUP, manifest.records)), *range(number - 1, first - 1, -1)):
            record = manifest.record(other)
            if record.kind != Kind.FILE or record.size > SMALL:
                continue
            size += record.size
            if size > AROUND:
                break
            blocks += [block for block, _, _ in self.runs(manifest, other, 0, record.size) if block is not None]
        return blocks


def stand_in(dataset: int, tag: int, manifest: bytes, moved_ns: int) -> Node:
    """Return the root of a state whose manifest can't be read, as a listing of its neighbours shows it.

    Args:
        dataset: digest of the dataset's name.
        tag: creation number of the tag.
        manifest: its id.
        moved_ns: what to show as its times.
    """
    prefix = manifest[:16]
    place = Place(Space.STATE, dataset, tag, prefix, 0)
    return Node(Kind.FOLDER, place, _seed(dataset, tag, prefix) or 1, 0, moved_ns, moved_ns, False, False)


def _seed(dataset: int, tag: int, prefix: bytes) -> int:
    return int.from_bytes(blake3(dataset.to_bytes(8, "big") + tag.to_bytes(4, "big") + prefix).digest(8), "big")
