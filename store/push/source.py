"""Walks the folder that is to be published. Links are kept, never followed.

What can't be kept is listed, not skipped in silence. Names are bytes throughout. Kept of each entry: kind, size,
executable bit, mtime, link target. Hard links become files that share blocks; owners, extended attributes and ACLs
are not kept. One thread a walk.
"""

import errno
import fnmatch
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from store.errors import PathMissing, SourceUnusable
from store.kinds import Kind
from store.manifest.build import Item

NOT_ALLOWED: Final = "not allowed to read it"
FARTHEST_NS: Final = 1 << 63
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


@dataclass(slots=True)
class SourceFile:
    """One regular file to be read."""

    item: Item
    path: bytes  # as it is opened
    shown: bytes  # relative to the published folder
    identity: Identity


@dataclass(slots=True)
class Scan:
    """A folder, walked."""

    top: Item
    files: list[SourceFile] = field(default_factory=list)  # in path order
    size: int = 0  # bytes of all files
    entries: int = 0
    hard_links: int = 0  # files that have other names too
    problems: list[tuple[bytes, str]] = field(default_factory=list)  # (path, why): what can't be published


def scan(source: bytes, exclude: Sequence[str] = ()) -> Scan:
    """Walk a folder, or take one file as a folder that holds just it.

    Args:
        source: path; if it is itself a link, what it points to is taken.
        exclude: shell patterns, matched against the name and against the path below `source`; what matches is left out,
            folders with all that is in them.

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
    top = Item(b"", Kind.FOLDER, in_reach(status.st_mtime_ns))
    found = Scan(top)
    if stat.S_ISDIR(status.st_mode):
        _Walk(found, exclude).folder(source, b"", top)
    else:
        name = os.path.basename(os.path.realpath(source) if os.path.islink(source) else source)
        _Walk(found, ()).entry(source, name, name, top, status)
    return found


class _Walk:
    def __init__(self, found: Scan, exclude: Sequence[str]) -> None:
        self._found = found
        self._exclude = [pattern.rstrip("/") for pattern in exclude]

    def folder(self, path: bytes, shown: bytes, into: Item) -> None:
        """Walk everything below one folder, depth first in path order, without recursion."""
        stack: list[Iterator[tuple[bytes, bytes, bytes, Item]]] = [self._entries(path, shown, into)]
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                continue
            below, below_shown, name, parent = step
            try:
                status = os.lstat(below)
            except OSError as error:
                self._problem(below_shown, error)
                continue
            item = self.entry(below, below_shown, name, parent, status)
            if item is not None and item.kind == Kind.FOLDER:
                stack.append(self._entries(below, below_shown, item))

    def _entries(self, path: bytes, shown: bytes, into: Item) -> Iterator[tuple[bytes, bytes, bytes, Item]]:
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            self._problem(shown or b".", error)
            return
        base = os.path.join(path, b"")
        shown_base = shown + b"/" if shown else b""
        for name in names:
            below = shown_base + name
            if not self._exclude or not self._excluded(name, below):
                yield base + name, below, name, into

    def _excluded(self, name: bytes, shown: bytes) -> bool:
        texts = (os.fsdecode(name), os.fsdecode(shown))
        return any(fnmatch.fnmatchcase(text, pattern) for pattern in self._exclude for text in texts)

    def entry(self, path: bytes, shown: bytes, name: bytes, parent: Item, status: os.stat_result) -> Item | None:
        """Take one entry; `None` where it can't be published."""
        mode = status.st_mode
        if stat.S_ISREG(mode):
            if not os.access(path, os.R_OK, effective_ids=_EFFECTIVE):
                self._found.problems.append((shown, NOT_ALLOWED))
                return None
            seen = identity(status)
            item = Item(name, Kind.FILE, seen.mtime_ns, size=seen.size, executable=bool(mode & stat.S_IXUSR))
            self._found.files.append(SourceFile(item, path, shown, seen))
            self._found.size += seen.size
            self._found.hard_links += status.st_nlink > 1
        elif stat.S_ISDIR(mode):
            item = Item(name, Kind.FOLDER, in_reach(status.st_mtime_ns))
        elif stat.S_ISLNK(mode):
            try:
                item = Item(name, Kind.LINK, in_reach(status.st_mtime_ns), target=os.readlink(path))
            except OSError as error:
                self._problem(shown, error)
                return None
        else:
            self._found.problems.append((shown, f"a {_kind(mode)} cannot be published"))
            return None
        parent.children.append(item)
        self._found.entries += 1
        return item

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
