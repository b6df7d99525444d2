"""Remembers how each file looked when it was last pushed, so that the next push need not read it again.

A file in the user's state directory, one for each (store, source folder, dataset), sealed where the store is encrypted.
Losing it costs only time. It holds

    "AFUN", u32 version 2, id of the manifest (32), its root (32), u64 number of files, then for each file, in the order
    of the manifest's records, 40 bytes: device, inode, size (u64), mtime, ctime (ns, i64); all zero where a file is
    not to be trusted

A file whose times lie within `SETTLED_NS` of the moment it was read is not trusted: it may have been written again
within the clock's grain. ctime counts, because it alone moves when a program sets mtime back. One thread.
"""

import contextlib
import itertools
import os
import struct
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from store.errors import Corrupt, FeatureMissing, Missing, ObjectCorrupt
from store.kinds import Kind
from store.manifest import layout
from store.manifest.blocktable import BlockTable
from store.manifest.build import Built
from store.manifest.contents import Contents
from store.manifest.layout import HOLE, Section
from store.manifest.streams import Stream
from store.manifest.tree import Tree
from store.manifest.view import Manifest, Record
from store.objects.base import Buffer
from store.push.source import LOOK, Scan
from store.veil import Veil, open_file
from store.veiled_file import LocalFile, VeilBroken

HEAD: Final = struct.Struct("<4sI32s32sQ")
MAGIC: Final = b"AFUN"
VERSION: Final = 2
SETTLED_NS: Final = 2_000_000_000

_PURPOSE: Final = b"pushed"
_PIECE: Final = LOOK.size << 14  # bytes gone through at once
_PAGES: Final = 16  # of a section, read at once: 2 MiB

Open = Callable[[bytes, bytes], Manifest]  # (id, root) -> manifest


class _Last(NamedTuple):
    id: bytes
    root: bytes
    files: int
    file: LocalFile  # at the first row


@contextlib.contextmanager
def _opened(path: Path, veil: Veil | None) -> Iterator[_Last | None]:
    """Open what is written down, or nothing where it is not what was written."""
    try:
        file = open_file(path, "rb", veil, _PURPOSE)
    except OSError:
        yield None
        return
    with file:
        try:
            magic, version, id, root, files = HEAD.unpack(file.read(HEAD.size))
            size = file.seek(0, os.SEEK_END)
            file.seek(HEAD.size)
        except (OSError, struct.error):
            yield None
            return
        good = magic == MAGIC and version == VERSION and size == HEAD.size + files * LOOK.size
        yield _Last(id, root, files, file) if good else None


class Whole(NamedTuple):
    """A tree that is, as a whole, what was pushed last."""

    manifest: Manifest  # of the last push
    built: Built  # the same state; without bytes to be written, as it is there


def whole(path: Path, found: Scan, started_ns: int, open_manifest: Open, veil: Veil | None = None) -> Whole | None:
    """Tell whether a scanned tree is entirely what was pushed last; its files need no content for that.

    It is when each file looks as it is written down for the same number, and the id, which covers every name, kind,
    size, time, executable bit and link, is the last one's too. What is written down then stays as it is.

    Args:
        path: where the last push's record lies.
        found: the tree.
        started_ns: the local clock before anything was looked at.
        open_manifest: opens the manifest of the last push.
        veil: unseals the record, where the store is encrypted.

    Returns:
        `None` where anything differs, is doubtful or damaged; `fill_in` then finds what is the same.
    """
    tree = found.tree
    trusted_until = started_ns - SETTLED_NS
    with _opened(path, veil) as last:
        if last is None or last.files != tree.files:
            return None
        for looks in found.looks.pieces(_PIECE):
            try:
                then = last.file.read(len(looks))
            except VeilBroken:
                return None
            if looks != then or not all(_settled(looks, trusted_until)):
                return None
    try:
        manifest = open_manifest(last.id, last.root)
        same = manifest.root == last.root and tree.id(manifest.pages(Section.SHA256)) == manifest.id
        if not same:
            return None
        for kind in manifest.contents.sections:  # a damaged page must not get another tag
            for _ in manifest.pages(kind):
                pass
    except (Missing, Corrupt, FeatureMissing):
        return None
    return Whole(manifest, Built(manifest.id, manifest.root, b"", tree.records, tree.files, tree.size))


def _settled(looks: bytes, trusted_until: int) -> Iterator[bool]:
    for _, _, _, mtime_ns, ctime_ns in LOOK.iter_unpack(looks):
        yield mtime_ns < trusted_until and ctime_ns < trusted_until


def fill_in(
    path: Path, found: Scan, contents: Contents, table: BlockTable, open_manifest: Open, veil: Veil | None = None
) -> Manifest | None:
    """Give every unchanged file of a scanned tree the content it had when it was last pushed.

    Args:
        path: where the last push's record lies.
        found: the tree.
        contents: get what unchanged files hold.
        table: gets all blocks of the last push's manifest.
        open_manifest: opens the manifest of the last push.
        veil: unseals the record, where the store is encrypted.

    Returns:
        The last push's manifest, or `None` where there is nothing to compare with.
    """
    with _opened(path, veil) as last:
        if last is None:
            return None
        try:
            manifest = open_manifest(last.id, last.root)
            if manifest.files != last.files:
                return None
            then, looks = _Files(manifest, table, last.file), _Looks(found)
            for number, record in _pairs(found.tree, manifest):
                content = then.content(record, looks.of(number))
                if content is not None:
                    contents.set(number, *content)
        except (
            Missing,
            Corrupt,
            FeatureMissing,
            VeilBroken,
        ):  # gone or damaged: what is not filled in yet is read again
            return None
    return manifest


def _pairs(tree: Tree, manifest: Manifest) -> Iterator[tuple[int, Record]]:
    """Yield (number in the tree, record in the manifest) of the files that stand in both at the same path.

    The numbers grow on both sides: depth, then the names from the root down, are what orders records in every tree.
    """
    folders = {0: 0}  # that stand in both: record in the manifest -> in the tree
    folder, at, end = -1, 0, 0
    for number, path, record in manifest.walk():
        if record.parent != folder:
            folder = record.parent
            here = folders.get(folder)
            at, end = tree.entries(here) if here is not None else (0, 0)
        name = path.rpartition(b"/")[2]
        while at < end and tree.name(at) < name:
            at += 1
        if at == end or tree.name(at) != name:
            continue
        _, _, first, _, _, _, kind, _ = tree.row(at)
        if kind == record.kind == Kind.FOLDER:
            folders[number] = at
        elif kind == record.kind == Kind.FILE:
            yield first, record


class _Looks:
    """How the files of a tree look now, gone through from the first to the last."""

    def __init__(self, found: Scan) -> None:
        self._rows = (
            piece[at : at + LOOK.size] for piece in found.looks.pieces(_PIECE) for at in range(0, len(piece), LOOK.size)
        )
        self._next = 0

    def of(self, number: int) -> bytes:
        self._next, skipped = number + 1, number - self._next
        return next(itertools.islice(self._rows, skipped, None))


class _Files:
    """What the files of a manifest hold and how they looked, gone through from the first to the last."""

    def __init__(self, manifest: Manifest, table: BlockTable, looks: LocalFile) -> None:
        self._key, self._table = manifest.key, table
        self._looks = Stream(iter(lambda: looks.read(_PIECE), b""))
        self._rows = array("I", map(table.add, manifest.all_blocks()))  # in the table, of each block
        self._starts, self._extents, self._sha256, self._md5 = (
            Stream(_pages(manifest, kind)) for kind in (Section.FILES, Section.EXTENTS, Section.SHA256, Section.MD5)
        )
        self._start = self._next_start()
        self._next = 0

    def content(self, file: Record, look: bytes) -> tuple[bytes, bytes, list[tuple[int, int]]] | None:
        """Return what a file holds, as `Contents.set` takes it, if it looked like this.

        Raises:
            ObjectCorrupt: extents with gaps, past the end, or of blocks that do not fit.
        """
        while self._next < file.first:
            self._take()
        raw, sha256, md5, looked = self._take()
        if looked != look:
            return None
        extents, end = [], 0
        found = [*layout.EXTENT.iter_unpack(raw)]
        for (offset, block), (following, _) in itertools.pairwise([*found, (file.size, HOLE)]):
            row = self._rows[block] if block < len(self._rows) else HOLE
            fits = block == HOLE if row == HOLE else self._table.plain(row) == following - offset
            if offset != end or following <= offset or not fits:
                raise ObjectCorrupt(self._key, f"file {file.first} has a run at {offset} up to {following}")
            extents.append((offset, row))
            end = following
        if end != file.size:
            raise ObjectCorrupt(self._key, f"file {file.first} ends at {end} of {file.size}")
        return sha256, md5, extents

    def _take(self) -> tuple[bytes, bytes, bytes, bytes]:
        """Take what there is of the next file: extents, SHA-256, MD5, how it looked."""
        start, self._start = self._start, self._next_start()
        raw = self._extents.take((self._start - start) * layout.EXTENT.size) if self._start >= start else b""
        if len(raw) != (self._start - start) * layout.EXTENT.size:
            raise ObjectCorrupt(self._key, f"file {self._next} has extents {start} to {self._start}")
        self._next += 1
        return raw, self._sha256.take(32), self._md5.take(16), self._looks.take(LOOK.size)

    def _next_start(self) -> int:
        return int.from_bytes(self._starts.take(layout.FILE.size), "little")


def _pages(manifest: Manifest, kind: Section) -> Iterator[Buffer]:
    """Yield a section's pages, a few at a time: several sections are gone through side by side."""
    for first in range(0, manifest.contents.sections[kind].pages, _PAGES):
        yield from manifest.pages(kind, first, min(_PAGES, manifest.contents.sections[kind].pages - first))


def remember(path: Path, built: Built, found: Scan, started_ns: int, veil: Veil | None = None) -> None:
    """Write down how the files of a push looked. Best effort: a failure costs the next push its time.

    Args:
        path: where.
        built: the manifest that was published.
        found: its tree.
        started_ns: the local clock before anything was read.
        veil: seals the record, where the store is encrypted.
    """
    trusted_until = started_ns - SETTLED_NS
    nothing = bytes(LOOK.size)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_file(temporary, "wb", veil, _PURPOSE) as file:
            file.write(HEAD.pack(MAGIC, VERSION, built.id, built.root, built.files))
            for looks in found.looks.pieces(_PIECE):
                rows = (looks[at : at + LOOK.size] for at in range(0, len(looks), LOOK.size))
                settled = zip(rows, _settled(looks, trusted_until), strict=True)
                file.write(b"".join(row if trusted else nothing for row, trusted in settled))
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
