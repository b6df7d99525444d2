"""In which order a folder's page shows its entries, and how far it reads for that.

Sorting by size or time needs all entries at once: up to `SORTABLE` of them, `TAGS` in a dataset, whose every tag is a
state to be looked at. Larger folders show as they are listed, which in a state is by name, from either end; so no page
takes memory in proportion to a folder. Pure over the tree, which may block; any thread.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from store.vfs.tree import Entry, FileTree, Kind, Node, Space

PAGE: Final = 1000  # entries on one page; a browser gets slow over more
SORTABLE: Final = 10_000
TAGS: Final = 1_000
KEYS: Final = ("name", "size", "time")
_MAX_AFTER: Final = 2**63 - 8


class Wish(NamedTuple):
    """What a request asks for."""

    key: str = ""  # one of `KEYS`; empty: as suits the folder
    descending: bool = False
    after: int = 0  # what the page before said of its successor


class Page(NamedTuple):
    """Some entries of a folder."""

    entries: Sequence[Entry]
    key: str  # by which they are sorted; empty: an order of the folder's own
    descending: bool
    sortable: bool  # by size and time, too
    more: int | None  # `after` of the next page; `None`: there is none
    total: int | None  # entries of the folder; `None`: they were not counted


def read_wish(query: dict[str, str]) -> Wish:
    """Read `sort`, `order` and `after`; what is none of these, or has no meaning, is as if it were not there."""
    key, text = query.get("sort", ""), query.get("after", "")
    number = int(text) if text.isdecimal() and text.isascii() and len(text) < 20 else 0
    return Wish(key if key in KEYS else "", query.get("order") == "desc", min(number, _MAX_AFTER))


def page_of(tree: FileTree, folder: Node, wish: Wish) -> Page:
    """Return the page that was asked for, as near as the folder's size allows."""
    if folder.place.space is Space.STATE:
        sortable = folder.size <= SORTABLE
        if wish.key in ("", "name") or not sortable:
            descending = wish.descending and wish.key == "name"
            return (_from_the_end if descending else _as_listed)(tree, folder, wish, "name", sortable)
    else:
        sortable = True
    entries = _all(tree, folder, TAGS if folder.place.space is Space.DATASET else SORTABLE)
    if entries is None:
        return _as_listed(tree, folder, wish, "", False)
    if not wish.key and folder.place.space is Space.DATASET:
        # Channels, then versions, each the newest first: cookies of tags grow as they are made.
        entries.sort(key=lambda entry: (tree.following(entry.node) == entry.node, -entry.cookie))
        return _cut(entries, wish.after, "", False)
    key = wish.key or "name"
    entries.sort(key=lambda entry: entry.name)
    if key == "size":
        entries.sort(key=lambda entry: entry.node.size if entry.node.kind is Kind.FILE else -1)
    elif key == "time":
        entries.sort(key=lambda entry: entry.node.mtime_ns)
    if wish.descending:
        entries.reverse()
    return _cut(entries, wish.after, key, wish.descending)


def _as_listed(tree: FileTree, folder: Node, wish: Wish, key: str, sortable: bool) -> Page:
    listing = tree.children(folder, after=wish.after, limit=PAGE)
    more = None if listing.eof or not listing.entries else listing.entries[-1].cookie
    return Page(listing.entries, key, False, sortable, more, _counted(folder))


def _counted(folder: Node) -> int | None:
    return folder.size if folder.place.space is Space.STATE else None


def _from_the_end(tree: FileTree, folder: Node, wish: Wish, key: str, sortable: bool) -> Page:
    """Return a page of a state's folder backwards; cookies are positions there."""
    stop = max(0, folder.size - wish.after)
    start = max(0, stop - PAGE)
    entries = tree.children(folder, after=start, limit=stop - start).entries if stop else ()
    return Page(entries[::-1], key, True, sortable, wish.after + PAGE if start else None, folder.size)


def _all(tree: FileTree, folder: Node, most: int) -> list[Entry] | None:
    """Return all entries, or `None` where they are more than `most`."""
    listing = tree.children(folder, limit=most)
    return list(listing.entries) if listing.eof else None


def _cut(entries: list[Entry], after: int, key: str, descending: bool) -> Page:
    more = after + PAGE if len(entries) > after + PAGE else None
    return Page(entries[after : after + PAGE], key, descending, True, more, len(entries))
