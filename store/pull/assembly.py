"""Builds the tree of a state in a staging folder: folders, what can be reused, room for what is missing, links, times.

What lies in the staging folder already, from a pull of the same state that was killed, is kept as far as its blocks
hash to their names. A file that shares its inode with the destination is never written to. One thread.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from store.kinds import Kind
from store.manifest.view import Manifest, Record
from store.pack import MAX_PLAIN, Block
from store.pull.flush import sync_file_system
from store.pull.places import Places, Whole, create, write_at
from store.pull.present import Found, look
from store.pull.sources import extents, opened, read_block
from store.pull.staging import remove_tree, sync
from store.pull.wanted import Entry, Wanted
from store.push.ingest import data_runs

_FICLONE: Final = 0x40049409  # linux/fs.h
_COPY: Final = 1 << 20  # bytes copied at a time
BATCH: Final = 200_000  # missing blocks noted at a time, about 600 bytes each
_ONE_BY_ONE: Final = 64  # files synced each for itself; more are synced by one call where the system has it


class _Missing(NamedTuple):
    """A block that a file lacks."""

    block: Block
    offset: int  # in the file
    whole: Whole | None = None  # the file is this block alone, and is not there yet


class Assembly:
    """A tree under construction."""

    def __init__(self, tree: bytes, wanted: Wanted, manifest: Manifest, id_key: bytes | None = None) -> None:
        self._tree, self._wanted, self._id_key = tree, wanted, id_key
        self._manifest = manifest.near()  # its extents are read in order
        self._linked: set[bytes] = set()
        self._timed: set[bytes] = set()  # made with their time
        self.filled: set[bytes] = set()  # files that hold something; relative paths

    def prepare(
        self, dest: bytes, before: Mapping[bytes, Found], contents: Mapping[bytes, bytes], taken: Callable[[int], None]
    ) -> Iterator[Places]:
        """Make folders, reuse whole files of the destination, give all others their size.

        Yields what is missing, to be filled before going on, so that no more than `BATCH` blocks are noted at a time.

        Args:
            dest: the destination.
            before: what lies there.
            contents: SHA-256 of those files of it whose content is known, by path.
            taken: told the bytes of what was reused.
        """
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._tree)
        here = self._kept(look(self._tree))
        donors = {digest: path for path, digest in contents.items()}
        for entry in self._wanted.entries.values():
            if entry.kind == Kind.FOLDER and entry.path not in here:
                os.mkdir(self._at(entry.path))
        places = Places()
        begun: list[bytes] = []  # files of this batch
        for entry in self._wanted.files():
            old = here.get(entry.path)
            donor = entry.path if contents.get(entry.path) == entry.sha256 else donors.get(entry.sha256)
            if donor is not None:
                shared = donor != entry.path and self._stays(donor, contents)
                self._reuse(entry, os.path.join(dest, donor), before[donor], old, may_link=not shared)
                if donor != entry.path and not shared:
                    del donors[entry.sha256]  # moved: a second name of it would be a hard link
                self.filled.add(entry.path)
                taken(entry.size)
                continue
            if old is not None:
                self.filled.add(entry.path)
            begun.append(entry.path)
            for missing in self._make_room(entry, old, taken):
                places.add(missing.block, self._at(entry.path), missing.offset, missing.whole)
                if len(places) >= BATCH:
                    yield places
                    places = Places()
                    self.filled.update(begun)
                    begun = [entry.path]
        if len(places):
            yield places

    def finish(self) -> None:
        """Make the links, set all times, and make everything durable: files first, then folders from the deepest up."""
        entries = self._wanted.entries
        for entry in entries.values():
            if entry.kind == Kind.LINK:
                os.symlink(entry.target, self._at(entry.path))
                os.utime(self._at(entry.path), ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)
        written = [entry for entry in self._wanted.files() if entry.path not in self._linked]
        for entry in written:
            if entry.path not in self._timed:
                os.utime(self._at(entry.path), ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)
        folders = [entry for entry in entries.values() if entry.kind == Kind.FOLDER]
        for entry in reversed(folders):
            os.utime(self._at(entry.path), ns=(entry.mtime_ns, entry.mtime_ns))
        os.utime(self._tree, ns=(self._wanted.mtime_ns, self._wanted.mtime_ns))
        if len(written) + len(folders) > _ONE_BY_ONE and sync_file_system(self._tree):
            return
        for entry in (*written, *reversed(folders)):
            sync(self._at(entry.path))
        sync(self._tree)

    def _at(self, path: bytes) -> bytes:
        return b"%b/%b" % (self._tree, path)

    def _stays(self, donor: bytes, contents: Mapping[bytes, bytes]) -> bool:
        """Tell whether a file of the destination is itself wanted as it is, so that it can't move."""
        entry = self._wanted.entries.get(donor)
        return entry is not None and entry.kind == Kind.FILE and entry.sha256 == contents[donor]

    def _kept(self, here: dict[bytes, Found]) -> dict[bytes, Found]:
        """Remove what has no place in the tree; return the rest. Links are made anew at the end."""
        kept = {}
        for path, found in reversed(list(here.items())):
            entry = self._wanted.entries.get(path)
            if entry is None or entry.kind != found.kind or found.kind == Kind.LINK:
                remove_tree(self._at(path))
            else:
                kept[path] = found
        return kept

    def _reuse(self, entry: Entry, source: bytes, seen: Found, old: Found | None, *, may_link: bool) -> None:
        """Take a whole file of the destination: the same inode where mode and time agree, else its content."""
        target = self._at(entry.path)
        same = seen.executable == entry.executable and seen.identity.mtime_ns == entry.mtime_ns and may_link
        if old is not None:
            if same and old.identity.inode == seen.identity.inode:
                self._linked.add(entry.path)
                return
            os.unlink(target)
        if same:
            try:
                os.link(source, target, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.EMLINK, errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP):
                    raise
            else:
                self._linked.add(entry.path)
                return
        descriptor = create(target, executable=entry.executable)
        try:
            with opened(source) as given:
                if given is None:
                    raise FileNotFoundError(errno.ENOENT, "removed while it was being reused", os.fsdecode(source))
                copy(given, descriptor, entry.size)
        finally:
            os.close(descriptor)

    def _make_room(self, entry: Entry, old: Found | None, taken: Callable[[int], None]) -> Iterator[_Missing]:
        """Yield which blocks of a file are missing; give it its size, unless it is one block whole and not there."""
        target = self._at(entry.path)
        record = self._manifest.record(entry.number)
        if old is not None:
            fits = old.links == 1 and old.executable == entry.executable and old.identity.size == entry.size
            with opened(target) as descriptor:
                if fits and descriptor is not None and all(
                    block is not None or zeros_between(descriptor, offset, offset + size)
                    for offset, size, block in extents(self._manifest, record)
                ):  # fmt: skip
                    for offset, _, block in extents(self._manifest, record):
                        if block is not None and read_block(descriptor, offset, block, self._id_key) is None:
                            yield _Missing(block, offset)
                        elif block is not None:
                            taken(block.plain)
                    return
            os.unlink(target)
        block = self._only_block(record)
        if block is not None:
            self._timed.add(entry.path)
            yield _Missing(block, 0, Whole(entry.executable, entry.mtime_ns))
            return
        descriptor = create(target, executable=entry.executable)
        try:
            os.ftruncate(descriptor, entry.size)
        finally:
            os.close(descriptor)
        for offset, _, block in extents(self._manifest, record):
            if block is not None:
                yield _Missing(block, offset)

    def _only_block(self, record: Record) -> Block | None:
        """Return the block that is the whole file, where it is one."""
        if not 0 < record.size <= MAX_PLAIN:
            return None
        runs = self._manifest.extents(record)
        return runs[0][1] if len(runs) == 1 else None


def copy(source: int, target: int, size: int) -> None:
    """Copy a file's content, sharing its blocks where the file system can; holes stay holes.

    Raises:
        OSError: it can't be read or written.
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        for start, end in data_runs(source, size):
            while start < end:
                data = os.pread(source, min(_COPY, end - start), start)
                if not data:
                    break
                write_at(target, data, start)
                start += len(data)
        os.ftruncate(target, size)


def zeros_between(descriptor: int, start: int, end: int) -> bool:
    """Tell whether a file holds nothing but zeros from `start` up to `end`; what is not allocated is not read."""
    while start < end:
        stop = end
        try:
            start = os.lseek(descriptor, start, os.SEEK_DATA)
            stop = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data behind
                return True
            if error.errno != errno.EINVAL:  # a file system that does not tell: everything is read
                raise
        stop = min(end, stop, start + _COPY)
        if start < stop and os.pread(descriptor, stop - start, start).strip(b"\0"):
            return False
        start = max(stop, start)
    return True
