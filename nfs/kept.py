"""What is remembered of nodes and replies that never change, for as long as nobody may see less than before.

It is dropped as a whole when the policy changes. Who remembers something takes what is kept *before* asking whether it
may be seen: then an answer by an old policy ends in what was kept under it, wherever the change came between.

Threads: shared by all connections of one export.
"""

import struct
from typing import Final

from nfs.memo import Memo
from nfs.wire.record import LAST_FRAGMENT
from nfs.wire.rpc import ACCEPTED_SUCCESS
from nfs.wire.xdr import Buffer
from store.vfs.tree import Node

REMEMBERED_NODES: Final = 65536  # some 60 MB at most, with handles and attributes
LONGEST_KEY: Final = 512  # bytes: a handle and the longest lawful name fit; what is longer is not remembered

# By procedure, how many replies are kept. GETATTR's are some 450 bytes with their keys, LOOKUP's 650, a page of a
# listing up to 64 KiB: 80 MB in all at the very most. All of them take a handle, which stands first.
KEPT: Final = {1: 32768, 3: 32768, 4: 32768, 5: 4096, 16: 128, 17: 256, 19: 64, 20: 64}

_MARK: Final = struct.Struct(">I")

Known = tuple[Node, bytes]  # a node that never changes, and the bytes of its attributes
Reply = tuple[bytes, bytes]  # the record mark; everything that follows the xid


class Kept:
    """Nodes by handle, and replies by procedure and arguments."""

    def __init__(self, generation: object = None, *, share: int = 1) -> None:
        """Begin with nothing.

        Args:
            generation: of the policy by which it may be seen.
            share: keep one in so many of the usual bounds.
        """
        self.generation = generation
        self.nodes: Memo[bytes, Known] = Memo(REMEMBERED_NODES // share)
        self.replies: dict[int, Memo[bytes, Reply]] = {number: Memo(limit // share) for number, limit in KEPT.items()}

    def remember(self, proc: int, args: bytes, results: list[Buffer]) -> None:
        """Keep an NFS procedure's encoded results, if it is one whose replies are kept."""
        memo = self.replies.get(proc)
        if memo is not None and len(args) <= LONGEST_KEY:
            rest = ACCEPTED_SUCCESS + b"".join(results)
            memo.put(args, (_MARK.pack(LAST_FRAGMENT | 4 + len(rest)), rest))
