"""What a folder is to hold, read from a manifest that is checked whole, its id included, before anything is written.

Names were checked by the manifest's reader: none is `.`, `..`, empty, or holds `/` or NUL, and nothing lies below what
is no folder. Pure but for reading the manifest.
"""

import fnmatch
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from store.errors import ObjectCorrupt, PathMissing
from store.kinds import Kind
from store.manifest import layout
from store.manifest.layout import Section
from store.manifest.view import Manifest, Record


class Entry(NamedTuple):
    """One entry that is to be there."""

    path: bytes  # below the folder, without a leading slash
    kind: Kind
    size: int  # bytes of a file
    mtime_ns: int
    executable: bool
    target: bytes  # of a link
    sha256: bytes  # of a file
    number: int  # of its record in the manifest


class Wanted(NamedTuple):
    """A whole folder."""

    mtime_ns: int
    entries: dict[bytes, Entry]  # by path; folders stand before what lies in them

    def files(self) -> Iterator[Entry]:
        """Yield the files."""
        return (entry for entry in self.entries.values() if entry.kind == Kind.FILE)


def read_wanted(manifest: Manifest, include: Sequence[str] = ()) -> Wanted:
    """Read what a state holds.

    Args:
        manifest: the state.
        include: shell patterns, matched against the name and the path of every entry; what lies in a folder that
            matches is taken too. None: everything.

    Raises:
        ObjectCorrupt: the manifest is not what its id says, or cannot be.
        PathMissing: nothing matches.
    """
    check_id(manifest)
    patterns = [pattern.strip("/") for pattern in include]
    entries: dict[bytes, Entry] = {}
    taken: set[bytes] = set()
    seen = 1
    for number, path, record in manifest.walk():
        seen += 1
        if patterns and not _matches(path, patterns) and path.rpartition(b"/")[0] not in taken:
            if record.kind == Kind.FOLDER:  # kept for the time being: something in it may match
                entries[path] = _entry(manifest, path, number, record)
            continue
        if record.kind == Kind.FOLDER:
            taken.add(path)
        entries[path] = _entry(manifest, path, number, record)
    if seen != manifest.records:
        raise ObjectCorrupt(manifest.key, f"{seen} of {manifest.records} records can be reached")
    if patterns:
        entries = _without_empty(entries, taken)
        if not entries:
            raise PathMissing(", ".join(include))
    return Wanted(manifest.record(0).mtime_ns, entries)


def check_id(manifest: Manifest) -> None:
    """Hold a manifest's content against its id.

    Raises:
        ObjectCorrupt: they do not match.
    """
    sections = manifest.contents.sections
    head = layout.content_header(
        manifest.records, sections[Section.NAMES].plain, sections[Section.LINKS].plain, manifest.files
    )
    if layout.manifest_id(head, (page for kind in layout.CONTENT for page in manifest.pages(kind))) != manifest.id:
        raise ObjectCorrupt(manifest.key, "its content does not match its id")


def _entry(manifest: Manifest, path: bytes, number: int, record: Record) -> Entry:
    is_file = record.kind == Kind.FILE
    target = manifest.link(record) if record.kind == Kind.LINK else b""
    if record.kind == Kind.LINK and (not target or b"\0" in target):
        raise ObjectCorrupt(manifest.key, f"the link {path[:80]!r} has a target that cannot be")
    return Entry(
        path, record.kind, record.size if is_file else 0, record.mtime_ns, record.executable and is_file, target,
        manifest.sha256(record.first) if is_file else b"", number,
    )  # fmt: skip


def _matches(path: bytes, patterns: Sequence[str]) -> bool:
    texts = (os.fsdecode(path), os.fsdecode(path.rpartition(b"/")[2]))
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns for text in texts)


def _without_empty(entries: dict[bytes, Entry], taken: set[bytes]) -> dict[bytes, Entry]:
    """Leave out the folders that were kept in case that something in them matched, where nothing did."""
    needed = set(taken)
    for path, entry in entries.items():
        if entry.kind != Kind.FOLDER or path in taken:
            parent = path.rpartition(b"/")[0]
            while parent and parent not in needed:
                needed.add(parent)
                parent = parent.rpartition(b"/")[0]
    return {path: entry for path, entry in entries.items() if entry.kind != Kind.FOLDER or path in needed}
