"""The client of a gateway: whom it tells a login, what it makes of answers. It asks a real server."""

import json
import threading
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from dav.reply import Buffer, Environ, StartResponse, send
from gateway.client import LARGEST, Server, parse_server
from gateway.errors import (
    GatewayError,
    LoginWanted,
    ServerConflict,
    ServerFailed,
    ServerMissing,
    ServerRefused,
    ServerUnreachable,
    ServerUnusable,
)
from gateway.selfsigned import make_certificate, write_certificate
from gateway.tls import Contexts, TlsFiles
from gateway.web.api.problems import json_reply
from tests.interop.http.serving import serving

BEARER = "aefs_abcdefghij_" + "k" * 40


class Handler(BaseHTTPRequestHandler):
    status: ClassVar[int] = 200
    fields: ClassVar[dict[str, str]] = {}
    body: ClassVar[bytes] = b"{}"
    seen: ClassVar[list[tuple[str, str, dict[str, str], bytes]]] = []

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.seen.append((self.command, self.path, dict(self.headers), body))
        self.send_response(self.status)
        for name, value in ({"Content-Type": "application/json"} | self.fields).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def handler() -> type[Handler]:
    class Own(Handler):
        seen: ClassVar[list[tuple[str, str, dict[str, str], bytes]]] = []

    return Own


@pytest.fixture
def server(handler: type[Handler]) -> Iterator[Server]:
    httpd = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
    thread.start()
    client = Server(parse_server(f"http://127.0.0.1:{httpd.server_port}"), BEARER)
    yield client
    client.close()
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://data.example.org", "https://data.example.org"),
        ("https://Data.Example.org:8443/", "https://data.example.org:8443"),
        ("https://data.example.org/behind/a/proxy/", "https://data.example.org/behind/a/proxy"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]"),
    ],
)
def test_addresses_are_taken(text: str, url: str) -> None:
    assert parse_server(text) == url


@pytest.mark.parametrize(
    "text",
    ["http://data.example.org", "http://192.0.2.1:8080", "http://localhost.example.org", "http://127.0.0.1.example.org",
     "http://[2001:db8::1]", "http://0.0.0.0", "http://2130706433"],
)  # fmt: skip
def test_a_login_goes_to_no_other_machine_in_clear_text(text: str) -> None:
    with pytest.raises(ServerRefused, match="reads the login"):
        parse_server(text)
    assert parse_server(text, insecure=True) == text


@pytest.mark.parametrize(
    "text",
    ["", "data.example.org", "ftp://x", "file:///etc/passwd", "https://", "https://x:99999", "https://x:y",
     "https://a b", "https://x?y=1", "https://x#y", "https://[::1", "https://x\n.org", "https://u@x", "http://127.0.0.1@evil.example.org",
     "https://x\\y"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ServerUnusable):
        parse_server(text)


@pytest.mark.parametrize(
    "text", ["https://ada:s3cret@host", "https://host/?token=s3cret", "//ada:s3cret@host?password=s3cret"]
)
def test_a_secret_in_an_address_is_not_repeated(text: str) -> None:
    with pytest.raises(ServerUnusable) as caught:
        parse_server(text)
    assert "s3cret" not in str(caught.value)


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(ServerUnusable) as refused:
        parse_server("https://ada:hunter2@data.example.org")
    assert "hunter2" not in str(refused.value)


def test_a_login_is_a_bearer_and_names_are_quoted(server: Server, handler: type[Handler]) -> None:
    handler.body = b'{"a": 1}'
    assert server.get("tokens", "a/b c", page_size="2").document == {"a": 1}
    server.ask("PUT", "policy", body={"x": "y"}, headers={"If-Match": '"1"'})
    [(method, path, fields, _), put] = handler.seen
    assert (method, path) == ("GET", "/api/v1/tokens/a%2Fb%20c?page_size=2")
    assert fields["Authorization"] == f"Bearer {BEARER}"
    assert (put[0], put[2]["If-Match"], put[2]["Content-Type"]) == ("PUT", '"1"', "application/json")
    assert json.loads(put[3]) == {"x": "y"}


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (400, ServerUnusable, "what is wrong"),
        (401, LoginWanted, "aetherfs login"),
        (403, ServerRefused, "what is wrong"),
        (404, ServerMissing, "what is wrong"),
        (405, ServerUnusable, "what is wrong"),
        (409, ServerConflict, "what is wrong"),
        (412, ServerConflict, "what is wrong"),
        (422, ServerUnusable, "what is wrong"),
        (429, ServerUnreachable, "what is wrong"),
        (500, ServerFailed, "what is wrong"),
        (503, ServerUnreachable, "what is wrong"),
        (507, ServerUnreachable, "what is wrong"),
    ],
)
def test_what_a_gateway_says_no_with_is_an_error_of_its_kind(
    server: Server, handler: type[Handler], status: int, kind: type[GatewayError], said: str
) -> None:
    handler.status, handler.fields = status, {"Content-Type": "application/problem+json"}
    handler.body = json.dumps({"detail": f"what is wrong \x1b[2J{BEARER}" + "x" * 10_000}).encode()
    with pytest.raises(kind, match=said) as failed:
        server.get("tokens")
    text = str(failed.value)
    assert type(failed.value) is kind
    assert BEARER not in text
    assert text.isprintable()
    assert len(text) < 1000


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_and_not_followed(server: Server, handler: type[Handler], status: int) -> None:
    handler.status, handler.fields = status, {"Location": "https://evil.example.org/?token=hidden"}
    with pytest.raises(ServerFailed, match=r"https://evil\.example\.org") as failed:
        server.get("whoami")
    assert "hidden" not in str(failed.value)
    assert len(handler.seen) == 1


@pytest.mark.parametrize("body", [b"[]", b"{", b"7", b"\xff", b"[" * 100_000])
def test_an_answer_that_makes_no_sense_is_a_failure(server: Server, handler: type[Handler], body: bytes) -> None:
    handler.body = body
    with pytest.raises(ServerFailed):
        server.get("whoami")


def test_an_answer_has_a_bound(server: Server, handler: type[Handler]) -> None:
    handler.body = b" " * (LARGEST + 1)
    with pytest.raises(ServerFailed, match="more than"):
        server.get("whoami")


def test_pages_are_read_one_after_another(server: Server, handler: type[Handler]) -> None:
    handler.body = b'{"tokens": [{"name": "a"}], "next_page_token": ""}'
    assert [*server.pages("tokens", "tokens", size=1)] == [{"name": "a"}]
    handler.body = b'{"tokens": [1]}'
    with pytest.raises(ServerFailed):
        list(server.pages("tokens", "tokens", size=1))


def test_a_gateway_that_is_not_there_is_unreachable() -> None:
    httpd = HTTPServer(("127.0.0.1", 0), Handler)  # bound and never served: closed again, so nobody listens
    port = httpd.server_port
    httpd.server_close()
    with pytest.raises(ServerUnreachable, match="does not answer"):
        Server(f"http://127.0.0.1:{port}", BEARER).get("whoami")


def test_a_gateway_that_vouches_for_itself_is_asked_once_its_certificate_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = write_certificate(make_certificate(("127.0.0.1", "localhost"), 2), tmp_path)
    seen: list[str] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Buffer]:
        seen.append(environ.get("HTTP_AUTHORIZATION", ""))
        return send(json_reply(200, {"a": 1}), environ, start_response)

    with serving(app, tls=Contexts(TlsFiles(str(cert), str(key)))) as running:
        with pytest.raises(ServerUnreachable, match="SSL_CERT_FILE") as refused:
            Server(parse_server(running.url), BEARER).get("whoami")
        assert BEARER not in str(refused.value)
        assert seen == []  # the login went to nobody
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        client = Server(parse_server(running.url), BEARER)
        assert client.get("whoami").document == {"a": 1}
        client.close()
    assert seen == [f"Bearer {BEARER}"]


def test_a_certificate_for_another_name_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cert, key = write_certificate(make_certificate(("data.example.org",), 2), tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))

    def app(environ: Environ, start_response: StartResponse) -> Iterable[Buffer]:
        return send(json_reply(200, {}), environ, start_response)

    with (
        serving(app, tls=Contexts(TlsFiles(str(cert), str(key)))) as running,
        pytest.raises(ServerUnreachable, match=r"127\.0\.0\.1"),
    ):
        Server(parse_server(running.url), BEARER).get("whoami")
