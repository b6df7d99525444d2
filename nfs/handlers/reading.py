"""READ (RFC 1813 section 3.3.6). Threads: pure over its view."""

from nfs.view import View
from nfs.wire.nfs3 import READ3args, READ3resok
from nfs.wire.nfs3types import RTMAX, Result, nfsstat3
from store.vfs.tree import Kind


def read3(args: READ3args, view: View) -> Result[READ3resok, bytes | None]:
    """Return data as the views that the tree gave.

    eof is decided by the bytes in hand, after count was cut to rtmax, so that a clamped reply never claims the end.
    """
    file = view.node(args.file)
    fattr3 = view.outward(file)[1]
    if file.kind is Kind.FOLDER:
        return Result(nfsstat3.NFS3ERR_ISDIR, resfail=fattr3)
    if file.kind is not Kind.FILE:
        return Result(nfsstat3.NFS3ERR_INVAL, resfail=fattr3)
    count = min(args.count_, RTMAX, max(0, file.size - args.offset))
    data = view.read(file, args.offset, count) if count else []
    got = sum(map(len, data))
    return Result(nfsstat3.NFS3_OK, READ3resok(fattr3, got, args.offset + got >= file.size, data))
