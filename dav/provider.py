"""wsgidav's view of the tree, read-only: the resources that PROPPATCH is asked of (RFC 4918 section 9.2).

wsgidav keeps paths as text. It is given *encoded* paths, `/a%20b/%FF`, and never decodes them, so that names of any
bytes pass through it; hrefs are those paths behind the mount's prefix. Content and properties of published states are
answered before it is asked (`dav.app`, `dav.multistatus`).
Threads: a resource lives for one request; the provider may be used from any thread.
"""

from typing import Any, Final

from wsgidav.dav_error import HTTP_FORBIDDEN, DAVError
from wsgidav.dav_provider import DAVCollection, DAVNonCollection, DAVProvider

from dav.resolve import Found
from store.vfs.tree import Kind

_SHOWN: Final = "aetherfs.shown_at"  # environ: what the request's path led to, and its href


def prepare(environ: dict[str, Any], found: Found, href: str) -> None:
    """Leave in the environ what a request is about."""
    environ[_SHOWN] = found, href


class Resource:
    """What files and folders have in common: where they are, and that nothing about them can be changed."""

    environ: dict[str, Any]  # set by wsgidav's classes

    def get_href(self) -> str:
        """Return the href: encoded, absolute path; a collection's ends in a slash."""
        href: str = self.environ[_SHOWN][1]
        return href

    def set_property_value(self, name: str, value: object, *, dry_run: bool = False) -> None:
        """Refuse: published states never change."""
        raise DAVError(HTTP_FORBIDDEN)


class File(Resource, DAVNonCollection):  # type: ignore[misc]  # wsgidav has no types
    """A file. Its content and its conditions are seen to before wsgidav is asked: it is told as little as it takes."""

    def get_content_length(self) -> int:
        """Return the size in bytes."""
        size: int = self.environ[_SHOWN][0].node.size
        return size

    def get_content(self) -> None:
        """Refuse: see the class."""
        raise DAVError(HTTP_FORBIDDEN)

    def get_etag(self) -> None:
        """Return none: see the class."""

    def support_etag(self) -> bool:
        """Say no: see the class."""
        return False


class Folder(Resource, DAVCollection):  # type: ignore[misc]  # wsgidav has no types
    """A folder, a level of the catalogue, or the host's root. Listings are made before wsgidav is asked."""

    def get_member_names(self) -> list[str]:
        """Return none: see the class."""
        return []


class TreeProvider(DAVProvider):  # type: ignore[misc]  # wsgidav has no types
    """Resources over a tree."""

    def __init__(self) -> None:
        DAVProvider.__init__(self)
        self.verbose = 0

    def is_readonly(self) -> bool:
        """Say no: wsgidav then answers PROPPATCH as RFC 4918 section 9.2 has it, by 207 with the refusal inside.

        No other writing method reaches wsgidav.
        """
        return False

    def get_resource_inst(self, path: str, environ: dict[str, Any]) -> Resource:
        """Return the resource that a request is about, which was found before."""
        found: Found = environ[_SHOWN][0]
        return (Folder if found.node.kind is Kind.FOLDER else File)(path, environ)
