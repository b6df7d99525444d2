"""All procedures that would change something: refused, since the file system is read-only (NFS3ERR_ROFS).

Each answer carries what the client needs to keep its cache: attributes before and after, which are the same (RFC 1813
section 2.6, wcc_data). A handle that is bad or stale is told as that. Threads: pure over their view.
"""

from typing import Final

from nfs.attributes import nfstime, shown_size
from nfs.view import View
from nfs.wire import nfs3
from nfs.wire import nfs3types as t
from store.vfs.tree import Node

ROFS: Final = t.nfsstat3.NFS3ERR_ROFS
NewNode = nfs3.CREATE3args | nfs3.MKDIR3args | nfs3.SYMLINK3args | nfs3.MKNOD3args


def setattr3(args: nfs3.SETATTR3args, view: View) -> t.Result[t.wcc_data, t.wcc_data]:
    return t.Result(ROFS, resfail=_unchanged(args.object, view))


def write3(args: nfs3.WRITE3args | nfs3.COMMIT3args, view: View) -> t.Result[nfs3.WRITE3resok, t.wcc_data]:
    """Refuse WRITE and COMMIT."""
    return t.Result(ROFS, resfail=_unchanged(args.file, view))


def create3(args: NewNode, view: View) -> t.Result[nfs3.NEWNODE3resok, t.wcc_data]:
    """Refuse CREATE, MKDIR, SYMLINK and MKNOD."""
    return t.Result(ROFS, resfail=_unchanged(args.where.dir, view))


def remove3(args: nfs3.REMOVE3args, view: View) -> t.Result[t.wcc_data, t.wcc_data]:
    """Refuse REMOVE and RMDIR."""
    return t.Result(ROFS, resfail=_unchanged(args.object.dir, view))


def rename3(args: nfs3.RENAME3args, view: View) -> t.Result[nfs3.RENAME3wcc, nfs3.RENAME3wcc]:
    return t.Result(ROFS, resfail=nfs3.RENAME3wcc(_unchanged(args.from_.dir, view), _unchanged(args.to.dir, view)))


def link3(args: nfs3.LINK3args, view: View) -> t.Result[nfs3.LINK3wcc, nfs3.LINK3wcc]:
    file_attributes = view.outward(view.node(args.file))[1]
    return t.Result(ROFS, resfail=nfs3.LINK3wcc(file_attributes, _unchanged(args.link.dir, view)))


def _unchanged(fh: bytes, view: View) -> t.wcc_data:
    node = view.node(fh)
    return t.wcc_data(_before(node), view.outward(node)[1])


def _before(node: Node) -> t.wcc_attr:
    mtime, ctime = t.nfstime3(*nfstime(node.mtime_ns)), t.nfstime3(*nfstime(node.ctime_ns))
    return t.wcc_attr(shown_size(node), mtime, ctime)
