"""A tree that never waits: what memory does not have is `NotWarm`, and so is all that takes more than a moment.

Front ends are written once over `FileTree`. Over a `WarmTree` they run where many clients are served by one thread;
what raises `NotWarm` there is asked again over the tree itself, where a thread may wait. Threads: the tree's rule.
"""

from collections.abc import Sequence
from typing import TypeVar

from store.errors import NotWarm
from store.vfs.tree import NO_VERIFIER, FileDigests, FileTree, Listing, Node, Place, Usage

T = TypeVar("T")


class WarmTree:
    """A `FileTree` over another, by its warm methods alone."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree

    @property
    def whole(self) -> FileTree:
        """Return the tree itself, for who may wait."""
        return self._tree

    @property
    def fsid(self) -> int:
        return self._tree.fsid

    def root(self) -> Node:
        return self._tree.root()

    def node(self, place: Place) -> Node:
        return _warm(self._tree.node_warm(place))

    def node_warm(self, place: Place) -> Node | None:
        return self._tree.node_warm(place)

    def lookup(self, folder: Node, name: bytes) -> Node:
        return _warm(self._tree.lookup_warm(folder, name))

    def lookup_warm(self, folder: Node, name: bytes) -> Node | None:
        return self._tree.lookup_warm(folder, name)

    def parent(self, node: Node) -> Node:
        return _warm(self._tree.parent_warm(node))

    def parent_warm(self, node: Node) -> Node | None:
        return self._tree.parent_warm(node)

    def following(self, node: Node) -> Node:
        return _warm(self._tree.following_warm(node))

    def following_warm(self, node: Node) -> Node | None:
        return self._tree.following_warm(node)

    def children(
        self, folder: Node, *, after: int = 0, limit: int = 1024, verifier: bytes = NO_VERIFIER, passing: bool = False
    ) -> Listing:
        raise NotWarm  # a folder's page takes milliseconds to make, in which nobody else would be served

    def children_warm(
        self, folder: Node, *, after: int = 0, limit: int = 1024, verifier: bytes = NO_VERIFIER
    ) -> Listing | None:
        return None

    def readlink(self, link: Node) -> bytes:
        return _warm(self._tree.readlink_warm(link))

    def readlink_warm(self, link: Node) -> bytes | None:
        return self._tree.readlink_warm(link)

    def read(self, file: Node, offset: int, size: int) -> list[memoryview]:
        return _warm(self._tree.read_warm(file, offset, size))

    def read_warm(self, file: Node, offset: int, size: int) -> list[memoryview] | None:
        return self._tree.read_warm(file, offset, size)

    def digests(self, file: Node) -> FileDigests:
        return _warm(self._tree.digests_warm(file))

    def digests_warm(self, file: Node) -> FileDigests | None:
        return self._tree.digests_warm(file)

    def digests_of(self, files: Sequence[Node], *, passing: bool = False) -> list[FileDigests]:
        return [self.digests(file) for file in files]

    def usage(self, node: Node) -> Usage:
        raise NotWarm

    def open_to_all(self, node: Node) -> bool:
        return self._tree.open_to_all(node)


def _warm(answer: T | None) -> T:
    """Return what memory had; an empty answer is one."""
    if answer is None:
        raise NotWarm
    return answer
