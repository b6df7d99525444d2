"""The place on this machine that a provider sends a browser back to (RFC 8252 section 7.3): a port of its own, once.

Only the answer with the right state ends the wait; whatever else comes to the port is told that there is nothing here.
Each connection has a thread, since browsers open some ahead of what they ask, and a time-out; `wait` is called once.
"""

import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from gateway.access.fetch import FetchFailed
from gateway.access.oauth import ProviderRefused

PATH: Final = "/callback"
EACH_S: Final = 5.0
LOOK_S: Final = 0.1  # between two looks whether a connection has brought the answer
LONGEST: Final = 8 * 1024  # characters of a target
_PAGE: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
    "<title>AetherFS</title><h1>{}</h1><p>{}</p></html>"
)


class Loopback:
    """A listening port; a context manager."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self.redirect: Final = f"http://127.0.0.1:{self._server.server_port}{PATH}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()

    def wait(self, read: Callable[[str], str], patience_s: float) -> str | ProviderRefused | None:
        """Wait for the browser.

        Args:
            read: the code in a query; raises `FetchFailed` where it is of another login.
            patience_s: how long.

        Returns:
            The code, or why there is none; `None`: nobody came.
        """
        self._server.reader, until_s = read, time.monotonic() + patience_s
        while self._server.found is None and (left_s := until_s - time.monotonic()) > 0:
            self._server.timeout = min(left_s, LOOK_S)
            self._server.handle_request()
        return self._server.found


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a silent connection is not waited for
    found: str | ProviderRefused | None = None
    reader: Callable[[str], str] | None = None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that break off."""


class _Handler(BaseHTTPRequestHandler):
    timeout = EACH_S
    server: _Server

    def do_GET(self) -> None:
        """Answer the browser."""
        path, _, query = self.path.partition("?")
        read = self.server.reader
        if path != PATH or len(self.path) > LONGEST or self.server.found is not None or read is None:
            self._say(404, "Nothing here", "")
            return
        found: str | ProviderRefused
        try:
            found, told = read(query), ("Logged in", "You can close this window: the command goes on.")
        except FetchFailed:
            self._say(400, "This is not the login that is waited for", "Go on with it, or start the command again.")
            return
        except ProviderRefused as error:
            found, told = error, ("The login did not work", "The command that waits for it says why.")
        try:
            self._say(200, *told)
        finally:
            self.server.found = found  # once it is said: the command may end with it

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the target holds a code."""

    def _say(self, status: int, head: str, text: str) -> None:
        body = _PAGE.format(head, text).encode()
        self.send_response(status)
        for name, value in (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
