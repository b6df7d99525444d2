"""READDIR and READDIRPLUS (RFC 1813 sections 3.3.16 and 3.3.17).

A client's cookies: 1 is `.`, 2 is `..`, the tree's own cookies follow, 2 higher. Any verifier is accepted: in folders
that never change a cookie is a position, in others it belongs to the entry, and a following root's verifier names the
state that its listing goes on in. A reply ends for one of two reasons: nothing is left (eof), or the next entry would
pass a budget of the client's. Threads: pure over their view.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from nfs.view import View
from nfs.wire.nfs3 import (
    READDIR3args,
    READDIR3resok,
    READDIRPLUS3args,
    READDIRPLUS3resok,
    entry3,
    entryplus3,
)
from nfs.wire.nfs3types import DTPREF, FATTR3_BYTES, NFS3_FHSIZE, Result, nfsstat3
from store.vfs.tree import NO_VERIFIER, Kind, Node

COOKIE_DOT: Final = 1
COOKIE_DOTDOT: Final = 2
COOKIE_SHIFT: Final = 2
MAX_COOKIE: Final = (1 << 63) - 1  # signed offsets of clients end here

FRAME_BYTES: Final = 4 + FATTR3_BYTES + 8 + 4 + 4  # of a reply without entries: attributes, verifier, end of list, eof
ENTRY_BYTES: Final = 4 + 8 + 4 + 8  # of an entry without its name: follows, fileid, length, cookie
PLUS_BYTES: Final = 4 + FATTR3_BYTES + 4 + 4 + NFS3_FHSIZE  # what READDIRPLUS adds to an entry
MOST_ASKED: Final = 512  # entries asked of the tree at a time: where the catalogue shows, each may cost a request
LEAST_NAME_BYTES: Final = 4  # a name of one byte, padded


class _Page(NamedTuple):
    """The tree's verifier, and where its entries end."""

    verifier: bytes
    eof: bool


class _Name(NamedTuple):
    """One name to be listed; `node` is `None` for `..`, of which a listing tells the fileid alone."""

    cookie: int
    name: bytes
    fileid: int
    node: Node | None


def readdir3(args: READDIR3args, view: View) -> Result[READDIR3resok, bytes | None]:
    folder, refusal = _folder(args.dir, args.cookie, view)
    if refusal is not None:
        return Result(refusal, resfail=view.outward(folder)[1])
    left = min(args.count_, DTPREF) - FRAME_BYTES
    entries: list[entry3] = []

    def take(item: _Name) -> bool:
        nonlocal left
        left -= ENTRY_BYTES + _padded(item.name)
        if left < 0:
            return False
        entries.append(entry3(item.fileid, item.name, item.cookie))
        return True

    page = _fill(folder, args.cookie, args.cookieverf, left // (ENTRY_BYTES + LEAST_NAME_BYTES) + 1, take, view)
    fattr3 = view.outward(folder)[1]
    if left < 0 and not entries:
        return Result(nfsstat3.NFS3ERR_TOOSMALL, resfail=fattr3)
    return Result(nfsstat3.NFS3_OK, READDIR3resok(fattr3, page.verifier, entries, page.eof))


def readdirplus3(args: READDIRPLUS3args, view: View) -> Result[READDIRPLUS3resok, bytes | None]:
    folder, refusal = _folder(args.dir, args.cookie, view)
    if refusal is not None:
        return Result(refusal, resfail=view.outward(folder)[1])
    left = min(args.maxcount, DTPREF) - FRAME_BYTES
    names_left = args.dircount
    entries: list[entryplus3] = []
    outward = view.outward

    def take(item: _Name) -> bool:
        nonlocal left, names_left
        name_bytes = ENTRY_BYTES + _padded(item.name)
        names_left -= name_bytes
        left -= name_bytes + (PLUS_BYTES if item.node is not None else 8)
        if left < 0 or names_left < 0:
            return False
        handle, fattr3 = outward(item.node) if item.node is not None else (None, None)
        entries.append(entryplus3(item.fileid, item.name, item.cookie, fattr3, handle))
        return True

    most = min(left // (ENTRY_BYTES + LEAST_NAME_BYTES + PLUS_BYTES), names_left // (ENTRY_BYTES + LEAST_NAME_BYTES))
    page = _fill(folder, args.cookie, args.cookieverf, most + 1, take, view)
    fattr3 = outward(folder)[1]
    if (left < 0 or names_left < 0) and not entries:
        return Result(nfsstat3.NFS3ERR_TOOSMALL, resfail=fattr3)
    return Result(nfsstat3.NFS3_OK, READDIRPLUS3resok(fattr3, page.verifier, entries, page.eof))


def _folder(fh: bytes, cookie: int, view: View) -> tuple[Node, nfsstat3 | None]:
    folder = view.node(fh)
    if folder.kind is not Kind.FOLDER:
        return folder, nfsstat3.NFS3ERR_NOTDIR
    return folder, nfsstat3.NFS3ERR_BAD_COOKIE if cookie > MAX_COOKIE else None


def _fill(folder: Node, cookie: int, cookieverf: bytes, most: int, take: Callable[[_Name], bool], view: View) -> _Page:
    """Offer names after `cookie` to `take` until it refuses one; ask the tree for up to `most` entries at a time."""
    for item in _dots(folder, cookie, view):
        if not take(item):
            return _Page(cookieverf if cookie else NO_VERIFIER, False)
    after = max(0, cookie - COOKIE_SHIFT)
    verifier = cookieverf
    most = max(1, min(most, MOST_ASKED))
    while True:
        listing = view.children(folder, after, most, verifier)
        verifier = listing.verifier
        for entry in listing.entries:
            if not take(_Name(entry.cookie + COOKIE_SHIFT, entry.name, view.export.fileid(entry.node), entry.node)):
                return _Page(verifier, False)
            after = entry.cookie
        if listing.eof:
            return _Page(verifier, True)
        if not listing.entries:  # all that would have stood here is gone meanwhile: look further ahead
            most *= 2


def _dots(folder: Node, cookie: int, view: View) -> Iterator[_Name]:
    if cookie < COOKIE_DOT:
        yield _Name(COOKIE_DOT, b".", view.export.fileid(folder), folder)
    if cookie < COOKIE_DOTDOT:
        yield _Name(COOKIE_DOTDOT, b"..", view.parent_fileid(folder), None)


def _padded(name: bytes) -> int:
    return len(name) + -len(name) % 4
