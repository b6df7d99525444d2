"""Builds the tree of a state in a staging folder: folders, what can be reused, room for what is missing, links, times.

What lies in the staging folder already, from a pull of the same state that was killed, is kept as far as its blocks
hash to their names. A file that shares its inode with the destination is never written to. One thread.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from store.kinds import Kind
from store.manifest import layout
from store.manifest.view import Manifest
from store.pack import MAX_PLAIN, Block
from store.pull.columns import Columns
from store.pull.compare import Donor, together
from store.pull.content import Row
from store.pull.flush import sync_file_system
from store.pull.placed import Identities
from store.pull.places import Places, Whole, create, write_at
from store.pull.present import Found, look, look_at
from store.pull.sources import opened, read_block
from store.pull.staging import remove_tree, sync
from store.pull.wanted import Standing, Wanted
from store.push.ingest import data_runs

_FICLONE: Final = 0x40049409  # linux/fs.h
_COPY: Final = 1 << 20  # bytes copied at a time
_ONE_BY_ONE: Final = 64  # files synced each for itself; more are synced by one call where the system has it
_REUSED: Final = (Standing.LINKED, Standing.KEPT)

Taken = Callable[[int], None]  # told the bytes of what was reused


class Batch(NamedTuple):
    """Blocks that are missing."""

    places: Places
    repeated: bool  # they were in an earlier batch too: filled from where they went, once those are done


class Assembly:
    """A tree under construction."""

    def __init__(
        self, tree: bytes, dest: bytes, wanted: Wanted, manifest: Manifest, identities: Identities,
        donors: dict[bytes, Donor], taken: Taken, id_key: bytes | None = None,
    ) -> None:  # fmt: skip
        """Prepare.

        Args:
            tree: where it is built.
            dest: the destination.
            wanted: what is to be there, and how it stands; kept up to date.
            manifest: the state.
            identities: those of files that are made or moved are noted.
            donors: files of the destination whose content other paths want, by SHA-256; used up.
            taken: told the bytes of what was reused.
            id_key: the store's id key, where it is encrypted.
        """
        self._tree, self._dest, self._wanted, self._identities = tree, dest, wanted, identities
        self._donors, self._taken, self._id_key = donors, taken, id_key
        self._columns = Columns(manifest)
        self._clones = True  # as far as is known
        self.reuses = False  # whether the tree gets files that are here already; known once the first batch is there
        self._noted = bytearray(self._columns.blocks)  # rows of blocks that were found missing
        self._fresh, self._repeated = self._places(), self._places()

    def prepare(self, size: int) -> Iterator[Batch]:
        """Make folders, reuse whole files of the destination, give all others their size.

        Yields what is missing, `size` places at a time.
        """
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._tree)
        self._sort_out()
        reusable = (Standing.SAME, Standing.ALIKE, Standing.STAGED)
        self.reuses = bool(self._donors) or any(map(self._wanted.standing.count, reusable))
        content, standing = self._wanted.content, self._wanted.standing
        for folder in self._wanted.folders:
            base = self._at(content.path(folder))
            with contextlib.suppress(FileExistsError):  # it is a folder: all else was removed
                os.mkdir(base)
            for number, name, row in content.children(folder):
                if standing[number] < Standing.MISSING:
                    continue
                target = b"%b/%b" % (base, name)
                if standing[number] != Standing.MISSING or not self._note_whole(number, row, target):
                    for _ in self._begin(number, row, target):
                        if self._fresh.noted + self._repeated.noted >= size:
                            yield from self._full()
                elif self._fresh.noted + self._repeated.noted >= size:
                    yield from self._full()
        yield from self._full()

    def finish(self) -> None:
        """Make the links, set all times, and make everything durable."""
        wanted, content = self._wanted, self._wanted.content
        for number in wanted.numbers(Standing.LINK):
            path, row = self._at(content.path(number)), content.row(number)
            os.symlink(content.target(row), path)
            os.utime(path, ns=(row[1], row[1]), follow_symlinks=False)
        for standing in (Standing.WRITTEN, Standing.KEPT):
            for number in wanted.numbers(standing):
                mtime_ns = content.row(number)[1]
                os.utime(self._at(content.path(number)), ns=(mtime_ns, mtime_ns), follow_symlinks=False)
        for number in wanted.folders:
            mtime_ns = content.row(number)[1]
            os.utime(self._at(content.path(number)), ns=(mtime_ns, mtime_ns))
        own = (Standing.MADE, Standing.WRITTEN, Standing.KEPT)
        if sum(map(wanted.standing.count, own)) + len(wanted.folders) > _ONE_BY_ONE and sync_file_system(self._tree):
            return
        for standing in own:
            for number in wanted.numbers(standing):
                sync(self._at(content.path(number)))
        for number in reversed(wanted.folders):
            sync(self._at(content.path(number)))

    def holds(self, number: int) -> bool:
        """Tell of a record whether its file holds blocks that this pull did not write."""
        return self._wanted.standing[number] in _REUSED

    def _at(self, path: bytes) -> bytes:
        return b"%b/%b" % (self._tree, path) if path else self._tree

    def _places(self) -> Places:
        return Places(self._identities.note)

    def _full(self) -> Iterator[Batch]:
        fresh, self._fresh = self._fresh, self._places()
        repeated, self._repeated = self._repeated, self._places()
        if len(fresh):
            yield Batch(fresh, repeated=False)
        if len(repeated):
            yield Batch(repeated, repeated=True)

    def _sort_out(self) -> None:
        """Remove what has no place in the tree, and note what has. Links are made anew at the end."""
        if not os.listdir(self._tree):
            return
        standing = self._wanted.standing
        for path, (found, entry) in together((look(self._tree), self._wanted.entries())):
            if found is None:
                continue
            if entry is None or entry.kind != found.kind or found.kind == Kind.LINK:
                remove_tree(self._at(path))
            elif standing[entry.number] == Standing.MISSING:
                standing[entry.number] = Standing.STAGED
            elif standing[entry.number] == Standing.ALIKE:
                os.unlink(self._at(path))

    def _note_whole(self, number: int, row: Row, target: bytes) -> bool:
        """Note a file that is one block whole, which is made when that is there; false for any other."""
        size, mtime_ns, file, _, _, _, _, flags = row
        if self._donors and self._wanted.content.sha256(file) in self._donors:
            return False
        only = self._columns.only_block(file, size) if 0 < size <= MAX_PLAIN else None
        if only is None:
            return False
        self._note(*only, target, 0, (number, bool(flags & layout.EXECUTABLE), mtime_ns))
        self._wanted.standing[number] = Standing.MADE
        return True

    def _note(self, block: Block, row: int, target: bytes, offset: int, whole: Whole | None = None) -> None:
        if self._noted[row] and block.digest not in self._fresh:
            self._repeated.add(block, target, offset, whole)
        else:
            self._noted[row] = 1
            self._fresh.add(block, target, offset, whole)

    def _begin(self, number: int, row: Row, target: bytes) -> Iterator[None]:
        """Reuse a file, or give it its size and note what is missing in it; yields after each block noted."""
        content, standing = self._wanted.content, self._wanted.standing
        match standing[number]:
            case Standing.SAME:
                self._link(number, row, target)
                return
            case Standing.ALIKE:
                self._copy(number, row, target, os.path.join(self._dest, content.path(number)))
                return
            case Standing.STAGED if self._fits(row, target):
                standing[number] = Standing.KEPT
                yield from self._note_damaged(row, target)
                return
            case Standing.STAGED:
                os.unlink(target)
        digest = content.sha256(row[2])
        donor = self._donors.get(digest)
        if donor is not None:
            self._reuse(number, row, target, digest, donor)
            return
        executable = bool(row[7] & layout.EXECUTABLE)
        if self._clones and row[0] > MAX_PLAIN and self._clone(content.path(number), row[0], executable, target):
            if self._fits(row, target):
                standing[number] = Standing.KEPT
                yield from self._note_damaged(row, target)
                return
            os.unlink(target)
        standing[number] = Standing.WRITTEN
        descriptor = create(target, executable=executable)
        try:
            os.ftruncate(descriptor, row[0])
        finally:
            os.close(descriptor)
        for run in self._columns.runs(row[2], row[0]):
            if run.block is not None:
                self._note(run.block, run.row, target, run.offset)
                yield

    def _link(self, number: int, row: Row, target: bytes) -> None:
        """Take a file of the destination that is just so: the same inode, or where that can't be a copy."""
        source = os.path.join(self._dest, self._wanted.content.path(number))
        staged = look_at(target)
        if staged is not None and staged.identity.inode != self._identities.inodes[number]:
            os.unlink(target)
        elif staged is None and not _linked(source, target):
            self._copy(number, row, target, source)
            return
        self._linked(number, row)

    def _linked(self, number: int, row: Row) -> None:
        self._wanted.standing[number] = Standing.LINKED
        self._identities.drop(number)  # its ctime is no longer what it was
        self._taken(row[0])

    def _reuse(self, number: int, row: Row, target: bytes, digest: bytes, donor: Donor) -> None:
        """Take a file that lies elsewhere in the destination: moved where mode and time agree, else its content."""
        source = os.path.join(self._dest, donor.path)
        seen = look_at(source)
        if not donor.stays and seen is not None and as_wanted(seen, row) and _linked(source, target):
            del self._donors[digest]  # a second name of it would be a hard link
            self._linked(number, row)
        else:
            self._copy(number, row, target, source)

    def _copy(self, number: int, row: Row, target: bytes, source: bytes) -> None:
        self._wanted.standing[number] = Standing.KEPT
        self._identities.drop(number)
        descriptor = create(target, executable=bool(row[7] & layout.EXECUTABLE))
        try:
            with opened(source) as given:
                if given is None:
                    raise FileNotFoundError(errno.ENOENT, "removed while it was being reused", os.fsdecode(source))
                copy(given, descriptor, row[0])
        finally:
            os.close(descriptor)
        self._taken(row[0])

    def _clone(self, path: bytes, size: int, executable: bool, target: bytes) -> bool:
        """Begin a large file as a clone of what lies at its path, so that only what changed takes room on the disk."""
        with opened(os.path.join(self._dest, path)) as source:
            if source is None:
                return False
            descriptor = create(target, executable=executable)
            try:
                if clone(source, descriptor):
                    os.ftruncate(descriptor, size)
                    return True
            finally:
                os.close(descriptor)
        self._clones = False  # nor will others
        os.unlink(target)
        return False

    def _fits(self, row: Row, target: bytes) -> bool:
        """Tell whether a staged file may be written to, and holds nothing where a hole is to be."""
        found = look_at(target)
        executable = bool(row[7] & layout.EXECUTABLE)
        if found is None or (found.links, found.executable, found.identity.size) != (1, executable, row[0]):
            return False
        with opened(target) as descriptor:
            return descriptor is not None and all(
                run.block is not None or zeros_between(descriptor, run.offset, run.offset + run.size)
                for run in self._columns.runs(row[2], row[0])
            )

    def _note_damaged(self, row: Row, target: bytes) -> Iterator[None]:
        """Note the blocks of a staged file that are not there, or not what they should be."""
        with opened(target) as descriptor:
            for run in self._columns.runs(row[2], row[0]):
                if run.block is None:
                    continue
                if descriptor is None or read_block(descriptor, run.offset, run.block, self._id_key) is None:
                    self._note(run.block, run.row, target, run.offset)
                    yield
                else:
                    self._taken(run.size)


def as_wanted(found: Found, row: Row) -> bool:
    """Tell whether an entry may be the file that a record says."""
    return (found.kind, found.executable, found.identity.size, found.identity.mtime_ns) == (
        Kind.FILE, bool(row[7] & layout.EXECUTABLE), row[0], row[1],
    )  # fmt: skip


def _linked(source: bytes, target: bytes) -> bool:
    """Give a file a second name; false where the file system does not."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EMLINK, errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP):
            raise
        return False
    return True


def clone(source: int, target: int) -> bool:
    """Make a new file share another's content, block by block until either is written to; false where that can't be."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def copy(source: int, target: int, size: int) -> None:
    """Copy a file's content, sharing its blocks where the file system can; holes stay holes.

    Raises:
        OSError: it can't be read or written.
    """
    if not clone(source, target):
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
