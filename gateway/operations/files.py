"""The folders and files of a state, for who may read its dataset. Any thread; blocks on the bucket.

Pages of a folder go on in the state that the first one was of, whatever its tag names meanwhile: tokens say which.
"""

from typing import Final, NamedTuple

from dav.resolve import Found, descend, resolve
from gateway.access import audit as events
from gateway.operations.errors import BadArgument, OutOfRange
from gateway.operations.pages import NO_PAGE, Page, spell_place
from gateway.operations.rights import Asking, Operations
from store.catalogue.refs import DIGEST_PREFIX, parse_dataset
from store.errors import DatasetMissing, IsAFolder, NotAFolder, PathMissing, StaleNode, TagMissing
from store.vfs.tree import FileTree, Kind, Node

DIGITS: Final = 32  # of a state's id, in what is told of a place
MOST_DIGITS: Final = 19  # of a cookie


class Where(NamedTuple):
    """What is asked for."""

    dataset: str
    tag: str  # or b3-HEX
    path: bytes  # names with slashes between them


class Entry(NamedTuple):
    """One name of a folder."""

    name: bytes
    node: Node
    target: bytes = b""  # of a link


class Folder(NamedTuple):
    """A page of one."""

    state: str  # b3- and 32 hex digits
    entries: list[Entry]
    following: str  # token of the next page; empty: there is none


class Part(NamedTuple):
    """A file, and which part of it is wanted."""

    state: str
    node: Node
    offset: int  # bytes
    length: int  # bytes, as many as there are
    sha256: bytes


class Files:
    """Reads states."""

    def __init__(self, on: Operations, tree: FileTree) -> None:
        """Take what it stands on; `tree` has everything, whoever may see it."""
        self._on, self._tree = on, tree

    def list_folder(self, who: Asking, where: Where, page: Page, *, most: int) -> Folder:
        """Return a page of a folder.

        Args:
            who: asks.
            where: the folder.
            page: of it.
            most: bytes of names and targets, after which a page ends early.

        Raises:
            BadArgument: the page's token is of no such list.
            NotAFolder, PathMissing, TagMissing, DatasetMissing, BadName: there is none.
            LoginNeeded: see `Operations.need_read`.
        """
        state, colon, cookie = page.place.partition(":")
        if page.place and not (colon and cookie.isdecimal() and len(cookie) <= MOST_DIGITS):
            raise BadArgument(NO_PAGE)
        found = self._find(who, where._replace(tag=state) if state else where)
        folder = found.node
        if folder.kind is not Kind.FOLDER:
            raise NotAFolder(where.path)
        listing = self._tree.children(folder, after=int(cookie or "0"), limit=page.size)
        entries: list[Entry] = []
        taken = 0
        for one in listing.entries:
            target = self._tree.readlink(one.node) if one.node.kind is Kind.LINK else b""
            taken += len(one.name) + len(target)
            if entries and taken > most:
                break
            entries.append(Entry(one.name, one.node, target))
        told = _state_of(found)
        more = len(entries) < len(listing.entries) or not listing.eof
        last = listing.entries[len(entries) - 1].cookie if entries else 0
        self._note(who, where)
        return Folder(told, entries, spell_place(f"{told}:{last}") if more and entries else "")

    def open_file(self, who: Asking, where: Where, offset: int, length: int) -> Part:
        """Return a file to be read from.

        Args:
            who: asks.
            where: the file; links are followed within the state.
            offset: byte to begin with.
            length: bytes at most; 0: to the end.

        Raises:
            BadArgument: a number below 0.
            OutOfRange: it begins behind the end.
            IsAFolder, PathMissing, TagMissing, DatasetMissing, BadName: there is no such file.
            LoginNeeded: see `Operations.need_read`.
        """
        if offset < 0 or length < 0:
            raise BadArgument("offset and length are numbers of bytes, from 0")
        found = self._find(who, where)
        file = found.node
        if file.kind is not Kind.FILE:
            raise IsAFolder(where.path)
        if offset > file.size:
            raise OutOfRange(f"the file has {file.size} bytes: none from {offset} on")
        left = file.size - offset
        wanted = min(length, left) if length else left
        self._note(who, where, offset=offset, size=wanted)
        return Part(_state_of(found), file, offset, wanted, self._tree.digests(file).sha256)

    def _find(self, who: Asking, where: Where) -> Found:
        self._on.need_read(who, where.dataset)
        parse_dataset(where.dataset)
        try:
            found = resolve(self._tree, where.dataset.encode().split(b"/"))
        except (PathMissing, NotAFolder, StaleNode) as error:
            raise DatasetMissing(where.dataset) from error
        try:
            found = descend(self._tree, found, [where.tag.encode()])
        except (PathMissing, StaleNode) as error:
            raise TagMissing(where.dataset, f"tag {where.tag!r}") from error
        names = where.path.strip(b"/")
        return descend(self._tree, found, names.split(b"/") if names else ())

    def _note(self, who: Asking, where: Where, **more: int) -> None:
        if self._on.audit.reads:
            target = f"{where.dataset}:{where.tag}/".encode() + where.path.lstrip(b"/")
            self._on.note(
                who, events.READ, events.OK, dataset=where.dataset,
                target=target.decode("utf-8", "backslashreplace"), **more,
            )  # fmt: skip


def _state_of(found: Found) -> str:
    return DIGEST_PREFIX + found.node.place.manifest.hex()[:DIGITS]
