"""What changes in the tree, as nodes and pages: `/`, scopes, datasets and following roots, out of snapshots.

In these folders a cookie belongs to the entry: a tag's creation number, a digest of a name. Listings run in the order
of cookies, so that a publish between two pages repeats and loses nothing. Pure over their arguments; any thread.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Final

from blake3 import blake3

from store.catalogue.head import TagState
from store.errors import StaleNode
from store.kinds import Kind
from store.vfs.live import View
from store.vfs.names import Folder, Names, digest64
from store.vfs.tree import NO_MANIFEST, NO_VERIFIER, Entry, Listing, Node, Place, Space

ROOT_PLACE: Final = Place(Space.ROOT, 0, 0, NO_MANIFEST, 0)


class ChangingFolders:
    """Makes their nodes."""

    def __init__(self, fsid: int) -> None:
        """Make nodes of the store `fsid`, which is part of their fileids."""
        self._fsid = fsid

    def root(self, names: Names) -> Node:
        return self._node(ROOT_PLACE, names.changed_ns, names.width)

    def scope(self, names: Names, scope: str) -> Node:
        """Return a scope's folder.

        Raises:
            StaleNode: no dataset lies in it any more.
        """
        if scope not in names.scopes:
            raise StaleNode(scope)
        return self._node(Place(Space.SCOPE, digest64(scope), 0, NO_MANIFEST, 0), names.scopes[scope], 0)

    def dataset(self, view: View) -> Node:
        return self._node(Place(Space.DATASET, view.digest, 0, NO_MANIFEST, 0), view.changed_ns, len(view.tags))

    def of(self, view: View, place: Place) -> Node:
        """Return what a place of space DATASET or FOLLOWING shows.

        Raises:
            StaleNode: its tag is gone.
        """
        return self.dataset(view) if place.space is Space.DATASET else self.follower(view, place.tag)

    def unread(self, names: Names, name: str) -> Node:
        """Return a dataset whose head is not read, or can't be, as a listing of its neighbours shows it."""
        return self._node(Place(Space.DATASET, digest64(name), 0, NO_MANIFEST, 0), names.modified_ns(name), 0)

    def follower(self, view: View, number: int) -> Node:
        """Return the following root of the tag with a creation number.

        Raises:
            StaleNode: it is gone.
        """
        tag = tag_of(view, number)
        return self._node(Place(Space.FOLLOWING, view.digest, tag.n, NO_MANIFEST, 0), tag.moved_ns, 0)

    def _node(self, place: Place, changed_ns: int, size: int) -> Node:
        identity = self._fsid.to_bytes(8, "big") + bytes([place.space]) + place.dataset.to_bytes(8, "big")
        fileid = int.from_bytes(blake3(identity + place.tag.to_bytes(4, "big")).digest(8), "big") or 1
        return Node(Kind.FOLDER, place, fileid, size, changed_ns, changed_ns, False, True)


def tag_of(view: View, number: int) -> TagState:
    """Return the tag with a creation number.

    Raises:
        StaleNode: it is gone.
    """
    tag = view.by_n.get(number)
    if tag is None:
        raise StaleNode(f"tag {number} of {view.name}")
    return tag


def tag_page(view: View, after: int, limit: int, nodes: Callable[[Sequence[TagState]], Iterable[Node]]) -> Listing:
    """Return a page of a dataset's tags.

    Args:
        view: the dataset.
        after: the last page's last cookie.
        limit: most entries.
        nodes: finds the nodes of tags, one each, in their order.
    """
    tags = [tag for n, tag in view.by_n.items() if n > after]
    shown = tags[:limit]
    entries = [Entry(tag.n, tag.tag.encode(), node) for tag, node in zip(shown, nodes(shown), strict=True)]
    return Listing(entries, len(tags) <= limit, NO_VERIFIER)


def name_page(
    cookies: Folder,
    after: int,
    limit: int,
    nodes: Callable[[Sequence[str]], Iterable[Node | None]],
) -> Listing:
    """Return a page of datasets and scopes.

    Args:
        cookies: what stands in the folder.
        after: the last page's last cookie.
        limit: most entries.
        nodes: finds the nodes of names, one each, in their order; `None` for what is gone.
    """
    at = bisect_right(cookies, after, key=itemgetter(0))
    entries: list[Entry] = []
    while at < len(cookies) and not entries:  # an empty page would be taken for the end
        shown = cookies[at : at + limit]
        at += limit
        for (cookie, name), node in zip(shown, nodes([name for _, name in shown]), strict=True):
            if node is not None:
                entries.append(Entry(cookie, name.rpartition("/")[2].encode(), node))
    return Listing(entries, at >= len(cookies), NO_VERIFIER)
