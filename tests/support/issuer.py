"""A provider as far as keys go, on loopback: its configuration and keys, counted, changed, slow or away."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from tests.support.jwts import Signing, published


class Sent(NamedTuple):
    """A form that it was sent."""

    path: str
    fields: dict[str, str]
    authorization: str


class Issuer:
    """What it answers. Change the fields while it runs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: tuple[Signing, ...] = ()
        self.status = 200
        self.wait_s = 0.0
        self.body: bytes | None = None  # instead of the keys
        self.changed: dict[str, Any] = {}  # of the configuration
        self.asked: list[str] = []
        self.posts: dict[str, list[tuple[int, Any]]] = {}  # path -> answers to forms, the last one again and again
        self.sent: list[Sent] = []

    def answer(self, path: str) -> bytes:
        self.asked.append(path)
        time.sleep(self.wait_s)
        if path.endswith("/keys"):
            return published(*self.keys) if self.body is None else self.body
        places = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }
        return json.dumps({**places, **self.changed}).encode()

    @property
    def fetched(self) -> int:
        """How often its keys were asked for."""
        return self.asked.count("/keys")


@contextmanager
def issuer(*keys: Signing) -> Iterator[Issuer]:
    """Run one until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = found.answer(self.path)
            self.send_response(found.status)
            if found.status in (301, 302):
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            sent = Sent(self.path, dict(parse_qsl(form)), self.headers.get("Authorization", ""))
            found.sent.append(sent)
            answers = found.posts[self.path]
            status, document = answers.pop(0) if len(answers) > 1 else answers[0]
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Issuer(f"http://127.0.0.1:{server.server_port}")
    found.keys = keys
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
