"""A whole answer as a value, and how it is handed to a WSGI server.

Bodies yield `bytes` or `memoryview`: file content is passed on as views of the cache, without a copy, which the server
in `gateway.web.server` takes. A body that has a `close` method is closed by the server, also when the client vanished.
Threads: values; a body is used by one thread at a time.
"""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from dav.wire.errors import BodyBroken

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
StartResponse = Callable[[str, Headers], object]
Buffer = bytes | memoryview
WsgiApp = Callable[[Environ, StartResponse], Iterable[Buffer]]

LASTING: Final = "aetherfs.lasting"  # environ: set by an application whose answer may be given again for a while
SHOWN: Final = "aetherfs.shown"  # environ: set to a tree and its file of which all, or a range, is the answer
WHO: Final = "aetherfs.who"  # environ: who asks, written by `str`; set where there is a login
TLS: Final = "aetherfs.tls"  # environ: whether the request came by TLS
CERTIFICATE: Final = "aetherfs.certificate"  # environ: DER of a client's certificate that TLS has verified, or nothing
DISCARD_LIMIT: Final = 16 * 1024 * 1024  # bytes of a refused upload that are read so that the client sees the answer


class Reply(NamedTuple):
    """Status code, headers, body."""

    status: int
    headers: Headers
    body: Iterable[Buffer] = ()


def text_reply(status: int, text: str, headers: Iterable[tuple[str, str]] = ()) -> Reply:
    """Return a short plain-text answer, ended by a line break."""
    body = f"{text}\n".encode("utf-8", "replace")
    fixed = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    return Reply(status, [*fixed, *headers], (body,))


def send(reply: Reply, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[Buffer]:
    """Start the response and return its body: none for HEAD, 204 and 304."""
    start_response(f"{reply.status} {HTTPStatus(reply.status).phrase}", reply.headers)
    if environ["REQUEST_METHOD"] == "HEAD" or reply.status in (204, 304):
        close = getattr(reply.body, "close", None)
        if close is not None:
            close()
        return ()
    return reply.body


def header(environ: Mapping[str, Any], name: str) -> str | None:
    """Return a request header as sent (latin-1 characters), or `None`."""
    value = environ.get("HTTP_" + name.upper().replace("-", "_"))
    return None if value is None else str(value)


def target_of(environ: Mapping[str, Any]) -> str:
    """Return the request target as sent.

    `PATH_INFO` is decoded already and can't tell `%2F` in a name from a slash, nor `%252F` from `%2F`, so it is the
    last resort.
    """
    raw = environ.get("REQUEST_URI") or environ.get("RAW_URI")
    if raw:
        return str(raw)
    path = str(environ.get("SCRIPT_NAME", "")) + str(environ.get("PATH_INFO", ""))
    return path.replace("%", "%25").replace("?", "%3F").replace("#", "%23")


def read_body(environ: Mapping[str, Any], size: int) -> bytes:
    """Read up to `size` bytes of the request body; fewer only at its end.

    Raises:
        BodyBroken: the client vanished or stalled, or its chunks are malformed (a `ValueError` of the server's).
    """
    try:
        return bytes(environ["wsgi.input"].read(size))
    except (OSError, ValueError) as error:
        raise BodyBroken(str(error)) from None


def discard_body(environ: Mapping[str, Any]) -> bool:
    """Read and drop a request body of up to `DISCARD_LIMIT`, in pieces; return whether its end was reached.

    Clients that are still sending miss an answer that comes with a reset. Where the end was not reached, the answer
    must carry `Connection: close`. What comes in chunks, each of which may be one byte, is not taken apart to be
    dropped: its connection ends anyway, and the server waits for the client then.
    """
    length = str(environ.get("CONTENT_LENGTH") or "")
    if not length.isdecimal():
        return header(environ, "Transfer-Encoding") is None
    expected = int(length)
    left = min(DISCARD_LIMIT, expected)
    while left:
        try:
            piece = read_body(environ, min(65536, left))
        except BodyBroken:
            return False
        if not piece:
            return True
        left -= len(piece)
    return expected <= DISCARD_LIMIT
