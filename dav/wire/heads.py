"""Request heads of HTTP/1.1 (RFC 9112) that can mean one thing alone: a strict subset, for answers without a thread.

What is not plainly of this subset is `None`, and left to a parser that knows all of HTTP: other methods and versions,
absolute targets, folded or repeated fields, bytes over 0x7F, bodies of unknown length, `Expect`, `Upgrade`, and all but
keep-alive. Pure functions; any thread.
"""

import re
from typing import Final, NamedTuple

from dav.wire.propfind import MAX_BODY

# Two slashes could begin an authority, of which cheroot has an opinion.
_LINE: Final = re.compile(rb"(GET|HEAD|OPTIONS|PROPFIND) (/(?!/)[!\"$-~]*) HTTP/1\.1\r\n")
# Possessive, for spaces that are tried in every way take seconds.
_FIELD: Final = re.compile(rb"([A-Za-z0-9!#$%&'*+.^`|~-]++):[ \t]*+((?:[!-~](?:[ \t!-~]*[!-~])?)?)[ \t]*+")
_RANGE: Final = re.compile(rb"\r\nRange: bytes=([0-9]{0,15})-([0-9]{0,15})(?=\r\n|\Z)", re.IGNORECASE)
# A host and a port, either of which may be missing (RFC 9110 section 7.2, RFC 3986 section 3.2.2).
HOST: Final = re.compile(
    rb"(?:\[[0-9A-Za-z.:%~_-]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*+)(?::[0-9]*+)?[ \t]*+"
)
_ELSEWHERE: Final = frozenset(
    ("transfer-encoding", "te", "trailer", "expect", "upgrade", "http2-settings", "connection")
)

# Fields that change nothing about the content of a file; who asks is told apart from them. Whatever else is there is
# shown to the application.
_HARMLESS: Final = frozenset(
    (
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "cache-control",
        "connection",
        "content-length",
        "cookie",
        "dnt",
        "forwarded",
        "host",
        "pragma",
        "priority",
        "referer",
        "sec-fetch-dest",
        "sec-fetch-mode",
        "sec-fetch-site",
        "sec-fetch-user",
        "user-agent",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-forwarded-server",
        "x-real-ip",
        "x-request-id",
    )
)


class Fields(NamedTuple):
    """The field lines of a head."""

    environ: dict[str, str]  # as WSGI names them (PEP 3333)
    length: int  # bytes of the body
    harmless: bool  # there is none that may change the answer to a GET of a file


class Line(NamedTuple):
    """A head, taken apart but for its field lines."""

    method: bytes
    target: bytes
    wanted: tuple[bytes, bytes] | None  # of `Range: bytes=A-B`: A and B, digits or nothing
    fields: bytes  # the other lines, each behind its CRLF


def read_line(head: bytes) -> Line | None:
    """Take a head apart that ends before its empty line.

    Args:
        head: from the first byte of the request line to the last of the last field line, without its CRLF.
    """
    found = _LINE.match(head)
    if found is None:
        return None
    method, target = found.groups()
    fields = head[found.end() - 2 :]
    part = _RANGE.search(fields) if method in (b"GET", b"HEAD") else None
    if part is None:
        return Line(method, target, None, fields)
    return Line(method, target, (part[1], part[2]), fields[: part.start()] + fields[part.end() :])


def read_fields(lines: bytes) -> Fields | None:
    """Read field lines, each behind its CRLF."""
    environ: dict[str, str] = {}
    length, harmless = 0, True
    for line in lines.split(b"\r\n")[1:]:
        found = _FIELD.fullmatch(line)
        if found is None:
            return None
        name, value = found[1].decode("ascii").lower(), found[2].decode("ascii")
        key = "HTTP_" + name.upper().replace("-", "_")
        if key in environ:
            return None
        if name in _ELSEWHERE and not (name == "connection" and value.lower() == "keep-alive"):
            return None
        if name == "content-length":
            if not value.isdecimal() or len(value) > 6 or int(value) > MAX_BODY:
                return None
            length = int(value)
            environ["CONTENT_LENGTH"] = value
        if name == "content-type":
            environ["CONTENT_TYPE"] = value
        if name == "host" and HOST.fullmatch(found[2]) is None:
            return None
        environ[key] = value
        harmless = harmless and name in _HARMLESS
    return Fields(environ, length, harmless) if environ.get("HTTP_HOST") else None
