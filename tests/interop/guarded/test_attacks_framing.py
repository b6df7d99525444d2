"""Attack: hide one request in another, or in the connection of somebody else; and send what never ends.

Each request is judged alone, whatever came before it on its connection, and where its answer is known by its bytes.
"""

import contextlib
import gzip
import itertools
import re
import socket
import threading
import time

import pytest

from tests.interop.guarded.gateway import ADA, BOB, SECRET, Guarded, basic, bearer, drained

HIDDEN = "/fs/secret/1.0.0/secret.txt"
OWN = "/fs/maps/1.0.0/a.txt"


def request(target: str, fields: dict[str, str] | None = None, method: str = "GET", body: bytes = b"") -> bytes:
    lines = [
        f"{method} {target} HTTP/1.1",
        "Host: gateway",
        *(f"{name}: {value}" for name, value in (fields or {}).items()),
    ]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def statuses(answers: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 ([0-9]{3}) [A-Za-z -]+\r\n", answers)]


@pytest.mark.parametrize("gap", [False, True], ids=["at once", "one after the other"])
def test_each_request_of_a_connection_is_judged_alone(guarded: Guarded, *, gap: bool) -> None:
    ada, bob = basic("ada", ADA), basic("bob", BOB)
    none: dict[str, str] = {}
    row = [
        (ada, 200),
        (none, 401),
        (bob, 404),
        (ada, 200),
        (bearer(guarded.tokens["ci"]), 404),
        (none, 401),
        (ada, 200),
    ]
    wrong = basic("ada", "wrong")
    with guarded.connect("127.0.9.1") as sock:
        for _ in range(4):  # answers are kept by their bytes after the first time
            for fields, _ in row:
                sock.sendall(request(HIDDEN, fields))
                if gap:
                    time.sleep(0.005)
        sock.sendall(request(HIDDEN, wrong))
        sock.shutdown(socket.SHUT_WR)
        answers = drained(sock)
    assert statuses(answers) == [status for _ in range(4) for _, status in row] + [401]
    assert answers.count(SECRET) == 4 * 3


def test_a_propfind_is_judged_alone_too(guarded: Guarded) -> None:
    ask = b'<?xml version="1.0"?><D:propfind xmlns:D="DAV:"><D:prop><D:getetag/></D:prop></D:propfind>'
    logins = [basic("ada", ADA), {}, basic("bob", BOB), basic("ada", ADA), {}]
    with guarded.connect() as sock:
        for fields in logins * 3:
            sock.sendall(request("/webdav/secret/1.0.0/", {**fields, "Depth": "1"}, "PROPFIND", ask))
        sock.shutdown(socket.SHUT_WR)
        answers = drained(sock)
    assert statuses(answers) == [207, 401, 404, 207, 401] * 3


HEADS = [
    "Content-Length: {length}\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: {length}",
    "Transfer-Encoding: chunked\r\nContent-Length: 0",
    "Content-Length: 0\r\nContent-Length: {length}",
    "Content-Length: {length}\r\nContent-Length: 0",
    "Content-Length: {length}, 0",
    "Content-Length: +{length}",
    "Content-Length: {length} ",
    "Content-Length: 0x{length:x}",
    "Content-Length : {length}",
    "Content-Length:\t{length}\x0b",
    "Content-Length: {length}\r\n X: folded",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding : chunked",
    " Transfer-Encoding: chunked",
    "X: x\r\n Transfer-Encoding: chunked",
    "X: x\nTransfer-Encoding: chunked",
    "X: x\rTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding:\x0bchunked",
    "Transfer-Encoding: \x00chunked",
    "Transfer_Encoding: chunked",
    "Content_Length: {length}",
    "X\x00: x",
    "Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding",
]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("login", ["bob's", "nobody's"])
def test_what_is_hidden_in_a_body_has_no_rights_but_its_own(guarded: Guarded, head: str, login: str) -> None:
    """Whoever reads it otherwise than a proxy did may see a second request: with no login, or with its sender's own."""
    own = basic("bob", BOB)["Authorization"]
    hidden = request(HIDDEN, {"Authorization": own} if login == "bob's" else {})
    for method, body in itertools.product(("GET", "POST", "PROPFIND", "PUT"), (hidden, b"0\r\n\r\n" + hidden)):
        first = f"{method} {OWN} HTTP/1.1\r\nHost: gateway\r\nAuthorization: {own}\r\n"
        data = first.encode() + head.format(length=len(body)).encode() + b"\r\n\r\n" + body
        answers = guarded.say(data + request(HIDDEN))
        assert SECRET not in answers
        assert statuses(answers)
        assert 200 not in statuses(answers)[1:]


def test_who_asks_may_be_said_once(guarded: Guarded) -> None:
    """What a proxy looked at must be what counts here."""
    ada, bob = (f"Authorization: {basic(*login)['Authorization']}\r\n" for login in (("ada", ADA), ("bob", BOB)))
    for pair in (ada + bob, bob + ada, ada + ada, ada + ada.lower(), ada + "Authorization: \r\n"):
        answer = guarded.say(f"GET {HIDDEN} HTTP/1.1\r\nHost: gateway\r\n{pair}Connection: close\r\n\r\n".encode())
        assert statuses(answer) == [400]
    twice = guarded.say(f"GET {HIDDEN} HTTP/1.1\r\nHost: gateway\r\n{ada}Cookie: a=b\r\nCookie: c=d\r\n\r\n".encode())
    assert statuses(twice) == [400]


@pytest.mark.parametrize(
    "field",
    ["Authorization: Basic {}", "Authorization: Bearer {}", "Cookie: aetherfs={}", "X: {}", "{}: x", "Host: {}"],
)
def test_a_field_of_a_megabyte_ends_the_connection(guarded: Guarded, field: str) -> None:
    answer = guarded.say(f"GET {OWN} HTTP/1.1\r\nHost: g\r\n{field.format('A' * (1 << 20))}\r\n\r\n".encode())
    assert len(statuses(answer)) == 1
    assert statuses(answer)[0] in (400, 413, 414, 431)
    assert b"Connection: close" in answer


@pytest.mark.parametrize("field", ["X{}: x\r\n", "X: {}\r\n", "Cookie: a{}=b\r\n", "Authorization: Basic YTpi{}\r\n"])
def test_a_hundred_thousand_fields_end_the_connection(guarded: Guarded, field: str) -> None:
    began = time.monotonic()
    lines = "".join(field.format(number) for number in range(100_000))
    answer = guarded.say(f"GET {OWN} HTTP/1.1\r\nHost: gateway\r\n{lines}\r\n".encode())
    assert len(statuses(answer)) == 1
    assert statuses(answer)[0] in (400, 413, 414, 431)
    assert time.monotonic() - began < 10


@pytest.mark.slow
def test_a_head_of_a_gibibyte_is_not_kept_and_ends(guarded: Guarded) -> None:
    before, sent = guarded.memory(), 0
    piece = b"X: " + b"a" * (1 << 20)
    with guarded.connect() as sock:
        sock.sendall(f"GET {OWN} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Basic ".encode())
        with contextlib.suppress(ConnectionError):
            while sent < 1 << 30:
                sock.sendall(piece)
                sent += len(piece)
        assert guarded.memory() - before < 40 << 20
    assert sent < 1 << 29, "it went on reading"
    assert guarded.ask("GET", OWN, basic("ada", ADA)).status == 200


def test_many_who_send_heads_without_an_end_hold_up_nobody(guarded: Guarded) -> None:
    socks = [guarded.connect("127.0.9.2") for _ in range(200)]
    try:
        for sock in socks:
            sock.sendall(b"GET /fs/ HTTP/1.1\r\nHost: gateway\r\nAuthorization: Basic YTp")
        began = time.monotonic()
        for _ in range(20):
            assert guarded.ask("GET", OWN, basic("ada", ADA)).status == 200
        assert time.monotonic() - began < 5
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.parametrize(
    "body",
    [
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
        b'<D:propfind xmlns:D="DAV:"><D:prop><D:x>&e;</D:x></D:prop></D:propfind>',
        b'<?xml version="1.0"?><!DOCTYPE x SYSTEM "http://127.0.0.1:%d/x.dtd"><D:propfind xmlns:D="DAV:"><D:allprop/>'
        b"</D:propfind>",
        b'<!DOCTYPE x [<!ENTITY %% p SYSTEM "http://127.0.0.1:%d/p">%%p;]><D:propfind xmlns:D="DAV:"/>',
        b"<!DOCTYPE l [<!ENTITY a0 'ha'>"
        + b"".join(b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10))
        + b']><D:propfind xmlns:D="DAV:"><D:prop><D:x>&a9;</D:x></D:prop></D:propfind>',
        b'<!DOCTYPE q [<!ENTITY a "%s">]><D:propfind xmlns:D="DAV:">%s</D:propfind>' % (b"a" * 50_000, b"&a;" * 5000),
    ],
    ids=["file", "external DTD", "parameter entity", "billion laughs", "quadratic"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["PROPFIND", "PROPPATCH", "LOCK"])
def test_entities_of_xml_are_refused_from_those_who_logged_in_too(guarded: Guarded, method: str, body: bytes) -> None:
    called = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def listen() -> None:
            with contextlib.suppress(OSError):
                listener.accept()
                called.append(method)

        thread = threading.Thread(target=listen)
        thread.start()
        sent = body.replace(b"%d", str(port).encode()).replace(b"%%", b"%") if b"127.0.0.1" in body else body
        before, began = guarded.memory(), time.monotonic()
        fields = {**basic("ada", ADA), "Depth": "0", "Content-Type": "application/xml"}
        answer = guarded.ask(method, "/webdav/maps/1.0.0/", fields, body=sent)
        assert time.monotonic() - began < 5
        assert guarded.memory() - before < 40 << 20
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert answer.status in ((400, 413) if method == "PROPFIND" else (400, 403, 405, 413))
    assert b"root:" not in answer.body
    assert b"haha" not in answer.body
    assert called == []


@pytest.mark.parametrize(
    "line", ["GET {}", *(f"GET {{}} HTTP/{version}" for version in ("0.9", "1.0", "2.0", "1.1 x"))]
)
def test_other_versions_of_http_show_nothing_else(guarded: Guarded, line: str) -> None:
    first = line.format(HIDDEN)
    for fields in ("", "Host: gateway\r\n", "Connection: Authorization, keep-alive\r\n", "Upgrade: h2c\r\nHost: g\r\n"):
        assert SECRET not in guarded.say(f"{first}\r\n{fields}\r\n".encode())
    assert SECRET not in guarded.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100))
    assert guarded.ask("GET", "/healthz").status == 200


def test_a_body_that_is_small_and_would_be_huge_is_refused(guarded: Guarded) -> None:
    bomb = gzip.compress(b"<D:propfind xmlns:D='DAV:'>" + b" " * (64 << 20) + b"</D:propfind>")
    before = guarded.memory()
    for coding in ("gzip", "deflate", "br", "gzip, gzip"):
        fields = {**basic("ada", ADA), "Depth": "0", "Content-Encoding": coding, "Content-Type": "application/xml"}
        assert guarded.ask("PROPFIND", "/webdav/maps/", fields, body=bomb).status in (400, 413, 415)
    assert guarded.memory() - before < 40 << 20
