"""Walks the folder that is to be published. Links are kept, never followed.

What can't be kept is listed, not skipped in silence. Names are bytes throughout. Kept of each entry: kind, size,
executable bit, mtime, link target. Hard links become files that share blocks; owners, extended attributes and ACLs
are not kept. One thread a walk.
"""

import errno
import fnmatch
import os
import re
import stat
import struct
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from store.errors import PathMissing, SourceUnusable
from store.manifest.contents import Column
from store.manifest.tree import Tree
from store.veil import Veil

NOT_ALLOWED: Final = "not allowed to read it"
FARTHEST_NS: Final = 1 << 63
LOOK: Final = struct.Struct("<QQQqq")  # an `Identity`
_TOLD_EVERY: Final = (1 << 10) - 1  # files, less one
_EFFECTIVE: Final = os.access in os.supports_effective_ids


class Identity(NamedTuple):
    """What tells whether a file is the one that was read before, unchanged."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def identity(status: os.stat_result) -> Identity:
    """Return the identity of a file from its status."""
    return Identity(
        status.st_dev, status.st_ino, status.st_size, in_reach(status.st_mtime_ns), in_reach(status.st_ctime_ns)
    )


def in_reach(time_ns: int) -> int:
    """Return a time, cut to what 64 bits of ns hold (years 1677 to 2262): some file systems keep stranger ones."""
    return time_ns if -FARTHEST_NS <= time_ns < FARTHEST_NS else max(-FARTHEST_NS, min(time_ns, FARTHEST_NS - 1))


class SourceFile(NamedTuple):
    """One regular file to be read."""

    record: int  # in the tree
    number: int  # among its files
    size: int  # as it was last looked at
    path: bytes  # as it is opened
    shown: bytes  # relative to the published folder


@dataclass(slots=True)
class Scan:
    """A folder, walked."""

    source: bytes
    single: bool  # `source` is the one file that the tree holds
    tree: Tree
    looks: Column  # how each file looked when it was last looked at, rows as `LOOK`, by its number
    hard_links: int = 0  # files that have other names too
    problems: list[tuple[bytes, str]] = field(default_factory=list)  # (path, why): what can't be published

    def files(self) -> Iterator[SourceFile]:
        """Yield all files, in path order."""
        base = os.path.join(self.source, b"")
        for record, number, size, shown in self.tree.in_path_order():
            yield SourceFile(record, number, size, self.source if self.single else base + shown, shown)

    def seen(self, file: SourceFile, now: Identity) -> None:
        """Note how a file looked as it was read."""
        self.tree.set_file(file.record, now.size, now.mtime_ns)
        self.looks.put(file.number, LOOK.pack(*now))

    def drop(self, gone: Collection[int]) -> list[int]:
        """Take files out, by their numbers; return those that stay, which are numbered anew in this order."""
        kept = [number for number in range(self.tree.files) if number not in gone]
        self.tree = self.tree.without(gone)
        self.looks.keep(kept)
        return kept


def scan(
    source: bytes,
    exclude: Sequence[str] = (),
    *,
    folder: Path | None = None,
    progress: Callable[[int, int], None] = lambda files, size: None,
    veil: Veil | None = None,
) -> Scan:
    """Walk a folder, or take one file as a folder that holds just it.

    Args:
        source: path; if it is itself a link, what it points to is taken.
        exclude: shell patterns, matched against the name and against the path below `source`; what matches is left out,
            folders with all that is in them.
        folder: for temporary files.
        progress: told now and then how many files of how many bytes were found.
        veil: seals temporary files, where the store is encrypted.

    Raises:
        PathMissing: there is nothing at `source`.
        SourceUnusable: it can't be looked at.
    """
    try:
        status = os.stat(source)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PathMissing(source) from error
    except OSError as error:  # not allowed, links in a circle, a name too long
        raise SourceUnusable([(source, why(error))]) from error
    single = not stat.S_ISDIR(status.st_mode)
    found = Scan(source, single, Tree(in_reach(status.st_mtime_ns)), Column(LOOK.size, folder, veil))
    if single:
        name = os.path.basename(os.path.realpath(source) if os.path.islink(source) else source)
        for _ in found.tree.folders():
            _Walk(found, (), progress).entry(source, name, name, status)
    else:
        _Walk(found, exclude, progress).walk()
    progress(found.tree.files, found.tree.size)
    return found


class _Walk:
    def __init__(self, found: Scan, exclude: Sequence[str], progress: Callable[[int, int], None]) -> None:
        self._found, self._tree, self._progress = found, found.tree, progress
        patterns = [f"(?:{fnmatch.translate(pattern.rstrip('/'))})" for pattern in exclude]
        self._excluded = re.compile("|".join(patterns)).match if patterns else None
        self._near = [(0, b"")]  # folders whose paths were made last, nearest last

    def walk(self) -> None:
        """Walk everything, folder by folder in the order of the records."""
        for folder in self._tree.folders():
            shown = self._path(folder)
            here = os.path.join(self._found.source, shown) if shown else self._found.source
            try:
                names = sorted(os.listdir(here))
            except OSError as error:
                self._problem(shown or b".", error)
                continue
            base = os.path.join(here, b"")
            if shown:
                shown += b"/"
            for name in names:
                below = shown + name
                if self._excluded and (self._excluded(os.fsdecode(name)) or self._excluded(os.fsdecode(below))):
                    continue
                path = base + name
                try:
                    status = os.lstat(path)
                except OSError as error:
                    self._problem(below, error)
                    continue
                self.entry(path, below, name, status)

    def _path(self, folder: int) -> bytes:
        """Return a folder's path. Most folders follow another one of the same parent, or their parent."""
        parent = self._tree.row(folder)[3]
        base = next((path for record, path in self._near if record == parent), None)
        if base is None:
            base = self._tree.path(parent)
        name = self._tree.name(folder)
        path = base + b"/" + name if base else name
        self._near = [(parent, base), (folder, path)]
        return path

    def entry(self, path: bytes, shown: bytes, name: bytes, status: os.stat_result) -> None:
        """Take one entry, or note that it can't be published."""
        mode = status.st_mode
        if stat.S_ISREG(mode):
            if not os.access(path, os.R_OK, effective_ids=_EFFECTIVE):
                self._found.problems.append((shown, NOT_ALLOWED))
                return
            seen = identity(status)
            number = self._tree.add_file(name, seen.size, seen.mtime_ns, executable=bool(mode & stat.S_IXUSR))
            self._found.looks.put(number, LOOK.pack(*seen))
            self._found.hard_links += status.st_nlink > 1
            if not number & _TOLD_EVERY:
                self._progress(number, self._tree.size)
        elif stat.S_ISDIR(mode):
            self._tree.add_folder(name, in_reach(status.st_mtime_ns))
        elif stat.S_ISLNK(mode):
            try:
                self._tree.add_link(name, os.readlink(path), in_reach(status.st_mtime_ns))
            except OSError as error:
                self._problem(shown, error)
        else:
            self._found.problems.append((shown, f"a {_kind(mode)} cannot be published"))

    def _problem(self, shown: bytes, error: OSError) -> None:
        self._found.problems.append((shown, why(error)))


def why(error: OSError) -> str:
    """Say in words why an entry can't be read."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return NOT_ALLOWED
    return os.strerror(error.errno) if error.errno else str(error)


def _kind(mode: int) -> str:
    for test, name in ((stat.S_ISCHR, "character device"), (stat.S_ISBLK, "block device"),
                       (stat.S_ISFIFO, "named pipe"), (stat.S_ISSOCK, "socket")):  # fmt: skip
        if test(mode):
            return name
    return "special file"
