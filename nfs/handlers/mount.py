"""MOUNT's procedures (RFC 1813 appendix I). Threads: they walk the tree, so they run where blocking is allowed."""

from ipaddress import IPv6Address, ip_address
from typing import Final

from nfs.grants import GrantRefused
from nfs.view import View
from nfs.wire.mount3 import MAX_LISTED, exportnode, mountbody, mountres3, mountres3_ok, mountstat3
from nfs.wire.nfs3types import NAME_MAX
from nfs.wire.rpc import AUTH_NONE, AUTH_UNIX
from store.errors import NotAFolder, PathMissing
from store.vfs.tree import FileTree, Kind, Node, Space

AUTH_FLAVORS: Final = (AUTH_UNIX, AUTH_NONE)  # BSD clients do not mount without AUTH_UNIX, and take the first they know
TOKENS: Final = b"@token"
_BY_TOKEN: Final = b"/%s/" % TOKENS  # how paths with a token are listed: by its name
PAGE: Final = 1024  # entries asked of the tree at a time


def null(_args: None, _view: View) -> None:
    """Do nothing: clients see that the server lives."""


def mnt(path: bytes, view: View) -> mountres3:
    """Return the handle of a folder, as the root of an export of its own; a channel's is of its following root."""
    if any(len(part) > NAME_MAX for part in path.split(b"/")):
        return mountres3(mountstat3.MNT3ERR_NAMETOOLONG)
    token, below = token_in(path)
    share = view.by_token(token) if token is not None else view.root()
    root = share.tree.following(walk(share.tree, below))
    handle = view.export.outward(root, view.export.mounted(root.place), share.grant)[0]
    shown = path if token is None else b"%s%s%s" % (_BY_TOKEN, share.name.encode(), below)
    view.export.mounts.add(view.host, path, shown)
    view.mounted(share, shown)
    return mountres3(mountstat3.MNT3_OK, mountres3_ok(handle, AUTH_FLAVORS))


def token_in(path: bytes) -> tuple[str | None, bytes]:
    """Return the token in a path `/@token/<TOKEN>/...`, and the path below it; `None` and the path if there is none.

    What begins so is never looked for in the tree, so that no token comes to stand in an error that names what is
    missing. Slashes may be doubled, as elsewhere.
    """
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if not parts or parts[0] != TOKENS:
        return None, path
    below = b"".join(b"/" + part for part in parts[2:])
    return b"".join(parts[1:2]).decode("ascii", "replace"), below


def walk(tree: FileTree, path: bytes) -> Node:
    """Find a folder by its path from the root; slashes may be doubled, lead or trail.

    Raises:
        PathMissing: no such folder, or a part is `..`.  NotAFolder: it is a file or link.
    """
    node = tree.root()
    for part in path.split(b"/"):
        if part in (b"", b"."):
            continue
        if part == b".." or b"\0" in part:
            raise PathMissing(part)
        node = tree.lookup(node, part)
        if node.kind is not Kind.FOLDER:
            raise NotAFolder(part)
    return node


def dump(_args: None, view: View) -> list[mountbody]:
    """Return who mounted what, as far as is known: from this machine everybody's, from elsewhere that of the address.

    Nothing is named that who asks may not see by itself, since its name alone would tell that it is there; many may
    have one address. Of what was mounted there by a token no more is told then than that.
    """
    here = _this_machine(view.host)
    shown: dict[mountbody, None] = {}
    for mount in view.export.mounts.listed():
        own = mount.ml_hostname == view.host
        if not own and not here:
            continue
        if _is_shown(mount.ml_directory, view):
            shown[mount] = None
        elif own and mount.ml_directory.startswith(_BY_TOKEN):
            name = mount.ml_directory[len(_BY_TOKEN) :].partition(b"/")[0]
            shown[mountbody(mount.ml_hostname, _BY_TOKEN + name)] = None
    return [*shown]


def _is_shown(path: bytes, view: View) -> bool:
    token, below = token_in(path)
    try:
        walk(view.root().tree, path if token is None else below)
    except (GrantRefused, PathMissing, NotAFolder):
        return False
    return True


def _this_machine(host: bytes) -> bool:
    try:
        address = ip_address(host.decode())
    except ValueError:  # a local socket has no address
        return True
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def umnt(path: bytes, view: View) -> None:
    """Take note that the caller no longer mounts a path."""
    view.export.mounts.remove(view.host, path)


def umntall(_args: None, view: View) -> None:
    """Take note that the caller no longer mounts anything."""
    view.export.mounts.remove(view.host, None)


def export(_args: None, view: View) -> list[exportnode]:
    """Return `/` and the datasets, the first `MAX_LISTED` of them; every folder below can be mounted besides.

    They are those that the peer sees by itself. Nobody is told of paths with tokens.
    """
    try:
        tree = view.root().tree
    except GrantRefused:
        return []
    paths = [b"/"]
    _add_datasets(tree, tree.root(), b"/", paths)
    return [exportnode(path, ()) for path in paths]


def _add_datasets(tree: FileTree, folder: Node, prefix: bytes, paths: list[bytes]) -> None:
    after = 0
    while True:
        listing = tree.children(folder, after=after, limit=PAGE)
        for entry in listing.entries:
            if len(paths) >= MAX_LISTED:
                return
            if entry.node.place.space is Space.SCOPE:
                _add_datasets(tree, entry.node, prefix + entry.name + b"/", paths)
            else:
                paths.append(prefix + entry.name)
            after = entry.cookie
        if listing.eof:
            return
