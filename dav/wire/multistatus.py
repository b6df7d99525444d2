"""Multistatus documents as text (RFC 4918 section 13): namespaces, elements, and one template for many responses.

A response differs from the next one in its values alone, so that its text is a template (for `%`, with a `%s` for each
value) and a folder of thousands is as quick as filling that in. Every namespace is declared once, at the document's
root: an entry stays small, of which Explorer's redirector takes only so many bytes. Names of files become hrefs (exact,
percent-encoded) and display names (for people, what XML cannot hold replaced). Pure; any thread.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import quote_from_bytes

END: Final = b"</D:multistatus>\n"
FOUND: Final = "HTTP/1.1 200 OK"
MISSING: Final = "HTTP/1.1 404 Not Found"

# Explorer is known to read `D:`; the others are as their inventors write them.
_PREFIXES: Final = {"DAV:": "D", "http://owncloud.org/ns": "oc", "urn:schemas-microsoft-com:": "Z"}
_RESERVED: Final = {
    "http://www.w3.org/XML/1998/namespace": "xml",
    "": "",
}  # the one is declared always, the other never
_IN_ATTRIBUTES: Final = {ord(character): f"&#{ord(character)};" for character in "\t\n\r"}  # else they become spaces
_UNSPEAKABLE: Final = re.compile("[\0-\x1f\x7f\ufffe\uffff]")
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_SAFE: Final = "@/"  # as `dav.wire.paths` has it, and the slash that stands between the names


class Tags:
    """How the elements of one document are written."""

    def __init__(self, names: Iterable[str]) -> None:
        """Take the names of all elements besides those of `DAV:`, in Clark notation."""
        spaces = dict.fromkeys(split_name(name)[0] for name in names)
        self._prefixes: Mapping[str, str] = {"DAV:": "D", **_RESERVED} | {
            space: _PREFIXES.get(space, f"n{number}")
            for number, space in enumerate(spaces)
            if space not in ("DAV:", *_RESERVED)
        }

    def root(self, element: str = "multistatus") -> bytes:
        """Return the document up to what is in its root, an element of `DAV:`."""
        declared = [
            f' xmlns:{prefix}="{escape(space).translate(_IN_ATTRIBUTES)}"'
            for space, prefix in self._prefixes.items()
            if space not in _RESERVED
        ]
        return f'<?xml version="1.0" encoding="utf-8"?>\n<D:{element}{"".join(declared)}>'.encode()

    def tag(self, name: str) -> str:
        """Return the qualified name of an element."""
        space, local = split_name(name)
        prefix = self._prefixes[space]
        return f"{prefix}:{local}" if prefix else local

    def element(self, name: str, content: str) -> str:
        """Return an element."""
        tag = self.tag(name)
        return f"<{tag}>{content}</{tag}>" if content else f"<{tag}/>"


def split_name(name: str) -> tuple[str, str]:
    """Split Clark notation into namespace (empty: none) and local name. A namespace may hold braces itself."""
    space, mark, local = name.rpartition("}")
    return (space[1:], local) if mark else ("", name)


def response(href: str, propstats: Iterable[str]) -> str:
    """Return a `response`."""
    return f"<D:response><D:href>{href}</D:href>{''.join(propstats)}</D:response>"


def propstat(elements: Iterable[str], status: str) -> str:
    """Return a `propstat`."""
    return f"<D:propstat><D:prop>{''.join(elements)}</D:prop><D:status>{status}</D:status></D:propstat>"


def propertyupdate(names: Sequence[str]) -> bytes:
    """Return the plainest body of a PROPPATCH that names properties (section 14.19), without values."""
    tags = Tags(names)
    properties = "".join(tags.element(name, "") for name in names)
    return tags.root("propertyupdate") + f"<D:set><D:prop>{properties}</D:prop></D:set></D:propertyupdate>".encode()


def literal(text: str) -> str:
    """Return text as it has to stand in a template."""
    return text.replace("%", "%%")


def escape(text: str) -> str:
    """Return text as it stands in an element or a quoted attribute."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def hrefs(names: Sequence[bytes]) -> list[str]:
    """Return names as segments of an href. They are not empty and hold no slash, so that one call does for all."""
    return quote_from_bytes(b"/".join(names), safe=_SAFE).split("/") if names else []


def display_names(names: Sequence[bytes]) -> list[str]:
    """Return names as text in an element: for people, where the href is exact."""
    if not names:
        return []
    text = b"/".join(names).decode("utf-8", "replace")
    return escape(_UNSPEAKABLE.sub(_REPLACEMENT, text)).split("/")
