"""What a folder is to hold: which records of a state's content, which is checked whole before anything is written.

What is known of an entry while a pull runs is one byte (`Standing`), so that a million entries take a megabyte. Names
were checked by the manifest's reader: none is `.`, `..`, empty, or holds `/` or NUL, and nothing lies below what is no
folder. One thread.
"""

import enum
import fnmatch
import os
from array import array
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from store.errors import ObjectCorrupt, PathMissing
from store.kinds import Kind
from store.pull.content import Content


class Standing(enum.IntEnum):
    """How it stands with a record."""

    LEFT_OUT = 0  # not wanted
    FOLDER = 1
    LINK = 2
    MISSING = 3  # a file that is to be made
    STAGED = 4  # a file that a pull which was killed has begun or finished in the staging folder
    SAME = 5  # a file that the destination holds just so
    ALIKE = 6  # a file that the destination holds at this path with another time or executable bit
    LINKED = 7  # a file that is in the new tree and in the destination
    MADE = 8  # a file that is made at once, with its time
    WRITTEN = 9  # a file that was given its size, and whose time is to be set
    KEPT = 10  # a file that held something before this pull wrote to it, and whose time is to be set


FILES: Final = tuple(Standing)[Standing.MISSING :]


class Entry(NamedTuple):
    """One entry that is to be there."""

    number: int  # of its record
    kind: Kind
    size: int  # bytes of a file
    mtime_ns: int
    executable: bool
    target: bytes  # of a link
    file: int  # number of a file


class Wanted:
    """A whole folder."""

    def __init__(self, content: Content, include: Sequence[str] = ()) -> None:
        """Choose what is wanted of a state.

        Args:
            content: of the state.
            include: shell patterns, matched against the name and the path of every entry; what lies in a folder that
                matches is taken too. None: everything.

        Raises:
            ObjectCorrupt: the state cannot be.
            PathMissing: nothing matches.
        """
        self.content = content
        self.standing = bytearray(content.records)
        self.folders = array("I", [0])  # records of the folders that are wanted, each after the one that it lies in
        self.files = self.size = 0
        self._choose([pattern.strip("/") for pattern in include])
        if include and len(self.folders) == 1 and not any(self.standing):
            raise PathMissing(", ".join(include))
        self.mtime_ns = content.row(0)[1]

    def entries(self) -> Iterator[tuple[bytes, Entry]]:
        """Yield what is wanted by path, in the order of the records."""
        content, standing = self.content, self.standing
        for number, path, record in content.manifest.walk():
            if standing[number]:
                is_file = record.kind == Kind.FILE
                target = content.manifest.link(record) if record.kind == Kind.LINK else b""
                yield path, Entry(
                    number, record.kind, record.size if is_file else 0, record.mtime_ns,
                    record.executable and is_file, target, record.first,
                )  # fmt: skip

    def numbers(self, standing: Standing) -> Iterator[int]:
        """Yield the records that stand so."""
        number = self.standing.find(standing)
        while number >= 0:
            yield number
            number = self.standing.find(standing, number + 1)

    def taken(self) -> bytearray:
        """Return a byte for each record: 1 where it is wanted."""
        return self.standing.translate(bytes([0] + 255 * [1]))

    def _choose(self, patterns: Sequence[str]) -> None:
        content, standing = self.content, self.standing
        whole = bytearray(content.records if patterns else 0)  # folders that are wanted with all that is in them
        for number, path, record in content.manifest.walk():
            if record.kind == Kind.LINK:
                target = content.manifest.link(record)
                if not target or b"\0" in target:
                    raise ObjectCorrupt(content.manifest.key, f"the link {path[:80]!r} has a target that cannot be")
            if patterns:
                if not whole[record.parent] and not _matches(path, patterns):
                    continue
                whole[number] = record.kind == Kind.FOLDER
                self._choose_folders_above(record.parent)
            if record.kind == Kind.FOLDER:
                standing[number] = Standing.FOLDER
                if not patterns:
                    self.folders.append(number)
            elif record.kind == Kind.LINK:
                standing[number] = Standing.LINK
            else:
                standing[number] = Standing.MISSING
                self.files += 1
                self.size += record.size
        if patterns:
            self.folders.extend(self.numbers(Standing.FOLDER))

    def _choose_folders_above(self, folder: int) -> None:
        while folder and not self.standing[folder]:
            self.standing[folder] = Standing.FOLDER
            folder = self.content.row(folder)[3]


def _matches(path: bytes, patterns: Sequence[str]) -> bool:
    texts = (os.fsdecode(path), os.fsdecode(path.rpartition(b"/")[2]))
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns for text in texts)
