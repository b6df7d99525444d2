"""NFSv3 (RFC 1813 section 3.3): each procedure's arguments and results, and the pair of codecs for them.

Names are the RFC's; a field that would hide a method of tuples, or a word of Python, ends in `_`.
Threads: immutable values. No I/O.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from nfs.wire.nfs3types import (
    COOKIEVERF3,
    DIROPARGS3,
    FATTR3_OPAQUE,
    FILENAME3,
    MAX_ENTRIES,
    NFS3_CREATEVERFSIZE,
    NFS3_WRITEVERFSIZE,
    NFS_FH3,
    NFSPATH3,
    NFSTIME3,
    POST_OP_ATTR,
    POST_OP_FH3,
    RTMAX,
    SATTR3,
    WCC_DATA,
    WTMAX,
    ResultCodec,
    diropargs3,
    ftype3,
    nfstime3,
    sattr3,
    wcc_data,
)
from nfs.wire.xdr import (
    Buffer,
    Chain,
    Choice,
    FixedOpaque,
    Opaque,
    OpaqueViews,
    Optional,
    Structure,
    Union,
    boolean,
    uint32,
    uint64,
    void,
)

# 1 GETATTR


class GETATTR3args(NamedTuple):
    """Section 3.3.1."""

    object: bytes


GETATTR3: Final = (Structure(GETATTR3args, NFS_FH3), ResultCodec(FATTR3_OPAQUE, void))

# 2 SETATTR


class SETATTR3args(NamedTuple):
    """Section 3.3.2."""

    object: bytes
    new_attributes: sattr3
    guard: nfstime3 | None


SETATTR3: Final = (Structure(SETATTR3args, NFS_FH3, SATTR3, Optional(NFSTIME3)), ResultCodec(WCC_DATA, WCC_DATA))

# 3 LOOKUP


class LOOKUP3args(NamedTuple):
    """Section 3.3.3."""

    what: diropargs3


class LOOKUP3resok(NamedTuple):
    """Section 3.3.3."""

    object: bytes
    obj_attributes: bytes | None
    dir_attributes: bytes | None


LOOKUP3: Final = (
    Structure(LOOKUP3args, DIROPARGS3),
    ResultCodec(Structure(LOOKUP3resok, NFS_FH3, POST_OP_ATTR, POST_OP_ATTR), POST_OP_ATTR),
)

# 4 ACCESS


class ACCESS3args(NamedTuple):
    """Section 3.3.4."""

    object: bytes
    access: int


class ACCESS3resok(NamedTuple):
    """Section 3.3.4."""

    obj_attributes: bytes | None
    access: int


ACCESS3: Final = (
    Structure(ACCESS3args, NFS_FH3, uint32),
    ResultCodec(Structure(ACCESS3resok, POST_OP_ATTR, uint32), POST_OP_ATTR),
)

# 5 READLINK


class READLINK3args(NamedTuple):
    """Section 3.3.5."""

    symlink: bytes


class READLINK3resok(NamedTuple):
    """Section 3.3.5."""

    symlink_attributes: bytes | None
    data: bytes


READLINK3: Final = (
    Structure(READLINK3args, NFS_FH3),
    ResultCodec(Structure(READLINK3resok, POST_OP_ATTR, NFSPATH3), POST_OP_ATTR),
)

# 6 READ


class READ3args(NamedTuple):
    """Section 3.3.6."""

    file: bytes
    offset: int
    count_: int


class READ3resok(NamedTuple):
    """Section 3.3.6."""

    file_attributes: bytes | None
    count_: int
    eof: bool
    data: Sequence[Buffer]


READ3: Final = (
    Structure(READ3args, NFS_FH3, uint64, uint32),
    ResultCodec(Structure(READ3resok, POST_OP_ATTR, uint32, boolean, OpaqueViews(RTMAX)), POST_OP_ATTR),
)

# 7 WRITE


class WRITE3args(NamedTuple):
    """Section 3.3.7."""

    file: bytes
    offset: int
    count_: int
    stable: Choice  # 0 UNSTABLE, 1 DATA_SYNC, 2 FILE_SYNC
    data: bytes


class WRITE3resok(NamedTuple):
    """Section 3.3.7."""

    file_wcc: wcc_data
    count_: int
    committed: int
    verf: bytes


_STABLE_HOW: Final = Union({0: void, 1: void, 2: void})
WRITE3: Final = (
    Structure(WRITE3args, NFS_FH3, uint64, uint32, _STABLE_HOW, Opaque(WTMAX)),
    ResultCodec(Structure(WRITE3resok, WCC_DATA, uint32, uint32, FixedOpaque(NFS3_WRITEVERFSIZE)), WCC_DATA),
)

# 8 CREATE, 9 MKDIR, 10 SYMLINK, 11 MKNOD


class CREATE3args(NamedTuple):
    """Section 3.3.8."""

    where: diropargs3
    how: Choice  # 0 UNCHECKED and 1 GUARDED with a sattr3, 2 EXCLUSIVE with a verifier


class MKDIR3args(NamedTuple):
    """Section 3.3.9."""

    where: diropargs3
    attributes: sattr3


class SYMLINK3args(NamedTuple):
    """Section 3.3.10."""

    where: diropargs3
    symlink_attributes: sattr3
    symlink_data: bytes


class MKNOD3args(NamedTuple):
    """Section 3.3.11."""

    where: diropargs3
    what: Choice  # by ftype3


class specdata3(NamedTuple):
    """A device's numbers."""

    specdata1: int
    specdata2: int


class devicedata3(NamedTuple):
    """Attributes and numbers of a device to make."""

    dev_attributes: sattr3
    spec: specdata3


class NEWNODE3resok(NamedTuple):
    """CREATE3resok, MKDIR3resok, SYMLINK3resok and MKNOD3resok, which are alike."""

    obj: bytes | None
    obj_attributes: bytes | None
    dir_wcc: wcc_data


_NEWNODE3RES: Final = ResultCodec(Structure(NEWNODE3resok, POST_OP_FH3, POST_OP_ATTR, WCC_DATA), WCC_DATA)
_DEVICEDATA3: Final = Structure(devicedata3, SATTR3, Structure(specdata3, uint32, uint32))
_MKNODDATA3: Final = Union(
    {
        ftype3.NF3CHR: _DEVICEDATA3,
        ftype3.NF3BLK: _DEVICEDATA3,
        ftype3.NF3SOCK: SATTR3,
        ftype3.NF3FIFO: SATTR3,
    },
    default=void,
)
_CREATEHOW3: Final = Union({0: SATTR3, 1: SATTR3, 2: FixedOpaque(NFS3_CREATEVERFSIZE)})
CREATE3: Final = (Structure(CREATE3args, DIROPARGS3, _CREATEHOW3), _NEWNODE3RES)
MKDIR3: Final = (Structure(MKDIR3args, DIROPARGS3, SATTR3), _NEWNODE3RES)
SYMLINK3: Final = (Structure(SYMLINK3args, DIROPARGS3, SATTR3, NFSPATH3), _NEWNODE3RES)
MKNOD3: Final = (Structure(MKNOD3args, DIROPARGS3, _MKNODDATA3), _NEWNODE3RES)

# 12 REMOVE, 13 RMDIR


class REMOVE3args(NamedTuple):
    """Section 3.3.12."""

    object: diropargs3


REMOVE3: Final = (Structure(REMOVE3args, DIROPARGS3), ResultCodec(WCC_DATA, WCC_DATA))

# 14 RENAME


class RENAME3args(NamedTuple):
    """Section 3.3.14."""

    from_: diropargs3
    to: diropargs3


class RENAME3wcc(NamedTuple):
    """RENAME3resok and RENAME3resfail, which are alike."""

    fromdir_wcc: wcc_data
    todir_wcc: wcc_data


_RENAME3WCC: Final = Structure(RENAME3wcc, WCC_DATA, WCC_DATA)
RENAME3: Final = (Structure(RENAME3args, DIROPARGS3, DIROPARGS3), ResultCodec(_RENAME3WCC, _RENAME3WCC))

# 15 LINK


class LINK3args(NamedTuple):
    """Section 3.3.15."""

    file: bytes
    link: diropargs3


class LINK3wcc(NamedTuple):
    """LINK3resok and LINK3resfail, which are alike."""

    file_attributes: bytes | None
    linkdir_wcc: wcc_data


_LINK3WCC: Final = Structure(LINK3wcc, POST_OP_ATTR, WCC_DATA)
LINK3: Final = (Structure(LINK3args, NFS_FH3, DIROPARGS3), ResultCodec(_LINK3WCC, _LINK3WCC))

# 16 READDIR


class READDIR3args(NamedTuple):
    """Section 3.3.16."""

    dir: bytes
    cookie: int
    cookieverf: bytes
    count_: int  # most bytes of the whole READDIR3resok


class entry3(NamedTuple):
    """One name, as READDIR lists it."""

    fileid: int
    name: bytes
    cookie: int


class READDIR3resok(NamedTuple):
    """Section 3.3.16."""

    dir_attributes: bytes | None
    cookieverf: bytes
    entries: Sequence[entry3]
    eof: bool


READDIR3: Final = (
    Structure(READDIR3args, NFS_FH3, uint64, COOKIEVERF3, uint32),
    ResultCodec(
        Structure(
            READDIR3resok,
            POST_OP_ATTR,
            COOKIEVERF3,
            Chain(Structure(entry3, uint64, FILENAME3, uint64), MAX_ENTRIES),
            boolean,
        ),
        POST_OP_ATTR,
    ),
)

# 17 READDIRPLUS


class READDIRPLUS3args(NamedTuple):
    """Section 3.3.17."""

    dir: bytes
    cookie: int
    cookieverf: bytes
    dircount: int  # most bytes of names, fileids and cookies
    maxcount: int  # most bytes of the whole READDIRPLUS3resok


class entryplus3(NamedTuple):
    """One name, as READDIRPLUS lists it."""

    fileid: int
    name: bytes
    cookie: int
    name_attributes: bytes | None
    name_handle: bytes | None


class READDIRPLUS3resok(NamedTuple):
    """Section 3.3.17."""

    dir_attributes: bytes | None
    cookieverf: bytes
    entries: Sequence[entryplus3] | bytes  # bytes: the list as it is encoded, with its end; never decoded so
    eof: bool


class _Entries:
    """The list of entries, which may be encoded already."""

    _chain: Final = Chain(Structure(entryplus3, uint64, FILENAME3, uint64, POST_OP_ATTR, POST_OP_FH3), MAX_ENTRIES)

    def encode(self, value: Sequence[entryplus3] | bytes, out: list[Buffer]) -> None:
        if isinstance(value, bytes):
            out.append(value)
        else:
            self._chain.encode(value, out)

    def decode(self, buf: bytes, at: int) -> tuple[Sequence[entryplus3], int]:
        return self._chain.decode(buf, at)


READDIRPLUS3: Final = (
    Structure(READDIRPLUS3args, NFS_FH3, uint64, COOKIEVERF3, uint32, uint32),
    ResultCodec(
        Structure(
            READDIRPLUS3resok,
            POST_OP_ATTR,
            COOKIEVERF3,
            _Entries(),
            boolean,
        ),
        POST_OP_ATTR,
    ),
)

# 18 FSSTAT, 19 FSINFO, 20 PATHCONF


class FSROOT3args(NamedTuple):
    """FSSTAT3args, FSINFO3args and PATHCONF3args, which are alike."""

    fsroot: bytes


class FSSTAT3resok(NamedTuple):
    """Section 3.3.18."""

    obj_attributes: bytes | None
    tbytes: int
    fbytes: int
    abytes: int
    tfiles: int
    ffiles: int
    afiles: int
    invarsec: int


class FSINFO3resok(NamedTuple):
    """Section 3.3.19."""

    obj_attributes: bytes | None
    rtmax: int
    rtpref: int
    rtmult: int
    wtmax: int
    wtpref: int
    wtmult: int
    dtpref: int
    maxfilesize: int
    time_delta: nfstime3
    properties: int


class PATHCONF3resok(NamedTuple):
    """Section 3.3.20."""

    obj_attributes: bytes | None
    linkmax: int
    name_max: int
    no_trunc: bool
    chown_restricted: bool
    case_insensitive: bool
    case_preserving: bool


_FSROOT3ARGS: Final = Structure(FSROOT3args, NFS_FH3)
FSSTAT3: Final = (
    _FSROOT3ARGS,
    ResultCodec(Structure(FSSTAT3resok, POST_OP_ATTR, *[uint64] * 6, uint32), POST_OP_ATTR),
)
FSINFO3: Final = (
    _FSROOT3ARGS,
    ResultCodec(Structure(FSINFO3resok, POST_OP_ATTR, *[uint32] * 7, uint64, NFSTIME3, uint32), POST_OP_ATTR),
)
PATHCONF3: Final = (
    _FSROOT3ARGS,
    ResultCodec(Structure(PATHCONF3resok, POST_OP_ATTR, uint32, uint32, *[boolean] * 4), POST_OP_ATTR),
)

# 21 COMMIT


class COMMIT3args(NamedTuple):
    """Section 3.3.21."""

    file: bytes
    offset: int
    count_: int


class COMMIT3resok(NamedTuple):
    """Section 3.3.21."""

    file_wcc: wcc_data
    verf: bytes


COMMIT3: Final = (
    Structure(COMMIT3args, NFS_FH3, uint64, uint32),
    ResultCodec(Structure(COMMIT3resok, WCC_DATA, FixedOpaque(NFS3_WRITEVERFSIZE)), WCC_DATA),
)
