"""The answer to a PROPFIND, sent while the folder is read: entries by whole pages, without an object for each.

What is asked for is made into a template once for files and once for folders (`dav.wire.multistatus`), and filled in
from columns (`dav.properties`). Links to files show as the files. Links to folders are not listed (a link to a folder
above would never end a client's walk) but can be asked for by name. Memory: one page at a time, however large the
folder. Threads: an answer belongs to one request; it may block as the tree may.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from dav.media import MediaTypes
from dav.properties import FEW, FILE_PROPERTIES, FOLDER_PROPERTIES, Column, Page
from dav.resolve import Found, descend
from dav.wire.multistatus import END, FOUND, MISSING, Tags, hrefs, literal, propstat, response
from dav.wire.propfind import Mode, Propfind
from store.errors import Missing
from store.vfs.tree import Entry, FileTree, Kind, Node

PAGE: Final = 256  # entries rendered together: more are no quicker, and take more memory
WHOLE: Final = 512 << 10  # bytes that are gathered before the first are sent: most answers are whole by then
PAGE_BYTES: Final = 256 << 10  # of them, about, where much is asked of each
LARGE: Final = 100_000  # entries: what listing more of them takes would push everything else out of memory
_ENTRY_BYTES: Final = 500  # of values, in an ordinary one

_PROPERTIES: Final = {Kind.FILE: FILE_PROPERTIES, Kind.FOLDER: FOLDER_PROPERTIES}
_SHOWN: Final = (Kind.FOLDER, Kind.FILE)


class Asked(NamedTuple):
    """What a client wants to know, and how."""

    propfind: Propfind
    minimal: bool = False  # nothing about properties that are not there (RFC 8144 section 2.1)
    few: bool = False  # of "all", those that Explorer's redirector uses


class Template(NamedTuple):
    """How a response looks: text for `%`, whose first value is the href, and the columns of the others."""

    text: str
    columns: Sequence[Column]


class Multistatus:
    """One answer."""

    def __init__(self, tree: FileTree, media: MediaTypes, asked: Asked) -> None:
        self._tree, self._media = tree, media
        names = _asked_names(asked)
        self._tags = Tags([name for kind in _SHOWN for name in names[kind]])
        self._templates = {kind: self._template(kind, names[kind], asked) for kind in _SHOWN}
        longest = max(len(template.text) for template in self._templates.values())
        self._limit = max(1, min(PAGE, PAGE_BYTES // (longest + _ENTRY_BYTES)))

    def begin(self) -> bytes:
        """Return the document up to its first response."""
        return self._tags.root()

    def response(self, page: Page, href: str) -> bytes:
        """Return the response of the one node of a page."""
        return "".join(self._filled(page, [href])).encode()

    def rest(self, begun: bytes, folder: Found, href: str) -> Iterator[bytes]:
        """Yield a document to its end, a page of the folder's entries at a time but for the first piece.

        Args:
            begun: what comes before them.
            folder: it and where it is.
            href: its own, with the slash at its end.
        """
        tree, passing, least = self._tree, folder.node.size > LARGE, WHOLE
        listing = tree.children(folder.node, limit=self._limit, passing=passing)
        while True:
            entries = listing.entries
            begun += "".join(self._rendered(folder, href, entries)).encode()
            if listing.eof or not entries:
                yield begun + END
                return
            if len(begun) >= least:
                yield begun
                begun, least = b"", 0
            listing = tree.children(
                folder.node, after=entries[-1].cookie, limit=self._limit, verifier=listing.verifier, passing=passing
            )

    def _rendered(self, folder: Found, above: str, entries: Sequence[Entry]) -> Iterator[str]:
        names = [entry.name for entry in entries]
        nodes: list[Node | None] = [entry.node for entry in entries]
        kinds = [entry.node.kind for entry in entries]
        if Kind.LINK in kinds:
            nodes = [self._behind(folder, entry) for entry in entries]
            names = [name for name, node in zip(names, nodes, strict=True) if node is not None]
        shown = [node for node in nodes if node is not None]
        kinds = [node.kind for node in shown]
        segments = hrefs(names)
        rendered = {}
        for kind in _SHOWN:
            of_kind = [number for number, other in enumerate(kinds) if other is kind]
            page = Page(
                self._tree,
                self._media,
                [names[n] for n in of_kind],
                [shown[n] for n in of_kind],
                passing=folder.node.size > LARGE,
            )
            slash = "/" if kind is Kind.FOLDER else ""
            rendered[kind] = self._filled(page, [f"{above}{segments[n]}{slash}" for n in of_kind])
        return (next(rendered[kind]) for kind in kinds)

    def _behind(self, folder: Found, entry: Entry) -> Node | None:
        """Return the node that an entry shows; `None`: WebDAV does not show it."""
        if entry.node.kind is not Kind.LINK:
            return entry.node
        try:
            node = descend(self._tree, folder, (entry.name,)).node
        except Missing:
            return None
        return node if node.kind is Kind.FILE else None

    def _filled(self, page: Page, addresses: Sequence[str]) -> Iterator[str]:
        """Return the responses of a page of one kind."""
        if not page.nodes:
            return iter(())
        template = self._templates[page.nodes[0].kind]
        values = zip(addresses, *(column(page) for column in template.columns), strict=True)
        return map(template.text.__mod__, values)

    def _template(self, kind: Kind, names: Sequence[str], asked: Asked) -> Template:
        tags, properties = self._tags, _PROPERTIES[kind]
        there, absent, columns = [], [], []
        for name in names:
            value = properties.get(name)
            if value is None:
                absent.append(tags.element(name, ""))
            elif asked.propfind.mode is Mode.PROPNAME:
                there.append(tags.element(name, ""))
            elif isinstance(value, str):
                there.append(tags.element(name, literal(value)))
            else:
                there.append(tags.element(name, "%s"))
                columns.append(value)
        found, missing = propstat(there, FOUND), propstat(absent, MISSING)
        if not absent or asked.minimal:  # a response has one `propstat` at least
            return Template(response("%s", (found,)), columns)
        return Template(response("%s", (found, missing) if there else (missing,)), columns)


def _asked_names(asked: Asked) -> dict[Kind, Sequence[str]]:
    """Return the properties to speak of, for each kind."""
    mode, names = asked.propfind
    if mode is Mode.NAMED:
        return dict.fromkeys(_SHOWN, names)
    if mode is Mode.PROPNAME:
        return {kind: tuple(_PROPERTIES[kind]) for kind in _SHOWN}
    # "All" are those of RFC 4918, and what `include` adds (section 9.1).
    every = {kind: [name for name in _PROPERTIES[kind] if name.startswith("{DAV:}")] for kind in _SHOWN}
    if asked.few:
        every = {kind: [name for name in every[kind] if name in FEW] for kind in _SHOWN}
    return {kind: (*every[kind], *(name for name in names if name not in every[kind])) for kind in _SHOWN}
