"""NFSv3 (RFC 1813 sections 2 and 3.3): constants, statuses and the types that several procedures share.

Names are the RFC's. Attributes travel inside results as the 84 encoded bytes of a `fattr3`, because a server keeps
them in that form; `FATTR3` takes them apart. Threads: immutable values and pure functions. No I/O.
"""

import enum
import struct
from typing import Final, Generic, NamedTuple, TypeVar

from nfs.wire.xdr import (
    Buffer,
    Choice,
    Codec,
    FixedOpaque,
    Opaque,
    Optional,
    Structure,
    Union,
    uint32,
    uint64,
    void,
)

NFS_PROGRAM: Final = 100003
NFS_V3: Final = 3
NFS3_FHSIZE: Final = 64
NFS3_COOKIEVERFSIZE: Final = 8
NFS3_CREATEVERFSIZE: Final = 8
NFS3_WRITEVERFSIZE: Final = 8
NAME_MAX: Final = 255  # bytes of one name
PATH_MAX: Final = 4096  # bytes of a link's target
WIRE_NAME_MAX: Final = 4096  # longest name decoded at all; above NAME_MAX it is answered NFS3ERR_NAMETOOLONG
RTMAX: Final = 1 << 20  # macOS refuses more than 1 MiB
WTMAX: Final = 64 << 10  # nothing is ever written: kept small, for it bounds the records that must be taken in
DTPREF: Final = 64 << 10
MAX_ENTRIES: Final = 1 << 16  # of one listing, when a client decodes


Ok = TypeVar("Ok")
Fail = TypeVar("Fail")


class nfsstat3(enum.IntEnum):
    """Section 2.6."""

    NFS3_OK = 0
    NFS3ERR_PERM = 1
    NFS3ERR_NOENT = 2
    NFS3ERR_IO = 5
    NFS3ERR_NXIO = 6
    NFS3ERR_ACCES = 13
    NFS3ERR_EXIST = 17
    NFS3ERR_XDEV = 18
    NFS3ERR_NODEV = 19
    NFS3ERR_NOTDIR = 20
    NFS3ERR_ISDIR = 21
    NFS3ERR_INVAL = 22
    NFS3ERR_FBIG = 27
    NFS3ERR_NOSPC = 28
    NFS3ERR_ROFS = 30
    NFS3ERR_MLINK = 31
    NFS3ERR_NAMETOOLONG = 63
    NFS3ERR_NOTEMPTY = 66
    NFS3ERR_DQUOT = 69
    NFS3ERR_STALE = 70
    NFS3ERR_REMOTE = 71
    NFS3ERR_BADHANDLE = 10001
    NFS3ERR_NOT_SYNC = 10002
    NFS3ERR_BAD_COOKIE = 10003
    NFS3ERR_NOTSUPP = 10004
    NFS3ERR_TOOSMALL = 10005
    NFS3ERR_SERVERFAULT = 10006
    NFS3ERR_BADTYPE = 10007
    NFS3ERR_JUKEBOX = 10008


class ftype3(enum.IntEnum):
    """Section 2.6."""

    NF3REG = 1
    NF3DIR = 2
    NF3BLK = 3
    NF3CHR = 4
    NF3LNK = 5
    NF3SOCK = 6
    NF3FIFO = 7


ACCESS3_READ: Final = 0x01
ACCESS3_LOOKUP: Final = 0x02
ACCESS3_MODIFY: Final = 0x04
ACCESS3_EXTEND: Final = 0x08
ACCESS3_DELETE: Final = 0x10
ACCESS3_EXECUTE: Final = 0x20
FSF3_SYMLINK: Final = 0x02
FSF3_HOMOGENEOUS: Final = 0x08


class Result(NamedTuple, Generic[Ok, Fail]):
    """A procedure's result: `resok` when the status is NFS3_OK, else `resfail`."""

    status: nfsstat3
    resok: Ok | None = None
    resfail: Fail | None = None


class ResultCodec(Generic[Ok, Fail]):
    """The union on `nfsstat3` that every result is."""

    def __init__(self, resok: Codec[Ok], resfail: Codec[Fail]) -> None:
        self._resok, self._resfail = resok, resfail

    def encode(self, value: Result[Ok, Fail], out: list[Buffer]) -> None:
        out.append(value.status.to_bytes(4, "big"))
        if value.status is nfsstat3.NFS3_OK:
            self._resok.encode(value.resok, out)  # type: ignore[arg-type]  # present, since the status says so
        else:
            self._resfail.encode(value.resfail, out)  # type: ignore[arg-type]  # the same

    def decode(self, buf: bytes, at: int) -> tuple[Result[Ok, Fail], int]:
        number, at = uint32.decode(buf, at)
        status = nfsstat3(number) if number in _STATUS_NUMBERS else nfsstat3.NFS3ERR_SERVERFAULT
        if status is nfsstat3.NFS3_OK:
            resok, at = self._resok.decode(buf, at)
            return Result(status, resok=resok), at
        resfail, at = self._resfail.decode(buf, at)
        return Result(status, resfail=resfail), at


_STATUS_NUMBERS: Final = frozenset(map(int, nfsstat3))


class nfstime3(NamedTuple):
    """A time: seconds since 1970 and nanoseconds, both unsigned 32 bits."""

    seconds: int
    nseconds: int


class fattr3(NamedTuple):
    """A file's attributes; times and `rdev` as pairs, flat."""

    type: int
    mode: int
    nlink: int
    uid: int
    gid: int
    size: int
    used: int
    rdev_major: int
    rdev_minor: int
    fsid: int
    fileid: int
    atime_s: int
    atime_ns: int
    mtime_s: int
    mtime_ns: int
    ctime_s: int
    ctime_ns: int


FATTR3: Final = struct.Struct(">5I2Q2I2Q6I")  # packs and unpacks a fattr3 in its order
FATTR3_BYTES: Final = 84


class sattr3(NamedTuple):
    """Attributes to set; `None` or arm 0 leaves one alone."""

    mode: int | None
    uid: int | None
    gid: int | None
    size: int | None
    atime: Choice  # 0 leave, 1 the server's time, 2 an nfstime3
    mtime: Choice


class diropargs3(NamedTuple):
    """A name in a folder."""

    dir: bytes
    name: bytes


class wcc_attr(NamedTuple):
    """What is compared to notice changes."""

    size: int
    mtime: nfstime3
    ctime: nfstime3


class wcc_data(NamedTuple):
    """Attributes before and after."""

    before: wcc_attr | None = None
    after: bytes | None = None


NFS_FH3: Final = Opaque(NFS3_FHSIZE)
FILENAME3: Final = Opaque(WIRE_NAME_MAX)
NFSPATH3: Final = Opaque(PATH_MAX)
FATTR3_OPAQUE: Final = FixedOpaque(FATTR3_BYTES)
POST_OP_ATTR: Final = Optional(FATTR3_OPAQUE)
POST_OP_FH3: Final = Optional(NFS_FH3)
NFSTIME3: Final = Structure(nfstime3, uint32, uint32)
COOKIEVERF3: Final = FixedOpaque(NFS3_COOKIEVERFSIZE)
_SET_TIME: Final = Union({0: void, 1: void, 2: NFSTIME3})
SATTR3: Final = Structure(
    sattr3, Optional(uint32), Optional(uint32), Optional(uint32), Optional(uint64), _SET_TIME, _SET_TIME
)
DIROPARGS3: Final = Structure(diropargs3, NFS_FH3, FILENAME3)
WCC_DATA: Final = Structure(wcc_data, Optional(Structure(wcc_attr, uint64, NFSTIME3, NFSTIME3)), POST_OP_ATTR)
