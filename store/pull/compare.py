"""Holds what lies at the destination against what is wanted there, and against what pulls put there.

All three are gone through side by side in the order of a manifest's records, so that nothing is held of an entry but
its `Standing` and a number that tells whether it changes later. One thread, and a few that hash.
"""

import hashlib
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from store.kinds import Kind
from store.pull.placed import Identities, Placed, Placement
from store.pull.present import Found, hash_files, look
from store.pull.wanted import Entry, Standing, Wanted

_DONORS: Final = 1 << 16  # files remembered for others of the same content; those beyond serve block by block
_NAMED: Final = 10_000  # foreign entries that are named


class Donor(NamedTuple):
    """A file of the destination whose content another path wants."""

    path: bytes
    stays: bool  # it is wanted where it is too, so that it can't move


class Comparison:
    """What lies there. The wanted files' standing is noted in `Wanted`."""

    def __init__(self) -> None:
        self.equal = True
        self.foreign: list[bytes] = []  # paths; the first ones
        self.seen = array("q")  # a number for each entry that is there
        self.donors: dict[bytes, Donor] = {}  # by SHA-256
        self.to_cut = bytearray()  # paths, each ended by NUL: files of which nothing tells where blocks lie in them


class _Row(NamedTuple):
    path: bytes
    entry: Entry | None
    found: Found | None
    placed: tuple[Placed | None, ...]


def compare(
    dest: bytes, wanted: Wanted, placements: Sequence[Placement], searched: Sequence[bool], identities: Identities,
    *, verify: bool, force: bool,
) -> Comparison:  # fmt: skip
    """Look at the destination.

    Args:
        dest: where.
        wanted: what is wanted; the standing of its files is noted.
        placements: what pulls put there.
        searched: of each placement, whether its state tells where blocks lie in what it put there.
        identities: those of files that are as wanted are noted.
        verify: believe no identity: read every file.
        force: nothing is foreign.

    Raises:
        OSError: a folder there can't be read.
    """
    result = Comparison()
    try:
        result.equal = os.stat(dest).st_mtime_ns == wanted.mtime_ns
    except FileNotFoundError:
        result.equal = False
        return result
    sides = (wanted.entries(), look(dest), *(placement.entries() for placement in placements))
    rows = (_Row(path, side[0], side[1], tuple(side[2:])) for path, side in together(sides))
    moving = staying = 0
    for row, read in hash_files(dest, ((row, _to_read(row, verify=verify, force=force)) for row in rows)):
        path, entry, found, placed = row
        if found is None:
            result.equal = result.equal and entry is None
            continue
        result.seen.append(fingerprint(path, found))
        content = read or _trusted(row, verify=verify)
        has = _digest(found, content)
        wants = b"" if entry is None else _wanted_digest(wanted, entry)
        result.equal = result.equal and entry is not None and (
            (found.kind, found.executable, found.identity.mtime_ns, has)
            == (entry.kind, entry.executable, entry.mtime_ns, wants)
        )  # fmt: skip
        known = [(one.kind, one.executable, one.digest) for one in placed if one is not None]
        if entry is not None:
            known.append((entry.kind, entry.executable, wants))
        if not force and (found.kind, found.executable, has) not in known and len(result.foreign) < _NAMED:
            result.foreign.append(path)
        if found.kind != Kind.FILE:
            continue
        as_wanted = content is not None and entry is not None and entry.kind == Kind.FILE and content == wants
        if as_wanted and entry is not None:
            _note_standing(wanted, entry, found, identities)
        elif content is None or not any(
            one is not None and one.digest == content and is_searched
            for one, is_searched in zip(placed, searched, strict=True)
        ):
            result.to_cut += path + b"\0"
        if content is not None:
            old = result.donors.get(content)
            if not as_wanted and moving < _DONORS and (old is None or old.stays):
                result.donors[content] = Donor(path, stays=False)
                moving += 1
            elif as_wanted and staying < _DONORS and old is None:
                result.donors[content] = Donor(path, stays=True)
                staying += 1
    return result


def changed(dest: bytes, seen: "array[int]") -> list[bytes]:
    """Return what was changed or added since the comparison; by nothing that the pull's own links have moved."""
    known = array("q", sorted(seen))  # a set would take ten times the memory
    found_changed = []
    for path, found in look(dest):
        number = fingerprint(path, found)
        at = bisect_left(known, number)
        if at == len(known) or known[at] != number:
            found_changed.append(path)
    return found_changed


def fingerprint(path: bytes, found: Found) -> int:
    """Return a number of 64 bits that another one takes the place of when somebody changes an entry.

    Not by ctime and number of links, which the pull's own hard links move; nor by a folder's size and time.
    """
    folder = found.kind == Kind.FOLDER
    identity = found.identity
    return hash(
        (path, found.kind, identity.inode, 0 if folder else identity.size, 0 if folder else identity.mtime_ns,
         found.target)
    )  # fmt: skip


def together(sides: Sequence[Iterator[tuple[bytes, object]]]) -> Iterator[tuple[bytes, list[Any]]]:
    """Yield (path, what each side has there, or `None`) of trees that come in the order of a manifest's records."""
    heads = [next(side, None) for side in sides]
    while True:
        paths = [head[0] for head in heads if head is not None]
        if not paths:
            return
        path = paths[0] if paths.count(paths[0]) == len(paths) else min(paths, key=_place)
        row: list[Any] = [None] * len(heads)
        for number, head in enumerate(heads):
            if head is not None and head[0] == path:
                row[number] = head[1]
                heads[number] = next(sides[number], None)
        yield path, row


def _place(path: bytes) -> tuple[int, bytes]:
    """Return what sorts paths breadth-first, folder by folder, names by raw bytes: no name holds NUL."""
    return path.count(b"/"), path.replace(b"/", b"\0")


def _trusted(row: _Row, *, verify: bool) -> bytes | None:
    """Return the SHA-256 of a file that is known by its identity."""
    if verify or row.found is None or row.found.kind != Kind.FILE:
        return None
    for placed in row.placed:
        if placed is not None and placed.kind == Kind.FILE and placed.identity == row.found.identity:
            return placed.digest
    return None


def _to_read(row: _Row, *, verify: bool, force: bool) -> bytes | None:
    """Return the path of a file whose content matters and is not known."""
    found, entry = row.found, row.entry
    if found is None or found.kind != Kind.FILE or _trusted(row, verify=verify) is not None:
        return None
    placed = any(one is not None and one.kind == Kind.FILE for one in row.placed)
    may_equal = entry is not None and entry.kind == Kind.FILE and entry.size == found.identity.size
    return row.path if (placed and not force) or may_equal else None


def _digest(found: Found, content: bytes | None) -> bytes | None:
    """Return what `Placed.digest` says of an entry; `None` where it is not known."""
    if found.kind == Kind.FILE:
        return content
    return hashlib.sha256(found.target).digest() if found.kind == Kind.LINK else bytes(32)


def _wanted_digest(wanted: Wanted, entry: Entry) -> bytes:
    if entry.kind == Kind.FILE:
        return wanted.content.sha256(entry.file)
    return hashlib.sha256(entry.target).digest() if entry.kind == Kind.LINK else bytes(32)


def _note_standing(wanted: Wanted, entry: Entry, found: Found, identities: Identities) -> None:
    if (found.executable, found.identity.mtime_ns) == (entry.executable, entry.mtime_ns):
        wanted.standing[entry.number] = Standing.SAME
        identities.note(entry.number, found.identity.inode, found.identity.ctime_ns)
    else:
        wanted.standing[entry.number] = Standing.ALIKE
