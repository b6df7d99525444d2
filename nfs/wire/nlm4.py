"""Network Lock Manager version 4 (RFC 1813 appendix II; X/Open XNFS): its types and codecs.

Names are the specification's. Procedures 6 to 15, the asynchronous forms, are not here: see `nfs.handlers.locks`.
Threads: immutable values. No I/O.
"""

import enum
from typing import Final, NamedTuple

from nfs.wire.errors import GarbageArgs
from nfs.wire.xdr import Buffer, Opaque, Structure, Void, boolean, uint32, uint64

NLM_PROGRAM: Final = 100021
NLM_V4: Final = 4
MAXNETOBJ_SZ: Final = 1024  # bytes of a cookie, an owner, a handle
LM_MAXSTRLEN: Final = 1024  # bytes of the name by which a caller calls itself
LM_MAXNAMELEN: Final = LM_MAXSTRLEN + 1


class nlm4_stats(enum.IntEnum):
    """How a request went."""

    NLM4_GRANTED = 0
    NLM4_DENIED = 1
    NLM4_DENIED_NOLOCKS = 2
    NLM4_BLOCKED = 3
    NLM4_DENIED_GRACE_PERIOD = 4
    NLM4_DEADLCK = 5
    NLM4_ROFS = 6
    NLM4_STALE_FH = 7
    NLM4_FBIG = 8
    NLM4_FAILED = 9


class fsh4_mode(enum.IntEnum):
    """What others may not do while a share lasts. Deny none, read, write, both."""

    fsm_DN = 0
    fsm_DR = 1
    fsm_DW = 2
    fsm_DRW = 3


class fsh4_access(enum.IntEnum):
    """What the caller of SHARE wants to do."""

    fsa_NONE = 0
    fsa_R = 1
    fsa_W = 2
    fsa_RW = 3


class nlm4_holder(NamedTuple):
    """Who holds the lock that stands against a TEST."""

    exclusive: bool
    svid: int
    oh: bytes
    l_offset: int
    l_len: int  # 0: to the end of the file


class nlm4_lock(NamedTuple):
    """A range of a file, and who wants it."""

    caller_name: bytes
    fh: bytes
    oh: bytes  # the owner, opaque
    svid: int  # the owner's process
    l_offset: int
    l_len: int  # 0: to the end of the file


class nlm4_share(NamedTuple):
    """A file as DOS opens one."""

    caller_name: bytes
    fh: bytes
    oh: bytes
    mode: fsh4_mode
    access: fsh4_access


class nlm4_testargs(NamedTuple):
    """TEST; GRANTED, by which a server tells a client that its turn has come, has the same."""

    cookie: bytes
    exclusive: bool
    alock: nlm4_lock


class nlm4_lockargs(NamedTuple):
    """LOCK and NM_LOCK."""

    cookie: bytes
    block: bool
    exclusive: bool
    alock: nlm4_lock
    reclaim: bool
    state: int


class nlm4_cancargs(NamedTuple):
    """CANCEL: the arguments of the LOCK that is waited for no longer."""

    cookie: bytes
    block: bool
    exclusive: bool
    alock: nlm4_lock


class nlm4_unlockargs(NamedTuple):
    """UNLOCK."""

    cookie: bytes
    alock: nlm4_lock


class nlm4_shareargs(NamedTuple):
    """SHARE and UNSHARE."""

    cookie: bytes
    share: nlm4_share
    reclaim: bool


class nlm4_notify(NamedTuple):
    """FREE_ALL: the client that has restarted."""

    name: bytes
    state: int


class nlm4_res(NamedTuple):
    """What most procedures answer."""

    cookie: bytes
    stat: nlm4_stats


class nlm4_testres(NamedTuple):
    """What TEST answers; `holder` is `None` unless the status is NLM4_DENIED."""

    cookie: bytes
    stat: nlm4_stats
    holder: nlm4_holder | None = None


class nlm4_shareres(NamedTuple):
    """What SHARE and UNSHARE answer."""

    cookie: bytes
    stat: nlm4_stats
    sequence: int  # "not used" (X/Open)


class _Enum:
    """One of an enumeration's numbers, nothing else (RFC 4506 section 4.3)."""

    def __init__(self, kind: type[enum.IntEnum]) -> None:
        self._kind, self._known = kind, {int(member): member for member in kind}

    def encode(self, value: enum.IntEnum, out: list[Buffer]) -> None:
        out.append(value.to_bytes(4, "big"))

    def decode(self, buf: bytes, at: int) -> tuple[enum.IntEnum, int]:
        number, end = uint32.decode(buf, at)
        if number not in self._known:
            raise GarbageArgs(f"{self._kind.__name__} at byte {at} is {number}")
        return self._known[number], end


class _TestResult:
    """`nlm4_testres`: a union on the status, with a holder in one arm."""

    def encode(self, value: nlm4_testres, out: list[Buffer]) -> None:
        NETOBJ.encode(value.cookie, out)
        _STATS.encode(value.stat, out)
        if value.holder is not None:
            _HOLDER.encode(value.holder, out)

    def decode(self, buf: bytes, at: int) -> tuple[nlm4_testres, int]:
        (cookie, stat), at = RES.decode(buf, at)
        holder = None
        if stat is nlm4_stats.NLM4_DENIED:
            holder, at = _HOLDER.decode(buf, at)
        return nlm4_testres(cookie, stat, holder), at


NETOBJ: Final = Opaque(MAXNETOBJ_SZ)
_CALLER: Final = Opaque(LM_MAXSTRLEN)
_STATS: Final = _Enum(nlm4_stats)
_HOLDER: Final = Structure(nlm4_holder, boolean, uint32, NETOBJ, uint64, uint64)
_LOCK: Final = Structure(nlm4_lock, _CALLER, NETOBJ, NETOBJ, uint32, uint64, uint64)
_SHARE: Final = Structure(nlm4_share, _CALLER, NETOBJ, NETOBJ, _Enum(fsh4_mode), _Enum(fsh4_access))

TESTARGS: Final = Structure(nlm4_testargs, NETOBJ, boolean, _LOCK)
LOCKARGS: Final = Structure(nlm4_lockargs, NETOBJ, boolean, boolean, _LOCK, boolean, uint32)
CANCARGS: Final = Structure(nlm4_cancargs, NETOBJ, boolean, boolean, _LOCK)
UNLOCKARGS: Final = Structure(nlm4_unlockargs, NETOBJ, _LOCK)
SHAREARGS: Final = Structure(nlm4_shareargs, NETOBJ, _SHARE, boolean)
NOTIFY: Final = Structure(nlm4_notify, Opaque(LM_MAXNAMELEN), uint32)
RES: Final = Structure(nlm4_res, NETOBJ, _STATS)
TESTRES: Final = _TestResult()
SHARERES: Final = Structure(nlm4_shareres, NETOBJ, _STATS, uint32)

# Each procedure's arguments and results
TEST4: Final = (TESTARGS, TESTRES)
LOCK4: Final = (LOCKARGS, RES)
CANCEL4: Final = (CANCARGS, RES)
UNLOCK4: Final = (UNLOCKARGS, RES)
GRANTED4: Final = (TESTARGS, RES)
SHARE4: Final = (SHAREARGS, SHARERES)
FREE_ALL4: Final = (NOTIFY, Void())
