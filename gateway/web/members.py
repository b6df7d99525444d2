"""What an archive of a folder holds, in the one order that all formats use: each folder before what is in it.

A walk keeps one page of each folder on the way down, and smaller ones the deeper it is, so that memory stays flat
whatever the tree looks like. Threads: a walk is used by one thread at a time.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from store.errors import ObjectCorrupt, printable
from store.vfs.tree import Entry, FileTree, Kind, Listing, Node

MAX_PATH: Final = 65535  # bytes: what a zip archive can name
PAGE: Final = 1024  # entries read at a time near the top
_LEAST: Final = 16  # and far below it
_UP: Final = re.compile(rb"(?:^|[/\\])\.\.(?:[/\\]|$)")  # with the separator of Windows, where zip archives go


class Member(NamedTuple):
    """One entry of an archive."""

    path: bytes  # relative to the folder; a folder's ends in a slash
    node: Node


class _Level:
    """A folder on the way down, and how much of it was walked."""

    __slots__ = ("above", "at", "folder", "limit", "page")

    def __init__(self, tree: FileTree, folder: Node, above: int, depth: int) -> None:
        self.folder, self.above = folder, above
        self.limit = max(_LEAST, PAGE >> depth // 2)
        self.page: Listing = tree.children(folder, limit=self.limit)
        self.at = 0

    def next(self, tree: FileTree) -> Entry | None:
        entries = self.page.entries
        if self.at == len(entries):
            if self.page.eof or not entries:
                return None
            self.page = tree.children(
                self.folder, after=entries[-1].cookie, limit=self.limit, verifier=self.page.verifier
            )
            self.at, entries = 0, self.page.entries
            if not entries:
                return None
        self.at += 1
        return entries[self.at - 1]


def walk(tree: FileTree, folder: Node) -> Iterator[Member]:
    """Yield all that lies below a folder of a state, the folder itself left out.

    Raises:
        ObjectCorrupt: a name that no archive may hold; a manifest that has one was refused before.
    """
    prefix = b""  # the path of the innermost folder: levels keep its length alone
    levels = [_Level(tree, folder, 0, 0)]
    while levels:
        entry = levels[-1].next(tree)
        if entry is None:
            prefix = prefix[: levels.pop().above]
            continue
        name, node = entry.name, entry.node
        if name in (b"", b".", b"..") or b"/" in name or b"\0" in name or _UP.search(name):
            raise ObjectCorrupt("manifest", f"{printable(name)!r} cannot stand in an archive")
        path = prefix + name + (b"/" if node.kind is Kind.FOLDER else b"")
        if len(path) > MAX_PATH:
            raise ObjectCorrupt("manifest", f"a path of {len(path)} bytes cannot stand in an archive")
        yield Member(path, node)
        if node.kind is Kind.FOLDER:
            levels.append(_Level(tree, node, len(prefix), len(levels)))
            prefix = path
