"""The tree as one call sees it: from memory alone, or with leave to block.

Handlers are written once against `View`. A connection's thread first runs them on a `WarmView`, which raises `NotWarm`
where memory does not suffice; the call then runs again, on a pool, on a `BlockingView`.

`lasting` tells whether an answer built from a view may be given again for ever: no changing node had part in it.
`within` and `grant` are those of the handle that was looked at last; a call's handles are all of one. What a grant
shows, and to whom, `nfs.access` says; no node is shown before it was asked.
Threads: a view belongs to one thread at a time.
"""

from abc import ABC, abstractmethod
from typing import Protocol, TypeVar

from nfs.access import Shown
from nfs.export import Export
from nfs.fhandle import NO_GRANT, WHOLE_TREE, export_in, grant_in
from nfs.grants import Share
from nfs.kept import Kept
from store.errors import NotWarm, StoreUnavailable
from store.vfs.tree import Listing, Node, Place, Usage

T = TypeVar("T")


class View(Protocol):
    """What handlers ask of the tree. Raises errors of `store.errors`, and `BadHandle`."""

    export: Export
    host: bytes  # the peer's address
    lasting: bool
    within: int
    grant: bytes

    def node(self, fh: bytes) -> Node:
        """Return the node that a handle names."""
        ...

    def outward(self, node: Node) -> tuple[bytes, bytes]:
        """Return a node's handle and the bytes of its attributes, as the call's export shows it."""
        ...

    def lookup(self, folder: Node, name: bytes) -> Node:
        """Return a folder's entry; `.` and `..` too, which never leaves the export."""
        ...

    def parent_fileid(self, folder: Node) -> int:
        """Return the fileid that `..` has in a listing."""
        ...

    def children(self, folder: Node, after: int, limit: int, verifier: bytes) -> Listing:
        """Return a page of a folder."""
        ...

    def read(self, file: Node, offset: int, size: int) -> list[memoryview]:
        """Return views of a file's bytes."""
        ...

    def readlink(self, link: Node) -> bytes:
        """Return a link's target."""
        ...

    def usage(self, node: Node) -> Usage:
        """Return sizes for `df`."""
        ...

    def root(self) -> Share:
        """Return what the peer sees by itself, for calls that walk it.

        Raises:
            GrantRefused: nothing.
        """
        ...

    def by_token(self, token: str) -> Share:
        """Return what a token shows.

        Raises:
            GrantRefused: nothing.
        """
        ...

    def mounted(self, share: Share, path: bytes) -> None:
        """Take note that the peer has mounted a path, in which no token stands."""
        ...


class _TreeView(ABC):
    """What both views share: handles and parents that are remembered, `.` and `..`, and what makes an answer pass."""

    warm: bool

    def __init__(self, shown: Shown, host: bytes) -> None:
        self.export, self.host, self.lasting, self.within, self.grant = shown.export, host, True, WHOLE_TREE, NO_GRANT
        self.kept: Kept = self.export.kept  # from before anything was asked
        self._shown, self._tree = shown, self.export.tree

    def node(self, fh: bytes) -> Node:
        known = self.kept.nodes.get(fh)
        if known is not None:
            self._show(grant_in(fh))
            self.within = export_in(fh)
            return known[0]
        handle = self.export.handles.decode(fh)
        self._show(handle.grant)
        self.within = handle.export
        node = self._met(self._find(handle.place))
        if not node.changing:
            self.kept.nodes.put(fh, self.export.known(node, handle.export, handle.grant))
        return node

    def _show(self, grant: bytes) -> None:
        self._tree = self._shown.share(grant, warm=self.warm).tree
        self.grant = grant

    def outward(self, node: Node) -> tuple[bytes, bytes]:
        return self.export.outward(node, self.within, self.grant)

    def mounted(self, share: Share, path: bytes) -> None:
        self._shown.mounted(share, path)

    def lookup(self, folder: Node, name: bytes) -> Node:
        if name == b".":
            return folder
        return self._met(self._above(folder) if name == b".." else self._entry(folder, name))

    def parent_fileid(self, folder: Node) -> int:
        fileid = self.export.remembered_parent_fileid(folder, self.within)
        if fileid is None:
            fileid = self.export.fileid(self._above(folder))
            self.export.remember_parent_fileid(folder, self.within, fileid)
        return fileid

    def _above(self, folder: Node) -> Node:
        if self.export.is_root(folder.place, self.within):
            return folder
        above = self._parent(folder)
        followed = self.export.followed_root(above.place, self.within)
        return self._find(followed) if followed is not None else above

    @abstractmethod
    def _find(self, place: Place) -> Node: ...

    @abstractmethod
    def _entry(self, folder: Node, name: bytes) -> Node: ...

    @abstractmethod
    def _parent(self, folder: Node) -> Node: ...

    def _met(self, node: Node) -> Node:
        if node.changing:
            self.lasting = False
        return node


class WarmView(_TreeView):
    """Answers from memory, or raises `NotWarm`; never waits."""

    warm = True

    def children(self, folder: Node, after: int, limit: int, verifier: bytes) -> Listing:
        return _warm(self._tree.children_warm(folder, after=after, limit=limit, verifier=verifier))

    def read(self, file: Node, offset: int, size: int) -> list[memoryview]:
        return _warm(self._tree.read_warm(file, offset, size))

    def readlink(self, link: Node) -> bytes:
        return _warm(self._tree.readlink_warm(link))

    def usage(self, node: Node) -> Usage:
        raise NotWarm

    def root(self) -> Share:
        raise NotWarm

    def by_token(self, token: str) -> Share:
        raise NotWarm

    def _find(self, place: Place) -> Node:
        return _warm(self._tree.node_warm(place))

    def _entry(self, folder: Node, name: bytes) -> Node:
        return _warm(self._tree.lookup_warm(folder, name))

    def _parent(self, folder: Node) -> Node:
        return _warm(self._tree.parent_warm(folder))


class LateView(WarmView):
    """Answers from memory a call that has waited for the store too long: what is not there is told as a store away."""

    def node(self, fh: bytes) -> Node:
        try:
            return super().node(fh)
        except NotWarm as error:
            raise StoreUnavailable("the store", "it takes too long") from error


class BlockingView(_TreeView):
    """Answers whatever it takes."""

    warm = False

    def children(self, folder: Node, after: int, limit: int, verifier: bytes) -> Listing:
        return self._tree.children(folder, after=after, limit=limit, verifier=verifier)

    def read(self, file: Node, offset: int, size: int) -> list[memoryview]:
        return self._tree.read(file, offset, size)

    def readlink(self, link: Node) -> bytes:
        return self._tree.readlink(link)

    def usage(self, node: Node) -> Usage:
        return self._tree.usage(node)

    def root(self) -> Share:
        self.lasting = False
        return self._shown.root()

    def by_token(self, token: str) -> Share:
        self.lasting = False
        return self._shown.by_token(token)

    def _find(self, place: Place) -> Node:
        return self._tree.node(place)

    def _entry(self, folder: Node, name: bytes) -> Node:
        return self._tree.lookup(folder, name)

    def _parent(self, folder: Node) -> Node:
        return self._tree.parent(folder)


def _warm(answer: T | None) -> T:
    """Return what memory had; an empty answer is one."""
    if answer is None:
        raise NotWarm
    return answer
