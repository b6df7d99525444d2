"""Every procedure that is answered, as data (RFC 1813 section 3, appendixes I and II).

Threads: constant.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from nfs.handlers import attributes, changing, listing, locks, mount, names, reading
from nfs.status import mount_status_of
from nfs.view import View
from nfs.wire import mount3, nfs3, nlm4
from nfs.wire.mount3 import DIRPATH, MOUNT_PROGRAM, MOUNT_V3, mountres3
from nfs.wire.nfs3types import NFS_PROGRAM, NFS_V3, Result, nfsstat3, wcc_data
from nfs.wire.nlm4 import NLM_PROGRAM, NLM_V4
from nfs.wire.xdr import Codec, void


class Procedure(NamedTuple):
    """One procedure: its name, codecs and handler, and how it says that it failed."""

    name: str
    args: Codec[Any]
    handler: Callable[[Any, View], Any]
    result: Codec[Any]
    failure: Callable[[nfsstat3], Any] | None  # None: it has no way to say so


class Program(NamedTuple):
    """One RPC program in the one version that is served."""

    version: int
    procedures: Mapping[int, Procedure]


Codecs = tuple[Codec[Any], Codec[Any]]


def _nfs(name: str, codecs: Codecs, handler: Callable[[Any, View], Any], resfail: object = None) -> Procedure:
    return Procedure(name, codecs[0], handler, codecs[1], lambda status: Result(status, resfail=resfail))


def _nlm(name: str, codecs: Codecs, handler: Callable[[Any, View], Any]) -> Procedure:
    return Procedure(name, codecs[0], handler, codecs[1], None)


_WCC: Final = wcc_data()

NFS_PROCEDURES: Final[Mapping[int, Procedure]] = {
    0: Procedure("NULL", void, mount.null, void, None),
    1: _nfs("GETATTR", nfs3.GETATTR3, attributes.getattr3),
    2: _nfs("SETATTR", nfs3.SETATTR3, changing.setattr3, _WCC),
    3: _nfs("LOOKUP", nfs3.LOOKUP3, names.lookup3),
    4: _nfs("ACCESS", nfs3.ACCESS3, attributes.access3),
    5: _nfs("READLINK", nfs3.READLINK3, names.readlink3),
    6: _nfs("READ", nfs3.READ3, reading.read3),
    7: _nfs("WRITE", nfs3.WRITE3, changing.write3, _WCC),
    8: _nfs("CREATE", nfs3.CREATE3, changing.create3, _WCC),
    9: _nfs("MKDIR", nfs3.MKDIR3, changing.create3, _WCC),
    10: _nfs("SYMLINK", nfs3.SYMLINK3, changing.create3, _WCC),
    11: _nfs("MKNOD", nfs3.MKNOD3, changing.create3, _WCC),
    12: _nfs("REMOVE", nfs3.REMOVE3, changing.remove3, _WCC),
    13: _nfs("RMDIR", nfs3.REMOVE3, changing.remove3, _WCC),
    14: _nfs("RENAME", nfs3.RENAME3, changing.rename3, nfs3.RENAME3wcc(_WCC, _WCC)),
    15: _nfs("LINK", nfs3.LINK3, changing.link3, nfs3.LINK3wcc(None, _WCC)),
    16: _nfs("READDIR", nfs3.READDIR3, listing.readdir3),
    17: _nfs("READDIRPLUS", nfs3.READDIRPLUS3, listing.readdirplus3),
    18: _nfs("FSSTAT", nfs3.FSSTAT3, attributes.fsstat3),
    19: _nfs("FSINFO", nfs3.FSINFO3, attributes.fsinfo3),
    20: _nfs("PATHCONF", nfs3.PATHCONF3, attributes.pathconf3),
    21: _nfs("COMMIT", nfs3.COMMIT3, changing.write3, _WCC),
}

MOUNT_PROCEDURES: Final[Mapping[int, Procedure]] = {
    0: Procedure("NULL", void, mount.null, void, None),
    1: Procedure("MNT", DIRPATH, mount.mnt, mount3.MOUNTRES3, lambda status: mountres3(mount_status_of(status))),
    2: Procedure("DUMP", void, mount.dump, mount3.MOUNTLIST, None),
    3: Procedure("UMNT", DIRPATH, mount.umnt, void, None),
    4: Procedure("UMNTALL", void, mount.umntall, void, None),
    5: Procedure("EXPORT", void, mount.export, mount3.EXPORTS, None),
}

NLM_PROCEDURES: Final[Mapping[int, Procedure]] = {  # 6 to 15, the asynchronous ones, are not served: see `locks`
    0: Procedure("NULL", void, mount.null, void, None),
    1: _nlm("TEST", nlm4.TEST4, locks.test4),
    2: _nlm("LOCK", nlm4.LOCK4, locks.lock4),
    3: _nlm("CANCEL", nlm4.CANCEL4, locks.unlock4),
    4: _nlm("UNLOCK", nlm4.UNLOCK4, locks.unlock4),
    5: _nlm("GRANTED", nlm4.GRANTED4, locks.granted4),
    20: _nlm("SHARE", nlm4.SHARE4, locks.share4),
    21: _nlm("UNSHARE", nlm4.SHARE4, locks.unshare4),
    22: _nlm("NM_LOCK", nlm4.LOCK4, locks.lock4),
    23: _nlm("FREE_ALL", nlm4.FREE_ALL4, locks.free_all),
}

PROGRAMS: Final[Mapping[int, Program]] = {
    NFS_PROGRAM: Program(NFS_V3, NFS_PROCEDURES),
    MOUNT_PROGRAM: Program(MOUNT_V3, MOUNT_PROCEDURES),
    NLM_PROGRAM: Program(NLM_V4, NLM_PROCEDURES),
}
