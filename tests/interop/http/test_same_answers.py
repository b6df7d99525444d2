"""What is answered without a thread is answered as a thread would: one corpus of requests, to both ways."""

import os
import re
import socket
from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest

from gateway.tls import Contexts, TlsFiles
from gateway.web.app import make_fast_lane, make_wsgi_app
from tests.conformance.tree_cases import SAMPLE
from tests.interop.http.serving import Secured, Serving, serving
from tests.support.authority import Authority
from tests.support.trees import MemoryTree

FILE: Final = b"/webdav/geo/1.0.0/a.txt"
HOST: Final = b"Host: x\r\n"
UNLIKE: Final = (b"date:", b"x-request-id:", b"strict-transport-security:")
ALLPROP: Final = b'<?xml version="1.0"?><D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>'
NAMED: Final = b'<D:propfind xmlns:D="DAV:"><D:prop><D:getetag/><D:none/></D:prop></D:propfind>'


class Both(NamedTuple):
    """The same tree, served in both ways."""

    quick: Serving
    threads: Serving
    secured: Serving  # the quick one, by TLS


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", SAMPLE)
    tree.publish("geo", "latest", SAMPLE)
    tree.publish("@nl/roads", "1.0.0", SAMPLE)
    app = make_wsgi_app(tree)
    cert, key = map(os.fspath, Authority().issue("server").write(tmp_path_factory.mktemp("tls"), "server"))
    tls = Contexts(TlsFiles(cert, key))
    with (
        serving(app, lane=make_fast_lane(tree)) as quick,
        serving(app) as threads,
        serving(app, lane=make_fast_lane(tree), tls=tls) as secured,
    ):
        yield Both(quick, threads, secured)


def said(server: Serving, parts: list[bytes], *, tls: bool = False) -> bytes:
    """Send a connection's bytes, part by part, and return all that comes back."""
    with server.connect_tls() if tls else server.connect() as sock:
        raw = sock.sock if isinstance(sock, Secured) else sock
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = bytearray()
        try:
            for part in parts:
                sock.sendall(part)
            sock.shutdown(socket.SHUT_WR)
            while piece := sock.recv(65536):
                received += piece
        except OSError:  # it was refused before all was sent
            pass
        return bytes(received)


def plain(answer: bytes) -> bytes:
    """Leave out what differs between any two answers, and the order of fields."""

    def ordered(head: re.Match[bytes]) -> bytes:
        first, *fields = head[0].split(b"\r\n")
        kept = (line for line in fields if line and not line.lower().startswith(UNLIKE))
        return b"\r\n".join([first, *sorted(kept)]) + b"\r\n\r\n"

    heads = re.compile(rb"HTTP/1\.1 [0-9]{3} [^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n")
    return re.sub(rb"request [0-9a-f]{16}", b"request", heads.sub(ordered, answer))


def get(target: bytes, *fields: bytes, method: bytes = b"GET", host: bytes = HOST) -> bytes:
    return b"%s %s HTTP/1.1\r\n%s%s\r\n" % (method, target, host, b"".join(field + b"\r\n" for field in fields))


def propfind(target: bytes, body: bytes, *fields: bytes) -> bytes:
    return get(target, *fields, b"Content-Length: %d" % len(body), method=b"PROPFIND") + body


ETAG: Final = b'If-None-Match: "0a"'
CORPUS: Final = {
    "a file": get(FILE),
    "a file of /fs/": get(b"/fs/geo/1.0.0/a.txt"),
    "by a channel": get(b"/fs/geo/latest/a.txt"),
    "of a scope": get(b"/fs/@nl%2Froads/1.0.0/a.txt") + get(b"/fs/@nl/roads/1.0.0/a.txt"),
    "twice": get(FILE) + get(FILE),
    "its head": get(FILE, method=b"HEAD") + get(FILE) + get(FILE, method=b"HEAD"),
    "an empty file": get(b"/fs/geo/1.0.0/empty") * 2,
    "nothing there": get(b"/fs/geo/1.0.0/none") + get(b"/none") + get(b"/webdav/none/x"),
    "a folder": get(b"/fs/geo/1.0.0/") + get(b"/fs/geo/1.0.0/"),
    "a folder as JSON": get(b"/fs/geo/1.0.0", b"Accept: application/json") * 2,
    "a collection": get(b"/webdav/geo/1.0.0/"),
    "options": get(b"/", method=b"OPTIONS") + get(FILE, method=b"OPTIONS") + get(b"/fs/geo", method=b"OPTIONS"),
    "options of the server": get(b"*", method=b"OPTIONS"),
    "alive": get(b"/healthz") + get(b"/readyz") + get(b"/"),
    "propfind of a file": propfind(FILE, ALLPROP, b"Depth: 0") * 2,
    "propfind without a body": propfind(FILE, b"", b"Depth: 0") + get(FILE, b"Depth: 0", method=b"PROPFIND"),
    "propfind of a folder": propfind(b"/webdav/geo/1.0.0/", NAMED, b"Depth: 1") * 2,
    "propfind of a channel": propfind(b"/webdav/geo/latest/", NAMED, b"Depth: 1") * 2,
    "propfind at the root": propfind(b"/", ALLPROP, b"Depth: 1") + propfind(b"/webdav/", ALLPROP, b"Depth: 1"),
    "propfind to no end": propfind(FILE, ALLPROP) + propfind(FILE, ALLPROP, b"Depth: infinity"),
    "propfind that is no XML": propfind(FILE, b"<D:propfind", b"Depth: 0"),
    "propfind that is too long": propfind(FILE, b" " * 70_000, b"Depth: 0"),
    "propfind with another host": propfind(FILE, ALLPROP, b"Depth: 0") + propfind(FILE, ALLPROP, b"Depth: 0"),
    "ranges": b"".join(
        get(FILE, b"Range: bytes=" + wanted)
        for wanted in (b"0-0", b"1-", b"-2", b"-0", b"0-999", b"5-1", b"6-", b"99-", b"0-1,3-4", b"x", b"0-0, ", b"")
    ),
    "a range in other spelling": get(FILE, b"rAnGe:  BYTES = 1 - 2 ") + get(FILE, b"Range: bytes=1-2 "),
    "two ranges": get(FILE, b"Range: bytes=0-1", b"Range: bytes=2-3"),
    "a range of nothing": get(b"/fs/geo/1.0.0/empty", b"Range: bytes=0-") * 2,
    "a range after the whole": get(FILE) + get(FILE, b"Range: bytes=2-3") + get(FILE, b"Range: bytes=2-3"),
    "conditions": get(FILE) + get(FILE, ETAG) + get(FILE, b"If-Match: *") + get(FILE, b'If-Match: "0"'),
    "times": get(FILE, b"If-Modified-Since: Wed, 01 Jan 2100 00:00:00 GMT") + get(FILE, b"If-Unmodified-Since: x"),
    "a range on a condition": get(FILE, b"Range: bytes=0-1", b'If-Range: "0"'),
    "a query": get(FILE + b"?a=b") * 2 + get(FILE),
    "writers": get(FILE, b"Content-Length: 0", method=b"PUT") + get(FILE, method=b"DELETE"),
    "locks": get(FILE, b"Content-Length: 0", method=b"LOCK"),
    "an unknown method": get(FILE, method=b"BREW"),
    "an absolute target": get(b"http://x" + FILE),
    "another slash": get(b"//webdav//geo/1.0.0/a.txt") + get(b"/webdav/geo/1.0.0/a.txt/"),
    "an authority": get(b"//x" + FILE) + get(b"//[x]" + FILE),
    "an authority that is none": get(b"//[") + get(FILE),
    "dots": get(b"/fs/geo/1.0.0/../1.0.0/a.txt") + get(b"/fs/geo/1.0.0/%2e%2e/a.txt"),
    "escapes": get(b"/fs/geo/1%2E0.0/%61.txt") + get(b"/fs/geo/1.0.0/%zz") + get(b"/fs/geo/1.0.0/%00"),
    "a fragment": get(FILE + b"#x"),
    "bytes over 7F": get(b"/fs/geo/1.0.0/\xff\xe9") + get(FILE, b"User-Agent: \xe9"),
    "no host": get(FILE, host=b""),
    "two hosts": get(FILE, b"Host: y"),
    "an empty host": get(FILE, host=b"Host:\r\n"),
    "hosts of all kinds": b"".join(
        get(FILE, host=b"Host: " + host + b"\r\n")
        for host in (b"[::1]:80", b"a.b_c-d:8080", b"192.0.2.1", b"a:", b":1", b"xn--bcher-kva.example ", b"%C3%BC,;=")
    ),
    "a host with a user": get(FILE, host=b"Host: user@x\r\n") + get(FILE),
    "a host with a path": get(FILE, host=b"Host: x/y\r\n") + get(FILE),
    "two hosts in one": get(FILE, host=b"Host: x y\r\n") + get(FILE),
    "a host with another port": get(FILE, host=b"Host: x:y\r\n") + get(FILE),
    "a host over 7F": get(FILE, host=b"Host: \xfc\r\n") + get(FILE),
    "HTTP/1.0": b"GET %s HTTP/1.0\r\n\r\n" % FILE,
    "HTTP/1.0 that stays": b"GET %s HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" % FILE,
    "HTTP/2": b"GET %s HTTP/2.0\r\nHost: x\r\n\r\n" % FILE + get(FILE),
    "the beginning of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no version": b"GET %s\r\n\r\n" % FILE,
    "connection close": get(FILE, b"Connection: close") + get(FILE),
    "keep-alive": get(FILE, b"Connection: keep-alive") + get(FILE, b"Connection: Keep-Alive"),
    "an upgrade": get(FILE, b"Connection: Upgrade", b"Upgrade: h2c"),
    "expecting": get(FILE, b"Expect: 100-continue", b"Content-Length: 0"),
    "expecting, with a body": propfind(FILE, ALLPROP, b"Depth: 0", b"Expect: 100-continue"),
    "expecting more": get(FILE, b"Expect: 200-ok"),
    "a length that is none": get(FILE, b"Content-Length: -1") + get(FILE),
    "a length with a sign": get(FILE, b"Content-Length: +4") + b"abcd" + get(FILE),
    "two lengths": get(FILE, b"Content-Length: 4", b"Content-Length: 4") + b"abcd" + get(FILE),
    "two lengths that differ": get(FILE, b"Content-Length: 4", b"Content-Length: 5") + b"abcde" + get(FILE),
    "a body nobody reads": get(FILE, b"Content-Length: 4") + b"abcd" + get(FILE),
    "a request in a body": get(FILE, b"Content-Length: %d" % len(get(b"/none"))) + get(b"/none") + get(FILE),
    "chunks": get(FILE, b"Transfer-Encoding: chunked") + b"4\r\nabcd\r\n0\r\n\r\n" + get(FILE),
    "chunks and a length": get(FILE, b"Transfer-Encoding: chunked", b"Content-Length: 4")
    + b"0\r\n\r\n"
    + get(b"/none"),
    "a length and chunks": get(FILE, b"Content-Length: 6", b"Transfer-Encoding: chunked")
    + b"0\r\n\r\n"
    + get(b"/none"),
    "odd chunks": get(FILE, b"Transfer-Encoding: xchunked") + b"0\r\n\r\n" + get(FILE),
    "spaced chunks": get(FILE, b"Transfer-Encoding : chunked") + b"0\r\n\r\n" + get(FILE),
    "chunks in two fields": get(FILE, b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + b"0\r\n\r\n",
    "a name with a space": get(FILE, b"Content-Length : 4") + b"abcd" + get(FILE),
    "a name with an underscore": get(FILE, b"Content_Length: 4") + b"abcd" + get(FILE),
    "no name": get(FILE, b": x") + get(FILE),
    "no colon": get(FILE, b"nothing") + get(FILE),
    "a folded field": get(FILE, b"X: a\r\n b") + get(FILE),
    "a field that begins folded": get(FILE, host=b" Host: x\r\n"),
    "a bare LF": b"GET %s HTTP/1.1\nHost: x\n\n" % FILE + get(FILE),
    "a bare LF between": b"GET %s HTTP/1.1\r\nHost: x\nX: y\r\n\r\n" % FILE + get(FILE),
    "a bare CR": b"GET %s HTTP/1.1\r\nHost: x\rX: y\r\n\r\n" % FILE + get(FILE),
    "a NUL": get(FILE, b"X: a\0b") + get(FILE),
    "an empty line first": b"\r\n" + get(FILE),
    "empty lines first": b"\r\n\r\n" + get(FILE),
    "spaces in the line": b"GET  %s  HTTP/1.1\r\nHost: x\r\n\r\n" % FILE + get(FILE),
    "a tab in the line": b"GET\t%s HTTP/1.1\r\nHost: x\r\n\r\n" % FILE,
    "a small method": get(FILE, method=b"get"),
    "no target": b"GET HTTP/1.1\r\nHost: x\r\n\r\n",
    "a target without its slash": get(b"webdav/geo"),
    "a long head": get(FILE, b"X: " + b"y" * 70_000),
    "many fields": get(FILE, *(b"X-%d: y" % number for number in range(200))),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40) + b"\r\n\r\n",
    "nothing": b"",
    "half a head": b"GET /healthz HTTP/1.1\r\nHo",
    "half a body": get(FILE, b"Depth: 0", b"Content-Length: 100", method=b"PROPFIND") + b"<D:",
    "many at once": get(FILE) * 70 + get(b"/fs/geo/1.0.0/") + get(FILE, b"Range: bytes=1-3") * 70,
}


@pytest.mark.parametrize("name", CORPUS)
def test_both_ways_answer_alike(both: Both, name: str) -> None:
    request = CORPUS[name]
    for _ in range(2):  # the second time what was answered before may be given again
        assert plain(said(both.quick, [request])) == plain(said(both.threads, [request]))


@pytest.mark.parametrize("name", CORPUS)
def test_tls_changes_no_answer(both: Both, name: str) -> None:
    request = CORPUS[name]
    for _ in range(2):
        assert plain(said(both.secured, [request], tls=True)) == plain(said(both.threads, [request]))


@pytest.mark.parametrize("name", ["twice", "propfind of a file", "a range after the whole", "a bare LF", "chunks"])
def test_a_request_may_be_cut_into_records_anywhere(both: Both, name: str) -> None:
    request = CORPUS[name]
    whole = plain(said(both.threads, [request]))
    for at in range(1, len(request), 7):
        assert plain(said(both.secured, [request[:at], request[at:]], tls=True)) == whole
    assert plain(said(both.secured, [request[at : at + 1] for at in range(len(request))], tls=True)) == whole


@pytest.mark.parametrize("name", ["twice", "propfind of a file", "a range after the whole", "a bare LF", "chunks"])
def test_a_request_may_be_cut_anywhere(both: Both, name: str) -> None:
    request = CORPUS[name]
    whole = plain(said(both.threads, [request]))
    assert whole.startswith(b"HTTP/1.1 ")
    for at in range(1, len(request)):
        assert plain(said(both.quick, [request[:at], request[at:]])) == whole
    assert plain(said(both.quick, [request[at : at + 1] for at in range(len(request))])) == whole
