"""A folder as a page for people: no script, all text through jinja2's escaping, sorted by links.

Names that are not text, and control characters, show as escapes. Threads: any; it holds the compiled page alone.
"""

import base64
import hashlib
import re
from importlib import resources
from typing import Final, NamedTuple

from jinja2 import Environment, StrictUndefined

from dav.wire.dates import date_time
from dav.wire.paths import quote_name
from gateway.web.listing import KINDS, tag_kind
from gateway.web.order import SORTABLE, TAGS, Page
from store.errors import printable
from store.vfs.tree import Entry, FileTree, Kind, Node, Space

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_COLUMNS: Final = (("name", "Name"), ("size", "Size"), ("time", "Modified (UTC)"))


class Shown(NamedTuple):
    """The folder that a page is about."""

    folder: Node
    state: Node | None  # the root of the state that it lies in
    tag: str  # by which that was reached; empty outside states
    href: str  # the folder's exact URL path, ending in a slash
    pinned: str  # the same by the state's id, where `href` goes through a channel; else empty
    crumbs: list[tuple[str, str]]  # (name, href) of the folders from the top to this one


class Row(NamedTuple):
    """One line of the page."""

    name: str
    href: str
    kind: str
    tag: str
    state: str
    target: str
    size: str
    bytes: str
    mtime: str
    exact: str


class Column(NamedTuple):
    """One head of the table; its link sorts by it."""

    key: str
    text: str
    href: str
    sorted: str
    mark: str


class About(NamedTuple):
    """What is said of the state that a folder lies in."""

    kind: str
    text: str
    href: str
    link: str


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

    def render(self, tree: FileTree, shown: Shown, page: Page) -> bytes:
        """Return one page of a folder."""
        return self._template.render(
            title="/".join(name for name, _ in shown.crumbs[1:]) or shown.crumbs[0][0],
            crumbs=shown.crumbs,
            about=_about(shown),
            archive=shown.href if shown.state is not None else "",
            count=_count(page.total),
            note=_note(shown.folder, page),
            columns=[_column(key, text, shown.href, page) for key, text in _COLUMNS],
            rows=_rows(tree, shown, page),
            empty="This folder is empty." if shown.state else "Nothing was published here yet.",
            more=_next(shown.href, page),
        ).encode("utf-8", "replace")


def human_size(size: int) -> str:
    """Spell bytes for people: 1234567 is `1.2 MiB`."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{size} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def _about(shown: Shown) -> About | None:
    if shown.state is None:
        return None
    if shown.pinned:
        short = f"b3-{shown.state.place.manifest.hex()[:12]}"
        return About("channel", f"{shown.tag} may move; it now shows", shown.pinned, short)
    if shown.tag.startswith("b3-"):
        return About("state", "named by its content; never changes", "", "")
    return About("version", f"{shown.tag} never changes", "", "")


def _count(total: int | None) -> str:
    return "" if not total else "1 entry" if total == 1 else f"{total:,} entries"


def _note(folder: Node, page: Page) -> str:
    if page.sortable:
        return ""
    if folder.place.space is Space.STATE:
        return f"Folders of more than {SORTABLE:,} entries can be sorted by name alone."
    most = TAGS if folder.place.space is Space.DATASET else SORTABLE
    return f"More than {most:,} entries: not sorted."


def _column(key: str, text: str, href: str, page: Page) -> Column:
    if not (page.sortable or (key == "name" and page.key == "name")):
        return Column(key, text, "", "", "")
    if page.key != key:
        return Column(key, text, f"{href}?sort={key}&order=asc", "", "")
    other, now, mark = ("asc", "descending", "▼") if page.descending else ("desc", "ascending", "▲")
    return Column(key, text, f"{href}?sort={key}&order={other}", now, mark)


def _next(href: str, page: Page) -> str:
    if page.more is None:
        return ""
    order = f"sort={page.key}&order={'desc' if page.descending else 'asc'}&" if page.key else ""
    return f"{href}?{order}after={page.more}"


def _rows(tree: FileTree, shown: Shown, page: Page) -> list[Row]:
    if shown.folder.place.space is not Space.DATASET:
        return [_row(tree, entry, shown.href, "", "") for entry in page.entries]
    kinds = [tag_kind(tree, entry.node) for entry in page.entries]
    versions: dict[bytes, str] = {}
    for entry, kind in zip(page.entries, kinds, strict=True):
        if kind == "version":
            versions.setdefault(entry.node.place.manifest, printable(entry.name))
    rows = []
    for entry, kind in zip(page.entries, kinds, strict=True):
        same = versions.get(entry.node.place.manifest, "") if kind == "channel" else ""
        state = f"b3-{entry.node.place.manifest.hex()[:12]}" + (f" = {same}" if same else "")
        rows.append(_row(tree, entry, shown.href, kind, state))
    return rows


def _row(tree: FileTree, entry: Entry, above: str, tag: str, state: str) -> Row:
    node = entry.node
    slash = "/" if node.kind is Kind.FOLDER else ""
    is_file = node.kind is Kind.FILE
    when = date_time(node.mtime_ns // 1_000_000_000)
    return Row(
        name=printable(entry.name) + slash,
        href=f"{above}{quote_name(entry.name)}{slash}",
        kind=f"{KINDS[node.kind]} {tag}".strip(),
        tag=tag,
        state=state,
        target=printable(tree.readlink(node)) if node.kind is Kind.LINK else "",
        size=human_size(node.size) if is_file else "",
        bytes=f"{node.size:,}" if is_file and node.size >= 1024 else "",
        mtime=when[:16].replace("T", " "),
        exact=when,
    )
