"""From the names of a request to a node of the tree: scopes written with `%2F`, and symbolic links.

A link is followed only inside the state that holds it: never to an absolute target, nor above the state's root. One
that leads out, to nothing, or in circles does not exist for HTTP clients. Threads: pure over the tree; may block as
the tree may.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from store.errors import NotAFolder, PathMissing
from store.vfs.tree import FileTree, Kind, Node, Space

MAX_LINKS: Final = 40  # as Linux has it (path_resolution(7))


class Found(NamedTuple):
    """Where names lead: the nodes from the root of the tree down to what was found, links already followed."""

    chain: tuple[Node, ...]
    floor: int  # index in `chain` of the state's root; 0 outside states

    @property
    def node(self) -> Node:
        """What was found; never a link."""
        return self.chain[-1]

    @property
    def state(self) -> Node | None:
        """The root of the state that it lies in."""
        return self.chain[self.floor] if self.floor else None


def split_scope(names: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Spell a dataset that came as one segment, `@scope%2Fname`, as the two names that it has in the tree."""
    if names and names[0].startswith(b"@") and names[0].count(b"/") == 1:
        scope, _, name = names[0].partition(b"/")
        return (scope, name, *names[1:])
    return names


def start(tree: FileTree) -> Found:
    """Return the root of the tree."""
    return Found((tree.root(),), 0)


def resolve(tree: FileTree, names: Iterable[bytes]) -> Found:
    """Find what names lead to from the root; see `descend`."""
    return descend(tree, start(tree), names)


def descend(tree: FileTree, found: Found, names: Iterable[bytes]) -> Found:
    """Go on from a folder along names, following links.

    Raises:
        PathMissing: no such entry, a name that cannot be one, or a link that cannot be followed.
        NotAFolder: names go on below a file.
    """
    chain, floor, links = list(found.chain), found.floor, 0
    pending = [(name, False) for name in names][::-1]  # the next name last
    while pending:
        name, from_link = pending.pop()
        if from_link and name in (b"", b"."):
            if chain[-1].kind is not Kind.FOLDER:
                raise NotAFolder(name)  # as systems have it: a slash at the end asks for a folder
            continue
        if from_link and name == b"..":
            _climb(chain, floor, name)
            continue
        if not name or b"/" in name or b"\0" in name or name in (b".", b".."):
            raise PathMissing(name)
        node = tree.lookup(chain[-1], name)
        if node.kind is not Kind.LINK:
            chain.append(node)
            floor = floor or _floor(chain)
            continue
        links += 1
        target = tree.readlink(node)
        if links > MAX_LINKS or not target or target.startswith(b"/"):
            raise PathMissing(name)
        pending.extend((part, True) for part in reversed(target.split(b"/")))
    return Found(tuple(chain), floor)


def below(folder: Found, node: Node) -> Found:
    """Return the place of a folder's entry that is no link, without looking it up."""
    chain = (*folder.chain, node)
    return Found(chain, folder.floor or _floor(chain))


def _floor(chain: Sequence[Node]) -> int:
    """Return the last index when what stands there is in a state, that is: when it is the state's root."""
    return len(chain) - 1 if chain[-1].place.space is Space.STATE else 0


def _climb(chain: list[Node], floor: int, name: bytes) -> None:
    if chain[-1].kind is not Kind.FOLDER:
        raise NotAFolder(name)
    if len(chain) - 1 <= floor:
        raise PathMissing(name)
    chain.pop()
