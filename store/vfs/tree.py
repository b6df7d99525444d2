"""The seam between the store and every front end: one protocol-neutral tree. Knows no HTTP, no XDR, no S3.

    /                        datasets, scopes as folders (@geo)      changes
    /<dataset>/              its tags; b3-HEX too, not listed        changes
    /<dataset>/<tag>/...     the files of one state                  never changes

A node is a value: it stays good for ever, whatever happens to the catalogue. Nodes with `changing` false may be cached
without end. A channel's folder is bound to the state that it showed when it was looked up.

Threads: every method may be called from any thread. `*_warm` methods answer from memory or return `None` ("not now"),
and never do I/O nor wait; only they may run on a thread that owns connections. The others may block on disk or S3.
"""

import enum
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from store.kinds import Kind as Kind  # for front ends, which import nothing else of the store

NO_VERIFIER = bytes(8)
NO_MANIFEST = bytes(16)  # of places outside a state


class Space(enum.IntEnum):
    """Which part of the tree a place lies in. The numbers stand in NFS handles: never reuse one."""

    ROOT = 1
    SCOPE = 2
    DATASET = 3
    STATE = 4  # in a manifest
    FOLLOWING = 5  # the root of a mounted channel: fixed identity, shows the state of the moment


class Place(NamedTuple):
    """Where a node is: all that is needed to find it again, on any gateway of the store, for ever.

    Fixed width on purpose, so that a front end can write it into a handle.
    """

    space: Space
    dataset: int  # 64-bit digest of the dataset's (or scope's) name; 0 for ROOT
    tag: int  # creation number (32 bits) of the tag it was reached by; 0: by b3-HEX, or no tag at all
    manifest: bytes  # first 16 bytes of the manifest's id; zeros outside STATE
    record: int  # record number in the manifest (48 bits); 0, its root, outside STATE


class Node(NamedTuple):
    """One entry as every protocol sees it."""

    kind: Kind
    place: Place
    fileid: int  # 64 bits, never 0; unique among all places of the store
    size: int  # file: bytes; folder: number of entries (0 where counting would cost); link: bytes of its target
    mtime_ns: int  # since 1970, may be negative
    ctime_ns: int  # the same as mtime in a state; in changing folders it grows with each change
    executable: bool
    changing: bool  # attributes and listing may change: ROOT, SCOPE, DATASET, FOLLOWING


class Entry(NamedTuple):
    """One name in a listing."""

    cookie: int  # 1 .. 2**63 - 8; in a state: position + 1
    name: bytes
    node: Node


class Listing(NamedTuple):
    """One page of a folder."""

    entries: Sequence[Entry]
    eof: bool  # nothing comes after the last entry
    verifier: bytes  # 8 bytes, to be passed along with the next page's cookie; any other is accepted too


class FileDigests(NamedTuple):
    """Digests of a whole file's plain bytes."""

    sha256: bytes  # 32 bytes
    md5: bytes  # 16 bytes


class Usage(NamedTuple):
    """How much lies below the root of a state (or in the whole store, roughly), for `df`."""

    size: int
    files: int


class FileTree(Protocol):
    """What one principal may see, as one tree. Raises only errors of `store.errors`."""

    @property
    def fsid(self) -> int:
        """Identify the store: 64 bits, never 0."""
        ...

    def root(self) -> Node:
        """Return `/`. Never blocks, but its times are those last known."""
        ...

    def node(self, place: Place) -> Node:
        """Find a node again.

        Raises:
            StaleNode: its dataset or state is gone.  HiddenNode: it may not be read.
        """
        ...

    def node_warm(self, place: Place) -> Node | None:
        """Do as `node`, from memory alone."""
        ...

    def lookup(self, folder: Node, name: bytes) -> Node:
        """Find one name: the exact bytes, else the only name that is canonically equivalent (macOS decomposes).

        `.` and `..` are not names here; see `parent`.

        Raises:
            PathMissing: no such entry.  NotAFolder: `folder` is none.  StaleNode: the folder's state is gone.
        """
        ...

    def lookup_warm(self, folder: Node, name: bytes) -> Node | None:
        """Do as `lookup`, from memory alone; `None` means not now, absence is `PathMissing`."""
        ...

    def parent(self, node: Node) -> Node:
        """Return the folder above; the root's is itself. From a state's root: its dataset."""
        ...

    def parent_warm(self, node: Node) -> Node | None:
        """Do as `parent`, from memory alone."""
        ...

    def following(self, node: Node) -> Node:
        """Return the following root for the root of a state reached by a channel; any other node as it is."""
        ...

    def following_warm(self, node: Node) -> Node | None:
        """Do as `following`, from memory alone."""
        ...

    def children(
        self, folder: Node, *, after: int = 0, limit: int = 1024, verifier: bytes = NO_VERIFIER, passing: bool = False
    ) -> Listing:
        """Return up to `limit` entries whose cookies are above `after`, in the order of cookies.

        Where the caller goes through a large folder once (`passing`), what that takes does not stay in memory.

        Raises:
            NotAFolder, StaleNode.
        """
        ...

    def children_warm(
        self, folder: Node, *, after: int = 0, limit: int = 1024, verifier: bytes = NO_VERIFIER
    ) -> Listing | None:
        """Do as `children`, from memory alone."""
        ...

    def readlink(self, link: Node) -> bytes:
        """Return a symbolic link's target.

        Raises:
            NotALink.
        """
        ...

    def readlink_warm(self, link: Node) -> bytes | None:
        """Do as `readlink`, from memory alone."""
        ...

    def read(self, file: Node, offset: int, size: int) -> list[memoryview]:
        """Return up to `size` bytes from `offset`, as views of cached chunks; short only at the end of the file.

        Raises:
            IsAFolder: not a file.  Corrupt, Unavailable: as the store says.
        """
        ...

    def read_warm(self, file: Node, offset: int, size: int) -> list[memoryview] | None:
        """Do as `read`, from memory alone."""
        ...

    def digests(self, file: Node) -> FileDigests:
        """Return the digests of a whole file (the manifest has them; no file is read)."""
        ...

    def digests_warm(self, file: Node) -> FileDigests | None:
        """Do as `digests`, from memory alone."""
        ...

    def digests_of(self, files: Sequence[Node], *, passing: bool = False) -> list[FileDigests]:
        """Return the digests of many files, in their order: those of a page of a folder by a few looks at the manifest.

        `passing` is as for `children`.

        Raises:
            IsAFolder: one of them is no file.
        """
        ...

    def usage(self, node: Node) -> Usage:
        """Return sizes for `df`: of the state that `node` lies in, else of what is known of the store."""
        ...

    def open_to_all(self, node: Node) -> bool:
        """Tell whether anybody at all may read what a node belongs to, from memory alone; if in doubt it says no.

        What differs by who asks, such as a listing that leaves out what they may not read, is not open to all.
        """
        ...
