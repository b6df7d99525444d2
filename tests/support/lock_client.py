"""A small client of the lock manager, over the project's own codecs. Threads: one client belongs to one thread."""

from typing import Any, Final

from nfs.table import NLM_PROCEDURES
from nfs.wire import nlm4
from nfs.wire.nlm4 import NLM_PROGRAM, NLM_V4, fsh4_access, fsh4_mode, nlm4_stats
from nfs.wire.rpc import ACCEPTED_SUCCESS, encode_call
from nfs.wire.xdr import decode_whole, encode_whole
from tests.support.nfs_client import USER, NfsClient

NLM_NUMBERS: Final = {procedure.name: number for number, procedure in NLM_PROCEDURES.items()}
COOKIE: Final = b"cookie of eighteen"


class LockClient(NfsClient):
    """An NFS client that knows the lock manager too."""

    def __enter__(self) -> "LockClient":
        return self

    def raw(self, proc: int, args: bytes = b"", vers: int = NLM_V4) -> bytes:
        self.send(encode_call(7, NLM_PROGRAM, vers, proc, args, USER))
        return self.receive()

    def lock_call(self, name: str, args: Any = None) -> Any:
        procedure = NLM_PROCEDURES[NLM_NUMBERS[name]]
        reply = self.raw(NLM_NUMBERS[name], encode_whole(procedure.args, args))
        start = 4 + len(ACCEPTED_SUCCESS)
        assert reply[:start] == b"\0\0\0\7" + ACCEPTED_SUCCESS
        return decode_whole(procedure.result, reply, start)

    def lock(self, fh: bytes, name: str = "LOCK", *, exclusive: bool = False, **more: Any) -> nlm4_stats:
        reclaim = more.pop("reclaim", False)
        found = self.lock_call(name, nlm4.nlm4_lockargs(COOKIE, True, exclusive, lock(fh, **more), reclaim, 3))
        assert found.cookie == COOKIE
        stat: nlm4_stats = found.stat
        return stat

    def share(self, fh: bytes, mode: fsh4_mode, access: fsh4_access, name: str = "SHARE") -> nlm4_stats:
        share = nlm4.nlm4_share(b"host", fh, b"owner", mode, access)
        found = self.lock_call(name, nlm4.nlm4_shareargs(COOKIE, share, False))
        assert found.cookie == COOKIE
        stat: nlm4_stats = found.stat
        return stat


def lock(fh: bytes, l_offset: int = 0, l_len: int = 0) -> nlm4.nlm4_lock:
    return nlm4.nlm4_lock(b"host", fh, b"17@host", 17, l_offset, l_len)
