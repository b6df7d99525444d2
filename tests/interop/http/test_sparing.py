"""What one server does not do twice, or keep, for clients who come in numbers, send in crumbs or take nothing."""

import fcntl
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable

import pytest

from dav.reply import Buffer, Environ, StartResponse
from gateway.web.app import make_fast_lane, make_wsgi_app
from gateway.web.client import KEEN, MORE_UNSENT, UNSENT, Client
from gateway.web.framing import FIELDS, short_body
from tests.conformance.tree_cases import SAMPLE
from tests.interop.http.serving import Serving, serving
from tests.support.trees import MemoryTree

LARGE = bytes(16 << 20)
NOT_SENT = 0x894B  # SIOCOUTQNSD of Linux: bytes that a socket took and could not send yet


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {**SAMPLE, b"large": LARGE})
    return tree


def waited_for(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.005)


def only_client(running: Serving) -> Client:
    clients = running.server._engine.loop._clients
    waited_for(lambda: len(clients) == 1)
    return next(iter(clients.values()))


def test_a_page_that_many_ask_for_at_once_is_made_once(tree: MemoryTree) -> None:
    made, go_on = [], threading.Event()
    app = make_wsgi_app(tree)

    def noted(environ: Environ, start: StartResponse) -> Iterable[Buffer]:
        made.append(environ["REQUEST_URI"])
        go_on.wait(20)
        return app(environ, start)

    with serving(noted, threads=1, lane=make_fast_lane(tree)) as running:
        socks = [running.connect() for _ in range(10)]
        for sock in socks:
            sock.sendall(b"GET /fs/geo/1.0.0/ HTTP/1.1\r\nHost: x\r\n\r\n")
        waited_for(lambda: len(running.server._engine.loop._handed) == len(socks))
        go_on.set()
        for sock in socks:
            assert sock.recv(15) == b"HTTP/1.1 200 OK"
            sock.close()
    assert made == ["/fs/geo/1.0.0/"]


def test_who_speaks_tls_where_http_is_spoken_is_told_at_once(tree: MemoryTree) -> None:
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running, running.connect() as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100))
        received = b""
        while piece := sock.recv(1000):
            received += piece
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.endswith(b"this port speaks http, and this was https\n")


def test_a_head_is_looked_at_once_while_its_body_comes_in_crumbs(
    tree: MemoryTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def counted(data: bytes, end: int) -> int:
        looked.append(len(data))
        return short_body(data, end)

    monkeypatch.setattr("gateway.web.loop.short_body", counted)
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running, running.connect() as sock:
        head = b"PUT /webdav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\nX-Long: %b\r\n\r\n" % (b"x" * 30_000)
        sock.sendall(head)
        client = only_client(running)
        waited_for(lambda: len(client.buffer) == len(head))
        for count in range(19):
            sock.sendall(b"x")
            waited_for(lambda: len(client.buffer) > len(head) + count)  # noqa: B023  # it is done before the next
        sock.sendall(b"x")
        assert sock.recv(12) == b"HTTP/1.1 403"
    assert [size for size in looked if size > len(head)] == [len(head) + 20]


def test_of_a_head_that_comes_in_crumbs_only_the_new_ones_are_searched(tree: MemoryTree) -> None:
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running, running.connect() as sock:
        sent = 0
        for part in (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ", b"\r" * 1000, b"x" * 1000):
            sock.sendall(part)
            sent += len(part)
            client = only_client(running)
            waited_for(lambda: client.searched == sent)  # noqa: B023  # as above
        sock.sendall(b"\r\n\r")
        waited_for(lambda: client.buffer.endswith(b"\r\n\r"))
        sock.sendall(b"\n")
        assert sock.recv(12) == b"HTTP/1.1 400"  # for a line break within a line


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, which tells what a socket has not sent")
def test_the_system_keeps_little_for_who_takes_nothing(tree: MemoryTree) -> None:
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running, running.connect() as sock:
        sock.sendall(b"GET /fs/geo/1.0.0/large HTTP/1.1\r\nHost: x\r\n\r\n")
        taker = only_client(running).socket
        assert isinstance(taker, socket.socket)
        seen = [-1]

        def at_rest() -> bool:
            time.sleep(0.05)
            seen.append(struct.unpack("i", fcntl.ioctl(taker, NOT_SENT, bytes(4)))[0])
            return seen[-1] > 0 and len(seen) > 10 and len(set(seen[-10:])) == 1

        waited_for(at_rest)
        assert seen[-1] < 2 * UNSENT


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="needs a system that has this setting")
def test_the_system_keeps_more_for_who_took_much(tree: MemoryTree) -> None:
    def kept(taker: socket.socket) -> int:
        return taker.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)

    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running, running.connect() as sock:
        sock.sendall(b"GET /fs/geo/1.0.0/large HTTP/1.1\r\nHost: x\r\n\r\n")
        taker = only_client(running).socket
        assert isinstance(taker, socket.socket)
        assert kept(taker) == UNSENT
        got = 0
        while got <= len(LARGE) - KEEN:
            got += len(sock.recv(1 << 20))
        assert kept(taker) == MORE_UNSENT


@pytest.mark.parametrize(("lines", "status"), [(FIELDS - 1, b"200"), (FIELDS, b"400")])
def test_field_lines_beyond_any_use_are_refused(tree: MemoryTree, lines: int, status: bytes) -> None:
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running, running.connect() as sock:
        more = b"".join(b"X-%d: y\r\n" % number for number in range(lines))
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n")
        assert sock.recv(12) == b"HTTP/1.1 " + status


@pytest.mark.parametrize(
    "wanted",
    [
        b"GET /fs/geo/1.0.0/large HTTP/1.1\r\nHost: x\r\nRange: bytes=0-5000000,6000000-\r\n\r\n",
        b"GET /webdav/wide/1.0.0/ HTTP/1.1\r\nHost: x\r\n\r\n" * 40,
        b"GET /fs/geo/1.0.0/large HTTP/1.1\r\nHost: x\r\n\r\nGET /fs/nope HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["ranges", "pages", "error behind a file"],
)
def test_who_takes_nothing_of_what_is_at_hand_holds_no_thread(tree: MemoryTree, wanted: bytes) -> None:
    tree.publish("wide", "1.0.0", {b"%0200d" % number: b"" for number in range(400)})
    with serving(make_wsgi_app(tree), threads=1) as running:
        socks = [running.connect() for _ in range(3)]
        for sock in socks:
            sock.sendall(wanted)
        for sock in socks:
            assert sock.recv(1) == b"H"
        with running.connect() as other:
            other.settimeout(2)  # before those are cut who take nothing of what a thread sends
            other.sendall(b"GET /fs/geo/1.0.0/a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert other.recv(15) == b"HTTP/1.1 200 OK"
        for sock in socks:
            sock.close()


def test_ranges_arrive_in_their_order_whoever_sends_them(tree: MemoryTree) -> None:
    content = bytes(number % 251 for number in range(5 << 20))
    tree.publish("geo", "2.0.0", {b"large": content})
    ranges = [(3_000_000, 5_000_000), (10, 20), (1_000, 2_500_000)]
    asked = b",".join(b"%d-%d" % (start, stop - 1) for start, stop in ranges)
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running, running.connect() as sock:
        sock.sendall(
            b"GET /fs/geo/2.0.0/large HTTP/1.1\r\nHost: x\r\nConnection: close\r\nRange: bytes=%b\r\n\r\n" % asked
        )
        received = b""
        while piece := sock.recv(1 << 20):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"Content-Length: %d\r\n" % len(body) in head
    parts = [part.partition(b"\r\n\r\n")[2] for part in body.split(b"\r\n--")[1:-1]]
    assert parts == [content[start:stop] for start, stop in ranges]
