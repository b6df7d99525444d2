"""The live properties of files and folders (RFC 4918 section 15), a page of a folder at a time.

A property is a column: it takes a page and gives the text in its element for each node, so that what a page has in
common (digests, which lie together in the manifest; dates, of which many are alike) is done once. What is the same for
all files, or for all folders, is text.

Not here, on purpose: quota properties, over which Finder stalls; `lockdiscovery` and `supportedlock`, which servers of
class 2 have (RFC 4918 section 18.2); `{DAV:}location`, which makes Finder show things twice. Threads: pure over the
tree, and may block as it may.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final

from dav.media import MediaTypes
from dav.wire.conditions import strong_etag
from dav.wire.dates import date_time, http_date
from dav.wire.multistatus import display_names
from store.vfs.tree import FileDigests, FileTree, Node

OC: Final = "{http://owncloud.org/ns}"
MICROSOFT: Final = "{urn:schemas-microsoft-com:}"
APACHE: Final = "{http://apache.org/dav/props/}"
_NS: Final = 1_000_000_000


class Page:
    """Nodes of one kind under the names by which they are shown."""

    def __init__(
        self,
        tree: FileTree,
        media: MediaTypes,
        names: Sequence[bytes],
        nodes: Sequence[Node],
        *,
        digests: Sequence[FileDigests] | None = None,
        passing: bool = False,
    ) -> None:
        """Take nodes of `tree`, or (with their digests) made up ones; `passing` is as for `tree.children`."""
        self.media, self.names, self.nodes = media, names, nodes
        self._tree, self._digests, self._passing = tree, digests, passing

    @cached_property
    def digests(self) -> Sequence[FileDigests]:
        """The digests of the nodes, which are files."""
        if self._digests is not None:
            return self._digests
        return self._tree.digests_of(self.nodes, passing=self._passing)

    def dates(self, spell: Callable[[int], str]) -> list[str]:
        """Return the times of the nodes."""
        seconds = [node.mtime_ns // _NS for node in self.nodes]
        spelt = {second: spell(second) for second in set(seconds)}
        return [spelt[second] for second in seconds]


Column = Callable[[Page], Iterable[str]]


def _modified(page: Page) -> Iterable[str]:
    return page.dates(http_date)


def _created(page: Page) -> Iterable[str]:
    """Return when each was modified last: content that never changes was there from then on, and no later."""
    return page.dates(date_time)


def _etags(page: Page) -> Iterable[str]:
    return [strong_etag(digests.sha256) for digests in page.digests]


def _checksums(page: Page) -> Iterable[str]:
    """Return what rclone's vendor `owncloud` compares; it reads MD5 and passes over kinds that it does not know."""
    return [
        f"<oc:checksum>MD5:{digests.md5.hex()} SHA256:{digests.sha256.hex()}</oc:checksum>" for digests in page.digests
    ]


_COMMON: Final[Mapping[str, Column | str]] = {
    "{DAV:}displayname": lambda page: display_names(page.names),
    "{DAV:}getlastmodified": _modified,
    "{DAV:}creationdate": _created,
    f"{MICROSOFT}Win32CreationTime": _modified,
    f"{MICROSOFT}Win32LastModifiedTime": _modified,
    f"{MICROSOFT}Win32LastAccessTime": _modified,
}
FOLDER_PROPERTIES: Final[Mapping[str, Column | str]] = {
    "{DAV:}resourcetype": "<D:collection/>",
    **_COMMON,
    # FILE_ATTRIBUTE_DIRECTORY, and not _READONLY: that says of a folder that it has a desktop.ini to be looked into.
    f"{MICROSOFT}Win32FileAttributes": "00000010",
}
FILE_PROPERTIES: Final[Mapping[str, Column | str]] = {
    "{DAV:}resourcetype": "",
    **_COMMON,
    "{DAV:}getcontentlength": lambda page: [str(node.size) for node in page.nodes],
    "{DAV:}getcontenttype": lambda page: list(map(page.media.of, page.names)),
    "{DAV:}getetag": _etags,
    f"{OC}checksums": _checksums,
    f"{MICROSOFT}Win32FileAttributes": "00000001",  # FILE_ATTRIBUTE_READONLY
    f"{APACHE}executable": lambda page: ["T" if node.executable else "F" for node in page.nodes],
}

# What Explorer's redirector uses of all properties. Of a folder it takes 1 MB, and shows nothing where there is more.
FEW: Final = (
    "{DAV:}resourcetype",
    "{DAV:}getlastmodified",
    "{DAV:}creationdate",
    "{DAV:}getcontentlength",
)
