"""MOUNT version 3 (RFC 1813 appendix I): its types and codecs. Threads: immutable values. No I/O."""

import enum
from collections.abc import Sequence
from typing import Final, NamedTuple

from nfs.wire.nfs3types import NFS_FH3
from nfs.wire.xdr import Array, Buffer, Chain, Opaque, Structure, uint32

MOUNT_PROGRAM: Final = 100005
MOUNT_V3: Final = 3
MNTPATHLEN: Final = 1024
MNTNAMLEN: Final = 255
MAX_LISTED: Final = 4096  # entries of one EXPORT or DUMP reply: some 100 KiB


class mountstat3(enum.IntEnum):
    """Appendix I, 5.1.2. The numbers that also stand in `nfsstat3` mean the same there."""

    MNT3_OK = 0
    MNT3ERR_PERM = 1
    MNT3ERR_NOENT = 2
    MNT3ERR_IO = 5
    MNT3ERR_ACCES = 13
    MNT3ERR_NOTDIR = 20
    MNT3ERR_INVAL = 22
    MNT3ERR_NAMETOOLONG = 63
    MNT3ERR_NOTSUPP = 10004
    MNT3ERR_SERVERFAULT = 10006


class mountres3_ok(NamedTuple):
    """A folder's handle and the RPC flavours that may be used with it."""

    fhandle: bytes
    auth_flavors: Sequence[int]


class mountres3(NamedTuple):
    """MNT's result: `mountinfo` is `None` unless the status is MNT3_OK."""

    fhs_status: mountstat3
    mountinfo: mountres3_ok | None = None


class mountbody(NamedTuple):
    """One mount, as DUMP lists it."""

    ml_hostname: bytes
    ml_directory: bytes


class exportnode(NamedTuple):
    """One export, as EXPORT lists it; no groups: anyone that may reach the server."""

    ex_dir: bytes
    ex_groups: Sequence[bytes]


class MountResultCodec:
    """The union on `mountstat3`."""

    _ok: Final = Structure(mountres3_ok, NFS_FH3, Array(uint32, 16))

    def encode(self, value: mountres3, out: list[Buffer]) -> None:
        out.append(value.fhs_status.to_bytes(4, "big"))
        if value.mountinfo is not None:
            self._ok.encode(value.mountinfo, out)

    def decode(self, buf: bytes, at: int) -> tuple[mountres3, int]:
        number, at = uint32.decode(buf, at)
        status = mountstat3(number) if number in _STATUS_NUMBERS else mountstat3.MNT3ERR_SERVERFAULT
        if status is not mountstat3.MNT3_OK:
            return mountres3(status), at
        info, at = self._ok.decode(buf, at)
        return mountres3(status, info), at


_STATUS_NUMBERS: Final = frozenset(map(int, mountstat3))
DIRPATH: Final = Opaque(MNTPATHLEN)
_NAME: Final = Opaque(MNTNAMLEN)
MOUNTRES3: Final = MountResultCodec()
MOUNTLIST: Final = Chain(Structure(mountbody, _NAME, DIRPATH), MAX_LISTED)
EXPORTS: Final = Chain(Structure(exportnode, DIRPATH, Chain(_NAME, MAX_LISTED)), MAX_LISTED)
