"""The short way for what clients ask most: replies kept as bytes, and READ put together without codecs.

A reply about nodes that never change is computed once, by the table, and given again to any call with the same
procedure and arguments, for as long as the policy stays (`nfs.kept`), on connections whose peers may use the grant of
its handle (`nfs.access`). READ's data is not kept here: the tree keeps chunks, and their views go out as they are. A
test proves that this way and the table's answer byte for byte the same.

Threads: a `FastLane` belongs to one connection's thread.
"""

import struct
import time
from typing import Final

from nfs.access import Access
from nfs.fhandle import GRANT_AT, GRANT_END
from nfs.outgoing import JOINED, Batch
from nfs.wire.nfs3types import FATTR3_BYTES, NFS3_FHSIZE, NFS_PROGRAM, NFS_V3, RTMAX
from nfs.wire.record import LAST_FRAGMENT
from nfs.wire.rpc import ACCEPTED_SUCCESS, CALL, HEADER_BYTES, RPC_VERSION
from nfs.wire.xdr import PADDING, TRUE
from store.vfs.tree import Kind

READ: Final = 6
_SERVED: Final = struct.pack(">4I", CALL, RPC_VERSION, NFS_PROGRAM, NFS_V3) + b"\0\0\0"  # bytes 4-22 of a call
_PROC_AT: Final = HEADER_BYTES - 1  # numbers of procedures fit in their last byte
_READ_ARGS: Final = struct.Struct(f">I{NFS3_FHSIZE}sQI")
_READ_HEAD: Final = struct.Struct(f">I4s{len(ACCEPTED_SUCCESS)}s8s{FATTR3_BYTES}sIII")
_OK_WITH_ATTRIBUTES: Final = bytes(4) + TRUE
_FH_AT: Final = 4  # in the arguments, behind its length


class FastLane:
    """Answers calls of one connection from what is remembered."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._auth = b""  # credential and verifier that were found good
        self._args_at = 0
        self._grant = slice(0)  # where the grant stands in a record, for procedures that take a handle first
        self.begin(time.monotonic())

    def begin(self, now_s: float) -> None:
        """Look at what the peer may see; to be called before calls that came together are answered."""
        access = self._access
        access.refresh(now_s)
        kept = access.now.export.kept
        self._shares, self._memos, self._node = access.now.shares, kept.replies, kept.nodes.get

    def trust(self, record: bytes, args_at: int) -> None:
        """Take note that a call's credential and verifier were accepted: the next calls carry the same bytes."""
        self._auth, self._args_at = record[HEADER_BYTES:args_at], args_at
        self._grant = slice(args_at + _FH_AT + GRANT_AT, args_at + _FH_AT + GRANT_END)

    def answer(self, record: bytes, batch: Batch) -> bool:
        """Add the reply to a call, or return False: then the table has to answer."""
        args_at = self._args_at
        if not args_at or record[4:_PROC_AT] != _SERVED or not record.startswith(self._auth, HEADER_BYTES):
            return False
        proc = record[_PROC_AT]
        memo = self._memos.get(proc)
        if memo is not None:
            kept = memo.get(record[args_at:])
            if kept is None or record[self._grant] not in self._shares:
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
        known = self._node(fh) if length == NFS3_FHSIZE else None
        share = self._shares.get(fh[GRANT_AT:GRANT_END])
        if known is None or share is None:
            return False
        node, fattr3 = known
        if node.kind is not Kind.FILE:
            return False
        size = node.size
        count = min(count, RTMAX, max(0, size - offset))
        try:
            data = share.tree.read_warm(node, offset, count) if count else []
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
