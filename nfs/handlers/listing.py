"""READDIR and READDIRPLUS (RFC 1813 sections 3.3.16 and 3.3.17).

A client's cookies: 1 is `.`, 2 is `..`, the tree's own cookies follow, 2 higher. Any verifier is accepted: in folders
that never change a cookie is a position, in others it belongs to the entry, and a following root's verifier names the
state that its listing goes on in. A reply ends for one of two reasons: nothing is left (eof), or the next entry would
pass a budget of the client's. Names above NAME_MAX, which no lookup reaches, are left out.

Threads: pure over their view.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from nfs.entries import NAME_BYTES, PLUS_BYTES, PlusPage
from nfs.export import Export
from nfs.view import View
from nfs.wire.nfs3 import READDIR3args, READDIR3resok, READDIRPLUS3args, READDIRPLUS3resok, entry3
from nfs.wire.nfs3types import DTPREF, FATTR3_BYTES, NAME_MAX, Result, nfsstat3
from store.vfs.tree import NO_VERIFIER, Entry, Kind, Node

COOKIE_DOT: Final = 1
COOKIE_DOTDOT: Final = 2
COOKIE_SHIFT: Final = 2
MAX_COOKIE: Final = (1 << 63) - 1  # signed offsets of clients end here

FRAME_BYTES: Final = 4 + FATTR3_BYTES + 8 + 4 + 4  # of a reply without entries: attributes, verifier, end of list, eof
MOST_ASKED: Final = 512  # entries asked of the tree at a time: where the catalogue shows, each may cost a request
LEAST_NAME_BYTES: Final = 4  # a name of one byte, padded


class _Dot(NamedTuple):
    """`.` or `..`; of the latter a listing tells the fileid alone."""

    cookie: int
    name: bytes
    fileid: int
    node: Node | None


class _Page(Protocol):
    """A reply that is being filled."""

    full: bool

    def dot(self, cookie: int, name: bytes, fileid: int, node: Node | None) -> bool: ...
    def add(self, entries: Sequence[Entry], shift: int) -> int: ...


class _NamePage:
    """A page of READDIR."""

    def __init__(self, export: Export, left: int) -> None:
        self._export, self._left, self.full = export, left, left < 0
        self.entries: list[entry3] = []

    def dot(self, cookie: int, name: bytes, fileid: int, _node: Node | None) -> bool:
        self._left -= NAME_BYTES + len(name) + -len(name) % 4
        self.full = self._left < 0
        if not self.full:
            self.entries.append(entry3(fileid, name, cookie))
        return not self.full

    def add(self, entries: Sequence[Entry], shift: int) -> int:
        for taken, (cookie, name, node) in enumerate(entries):
            if len(name) > NAME_MAX:  # as `PlusPage` does
                continue
            if not self.dot(cookie + shift, name, self._export.fileid(node), node):
                return taken
        return len(entries)


class _End(NamedTuple):
    """The tree's verifier, and whether its entries end here."""

    verifier: bytes
    eof: bool


def readdir3(args: READDIR3args, view: View) -> Result[READDIR3resok, bytes | None]:
    folder, refusal = _folder(args.dir, args.cookie, view)
    if refusal is not None:
        return Result(refusal, resfail=view.outward(folder)[1])
    left = min(args.count_, DTPREF) - FRAME_BYTES
    page = _NamePage(view.export, left)
    most = left // (NAME_BYTES + LEAST_NAME_BYTES)
    end = _fill(folder, args.cookie, args.cookieverf, most + 1, page, view)
    fattr3 = view.outward(folder)[1]
    if page.full and not page.entries:
        return Result(nfsstat3.NFS3ERR_TOOSMALL, resfail=fattr3)
    return Result(nfsstat3.NFS3_OK, READDIR3resok(fattr3, end.verifier, page.entries, end.eof))


def readdirplus3(args: READDIRPLUS3args, view: View) -> Result[READDIRPLUS3resok, bytes | None]:
    folder, refusal = _folder(args.dir, args.cookie, view)
    if refusal is not None:
        return Result(refusal, resfail=view.outward(folder)[1])
    left = min(args.maxcount, DTPREF) - FRAME_BYTES
    page = PlusPage(view.export, view.within, view.grant, left, args.dircount)
    name_bytes = NAME_BYTES + LEAST_NAME_BYTES
    most = min(left // (name_bytes + PLUS_BYTES), args.dircount // name_bytes)
    end = _fill(folder, args.cookie, args.cookieverf, most + 1, page, view)
    fattr3 = view.outward(folder)[1]
    if page.full and not page:
        return Result(nfsstat3.NFS3ERR_TOOSMALL, resfail=fattr3)
    return Result(nfsstat3.NFS3_OK, READDIRPLUS3resok(fattr3, end.verifier, page.packed(), end.eof))


def _folder(fh: bytes, cookie: int, view: View) -> tuple[Node, nfsstat3 | None]:
    folder = view.node(fh)
    if folder.kind is not Kind.FOLDER:
        return folder, nfsstat3.NFS3ERR_NOTDIR
    return folder, nfsstat3.NFS3ERR_BAD_COOKIE if cookie > MAX_COOKIE else None


def _fill(folder: Node, cookie: int, cookieverf: bytes, most: int, page: _Page, view: View) -> _End:
    """Add names after `cookie` to a page until it is full; ask the tree for up to `most` entries at a time."""
    verifier = cookieverf if cookie else NO_VERIFIER  # who begins anew goes on in no earlier state
    for dot in _dots(folder, cookie, view):
        if not page.dot(*dot):
            return _End(verifier, False)
    after = max(0, cookie - COOKIE_SHIFT)
    most = max(1, min(most, MOST_ASKED))
    while True:
        listing = view.children(folder, after, most, verifier)
        verifier, entries = listing.verifier, listing.entries
        if page.add(entries, COOKIE_SHIFT) < len(entries):
            return _End(verifier, False)
        if listing.eof:
            return _End(verifier, True)
        if entries:
            after = entries[-1].cookie
        else:  # all that would have stood here is gone meanwhile: look further ahead
            most *= 2


def _dots(folder: Node, cookie: int, view: View) -> Iterator[_Dot]:
    if cookie < COOKIE_DOT:
        yield _Dot(COOKIE_DOT, b".", view.export.fileid(folder), folder)
    if cookie < COOKIE_DOTDOT:
        yield _Dot(COOKIE_DOTDOT, b"..", view.parent_fileid(folder), None)
