"""A folder as JSON: pages of the tree's listing to bytes, a page at a time and never all at once.

`{"path", "href", "entries": [{"name", "kind", "size", "mtime", "href", ...}]}`. `href` is exact: percent-encoded, one
escape for each byte, whatever the bytes are. `name` and `path` are for people: bytes that are not UTF-8 stand in them
as U+FFFD. Files have `sha256` and `executable`; links have `target` (for people) and `target_quoted` (exact, encoded as
in hrefs); tags of a dataset have `tag` (`version` or `channel`) and `state` (the name that never changes). `mtime` is
ISO 8601 in UTC with nine digits of fraction; `size` of a folder is its number of entries. Threads: a body is used by
one thread; the rest by any.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from dav.wire.dates import date_time
from dav.wire.paths import quote_name
from store.vfs.tree import Entry, FileDigests, FileTree, Kind, Listing, Node, Space

JSON_PAGE: Final = 1024  # entries read from the tree at a time
KINDS: Final = {Kind.FILE: "file", Kind.FOLDER: "folder", Kind.LINK: "link"}


_spelt: Final = json.JSONEncoder().encode  # `dumps` looks at all its options each time


def as_text(name: bytes) -> str:
    """Return a name for people: what is not UTF-8 as U+FFFD."""
    return name.decode("utf-8", "replace")


def tag_kind(tree: FileTree, state: Node) -> str:
    """Tell what a state's root was reached by: `channel` or `version`."""
    return "version" if tree.following(state) == state else "channel"


def state_name(node: Node) -> bytes:
    """Return the name that stands for a node's state for ever, beside its dataset's tags."""
    return b"b3-" + node.place.manifest.hex().encode()


def iso_time(ns: int) -> str:
    """Spell ns since 1970 as ISO 8601 in UTC, to the nanosecond. The 64-bit range (1677 to 2262) fits."""
    seconds, fraction = divmod(ns, 1_000_000_000)
    return f"{date_time(seconds)[:-1]}.{fraction:09d}Z"


def json_body(tree: FileTree, folder: Node, href: str, path: str, first: Listing) -> Iterator[bytes]:
    """Yield the JSON document of a folder.

    Args:
        tree: where it is from.
        folder: a node of kind FOLDER.
        href: its exact, encoded URL path, ending in a slash.
        path: its path for people.
        first: the first page of its listing, read before the status was decided.
    """
    yield f'{{"path": {json.dumps(path)}, "href": {json.dumps(href)}, "entries": ['.encode()
    page, comma = first, ""
    while True:
        lines = []
        files = [entry.node for entry in page.entries if entry.node.kind is Kind.FILE]
        digests = iter(tree.digests_of(files, passing=page is not first))
        for entry in page.entries:
            lines.append(f"{comma}\n{_spelt(_described(tree, entry, href, digests))}")
            comma = ","
        yield "".join(lines).encode()
        if page.eof or not page.entries:
            break
        page = tree.children(
            folder, after=page.entries[-1].cookie, limit=JSON_PAGE, verifier=page.verifier, passing=True
        )
    yield b"\n]}\n"


def _described(tree: FileTree, entry: Entry, above: str, digests: Iterator[FileDigests]) -> dict[str, Any]:
    node = entry.node
    slash = "/" if node.kind is Kind.FOLDER else ""
    described: dict[str, Any] = {
        "name": as_text(entry.name),
        "kind": KINDS[node.kind],
        "size": node.size,
        "mtime": iso_time(node.mtime_ns),
        "href": f"{above}{quote_name(entry.name)}{slash}",
    }
    if node.kind is Kind.FILE:
        described |= {"executable": node.executable, "sha256": next(digests).sha256.hex()}
    elif node.kind is Kind.LINK:
        target = tree.readlink(node)
        quoted = "/".join(quote_name(part) for part in target.split(b"/"))
        described |= {"target": as_text(target), "target_quoted": quoted}
    elif node.place.space is Space.STATE and node.place.record == 0:
        described |= {"tag": tag_kind(tree, node), "state": state_name(node).decode()}
    return described
