"""A folder as JSON or as a page: pages of the tree's listing to bytes, a page at a time and never all at once.

JSON: `{"path", "href", "entries": [{"name", "kind", "size", "mtime", "href", ...}]}`. `href` is exact:
percent-encoded, one escape for each byte, whatever the bytes are. `name` and `path` are for people: bytes that are not
UTF-8 stand in them as U+FFFD. Files have `sha256` and `executable`; links have `target` (for people) and
`target_quoted` (exact, encoded as in hrefs). `mtime` is ISO 8601 in UTC with nine digits of fraction; `size` of a
folder is its number of entries. The page has no script, and all text passes jinja2's escaping. Threads: a body is used
by one thread; the rest by any.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any, Final, NamedTuple

from jinja2 import Environment, StrictUndefined

from dav.wire.paths import quote_name
from store.errors import printable
from store.vfs.tree import Entry, FileTree, Kind, Listing, Node

JSON_PAGE: Final = 1024  # entries read from the tree at a time
HTML_PAGE: Final = 1000  # entries on one page; a browser gets slow over more
_KINDS: Final = {Kind.FILE: "file", Kind.FOLDER: "folder", Kind.LINK: "link"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


class Row(NamedTuple):
    """One line of the page."""

    name: str
    href: str
    kind: str
    target: str
    size: str
    mtime: str


def as_text(name: bytes) -> str:
    """Return a name for people: what is not UTF-8 as U+FFFD."""
    return name.decode("utf-8", "replace")


def iso_time(ns: int) -> str:
    """Spell ns since 1970 as ISO 8601 in UTC, to the nanosecond. The 64-bit range (1677 to 2262) fits."""
    seconds, fraction = divmod(ns, 1_000_000_000)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


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
        for entry in page.entries:
            lines.append(f"{comma}\n{json.dumps(_described(tree, entry, href))}")
            comma = ","
        yield "".join(lines).encode()
        if page.eof or not page.entries:
            break
        page = tree.children(folder, after=page.entries[-1].cookie, limit=JSON_PAGE, verifier=page.verifier)
    yield b"\n]}\n"


def _described(tree: FileTree, entry: Entry, above: str) -> dict[str, Any]:
    node = entry.node
    slash = "/" if node.kind is Kind.FOLDER else ""
    described: dict[str, Any] = {
        "name": as_text(entry.name),
        "kind": _KINDS[node.kind],
        "size": node.size,
        "mtime": iso_time(node.mtime_ns),
        "href": f"{above}{quote_name(entry.name)}{slash}",
    }
    if node.kind is Kind.FILE:
        described |= {"executable": node.executable, "sha256": tree.digests(node).sha256.hex()}
    elif node.kind is Kind.LINK:
        target = tree.readlink(node)
        quoted = "/".join(quote_name(part) for part in target.split(b"/"))
        described |= {"target": as_text(target), "target_quoted": quoted}
    return described


class FolderPages:
    """The page, compiled once."""

    def __init__(self) -> None:
        source = resources.files("gateway.web").joinpath("folder.html").read_text("utf-8")
        self._template = Environment(autoescape=True, undefined=StrictUndefined).from_string(source)
        style = re.search(r"<style>(.*?)</style>", source, re.DOTALL)
        digest = hashlib.sha256(style[1].encode() if style else b"").digest()
        self.policy: Final = (
            f"default-src 'none'; style-src 'sha256-{base64.b64encode(digest).decode()}'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def render(self, tree: FileTree, crumbs: list[tuple[str, str]], href: str, page: Listing) -> bytes:
        """Return one page of a folder.

        Args:
            tree: where it is from.
            crumbs: (name, href) of the folders from the top to this one.
            href: its own URL path, ending in a slash.
            page: up to `HTML_PAGE` entries.
        """
        rows = [_row(tree, entry, href) for entry in page.entries]
        more = "" if page.eof or not page.entries else f"{href}?after={page.entries[-1].cookie}"
        return self._template.render(crumbs=crumbs, rows=rows, more=more).encode("utf-8", "replace")


def _row(tree: FileTree, entry: Entry, above: str) -> Row:
    node = entry.node
    slash = "/" if node.kind is Kind.FOLDER else ""
    return Row(
        name=printable(entry.name) + slash,
        href=f"{above}{quote_name(entry.name)}{slash}",
        kind=_KINDS[node.kind],
        target=printable(tree.readlink(node)) if node.kind is Kind.LINK else "",
        size=human_size(node.size) if node.kind is Kind.FILE else "",
        mtime=f"{_EPOCH + timedelta(seconds=node.mtime_ns // 1_000_000_000):%Y-%m-%d %H:%M}",
    )


def human_size(size: int) -> str:
    """Spell bytes for people: 1234567 is `1.2 MiB`."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{size} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"
