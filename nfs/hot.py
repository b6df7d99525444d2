"""The short way for what clients ask most: replies kept as bytes, and READ put together without codecs.

A reply about nodes that never change is computed once, by the table, and given again for ever to any call with the same
procedure and arguments. READ's data is not kept here: the tree keeps chunks, and their views go out as they are. A test
proves that this way and the table's answer byte for byte the same.

Threads: `Replies` is shared by all connections; a `FastLane` belongs to one connection's thread.
"""

import struct
from typing import Final

from nfs.export import Export
from nfs.memo import Memo
from nfs.outgoing import JOINED, Batch
from nfs.wire.nfs3types import FATTR3_BYTES, NFS3_FHSIZE, NFS_PROGRAM, NFS_V3, RTMAX
from nfs.wire.record import LAST_FRAGMENT
from nfs.wire.rpc import ACCEPTED_SUCCESS, CALL, HEADER_BYTES, RPC_VERSION
from nfs.wire.xdr import PADDING, TRUE, Buffer
from store.vfs.tree import Kind

READ: Final = 6
LONGEST_KEY: Final = 512  # bytes: a handle and the longest lawful name fit; what is longer is not remembered

# By procedure, how many replies are kept. GETATTR's are some 450 bytes with their keys, LOOKUP's 650, a page of a
# listing up to 64 KiB: 80 MB in all at the very most.
KEPT: Final = {1: 32768, 3: 32768, 4: 32768, 5: 4096, 16: 128, 17: 256, 19: 64, 20: 64}

_SERVED: Final = struct.pack(">4I", CALL, RPC_VERSION, NFS_PROGRAM, NFS_V3) + b"\0\0\0"  # bytes 4-22 of a call
_PROC_AT: Final = HEADER_BYTES - 1  # numbers of procedures fit in their last byte
_READ_ARGS: Final = struct.Struct(f">I{NFS3_FHSIZE}sQI")
_READ_HEAD: Final = struct.Struct(f">I4s{len(ACCEPTED_SUCCESS)}s8s{FATTR3_BYTES}sIII")
_OK_WITH_ATTRIBUTES: Final = bytes(4) + TRUE
_MARK: Final = struct.Struct(">I")

Kept = tuple[bytes, bytes]  # the record mark; everything that follows the xid


class Replies:
    """Replies that stay right, by procedure and arguments."""

    def __init__(self) -> None:
        self.by_procedure: dict[int, Memo[bytes, Kept]] = {number: Memo(limit) for number, limit in KEPT.items()}

    def remember(self, proc: int, args: bytes, results: list[Buffer]) -> None:
        """Keep an NFS procedure's encoded results, if it is one whose replies are kept."""
        memo = self.by_procedure.get(proc)
        if memo is not None and len(args) <= LONGEST_KEY:
            rest = ACCEPTED_SUCCESS + b"".join(results)
            memo.put(args, (_MARK.pack(LAST_FRAGMENT | 4 + len(rest)), rest))

    def clear(self) -> None:
        """Forget everything."""
        for memo in self.by_procedure.values():
            memo.clear()


class FastLane:
    """Answers calls of one connection from what is remembered."""

    def __init__(self, export: Export, replies: Replies) -> None:
        self._memos, self._remembered = replies.by_procedure, export.remembered
        self._read_warm = export.tree.read_warm
        self._auth = b""  # credential and verifier that were found good
        self._args_at = 0

    def trust(self, record: bytes, args_at: int) -> None:
        """Take note that a call's credential and verifier were accepted: the next calls carry the same bytes."""
        self._auth, self._args_at = record[HEADER_BYTES:args_at], args_at

    def answer(self, record: bytes, batch: Batch) -> bool:
        """Add the reply to a call, or return False: then the table has to answer."""
        args_at = self._args_at
        if not args_at or record[4:_PROC_AT] != _SERVED or not record.startswith(self._auth, HEADER_BYTES):
            return False
        proc = record[_PROC_AT]
        memo = self._memos.get(proc)
        if memo is not None:
            kept = memo.get(record[args_at:])
            if kept is None:
                return False
            mark, rest = kept
            if len(rest) > JOINED:
                batch.large(mark + record[:4], (rest,), b"")
            else:
                batch.small((mark, record[:4], rest))
            return True
        return proc == READ and self._read(record, args_at, batch)

    def _read(self, record: bytes, args_at: int, batch: Batch) -> bool:
        if len(record) != args_at + _READ_ARGS.size:
            return False
        length, fh, offset, count = _READ_ARGS.unpack_from(record, args_at)
        known = self._remembered(fh) if length == NFS3_FHSIZE else None
        if known is None:
            return False
        node, fattr3 = known
        if node.kind is not Kind.FILE:
            return False
        size = node.size
        count = min(count, RTMAX, max(0, size - offset))
        try:
            data = self._read_warm(node, offset, count) if count else []
        except Exception:
            return False  # whatever it is, the table meets it again, logs it and answers; a bug costs one answer
        if data is None:
            return False
        got = len(data[0]) if len(data) == 1 else sum(map(len, data))
        padding = PADDING[got % 4]
        head = _READ_HEAD.pack(
            LAST_FRAGMENT | _READ_HEAD.size - 4 + got + len(padding),
            record[:4],
            ACCEPTED_SUCCESS,
            _OK_WITH_ATTRIBUTES,
            fattr3,
            got,
            offset + got >= size,
            got,
        )
        if got <= JOINED:
            batch.small((head, *data, padding))
        else:
            batch.large(head, data, padding)
        return True
