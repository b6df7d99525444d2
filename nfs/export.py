"""What is served: one tree with its handles and owner, and what is remembered of nodes that never change.

A mount of a folder is an export of its own: its handles carry a digest of the folder's place, so that every gateway can
tell, with nothing stored, where `..` has to stop.

Threads: any thread may call; the memories are bounded and shared by all connections.
"""

from collections import OrderedDict
from threading import Lock
from typing import Final

from nfs.attributes import fattr3_bytes, small_fileid
from nfs.fhandle import WHOLE_TREE, FileHandles
from nfs.memo import Memo
from nfs.wire.mount3 import MAX_LISTED, mountbody
from store.vfs.tree import NO_MANIFEST, FileTree, Node, Place, Space

REMEMBERED_NODES: Final = 65536  # some 60 MB at most, with handles and attributes
REMEMBERED_HANDLES: Final = 4096  # of nodes that change; the others are remembered as nodes
REMEMBERED_ROOTS: Final = 1024

Known = tuple[Node, bytes]  # a node that never changes, and the bytes of its attributes


class Export:
    """One tree as NFS shows it."""

    def __init__(
        self, tree: FileTree, *, handle_key: bytes, uid: int = 0, gid: int = 0, small_fileids: bool = False
    ) -> None:
        """Serve `tree`.

        Args:
            tree: what is shown.
            handle_key: the store's secret for handles.
            uid: owner of everything.
            gid: group of everything.
            small_fileids: show fileids of 31 bits.
        """
        self.tree = tree
        self.handles = FileHandles(handle_key, remembered=REMEMBERED_HANDLES)
        self.mounts = Mounts(MAX_LISTED)
        self._uid, self._gid, self._fsid, self._small = uid, gid, tree.fsid, small_fileids
        self._known: Memo[bytes, Known] = Memo(REMEMBERED_NODES)  # by handle; only nodes that never change
        self._outward: Memo[tuple[int, Place], tuple[bytes, bytes]] = Memo(REMEMBERED_NODES)  # handle and attributes
        self._parents: Memo[tuple[int, Place], int] = Memo(REMEMBERED_NODES)  # fileid above: fixed, as identities are
        self._roots: Memo[Place, int] = Memo(REMEMBERED_ROOTS)

    def remembered(self, fh: bytes) -> Known | None:
        """Return a node that never changes, when it was met lately."""
        return self._known.get(fh)

    def remember(self, fh: bytes, node: Node, export: int) -> None:
        """Remember a node by its handle, if it never changes."""
        if not node.changing:
            self._known.put(fh, (node, self.outward(node, export)[1]))

    def outward(self, node: Node, export: int) -> tuple[bytes, bytes]:
        """Return a node's handle, as an export gives it out, and the bytes of its attributes."""
        key = export, node.place
        known = self._outward.get(key)
        if known is None:
            known = self.handles.encode(node.place, export=export), self.attributes(node)
            if not node.changing:
                self._outward.put(key, known)
        return known

    def attributes(self, node: Node) -> bytes:
        """Return the bytes of a node's attributes."""
        return fattr3_bytes(node, fileid=self.fileid(node), fsid=self._fsid, uid=self._uid, gid=self._gid)

    def fileid(self, node: Node) -> int:
        """Return a node's number as clients see it."""
        return small_fileid(node.fileid) if self._small else node.fileid

    def mounted(self, place: Place) -> int:
        """Return the export that a mount of a place is."""
        export = self._roots.get(place)
        if export is None:
            export = self.handles.export_of(place)
            self._roots.put(place, export)
        return export

    def is_root(self, place: Place, export: int) -> bool:
        """Tell whether an export begins at a place: `..` ends there."""
        return export != WHOLE_TREE and self.mounted(place) == export

    def followed_root(self, place: Place, export: int) -> Place | None:
        """Return the following root that an export shows in place of a state's root; `None` if it shows that itself."""
        if export == WHOLE_TREE or place.space is not Space.STATE or place.record or not place.tag:
            return None
        root = Place(Space.FOLLOWING, place.dataset, place.tag, NO_MANIFEST, 0)
        return root if self.mounted(root) == export else None

    def remembered_parent_fileid(self, node: Node, export: int) -> int | None:
        """Return the fileid of the folder above, when it was asked for lately."""
        return self._parents.get((export, node.place))

    def remember_parent_fileid(self, node: Node, export: int, fileid: int) -> None:
        """Remember the fileid of the folder above, which is fixed, as identities are."""
        self._parents.put((export, node.place), fileid)

    def forget(self) -> None:
        """Drop what is remembered of nodes: to be called when a dataset was removed, or a policy changed."""
        self._known.clear()
        self._outward.clear()
        self._parents.clear()


class Mounts:
    """Who mounted what, as DUMP lists it. A hint, as the RFC says: clients need not tell when they go."""

    def __init__(self, limit: int) -> None:
        """Keep the latest `limit` mounts."""
        self._limit, self._lock = limit, Lock()
        self._mounts: OrderedDict[mountbody, None] = OrderedDict()

    def add(self, host: bytes, path: bytes) -> None:
        """Take note of a mount."""
        with self._lock:
            self._mounts[mountbody(host, path)] = None
            self._mounts.move_to_end(mountbody(host, path))
            if len(self._mounts) > self._limit:
                self._mounts.popitem(last=False)

    def remove(self, host: bytes, path: bytes | None) -> None:
        """Take note that a host no longer mounts a path, or (`None`) any."""
        with self._lock:
            for mount in [m for m in self._mounts if m.ml_hostname == host and path in (None, m.ml_directory)]:
                del self._mounts[mount]

    def listed(self) -> list[mountbody]:
        """Return all, the oldest first."""
        with self._lock:
            return list(self._mounts)
