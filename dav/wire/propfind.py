"""Bodies of PROPFIND and PROPPATCH, and the Depth header (RFC 4918 sections 9.1, 9.2, 10.2). Pure; any thread.

The parser is expat with refusals inside it: document types (and so entities), encodings that it would have to ask
others about, depth and count of elements, the length of their names.
"""

import enum
from typing import Final, NamedTuple
from xml.parsers import expat

from dav.wire.errors import BadXml, DepthRefused

MAX_BODY: Final = 64 * 1024  # bytes; the longest real one seen (Finder, rclone, Explorer) is under 2 KiB
MAX_ELEMENTS: Final = 1024  # a request that names every property there is has under a hundred
MAX_DEPTH: Final = 32  # propertyupdate/set/prop/name is 4; a value may be XML of its own
MAX_NAME: Final = 1024  # characters of a name with its namespace, which is said once and counts for each element
# XML asks for the first two, expat knows these by itself.
ENCODINGS: Final = ("utf-8", "utf-16", "utf-16le", "utf-16be", "us-ascii", "iso-8859-1")


class Mode(enum.Enum):
    """What a PROPFIND wants to know."""

    ALLPROP = "allprop"
    PROPNAME = "propname"
    NAMED = "prop"


class Propfind(NamedTuple):
    """A parsed PROPFIND body."""

    mode: Mode
    names: tuple[str, ...]  # Clark notation; with ALLPROP, those of `include`


def parse_depth(value: str | None) -> int:
    """Return 0 or 1.

    Raises:
        DepthRefused: `infinity`, absent (which means infinity) or anything else.
    """
    if value is not None and value.strip() in ("0", "1"):
        return int(value)
    raise DepthRefused(value)


def parse_propfind(body: bytes) -> Propfind:
    """Read a PROPFIND body; an empty one asks for all properties.

    Raises:
        BadXml: not XML, or not a propfind.
    """
    if not body:
        return Propfind(Mode.ALLPROP, ())
    paths = _elements(body)
    if paths[0] != ("{DAV:}propfind",):
        raise BadXml(f"expected propfind, got {paths[0][0]}")
    modes = [
        Mode(name)
        for path in paths
        if len(path) == 2
        for name in [path[1][6:]]
        if path[1] in ("{DAV:}allprop", "{DAV:}propname", "{DAV:}prop")
    ]
    if len(modes) != 1:
        raise BadXml("a propfind holds exactly one of allprop, propname and prop")
    under = "{DAV:}prop" if modes[0] is Mode.NAMED else "{DAV:}include"
    names = (path[2] for path in paths if len(path) == 3 and path[1] == under)
    return Propfind(modes[0], tuple(dict.fromkeys(names)) if modes[0] is not Mode.PROPNAME else ())


def parse_proppatch(body: bytes) -> tuple[str, ...]:
    """Return the properties that a PROPPATCH body would set or remove, each once, in Clark notation.

    Raises:
        BadXml: not XML, or not a propertyupdate that names a property.
    """
    paths = _elements(body)
    names = tuple(
        dict.fromkeys(
            path[3]
            for path in paths
            if len(path) == 4 and path[1] in ("{DAV:}set", "{DAV:}remove") and path[2] == "{DAV:}prop"
        )
    )
    if paths[0] != ("{DAV:}propertyupdate",) or not names:
        raise BadXml("expected a propertyupdate that names properties")
    return names


def _elements(body: bytes) -> list[tuple[str, ...]]:
    """Return each element as the path of names (Clark notation) from the root, in document order."""
    found: list[tuple[str, ...]] = []
    stack: list[str] = []

    def start(name: str, _attributes: dict[str, str]) -> None:
        stack.append("{" + name if "}" in name else name)
        if len(stack) > MAX_DEPTH or len(found) == MAX_ELEMENTS:
            raise BadXml(f"more than {MAX_ELEMENTS} elements, or more than {MAX_DEPTH} inside one another")
        if len(name) > MAX_NAME:
            raise BadXml(f"a name of more than {MAX_NAME} characters")
        found.append(tuple(stack[:4]) if len(stack) <= 4 else ())

    def end(_name: str) -> None:
        stack.pop()

    def doctype(*_declaration: object) -> None:
        raise BadXml("document types are not accepted")

    def declaration(_version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ENCODINGS:
            raise BadXml(f"encoding {encoding[:40]!r}; send UTF-8 or UTF-16")

    parser = expat.ParserCreate(namespace_separator="}")
    parser.XmlDeclHandler = declaration
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise BadXml(str(error)) from None
    return found
