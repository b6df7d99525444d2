"""What is served: one tree with its handles and owner, and what is remembered of nodes that never change.

Threads: any thread may call; the memories are bounded and shared by all connections.
"""

from collections import OrderedDict
from threading import Lock
from typing import Final

from nfs.attributes import fattr3_bytes
from nfs.fhandle import WHOLE_TREE, FileHandles
from nfs.memo import Memo
from nfs.wire.mount3 import MAX_LISTED, mountbody
from store.errors import StaleNode
from store.vfs.tree import FileTree, Node, Place

REMEMBERED_NODES: Final = 65536  # some 60 MB at most, with handles and attributes
REMEMBERED_HANDLES: Final = 4096  # of nodes that change; the others are remembered as nodes


class Export:
    """One tree as NFS shows it."""

    def __init__(self, tree: FileTree, *, handle_key: bytes, uid: int = 0, gid: int = 0) -> None:
        """Serve `tree`.

        Args:
            tree: what is shown.
            handle_key: the store's secret for handles.
            uid: owner of everything.
            gid: group of everything.
        """
        self.tree = tree
        self.handles = FileHandles(handle_key, remembered=REMEMBERED_HANDLES)
        self.mounts = Mounts(MAX_LISTED)
        self._uid, self._gid, self._fsid = uid, gid, tree.fsid
        self._nodes: Memo[bytes, Node] = Memo(REMEMBERED_NODES)  # by handle; only nodes that never change
        self._outward: Memo[Place, tuple[bytes, bytes]] = Memo(REMEMBERED_NODES)  # handle and attributes
        self._parents: Memo[Place, int] = Memo(REMEMBERED_NODES)  # fileid of the folder above: fixed, as identities are

    def place_of(self, fh: bytes) -> Place:
        """Return the place that a handle names.

        Raises:
            BadHandle: the store never gave it out.  StaleNode: it belongs to another export.
        """
        handle = self.handles.decode(fh)
        if handle.export != WHOLE_TREE:
            raise StaleNode(f"export {handle.export}")
        return handle.place

    def remembered_node(self, fh: bytes) -> Node | None:
        """Return a node that never changes, when it was met lately."""
        return self._nodes.get(fh)

    def remember_node(self, fh: bytes, node: Node) -> None:
        """Remember a node by its handle, if it never changes."""
        if not node.changing:
            self._nodes.put(fh, node)

    def outward(self, node: Node) -> tuple[bytes, bytes]:
        """Return a node's handle and the bytes of its attributes."""
        known = self._outward.get(node.place)
        if known is None:
            fattr3 = fattr3_bytes(node, fsid=self._fsid, uid=self._uid, gid=self._gid)
            known = self.handles.encode(node.place), fattr3
            if not node.changing:
                self._outward.put(node.place, known)
        return known

    def remembered_parent_fileid(self, node: Node) -> int | None:
        """Return the fileid of the folder above, when it was asked for lately."""
        return self._parents.get(node.place)

    def remember_parent_fileid(self, node: Node, fileid: int) -> None:
        """Remember the fileid of the folder above, which is fixed, as identities are."""
        self._parents.put(node.place, fileid)

    def forget(self) -> None:
        """Drop what is remembered of nodes: to be called when a dataset was removed, or a policy changed."""
        self._nodes.clear()
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
