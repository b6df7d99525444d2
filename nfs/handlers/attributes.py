"""GETATTR, ACCESS, FSSTAT, FSINFO, PATHCONF (RFC 1813 sections 3.3.1, 3.3.4, 3.3.18-20).

Threads: pure over their view.
"""

from typing import Final

from nfs.view import View
from nfs.wire import nfs3types as t
from nfs.wire.nfs3 import (
    ACCESS3args,
    ACCESS3resok,
    FSINFO3resok,
    FSROOT3args,
    FSSTAT3resok,
    GETATTR3args,
    PATHCONF3resok,
)
from store.vfs.tree import Kind, Node

OK: Final = t.nfsstat3.NFS3_OK
MULTIPLE: Final = 4096  # suggested multiple of transfer sizes: a page


def getattr3(args: GETATTR3args, view: View) -> t.Result[bytes, None]:
    return t.Result(OK, view.outward(view.node(args.object))[1])


def access3(args: ACCESS3args, view: View) -> t.Result[ACCESS3resok, bytes | None]:
    node = view.node(args.object)
    return t.Result(OK, ACCESS3resok(view.outward(node)[1], args.access & granted(node)))


def granted(node: Node) -> int:
    """Return every right that anyone may have; EXECUTE has no meaning for folders, LOOKUP takes its place."""
    if node.kind is Kind.FOLDER:
        return t.ACCESS3_READ | t.ACCESS3_LOOKUP
    return t.ACCESS3_READ | t.ACCESS3_EXECUTE if node.executable else t.ACCESS3_READ


def fsstat3(args: FSROOT3args, view: View) -> t.Result[FSSTAT3resok, bytes | None]:
    node = view.node(args.fsroot)
    usage = view.usage(node)
    fattr3 = view.outward(node)[1]
    return t.Result(OK, FSSTAT3resok(fattr3, usage.size, 0, 0, usage.files, 0, 0, 0))


def fsinfo3(args: FSROOT3args, view: View) -> t.Result[FSINFO3resok, bytes | None]:
    fattr3 = view.outward(view.node(args.fsroot))[1]
    return t.Result(
        OK,
        FSINFO3resok(
            obj_attributes=fattr3,
            rtmax=t.RTMAX,
            rtpref=t.RTMAX,
            rtmult=MULTIPLE,
            wtmax=t.WTMAX,
            wtpref=t.WTMAX,
            wtmult=MULTIPLE,
            dtpref=t.DTPREF,
            maxfilesize=(1 << 63) - 1,
            time_delta=t.nfstime3(0, 1),
            properties=t.FSF3_SYMLINK | t.FSF3_HOMOGENEOUS,
        ),
    )


def pathconf3(args: FSROOT3args, view: View) -> t.Result[PATHCONF3resok, bytes | None]:
    fattr3 = view.outward(view.node(args.fsroot))[1]
    return t.Result(
        OK,
        PATHCONF3resok(
            obj_attributes=fattr3,
            linkmax=1,
            name_max=t.NAME_MAX,
            no_trunc=True,
            chown_restricted=True,
            case_insensitive=False,
            case_preserving=True,
        ),
    )
