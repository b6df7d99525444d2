"""wsgidav's view of the tree, read-only: resources and their live properties (RFC 4918 section 15).

wsgidav keeps paths as text. It is given *encoded* paths, `/a%20b/%FF`, and never decodes them, so that names of any
bytes pass through it; hrefs are those paths behind the mount's prefix. Links to files show as the files. Links to
folders are not listed (a link to a folder above would never end a client's walk) but can be asked for by name.
Threads: a resource lives for one request; the provider may be used from any thread.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes
from xml.etree.ElementTree import Element, SubElement, tostring

from wsgidav.dav_error import HTTP_FORBIDDEN, HTTP_NOT_FOUND, DAVError, get_http_status_string
from wsgidav.dav_provider import DAVCollection, DAVNonCollection, DAVProvider

from dav.files import validators
from dav.media import MediaTypes
from dav.resolve import Found, below, descend, resolve, split_scope
from dav.wire.conditions import http_date
from dav.wire.paths import quote_name
from dav.wire.propfind import Mode, Propfind
from store.errors import Missing
from store.vfs.tree import FileTree, Kind, Node

OC: Final = "http://owncloud.org/ns"
BATCH: Final = 1024  # responses of a multistatus sent as one piece, about half a megabyte
_FOUND: Final = "aetherfs.found"  # environ: what the request's path led to, to save a second walk
_HOST_ROOT: Final = "aetherfs.host_root"  # environ: asked for is what stands above the mount
END: Final = b"</D:multistatus>\n"
_PROPFIND: Final = "aetherfs.propfind"  # environ: the parsed body

Value = str | Element
Property = Callable[["Resource"], Value]


def prepare(environ: dict[str, Any], found: Found, wanted: Propfind, *, host_root: bool) -> None:
    """Leave in the environ what wsgidav has no words for."""
    environ[_FOUND], environ[_PROPFIND], environ[_HOST_ROOT] = found, wanted, host_root


class Resource:
    """What files and folders have in common: a node, where it is, its properties."""

    environ: dict[str, Any]  # this and `path` are set by wsgidav's classes
    path: str

    def __init__(self, tree: FileTree, found: Found, name: bytes, href: str, media: MediaTypes) -> None:
        self.tree, self.found, self.shown_name, self.href, self.media = tree, found, name, href, media

    @property
    def node(self) -> Node:
        """The node shown."""
        return self.found.node

    def get_href(self) -> str:
        """Return the href: encoded, absolute path; a collection's ends in a slash."""
        return self.href

    def get_properties(
        self, mode: str = "named", *, name_list: list[str] | None = None
    ) -> list[tuple[str, Value | DAVError | None]]:
        """Return (name, value) for each property asked for; a `DAVError` stands for one that is not here.

        Errors of the store are raised, not turned into properties.
        """
        wanted: Propfind = self.environ[_PROPFIND]
        own = FOLDER_PROPERTIES if self.node.kind is Kind.FOLDER else FILE_PROPERTIES
        if wanted.mode is Mode.PROPNAME:
            return [(name, None) for name in own]
        names = wanted.names
        if wanted.mode is Mode.ALLPROP:  # "all" are those of RFC 4918, and what `include` adds (section 9.1)
            rfc = tuple(name for name in own if name.startswith("{DAV:}"))
            names = (*rfc, *(name for name in wanted.names if name not in rfc))
        return [(name, own[name](self) if name in own else DAVError(HTTP_NOT_FOUND)) for name in names]

    def members(self) -> Iterator["Resource"]:
        """Yield what is inside: nothing, but for folders."""
        return iter(())

    def set_property_value(self, name: str, value: object, *, dry_run: bool = False) -> None:
        """Refuse: published states never change."""
        raise DAVError(HTTP_FORBIDDEN)


class File(Resource, DAVNonCollection):  # type: ignore[misc]  # wsgidav has no types
    """A file. Content is served before wsgidav is asked, so that wsgidav never opens one."""

    def __init__(self, environ: dict[str, Any], path: str, **fields: Any) -> None:
        DAVNonCollection.__init__(self, path, environ)
        Resource.__init__(self, **fields)

    def get_content_length(self) -> int:
        """Return the size in bytes."""
        return self.node.size

    def get_content_type(self) -> str:
        """Return the media type by name."""
        return self.media.of(self.shown_name)

    def get_content(self) -> None:
        """Refuse: see the class."""
        raise DAVError(HTTP_FORBIDDEN)

    def get_etag(self) -> str:
        """Return the entity tag without its quotes, as wsgidav wants it."""
        return validators(self.tree, self.node).etag.strip('"')

    def support_etag(self) -> bool:
        """Files have entity tags."""
        return True

    def support_ranges(self) -> bool:
        """Ranges are served."""
        return True


class Folder(Resource, DAVCollection):  # type: ignore[misc]  # wsgidav has no types
    """A folder, or (without names above it in the tree) a catalogue level."""

    def __init__(self, environ: dict[str, Any], path: str, **fields: Any) -> None:
        DAVCollection.__init__(self, path, environ)
        Resource.__init__(self, **fields)

    def get_member_names(self) -> list[str]:
        """Return the encoded names of what `get_member_list` returns."""
        return [member.path.rpartition("/")[2] for member in self.get_member_list()]

    def get_member_list(self) -> list[Resource]:
        """Return what `members` yields, at once; wsgidav asks for it where it must see all."""
        return list(self.members())

    def members(self) -> Iterator[Resource]:
        """Yield a resource for each entry that WebDAV can show, reading the listing page by page."""
        for name, node in _entries(self.tree, self.node):
            if node.kind is Kind.LINK:
                found = _file_behind(self.tree, self.found, name)
                if found is None:
                    continue
            else:
                found = below(self.found, node)
            yield self.provider.resource(self.environ, found, self.path.rstrip("/"), self.href, name)


class HostRoot(Folder):
    """The collection at the host's root: Explorer and Finder ask there first, whatever the address was."""

    def members(self) -> Iterator[Resource]:
        """Yield the mount point alone."""
        prefix = self.provider.prefix
        name = unquote_to_bytes(prefix[1:])
        yield Folder(
            self.environ, "/", tree=self.tree, found=self.found, name=name, href=prefix + "/", media=self.media
        )


class TreeProvider(DAVProvider):  # type: ignore[misc]  # wsgidav has no types
    """Resources over a tree, mounted at `prefix`."""

    def __init__(self, tree: FileTree, prefix: str, media: MediaTypes) -> None:
        """Serve `tree` below `prefix`: encoded, with a leading slash and none at its end."""
        DAVProvider.__init__(self)
        self.tree, self.prefix, self.media = tree, prefix, media
        self.verbose = 0

    def is_readonly(self) -> bool:
        """Say no: wsgidav then answers PROPPATCH as RFC 4918 section 9.2 has it, by 207 with the refusal inside.

        No other writing method reaches wsgidav.
        """
        return False

    def get_resource_inst(self, path: str, environ: dict[str, Any]) -> Resource:
        """Return the resource of an encoded path; `""` is the host's root.

        Raises:
            Missing: nothing is there.
        """
        names = [part for part in path.split("/") if part]
        found: Found | None = environ.get(_FOUND)
        if found is None:
            found = resolve(self.tree, split_scope(tuple(unquote_to_bytes(name) for name in names)))
        if environ.get(_HOST_ROOT):
            return HostRoot(environ, "/", tree=self.tree, found=found, name=b"", href="/", media=self.media)
        if not names:
            return Folder(environ, "/", tree=self.tree, found=found, name=b"", href=self.prefix + "/", media=self.media)
        above = "".join(f"/{name}" for name in names[:-1])
        return self.resource(environ, found, above, f"{self.prefix}{above}/", unquote_to_bytes(names[-1]))

    def resource(self, environ: dict[str, Any], found: Found, path: str, href: str, name: bytes) -> Resource:
        """Return the resource for an entry of the folder at `path` (encoded, no slash at its end), `href` (has one)."""
        encoded = quote_name(name)
        folder = found.node.kind is Kind.FOLDER
        href = f"{href}{encoded}/" if folder else f"{href}{encoded}"
        kind: type[Folder | File] = Folder if folder else File
        path = f"{path}/{encoded}"
        return kind(environ, path, tree=self.tree, found=found, name=name, href=href, media=self.media)


def multistatus(resources: Iterable[Resource]) -> Iterator[bytes]:
    """Yield a multistatus document (RFC 4918 section 13), `BATCH` responses at a time.

    wsgidav's own way is to hold the elements of a whole folder, several KiB for each entry.
    """
    yield b'<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:">'
    batch: list[bytes] = []
    for resource in resources:
        batch.append(tostring(_response(resource), encoding="utf-8", xml_declaration=False))
        if len(batch) == BATCH:
            yield b"".join(batch)
            batch = []
    yield b"".join([*batch, END])


def _response(resource: Resource) -> Element:
    """Return a resource's `response` (RFC 4918 section 14.24): one `propstat` for each status.

    wsgidav has a function for it, which takes lxml's elements alone wherever lxml is installed.
    """
    response = Element("{DAV:}response")
    SubElement(response, "{DAV:}href").text = resource.get_href()
    by_status: dict[str, Element] = {}
    for name, value in resource.get_properties():
        status = "200 OK" if not isinstance(value, DAVError) else get_http_status_string(value)
        if status not in by_status:
            by_status[status] = SubElement(SubElement(response, "{DAV:}propstat"), "{DAV:}prop")
            SubElement(response[-1], "{DAV:}status").text = f"HTTP/1.1 {status}"
        if isinstance(value, Element):
            by_status[status].append(value)
        else:
            SubElement(by_status[status], name).text = value if isinstance(value, str) else None
    return response


def _entries(tree: FileTree, folder: Node) -> Iterator[tuple[bytes, Node]]:
    after, page = 0, tree.children(folder)
    while True:
        for entry in page.entries:
            yield entry.name, entry.node
            after = entry.cookie
        if page.eof or not page.entries:
            return
        page = tree.children(folder, after=after, verifier=page.verifier)


def _file_behind(tree: FileTree, folder: Found, name: bytes) -> Found | None:
    try:
        found = descend(tree, folder, (name,))
    except Missing:
        return None
    return found if found.node.kind is Kind.FILE else None


# Live properties


def _display_name(resource: Resource) -> str:
    """Return the name as text that XML can hold; the href is exact, this is for people."""
    text = resource.shown_name.decode("utf-8", "replace")
    return "".join(c if c >= " " and c not in "\x7f\ufffe\uffff" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _resource_type(resource: Resource) -> Value:
    element = Element("{DAV:}resourcetype")
    if resource.node.kind is Kind.FOLDER:
        SubElement(element, "{DAV:}collection")
    return element


def _last_modified(resource: Resource) -> str:
    return http_date(resource.node.mtime_ns // 1_000_000_000)


def _checksums(resource: Resource) -> Element:
    """Return what rclone's vendor `owncloud` compares; it reads MD5 and passes over kinds that it does not know."""
    digests = resource.tree.digests(resource.node)
    element = Element(f"{{{OC}}}checksums")
    text = f"MD5:{digests.md5.hex()} SHA256:{digests.sha256.hex()}"
    SubElement(element, f"{{{OC}}}checksum").text = text
    return element


# Quota properties are left out on purpose: Finder stalls on connect where they are reported.
FOLDER_PROPERTIES: Final[Mapping[str, Property]] = {
    "{DAV:}resourcetype": _resource_type,
    "{DAV:}displayname": _display_name,
    "{DAV:}getlastmodified": _last_modified,
}
FILE_PROPERTIES: Final[Mapping[str, Property]] = {
    **FOLDER_PROPERTIES,
    "{DAV:}getcontentlength": lambda resource: str(resource.node.size),
    "{DAV:}getcontenttype": lambda resource: resource.media.of(resource.shown_name),
    "{DAV:}getetag": lambda resource: validators(resource.tree, resource.node).etag,
    f"{{{OC}}}checksums": _checksums,
}
