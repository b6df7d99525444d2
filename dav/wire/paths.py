"""Request targets and hrefs: percent-encoded text to names as bytes, and back, without losing one byte.

A name may hold any byte but `/` and NUL, so nothing is decoded as text here, and the target is split at `/` before its
escapes are undone (RFC 3986 section 2.4): `%2F` stays inside a segment. Pure functions; any thread.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

# `@` begins scopes and is legal in a segment (RFC 3986 section 3.3). All other reserved bytes are escaped: clients
# differ in what they do with a bare `&`, `'` or `;` in XML and HTML.
_SAFE = "@"
_NO_PCHAR = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$&'()*+,;=:@%-]")


class RequestPath(NamedTuple):
    """A request target's path."""

    names: tuple[bytes, ...]  # empty segments left out
    slash: bool  # it ended in "/"


def split_target(target: str) -> RequestPath:
    """Split a request target into decoded names (RFC 9112 section 3.2).

    Args:
        target: origin form, absolute form or `*`, as sent; characters over U+00FF do not occur (latin-1, as WSGI has
        it).

    Returns:
        The names as bytes. Escapes that are none (`%zz`) are kept as they stand. `//` counts as `/`.
    """
    path = _path(target)
    raw = path.encode("latin-1").split(b"/")
    return RequestPath(tuple(unquote_to_bytes(part) for part in raw if part), path.endswith("/"))


def spelt_path(target: str) -> str:
    """Return the path of a target as its client spells it: `/a/b`, and for the root nothing.

    Who asked for `%40x`, or for `@x`, is answered so: neon (cadaver, davfs2) compares what it asked for with what an
    href says, character by character. What no path may hold (RFC 3986 section 3.3) is escaped.
    """
    return "".join("/" + _NO_PCHAR.sub(_escaped, part) for part in _path(target).split("/") if part)


def _path(target: str) -> str:
    path = target.split("?", 1)[0].split("#", 1)[0]
    scheme, mark, rest = path.partition("://")
    if mark and scheme.isalnum():
        path = "/" + rest.partition("/")[2]
    return "/" if path == "*" else path


def _escaped(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"


def quote_name(name: bytes) -> str:
    """Percent-encode one name for a URL or an href: ASCII alone, no reserved character but `@`."""
    return quote(name, safe=_SAFE)


def quote_path(names: Iterable[bytes]) -> str:
    """Return `/a/b` for names; the empty string for none."""
    return "".join("/" + quote_name(name) for name in names)
