"""From a node to a `fattr3` (RFC 1813 section 2.6). Threads: pure functions."""

from typing import Final

from nfs.wire.nfs3types import FATTR3, ftype3
from store.vfs.tree import Kind, Node

FOLDER_BYTES: Final = 4096  # least size of a folder: some programs take an empty size for an empty folder
ENTRY_BYTES: Final = 32  # what an entry adds to a folder's size
BLOCK_BYTES: Final = 512  # `used` counts whole ones, since st_blocks does

# A folder's link count says 1, not 2 + subfolders, which would have to be counted: GNU find trusts a count of 2 or
# more and stops looking for subfolders once it has seen that many less 2; 1 tells it that nothing can be concluded.
LINKS: Final = 1

_TYPES: Final = {Kind.FILE: ftype3.NF3REG, Kind.FOLDER: ftype3.NF3DIR, Kind.LINK: ftype3.NF3LNK}
_MODES: Final = {
    (kind, executable): mode
    for kind, modes in ((Kind.FILE, (0o444, 0o555)), (Kind.FOLDER, (0o555, 0o555)), (Kind.LINK, (0o777, 0o777)))
    for executable, mode in zip((False, True), modes, strict=True)
}
_NS: Final = 1_000_000_000


def fattr3_bytes(node: Node, *, fileid: int, fsid: int, uid: int, gid: int) -> bytes:
    """Return the 84 bytes of a node's attributes. All is owned by `uid` and `gid`, and nothing can be written."""
    size = shown_size(node)
    mode = _MODES[node.kind, node.executable]
    used = -(-size // BLOCK_BYTES) * BLOCK_BYTES
    mtime = nfstime(node.mtime_ns)
    ctime = mtime if node.ctime_ns == node.mtime_ns else nfstime(node.ctime_ns)
    return FATTR3.pack(_TYPES[node.kind], mode, LINKS, uid, gid, size, used, 0, 0, fsid, fileid, *mtime, *mtime, *ctime)


def small_fileid(fileid: int) -> int:
    """Return 31 bits of a fileid, for programs that were built for 32 bits: never 0, but not unique in large trees."""
    return (fileid ^ fileid >> 32) & 0x7FFFFFFF or 1


def shown_size(node: Node) -> int:
    """Return a node's size in bytes as clients see it."""
    return max(FOLDER_BYTES, node.size * ENTRY_BYTES) if node.kind is Kind.FOLDER else node.size


def nfstime(time_ns: int) -> tuple[int, int]:
    """Return seconds and nanoseconds; what NFSv3 cannot say (before 1970, after 2106) becomes the nearest it can."""
    if time_ns < 0:
        return 0, 0
    seconds, ns = divmod(time_ns, _NS)
    return (seconds, ns) if seconds < 1 << 32 else (0xFFFFFFFF, _NS - 1)
