"""Heads that all readers take apart alike: what some proxy could read otherwise than cheroot does is refused.

cheroot strips what stands around a name, goes on from folded lines with the last of them, and of a field that comes
twice takes the last: each a way to hide one request in another (RFC 9112 section 11.2). Pure; any thread.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from dav.wire.heads import HOST

FORWARDED: Final = b"X-Forwarded-For"
HSTS: Final = (b"Strict-Transport-Security", b"max-age=31536000")  # to all that came by TLS: come by TLS (RFC 6797)

_FIELD: Final = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]++):[\t -~\x80-\xff]*+\r\n")
_LENGTH: Final = re.compile(rb"\r\nContent-Length:[ \t]*([0-9]{1,6})[ \t]*(?=\r\n)", re.IGNORECASE)
_OTHERWISE: Final = re.compile(rb"\r\n(?:Transfer-Encoding|Expect)[ \t]*:", re.IGNORECASE)
SHORT: Final = 64 << 10  # bytes of a body: the longest that anything here reads, and so of those that are waited for
FIELDS: Final = (
    256  # lines of a head: thousands of short ones take a tenth of a second to read; browsers send some twenty
)
_ONCE: Final = frozenset((b"host", b"content-length", b"transfer-encoding", b"authorization", b"cookie"))


class FieldLines:
    """The lines of a head behind its first, each known to be one field line (RFC 9112 section 5)."""

    def __init__(self, lines: Any) -> None:
        self._lines = lines
        self._seen: set[bytes] = set()
        self._left = FIELDS
        self.forwarded: list[bytes] = []  # what lines of X-Forwarded-For hold, in their order

    def readline(self) -> bytes:
        """Return the next line.

        Raises:
            ValueError: it is one too many, is folded, has a space in its name or a control character in its value,
                names no host where it should, or repeats a field that decides where the request ends, whom it is for or
                who asks.
        """
        line: bytes = self._lines.readline()
        if line == b"\r\n" or not line.endswith(b"\r\n"):  # the end, or cut off, which cheroot refuses
            return line
        self._left -= 1
        if self._left < 0:
            raise ValueError("Too many header lines.")
        found = _FIELD.fullmatch(line)
        if found is None:
            raise ValueError("Illegal header line.")
        name = found[1].lower()
        if name == FORWARDED.lower():
            self.forwarded.append(line[found.end(1) + 1 : -2].strip())
        if name in _ONCE:
            if name in self._seen:
                raise ValueError("A field that may come once came twice.")
            self._seen.add(name)
            if name == b"host" and HOST.fullmatch(line[found.end(1) + 1 : -2].lstrip(b"\t ")) is None:
                raise ValueError("Host is no host.")
        return line


def short_body(data: bytes, end: int) -> int:
    """Tell how many bytes of a body follow a head, if they are few and will come unasked; else, or where in doubt, 0.

    Args:
        data: from the first byte of the head.
        end: where its last CRLF CRLF begins.
    """
    found = _LENGTH.findall(data, 0, end + 2)
    if len(found) != 1 or int(found[0]) > SHORT or _OTHERWISE.search(data, 0, end + 2):
        return 0
    return int(found[0])


def coding_fault(fields: Mapping[bytes, bytes], protocol: bytes) -> str:
    """Tell what is wrong with a Transfer-Encoding; nothing: it is `chunked`, or absent (RFC 9112 section 6.1)."""
    coding = fields.get(b"Transfer-Encoding")
    if coding is None:
        return ""
    if protocol != b"HTTP/1.1":
        return "Transfer-Encoding is of HTTP/1.1."
    if b"Content-Length" in fields:  # whoever on the way goes by that one sees another end
        return "A body has a length or comes in chunks, not both."
    return "" if coding.lower() == b"chunked" else "The one transfer coding is chunked, applied once."


def wants_close(fields: Mapping[bytes, bytes]) -> bool:
    """Tell whether `close` is among the connection options, whose case is of no meaning (RFC 9110 section 7.6.1)."""
    return b"close" in (option.strip().lower() for option in fields.get(b"Connection", b"").split(b","))
