"""A tree of entries, held as the rows of a manifest from the start: some 60 bytes an entry, whatever it is.

Entries are added in the order of the records (docs/format.md, Manifests): folder by folder, those of one folder sorted
by name, folders in the order in which they were added themselves. So nothing is sorted or numbered afterwards.

    tree = Tree(mtime_ns)
    for folder in tree.folders():  # goes on to the folders that are added meanwhile
        tree.add_file(b"a", size, mtime_ns)  # into this folder

A file's *number* counts files in the order of the records. One thread.
"""

from array import array
from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple

from store.digest import Digest
from store.errors import BadName
from store.kinds import Kind
from store.manifest import layout
from store.manifest.layout import NODE
from store.objects.base import Buffer


class FileEntry(NamedTuple):
    """Where a file stands in a tree."""

    record: int
    number: int
    size: int
    path: bytes  # below the root, without a leading slash


class Tree:
    """The content part of a manifest, but for the digests of its files."""

    def __init__(self, mtime_ns: int) -> None:
        """Begin with an empty root."""
        self.nodes, self.names, self.links = bytearray(), bytearray(), bytearray()
        self.records = self.files = self.size = 0  # `size`: plain bytes of all files
        self._folders = array("I")  # records of the folders, in order
        self._parent = 0
        self._previous = b""
        self.add_folder(b"", mtime_ns)

    @property
    def header(self) -> bytes:
        """The content header."""
        return layout.content_header(self.records, len(self.names), len(self.links), self.files)

    def id(self, sha256: Iterable[Buffer]) -> Digest:
        """Return the manifest's id.

        Args:
            sha256: the section SHA256, in pieces: the digest of each file, in the order of the records.
        """
        return layout.manifest_id(self.header, (self.nodes, self.names, self.links, *sha256))

    # making one

    def folders(self) -> Iterator[int]:
        """Yield the record of each folder in turn, whose entries are to be added before the next one is asked for."""
        for folder in self._folders:  # an array is gone through up to the end that it has by then
            self._parent, self._previous = folder, b""
            first = self.records
            yield folder
            if self.records > first:
                _, mtime_ns, _, *rest = self.row(folder)
                NODE.pack_into(self.nodes, folder * NODE.size, self.records - first, mtime_ns, first, *rest)

    def add_file(self, name: bytes, size: int, mtime_ns: int, *, executable: bool = False) -> int:
        """Add a file; return its number.

        Raises:
            BadName: a name that cannot stand in a manifest, or not behind the one before it; so do the other two.
        """
        number = self.files
        self._add(name, Kind.FILE, size, mtime_ns, number, layout.EXECUTABLE if executable else 0)
        self.files = number + 1
        self.size += size
        return number

    def add_folder(self, name: bytes, mtime_ns: int) -> None:
        """Add a folder, whose turn comes."""
        self._folders.append(self._add(name, Kind.FOLDER, 0, mtime_ns, 0, 0))

    def add_link(self, name: bytes, target: bytes, mtime_ns: int) -> None:
        """Add a symbolic link."""
        self._add(name, Kind.LINK, len(target), mtime_ns, len(self.links), 0)
        self.links += target

    def _add(self, name: bytes, kind: Kind, size: int, mtime_ns: int, first: int, flags: int) -> int:
        record, name_at = self.records, len(self.names)
        if record:
            if name <= self._previous or name in (b".", b"..") or b"/" in name or b"\0" in name:
                raise BadName(repr(name), "cannot be the name of an entry, or stands there twice")
            if len(name) > layout.MAX_NAME:
                raise BadName(repr(name[:40]), f"a name of {len(name)} bytes is too long")
        if record >= layout.MAX_RECORDS:
            raise BadName("", f"more entries than one manifest holds ({layout.MAX_RECORDS})")
        if name_at + len(name) > layout.MAX_NAMES or len(self.links) + size * (kind == Kind.LINK) > layout.MAX_NAMES:
            raise BadName("", "all names together are more than one manifest holds (4 GiB)")
        self._previous = name
        self.nodes += NODE.pack(size, mtime_ns, first, self._parent, name_at, len(name), kind, flags)
        self.names += name
        self.records = record + 1
        return record

    def set_file(self, record: int, size: int, mtime_ns: int) -> None:
        """Say of a file what it was when it was read."""
        before, _, *rest = self.row(record)
        self.size += size - before
        NODE.pack_into(self.nodes, record * NODE.size, size, mtime_ns, *rest)

    def without(self, gone: Container[int]) -> "Tree":
        """Return the same tree without some files, by their numbers; those that stay are numbered anew."""
        made = Tree(self.row(0)[1])
        for old, _ in zip(self._folders, made.folders(), strict=True):  # folders stay, so they keep their order
            for record in range(*self.entries(old)):
                size, mtime_ns, first, _, _, _, kind, flags = self.row(record)
                if kind == Kind.FOLDER:
                    made.add_folder(self.name(record), mtime_ns)
                elif kind == Kind.LINK:
                    made.add_link(self.name(record), bytes(self.links[first : first + size]), mtime_ns)
                elif first not in gone:
                    made.add_file(self.name(record), size, mtime_ns, executable=bool(flags & layout.EXECUTABLE))
        return made

    # looking at it

    def row(self, record: int) -> tuple[int, int, int, int, int, int, int, int]:
        """Return one record's row of NODES."""
        return NODE.unpack_from(self.nodes, record * NODE.size)

    def name(self, record: int) -> bytes:
        """Return an entry's name; empty for the root."""
        _, _, _, _, at, size, _, _ = self.row(record)
        return bytes(self.names[at : at + size])

    def path(self, record: int) -> bytes:
        """Return an entry's path below the root, without a leading slash; empty for the root."""
        names = []
        while record:
            names.append(self.name(record))
            record = self.row(record)[3]
        return b"/".join(reversed(names))

    def sizes(self) -> Iterator[int]:
        """Yield the size of each file, by number; nothing may be added meanwhile."""
        return (row[0] for row in NODE.iter_unpack(self.nodes) if row[6] == Kind.FILE)

    def in_path_order(self) -> Iterator[FileEntry]:
        """Yield all files depth first, those below a folder together: the order in which they are read."""
        stack = [(b"", iter(range(*self.entries(0))))]
        while stack:
            base, records = stack[-1]
            for record in records:
                size, _, first, _, at, name_size, kind, _ = self.row(record)
                if kind == Kind.FILE:
                    yield FileEntry(record, first, size, base + self.names[at : at + name_size])
                elif kind == Kind.FOLDER and size:
                    below = base + self.names[at : at + name_size] + b"/"
                    stack.append((below, iter(range(first, first + size))))
                    break
            else:
                stack.pop()

    def entries(self, folder: int) -> tuple[int, int]:
        """Return the record of a folder's first entry, and that behind its last one."""
        size, _, first, *_ = self.row(folder)
        return first, first + size
