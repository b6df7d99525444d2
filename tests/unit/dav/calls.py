"""Calls of a WSGI application as a server would make them: the target as sent, headers, a body."""

import io
import tracemalloc
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes
from wsgiref.util import setup_testing_defaults

from dav.reply import Buffer, Environ, Headers, WsgiApp


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes


def environ_for(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Environ:
    """Return the environ that cheroot would make."""
    path, _, query = target.partition("?")
    environ: Environ = {
        "REQUEST_METHOD": method,
        "REQUEST_URI": target,
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "wsgi.input": io.BytesIO(body),
    }
    setup_testing_defaults(environ)
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_LENGTH" else "HTTP_" + key] = value
    return environ


def call(app: WsgiApp, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
    """Send one request and read the whole answer."""
    began: list[tuple[str, Headers]] = []

    def start_response(status: str, fields: Headers) -> None:
        began.append((status, fields))

    pieces = app(environ_for(method, target, headers or {}, body), start_response)
    content = b"".join(pieces)
    ((status, fields),) = began
    lowered = {name.lower(): value for name, value in fields}
    assert len(lowered) == len(fields), f"a header came twice: {fields}"
    return Answer(int(status[:3]), lowered, content)


def traced(body: Iterator[Buffer]) -> tuple[int, int]:
    """Take the rest of a body; return its bytes, and the most memory that was allocated meanwhile."""
    tracemalloc.start()
    try:
        size = sum(map(len, body))
        return size, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
