"""LOOKUP and READLINK (RFC 1813 sections 3.3.3 and 3.3.5). Threads: pure over their view."""

from nfs.view import View
from nfs.wire.nfs3 import LOOKUP3args, LOOKUP3resok, READLINK3args, READLINK3resok
from nfs.wire.nfs3types import NAME_MAX, PATH_MAX, Result, nfsstat3
from store.errors import PathMissing
from store.vfs.tree import Kind


def lookup3(args: LOOKUP3args, view: View) -> Result[LOOKUP3resok, bytes | None]:
    folder = view.node(args.what.dir)
    fattr3 = view.outward(folder)[1]
    name = args.what.name
    if folder.kind is not Kind.FOLDER:
        return Result(nfsstat3.NFS3ERR_NOTDIR, resfail=fattr3)
    if len(name) > NAME_MAX:
        return Result(nfsstat3.NFS3ERR_NAMETOOLONG, resfail=fattr3)
    if not name or b"/" in name or b"\0" in name:  # no names at all (section 3.2, items 1 and 5)
        return Result(nfsstat3.NFS3ERR_ACCES, resfail=fattr3)
    try:
        found = view.lookup(folder, name)
    except PathMissing:
        # With the folder's attributes, so that the client may remember the absence for as long as they stay the same.
        return Result(nfsstat3.NFS3ERR_NOENT, resfail=fattr3)
    return Result(nfsstat3.NFS3_OK, LOOKUP3resok(*view.outward(found), fattr3))


def readlink3(args: READLINK3args, view: View) -> Result[READLINK3resok, bytes | None]:
    link = view.node(args.symlink)
    fattr3 = view.outward(link)[1]
    if link.kind is not Kind.LINK:
        return Result(nfsstat3.NFS3ERR_INVAL, resfail=fattr3)
    if link.size > PATH_MAX:  # of no use to a client, and what a published state holds is no bound for a reply
        return Result(nfsstat3.NFS3ERR_NAMETOOLONG, resfail=fattr3)
    return Result(nfsstat3.NFS3_OK, READLINK3resok(fattr3, view.readlink(link)))
