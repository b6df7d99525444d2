"""The HTTP server over a real socket: what goes over the wire, limits, lost clients, the end."""

import contextlib
import json
import os
import re
import resource
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from dav.reply import Environ, StartResponse
from gateway.web import loop
from gateway.web.access import AccessLog
from gateway.web.app import make_fast_lane, make_wsgi_app
from gateway.web.requests import LEAST_RATE, Incoming
from gateway.web.server import HttpLimits, HttpServer
from store.errors import StoreUnavailable
from tests.conformance.tree_cases import BIG, HARD_NAMES, SAMPLE
from tests.interop.http.serving import Serving, serving
from tests.support.trees import MemoryTree
from tests.support.until import wait_until

LARGE = bytes(range(256)) * 64 * 1024  # 16 MiB: more than the kernel keeps for one connection
LATE_S = 60  # for an answer that has to come: so long that a machine which stalls does not take it


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", SAMPLE)
    tree.publish("geo", "2.0.0", {b"large": LARGE})
    return tree


@pytest.fixture(params=["quick", "threads"])
def running(request: pytest.FixtureRequest, tree: MemoryTree) -> Iterator[Serving]:
    """A server that answers what it can without a thread, and one that never does."""
    lane = make_fast_lane(tree) if request.param == "quick" else None
    with serving(make_wsgi_app(tree), lane=lane) as running:
        yield running


@pytest.fixture
def client(running: Serving) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, timeout=20) as client:
        yield client


def exchange(running: Serving, request: bytes) -> bytes:
    """Send bytes as they are and read until the server closes."""
    with running.connect() as sock:
        sock.sendall(request)
        return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    """Read until the server closes."""
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            received += piece
    return bytes(received)


def taken(sock: socket.socket, enough: int = 1 << 62) -> int:
    """Read to the end, however that comes, or until it is enough; return how many bytes there were."""
    size = 0
    with contextlib.suppress(ConnectionResetError):
        while size < enough and (piece := sock.recv(1 << 20)):
            size += len(piece)
    return size


def test_hard_names_are_read_by_their_hrefs(client: httpx.Client) -> None:
    listing = client.get("/fs/geo/1.0.0/names/", headers={"Accept": "application/json"}).json()
    assert len(listing["entries"]) == len(HARD_NAMES)
    contents = {client.get(entry["href"]).content for entry in listing["entries"]}
    assert contents == set(HARD_NAMES)


def test_large_files_arrive_whole_and_in_parts(client: httpx.Client) -> None:
    assert client.get("/fs/geo/2.0.0/large").content == LARGE
    part = client.get("/webdav/geo/2.0.0/large", headers={"Range": "bytes=1000000-9000000"})
    assert part.status_code == 206
    assert part.content == LARGE[1000000:9000001]


def test_one_connection_carries_many_requests_of_all_kinds(running: Serving) -> None:
    request = (
        b"GET /fs/geo/1.0.0/a.txt HTTP/1.1\r\nHost: x\r\n\r\n"
        b"HEAD /fs/geo/1.0.0/big.bin HTTP/1.1\r\nHost: x\r\n\r\n"
        b"PUT /webdav/geo/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
        b"GET /fs/geo/1.0.0/a.txt HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n"
        b"PROPFIND /webdav/ HTTP/1.1\r\nHost: x\r\nDepth: 0\r\n\r\n"
        b"GET /fs/geo/1.0.0/a.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=1-2\r\nConnection: close\r\n\r\n"
    )
    received = exchange(running, request)
    statuses = [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Za-z -]+\r\n", received)]
    assert statuses == [200, 200, 403, 304, 207, 206]
    assert received.endswith(b"\r\n\r\nel")


def test_names_with_an_encoded_slash_reach_the_scoped_dataset(tree: MemoryTree, client: httpx.Client) -> None:
    tree.publish("@scope/roads", "latest", {b"100%2F": b"tricky"})
    assert client.get("/fs/@scope%2Froads/latest/100%252F").content == b"tricky"
    assert client.get("/fs/@scope/roads/latest/100%2F").status_code == 404


def test_headers_over_the_limit_are_refused(tree: MemoryTree) -> None:
    with serving(make_wsgi_app(tree), limits=HttpLimits(header_bytes=4096)) as running:
        received = exchange(running, b"GET /fs/ HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 9000 + b"\r\n\r\n")
        assert b" 413 " in received.split(b"\r\n")[0]
        received = exchange(running, b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 414 " in received.split(b"\r\n")[0]


def test_a_body_over_the_limit_is_refused_unread(tree: MemoryTree) -> None:
    with serving(make_wsgi_app(tree), limits=HttpLimits(body_bytes=1000)) as running:
        received = exchange(running, b"PUT /webdav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n")
        assert b" 413 " in received.split(b"\r\n")[0]


def test_after_a_chunked_body_the_connection_ends(running: Serving) -> None:
    request = (
        b"PUT /webdav/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        b"GET /fs/geo/1.0.0/a.txt HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    received = exchange(running, request)
    assert received.startswith(b"HTTP/1.1 403 ")
    assert received.count(b"HTTP/1.1 ") == 1


def test_a_propfind_body_may_come_in_chunks(running: Serving) -> None:
    body = b'<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>'
    request = (
        b"PROPFIND /webdav/geo/1.0.0/a.txt HTTP/1.1\r\nHost: x\r\nDepth: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    )
    received = exchange(running, request)
    assert b" 207 " in received.split(b"\r\n")[0]
    assert b"displayname" not in received


@pytest.mark.parametrize("method", [b"PROPFIND", b"PUT"])
def test_chunks_that_are_none_end_the_connection_and_are_not_logged(running: Serving, method: bytes) -> None:
    with capture_logs() as logs:
        request = (
            method + b" /webdav/ HTTP/1.1\r\nHost: x\r\nDepth: 0\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"
        )
        received = exchange(running, request)
    assert received.split(b" ")[1] in (b"400", b"403")
    assert logs == []


def test_an_upload_in_chunks_is_refused_before_its_end_and_dropped_by_no_thread(tree: MemoryTree) -> None:
    limits = HttpLimits(timeout_s=600, patience_s=600)
    head = b"PUT /webdav/geo/1.0.0/new HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(make_wsgi_app(tree), limits=limits) as running, running.connect() as sock:
        sock.sendall(head + b"1\r\na\r\n" * 10)
        answer = read_all(sock)
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"\r\nConnection: close\r\n" in answer


def test_connections_that_send_nothing_hold_no_thread(tree: MemoryTree) -> None:
    with serving(make_wsgi_app(tree), threads=1) as running:
        idle = [running.connect() for _ in range(20)]
        assert httpx.get(running.url + "/fs/geo/1.0.0/a.txt", timeout=20).content == b"hello\n"
        for sock in idle:
            sock.close()


def test_idle_connections_over_the_limit_are_closed(tree: MemoryTree) -> None:
    with serving(make_wsgi_app(tree), limits=HttpLimits(idle=3)) as running:
        idle = [running.connect() for _ in range(3)]
        with running.connect() as fourth:
            assert fourth.recv(1) == b""
        for sock in idle:
            sock.close()


def test_of_many_connections_over_the_limit_all_are_closed_with_one_look_a_pass(
    tree: MemoryTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, polls = [0], [0]
    real, longest = loop.Loop._make_room, loop.Loop._longest_s

    def look(own: loop.Loop) -> bool:
        looks[0] += 1
        return real(own)

    def passed(own: loop.Loop) -> float:
        polls[0] += 1
        return longest(own)

    monkeypatch.setattr(loop, "EVICTED_S", 600.0)
    monkeypatch.setattr(loop.Loop, "_make_room", look)
    monkeypatch.setattr(loop.Loop, "_longest_s", passed)
    with serving(make_wsgi_app(tree), limits=HttpLimits(idle=2)) as running, contextlib.ExitStack() as opened:
        for sock in [opened.enter_context(running.connect()) for _ in range(40)][2:]:
            assert sock.recv(1) == b""
        assert 38 <= looks[0] <= polls[0]


def test_a_client_that_vanishes_leaves_no_thread_busy(tree: MemoryTree) -> None:
    with serving(make_wsgi_app(tree), threads=1) as running:
        for _ in range(5):
            sock = running.connect()
            sock.sendall(b"GET /fs/geo/2.0.0/large HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(1000)
            sock.close()
        assert httpx.get(running.url + "/fs/geo/1.0.0/a.txt", timeout=20).content == b"hello\n"


def test_content_that_breaks_off_ends_the_connection_short(tree: MemoryTree, running: Serving) -> None:
    reads = []

    def fail_later(operation: str) -> None:
        if operation == "read":
            reads.append(operation)
            if len(reads) == 3:
                raise StoreUnavailable("s3://bucket", "gone")

    tree.cold, tree.on_blocking = True, fail_later
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(running.url + "/fs/geo/2.0.0/large", timeout=20)
    tree.cold, tree.on_blocking = False, lambda _operation: None
    assert httpx.get(running.url + "/fs/geo/2.0.0/large", timeout=20).content == LARGE


def test_draining_lets_a_request_in_flight_finish_and_refuses_new_ones() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(_environ: Environ, start_response: StartResponse) -> list[bytes]:
        entered.set()
        assert go_on.wait(20)
        start_response("200 OK", [("Content-Length", "4")])
        return [b"done"]

    with serving(slow) as running:
        results: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: results.append(httpx.get(running.url, timeout=20)))
        asking.start()
        assert entered.wait(20)
        drained: list[bool] = []
        draining = threading.Thread(target=lambda: drained.append(running.server.drain(20)))
        draining.start()
        while running.server.serving:
            time.sleep(0.01)
        go_on.set()
        draining.join(20)
        asking.join(20)
        assert drained == [True]
        assert results[0].content == b"done"
        assert results[0].headers["connection"] == "close"


def test_who_waits_for_the_page_that_another_is_given_gets_it_also_while_draining(tree: MemoryTree) -> None:
    entered, go_on = threading.Event(), threading.Event()
    whole = make_wsgi_app(tree)

    def slow(environ: Environ, start_response: StartResponse) -> object:
        entered.set()
        assert go_on.wait(LATE_S)
        return whole(environ, start_response)

    with (
        serving(slow, lane=make_fast_lane(tree), threads=1) as running,  # type: ignore[arg-type]  # as WSGI
        running.connect() as first,
        running.connect() as second,
    ):
        page = b"GET /fs/geo/1.0.0/ HTTP/1.1\r\nHost: x\r\n\r\n"
        first.sendall(page)
        assert entered.wait(LATE_S)
        second.sendall(page)
        engine = running.server._engine
        wait_until(lambda: engine.requests.qsize == 1)
        draining = threading.Thread(target=running.server.drain, args=(LATE_S,))
        draining.start()
        wait_until(lambda: engine.loop._ends_s > 0)
        go_on.set()
        for sock in (first, second):
            answer = read_all(sock)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"\r\nConnection: close\r\n" in answer
        draining.join()


def test_draining_does_not_wait_for_the_rest_of_a_head(tree: MemoryTree) -> None:
    limits = HttpLimits(timeout_s=600, patience_s=600)
    with (
        serving(make_wsgi_app(tree), limits=limits) as running,
        running.connect() as half,
        running.connect() as idle,
    ):
        half.sendall(b"GET /healthz HTTP/1.1\r\nHo")
        assert httpx.get(f"{running.url}/healthz", timeout=20).status_code == 200
        assert running.server.drain(30) is True
        assert idle.recv(100) == b""
        assert half.recv(100).startswith(b"HTTP/1.1 408 ")


def test_draining_cuts_what_does_not_finish_in_time() -> None:
    release = threading.Event()

    def endless(_environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", str(2**50))])
        while not release.is_set():
            yield bytes(1_000_000)

    with serving(endless) as running, running.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(100)
        assert running.server.drain(0.2) is False
        release.set()


def test_two_servers_share_one_listener(tree: MemoryTree) -> None:
    with serving(make_wsgi_app(tree)) as first:
        listener = first.listener.dup()
        second = HttpServer(listener, make_wsgi_app(tree), threads=2)
        thread = threading.Thread(target=second.serve_forever)
        thread.start()
        for _ in range(50):
            assert httpx.get(first.url + "/fs/geo/1.0.0/a.txt", timeout=20).content == b"hello\n"
        assert second.drain(10)
        thread.join(60)
        listener.close()
        for _ in range(10):
            assert httpx.get(first.url + "/fs/geo/1.0.0/big.bin", timeout=20).content == BIG


def test_the_listener_stays_open_for_others(tree: MemoryTree) -> None:
    with serving(make_wsgi_app(tree)) as running:
        running.server.drain(10)
        waiting = socket.create_connection(("127.0.0.1", running.port), timeout=20)
        waiting.close()


def test_a_client_that_trickles_its_head_is_answered_408_and_frees_its_thread(tree: MemoryTree) -> None:
    limits = HttpLimits(patience_s=0.3)
    with serving(make_wsgi_app(tree), threads=1, limits=limits) as running, running.connect() as slow:
        slow.settimeout(0.05)
        answer = b""
        while not answer:  # each byte comes long before the time-out of a single wait
            slow.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                answer = slow.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert httpx.get(f"{running.url}/healthz", timeout=20).status_code == 200


def test_a_client_that_trickles_its_body_is_cut_off(tree: MemoryTree) -> None:
    limits = HttpLimits(patience_s=0.3)
    with serving(make_wsgi_app(tree), threads=1, limits=limits) as running, running.connect() as slow:
        slow.sendall(b"PUT /webdav/new HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n")
        slow.settimeout(0.05)
        answer = b""
        while not answer:
            slow.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                answer = slow.recv(4096)
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"Connection: close" in answer


def test_patience_comes_back_with_the_bytes() -> None:
    ours, theirs = socket.socketpair()
    times = iter(range(1000))
    with ours, theirs:
        incoming = Incoming(ours, patience_s=2.9, clock=lambda: float(next(times)))  # each wait takes a second
        theirs.sendall(bytes(8 * LEAST_RATE))
        for _ in range(8):
            assert incoming.readinto(bytearray(LEAST_RATE)) == LEAST_RATE
        theirs.sendall(b"abcd")
        for _ in range(3):
            assert incoming.readinto(bytearray(1)) == 1
        with pytest.raises(TimeoutError):
            incoming.readinto(bytearray(1))
        incoming.begin()
        assert incoming.readinto(bytearray(1)) == 1


def test_a_target_may_hold_bytes_that_are_not_escaped(running: Serving) -> None:
    name = next(name for name in HARD_NAMES if name.decode("utf-8", "replace")[0] == "\N{SNOWMAN}")
    answer = exchange(
        running, b"GET /fs/geo/1.0.0/names/" + name + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n" + name)


def test_a_target_may_be_absolute(running: Serving) -> None:
    request = b"GET http://some.host/fs/geo/1.0.0/a.txt HTTP/1.1\r\nHost: some.host\r\nConnection: close\r\n\r\n"
    assert exchange(running, request).endswith(b"\r\n\r\nhello\n")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -4\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 0\r\n\r\nabcd",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n 0\r\n\r\nabcd",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length : 4\r\n\r\nabcd",
        b"GET /healthz HTTP/1.1\r\n Host: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\rContent-Length: 4\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\nConnection: Keep-Alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET //[ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x y\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x/y\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: user@x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x:y\r\n\r\n",
    ],
)
def test_heads_that_break_the_rules_are_answered_400_and_end_the_connection(running: Serving, head: bytes) -> None:
    after = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with capture_logs() as logs:
        received = exchange(running, head + after)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert len(re.findall(rb"HTTP/1\.1 [0-9]", received)) == 1
    assert logs == []


@pytest.mark.parametrize("options", [b"close", b"Close", b"TE, close"])
def test_close_is_an_option_in_any_case_and_among_others(running: Serving, options: bytes) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: %s\r\n\r\n" % options
    received = exchange(running, head + head)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in received


def test_http_1_0_needs_no_host(running: Serving) -> None:
    assert exchange(running, b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_every_request_is_told_to_the_access_log(tree: MemoryTree, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    access = AccessLog(str(path), "json")
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree), access=access) as running:
        for request in (
            b"GET /fs/geo/1.0.0/a.txt HTTP/1.1\r\nHost: x\r\nUser-Agent: me\r\n\r\n",
            b"HEAD /fs/geo/1.0.0/a.txt HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /fs/geo/1.0.0/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        ):
            with running.connect() as sock:
                sock.sendall(request)
                assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
        assert exchange(running, b"PUT /webdav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        assert exchange(running, b"GET /none\r\n\r\n")
    told = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["method"], line["target"], line["status"]) for line in told[:4]] == [
        ("GET", "/fs/geo/1.0.0/a.txt", 200),
        ("HEAD", "/fs/geo/1.0.0/a.txt", 200),
        ("GET", "/fs/geo/1.0.0/", 200),
        ("PUT", "/webdav/x", 403),
    ]
    assert [line["size"] for line in told[:2]] == [6, 0]
    assert told[0]["agent"] == "me"
    assert told[4]["status"] == 400
    assert {line["address"] for line in told} == {"127.0.0.1"}


def test_an_upload_that_is_held_back_is_not_asked_for(running: Serving) -> None:
    with running.connect() as sock:
        sock.sendall(b"PUT /webdav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\nExpect: 100-continue\r\n\r\n")
        received = bytearray()
        while piece := sock.recv(65536):
            received += piece
    assert received.startswith(b"HTTP/1.1 403 ")
    assert b"Connection: close" in received


def test_a_body_that_is_held_back_and_wanted_is_asked_for(running: Serving) -> None:
    body = b'<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>'
    with running.connect() as sock:
        sock.sendall(
            b"PROPFIND /webdav/ HTTP/1.1\r\nHost: x\r\nDepth: 0\r\nConnection: close\r\nExpect: 100-continue\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert sock.recv(100).startswith(b"HTTP/1.1 207 ")


def test_http_1_0_is_invited_to_nothing(running: Serving) -> None:
    head = b"PROPFIND /webdav/geo/1.0.0/a.txt HTTP/1.0\r\nDepth: 0\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n"
    assert exchange(running, head).startswith(b"HTTP/1.1 207 ")


def test_clients_that_send_half_or_take_nothing_hold_no_thread(tree: MemoryTree) -> None:
    with (
        serving(make_wsgi_app(tree), lane=make_fast_lane(tree), threads=1) as running,
        contextlib.ExitStack() as clients,
    ):
        for number in range(300):
            sock = clients.enter_context(running.connect())
            if number % 2:
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHo")
            else:
                sock.sendall(b"GET /fs/geo/2.0.0/large HTTP/1.1\r\nHost: x\r\n\r\n")
        for path in ("/healthz", "/fs/geo/1.0.0/a.txt", "/fs/geo/1.0.0/"):  # the last one takes a thread
            assert httpx.get(running.url + path, timeout=20).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("ending", [b"HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.0\r\n\r\n"])  # chunked, and not
def test_who_takes_nothing_of_a_listing_goes_when_others_wait_for_its_thread(tree: MemoryTree, ending: bytes) -> None:
    begun = threading.Semaphore(0)

    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/listing":
            begun.release()
            yield from (LARGE[: 1 << 20] for _ in range(48))
        else:
            yield b"quick"

    limits = HttpLimits(timeout_s=2 * LATE_S)  # so that no holder goes for taking too long
    with serving(app, threads=4, limits=limits) as running, contextlib.ExitStack() as opened:
        holders = [opened.enter_context(running.connect()) for _ in range(4)]
        for holder in holders:
            holder.sendall(b"GET /listing " + ending)
        reader = holders.pop()
        got = threading.Event()

        def read_on() -> None:
            size = 0
            while size < 48 << 20:
                piece = reader.recv(1 << 20)
                if not piece:
                    return
                size += len(piece)
                time.sleep(
                    len(piece) / (8 << 20)
                )  # 8 MiB a second, for six seconds: twice as long as may be stood still
            got.set()

        reading = threading.Thread(target=read_on)
        reading.start()
        assert all(begun.acquire(timeout=LATE_S) for _ in range(4))
        with running.connect() as asking:
            asking.settimeout(LATE_S)
            asking.sendall(b"GET /quick " + ending)
            assert b"200 OK" in asking.recv(4096)
        # As many went as others waited for, and the rest may stay.
        assert not all(taken(holder, 48 << 20) >= 48 << 20 for holder in holders)
        reading.join(60)
        assert got.is_set()  # who takes what it gets is not cut


@pytest.mark.parametrize(
    "head",
    [
        b"POST /ui/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
        b"PUT /webdav/x HTTP/1.1\r\nHost: x\r\ncontent-length:99\t\r\n\r\n",
        b"GET /fs/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\nhalf",
        b"PUT /webdav/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\nhalf",
        b"PROPFIND /fs/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
        b"PROPFIND /webdav/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    ],
)
def test_bodies_that_never_come_leave_threads_for_others(tree: MemoryTree, head: bytes) -> None:
    limits = HttpLimits(timeout_s=2 * LATE_S, patience_s=2 * LATE_S)
    with (
        serving(make_wsgi_app(tree), lane=make_fast_lane(tree), threads=4, limits=limits) as running,
        contextlib.ExitStack() as clients,
    ):
        for _ in range(40):
            clients.enter_context(running.connect()).sendall(head)
        for version in ("1.0.0", "2.0.0"):  # each takes a thread
            assert httpx.get(f"{running.url}/fs/geo/{version}/", timeout=LATE_S).status_code == 200


def test_a_short_body_that_comes_late_is_waited_for_and_one_that_ends_early_complained_of(tree: MemoryTree) -> None:
    request = b"PROPPATCH /webdav/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running:
        with running.connect() as sock:
            for piece in (request[:-1], request[-1:] + b"<", b"a/>", b"  " + request + b"<a/>  "):
                sock.sendall(piece)
                time.sleep(0.1)
            answers = b""
            while answers.count(b"HTTP/1.1 ") < 2:
                piece = sock.recv(4096)
                assert piece, answers
                answers += piece
        with running.connect() as sock:
            sock.sendall(request + b"<a")
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(4096).startswith(b"HTTP/1.1 4")


def test_a_request_that_has_only_begun_ends_no_answer_that_is_still_read(tree: MemoryTree) -> None:
    tree.publish("geo", "3.0.0", {b"page": bytes(1_000_000)})
    request = b"GET /fs/geo/3.0.0/page HTTP/1.1\r\nHost: x\r\n\r\n"
    limits = HttpLimits(patience_s=0.3)
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree), limits=limits) as running:
        running.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            sock.settimeout(20)
            sock.connect(("127.0.0.1", running.port))
            sock.sendall(request * 3 + b"GET /half")
            received = bytearray()
            for _ in range(8):  # longer than a head is waited for, and less than the answers
                time.sleep(0.1)
                received += sock.recv(50_000)
            while piece := sock.recv(1 << 20):
                received += piece
    answers = received.split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"200", b"200", b"408"]
    assert all(answer.endswith(b"\r\n\r\n" + bytes(1_000_000)) for answer in answers[:3])


def test_the_answer_to_half_a_body_is_not_given_to_a_whole_one(tree: MemoryTree) -> None:
    asked = b'<D:propfind xmlns:D="DAV:"><D:prop><D:getetag/></D:prop></D:propfind>'
    other = b'<D:propfind xmlns:D="DAV:"><D:prop><D:other/></D:prop></D:propfind>'
    head = b"PROPFIND /webdav/geo/1.0.0/ HTTP/1.1\r\nHost: x\r\nDepth: 1\r\nContent-Length: %d\r\n\r\n" % len(asked)
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running:
        for request in (head + asked + head + other, head + asked):
            with running.connect() as sock:
                sock.sendall(request)
                sock.shutdown(socket.SHUT_WR)
                received = bytearray()
                while piece := sock.recv(65536):
                    received += piece
    assert b"getetag" in received
    assert b"other" not in received


def test_what_one_client_is_owed_has_a_bound(tree: MemoryTree) -> None:
    """Whoever asks for much at once and reads nothing keeps no more in memory than an answer."""
    tree.publish("geo", "3.0.0", {b"page": bytes(1_000_000)})
    request = b"GET /fs/geo/3.0.0/page HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running:
        running.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        with running.connect() as sock:
            sock.sendall(request * 60)
            clients = vars(vars(running.server)["_engine"].loop)["_clients"]
            wait_until(lambda: [client for client in [*clients.values()] if client.out])
            time.sleep(0.5)  # and no more comes
            (client,) = clients.values()
            assert 0 < sum(map(len, client.out)) <= 1_010_000


def highest_descriptor(opened: contextlib.ExitStack) -> socket.socket:
    """Open sockets until one has a number above all others: below it none is free then."""
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    while True:
        sock = opened.enter_context(socket.socket())
        if sock.fileno() > highest:
            return sock


def test_without_descriptors_an_idle_connection_goes_and_new_ones_are_met(tree: MemoryTree) -> None:
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running:
        was = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.ExitStack() as idle:
            for _ in range(20):
                idle.enter_context(running.connect())
            assert httpx.get(f"{running.url}/healthz", timeout=20).status_code == 200
            time.sleep(loop.EVICTED_S + 0.1)
            asking = highest_descriptor(idle)
            resource.setrlimit(resource.RLIMIT_NOFILE, (asking.fileno() + 1, was[1]))
            try:
                with asking:
                    asking.settimeout(LATE_S)
                    asking.connect(("127.0.0.1", running.port))
                    asking.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert asking.recv(100).startswith(b"HTTP/1.1 200 ")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, was)


def test_clients_that_take_nothing_share_the_answer_that_was_given_before(tree: MemoryTree) -> None:
    tree.publish("geo", "3.0.0", {b"%05d" % number: b"" for number in range(5000)})
    request = b"GET /fs/geo/3.0.0/ HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n"
    with (
        serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running,
        contextlib.ExitStack() as clients,
    ):
        running.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        with running.connect() as first:
            first.sendall(request)
            first.shutdown(socket.SHUT_WR)
            size = taken(first)
        assert size > 500_000
        tracemalloc.start()
        try:
            for _ in range(30):
                clients.enter_context(running.connect()).sendall(request)
            assert httpx.get(f"{running.url}/healthz", timeout=20).status_code == 200
            time.sleep(0.3)
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert kept < 10 * size


def test_of_those_who_take_nothing_some_go_when_they_keep_too_much(
    tree: MemoryTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "HELD", 1_500_000)
    tree.publish("geo", "3.0.0", {b"1": b"1" * 1_000_000, b"2": b"2" * 1_000_000})
    with (
        serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running,
    ):
        running.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        with running.connect() as early, running.connect() as late:
            for sock, name in ((early, b"1"), (late, b"2")):
                sock.sendall(b"GET /fs/geo/3.0.0/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % name)
                time.sleep(0.2)
            time.sleep(loop.STALLED_S + 1)
            sizes = [taken(sock) for sock in (early, late)]
        assert sizes[0] < 1_000_000 < sizes[1]
