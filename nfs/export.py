"""What is served: one tree with its handles and owner, and what is remembered of nodes that never change.

A mount of a folder is an export of its own: its handles carry a digest of the folder's place, so that every gateway can
tell, with nothing stored, where `..` has to stop.

Who may see which nodes is not decided here (`nfs.access`). What is remembered by handle was seen by who has a share of
the handle's grant; all else that is remembered is no secret to who has the node already.

Threads: any thread may call; the memories are bounded and shared by all connections.
"""

import os
from collections import OrderedDict
from threading import Lock
from typing import Final

from blake3 import blake3

from nfs.attributes import fattr3_bytes, small_fileid
from nfs.fhandle import NO_GRANT, WHOLE_TREE, FileHandles
from nfs.kept import REMEMBERED_NODES, Kept, Known
from nfs.memo import Memo
from nfs.wire.mount3 import MAX_LISTED, mountbody
from store.vfs.tree import NO_MANIFEST, FileTree, Node, Place, Space

REMEMBERED_HANDLES: Final = 4096  # of nodes that change; the others are remembered as nodes
REMEMBERED_ROOTS: Final = 1024
_SHARE: Final = 8  # an export that shows everything in another way remembers one in so many of the usual bounds


class Export:
    """One tree as NFS shows it."""

    def __init__(
        self,
        tree: FileTree,
        *,
        handle_key: bytes,
        uid: int = 0,
        gid: int = 0,
        small_fileids: bool = False,
        beside: "Export | None" = None,
    ) -> None:
        """Serve `tree`.

        Args:
            tree: what is shown to who has no share of its own.
            handle_key: the store's secret for handles.
            uid: owner of everything.
            gid: group of everything.
            small_fileids: show fileids of 31 bits.
            beside: shares its handles and its list of mounts, and remembers less.
        """
        share = 1 if beside is None else _SHARE
        self.tree, self.owner = tree, (uid, gid)
        self.handles: FileHandles
        self.mounts: Mounts
        if beside is None:
            self.handles, self.mounts = FileHandles(handle_key, remembered=REMEMBERED_HANDLES), Mounts(MAX_LISTED)
        else:
            self.handles, self.mounts = beside.handles, beside.mounts
        self.kept = Kept(share=share)
        self._key, self._share, self._fsid, self._small = handle_key, share, tree.fsid, small_fileids
        self._outward: Memo[tuple[int, bytes, Place], tuple[bytes, bytes]] = Memo(REMEMBERED_NODES // share)
        self._parents: Memo[tuple[int, Place], int] = Memo(REMEMBERED_NODES // share)  # fileid above, which is fixed
        self._roots: Memo[Place, int] = Memo(REMEMBERED_ROOTS)

    def shown_to(self, uid: int, gid: int) -> "Export":
        """Return the same as owned by others, with memories of its own."""
        return Export(self.tree, handle_key=self._key, uid=uid, gid=gid, small_fileids=self._small, beside=self)

    def renew(self, generation: object) -> None:
        """Drop what was kept under another policy."""
        if self.kept.generation != generation:
            self.kept = Kept(generation, share=self._share)

    def known(self, node: Node, export: int, grant: bytes) -> Known:
        """Return a node as it is kept."""
        return node, self.outward(node, export, grant)[1]

    def outward(self, node: Node, export: int, grant: bytes = NO_GRANT) -> tuple[bytes, bytes]:
        """Return a node's handle, as an export gives it out by a grant, and the bytes of its attributes."""
        key = export, grant, node.place
        known = self._outward.get(key)
        if known is None:
            known = self.handles.encode(node.place, export=export, grant=grant), self.attributes(node)
            if not node.changing:
                self._outward.put(key, known)
        return known

    def attributes(self, node: Node) -> bytes:
        """Return the bytes of a node's attributes."""
        return fattr3_bytes(node, fileid=self.fileid(node), fsid=self._fsid, uid=self.owner[0], gid=self.owner[1])

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


class Mounts:
    """Who mounted what, as DUMP lists it. A hint, as the RFC says: clients need not tell when they go.

    Paths with a token are listed by the token's name; that they are taken off again by the path that the client says, a
    digest of it is kept, under a key that ends with the process.
    """

    def __init__(self, limit: int) -> None:
        """Keep the latest `limit` mounts."""
        self._limit, self._lock, self._key = limit, Lock(), os.urandom(32)
        self._mounts: OrderedDict[tuple[mountbody, bytes], None] = OrderedDict()

    def add(self, host: bytes, path: bytes, shown: bytes) -> None:
        """Take note of a mount; `shown` is the path without secrets."""
        key = mountbody(host, shown), self._digest(path)
        with self._lock:
            self._mounts[key] = None
            self._mounts.move_to_end(key)
            if len(self._mounts) > self._limit:
                self._mounts.popitem(last=False)

    def remove(self, host: bytes, path: bytes | None) -> None:
        """Take note that a host no longer mounts a path, or (`None`) any."""
        gone = None if path is None else self._digest(path)
        with self._lock:
            for mount, digest in [*self._mounts]:
                if mount.ml_hostname == host and gone in (None, digest):
                    del self._mounts[mount, digest]

    def listed(self) -> list[mountbody]:
        """Return all, the oldest first."""
        with self._lock:
            return [mount for mount, _ in self._mounts]

    def _digest(self, path: bytes) -> bytes:
        return blake3(path, key=self._key).digest(16)
