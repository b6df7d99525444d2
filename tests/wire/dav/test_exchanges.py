"""What real clients say, replayed byte for byte: Finder, Explorer, gvfs, rclone and others get the answers on record.

The recordings are the files *.txt beside this one (`tests.support.exchanges` has their form). A change that means to
answer otherwise records the answers anew: PYTHONPATH=. .venv/bin/python tests/tools/record-dav-exchanges
"""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from gateway.web.app import make_fast_lane, make_wsgi_app
from tests.interop.http.serving import Serving, serving
from tests.support.exchanges import Recorded, read, take_answer, write
from tests.support.relay import fields
from tests.support.trees import Contents, File, Link, MemoryTree

HERE = Path(__file__).parent
RECORDINGS = sorted(path.stem for path in HERE.glob("*.txt"))


CONTENTS: Final[Contents] = {
    b"a.txt": b"hello\n",
    b"numbers": b"".join(b"%07d\n" % number for number in range(200)),
    b"page.html": b"<p>hello</p>\n",
    b"run.sh": File(b"#!/bin/sh\n", executable=True, mtime_ns=1_234_567_890_123_456_789),
    b"link": Link(b"a.txt"),
    "caf\u00e9".encode(): b"composed",
    b"a & b <c>": b"?",
    b"not-utf8-\xff": b"?",
    b"sub": {b"deep": {b"leaf": b"leaf"}, b"empty": {}},
}


def recorded_tree() -> MemoryTree:
    """Return what was served when the exchanges were recorded: it is the same each time, times and states included."""
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", CONTENTS)
    tree.publish("geo", "latest", CONTENTS)
    tree.publish("@scope/roads", "1.0.0", CONTENTS)
    return tree


@contextlib.contextmanager
def serving_recorded(*, lane: bool) -> Iterator[Serving]:
    """Serve it; with `lane`, what needs no thread is answered without one, as in a gateway."""
    tree = recorded_tree()
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree) if lane else None) as running:
        yield running


def replay(running: Serving, exchanges: list[Recorded], piece: int | None = None) -> list[bytes]:
    """Send each request when the answer to the one before is there; return the answers.

    Args:
        running: the server.
        exchanges: the requests, all of one connection unless the server ends it.
        piece: bytes sent at a time; `None` sends a request as a whole.
    """
    answers = []
    with contextlib.ExitStack() as connection:
        sock, stream = None, None
        for exchange in exchanges:
            if sock is None or stream is None:
                sock = connection.enter_context(running.connect())
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                stream = connection.enter_context(sock.makefile("rb"))
            for start in range(0, len(exchange.request), piece or len(exchange.request)):
                sock.sendall(exchange.request[start : start + (piece or len(exchange.request))])
            answers.append(take_answer(stream, exchange.request.split(b" ", 1)[0].decode()))
            if fields(answers[-1]).get("connection") == "close":
                sock = None
        if sock is not None and stream is not None:
            sock.shutdown(socket.SHUT_WR)
            assert stream.read() == b""  # nothing was sent that nobody asked for
    return answers


def test_the_clients_that_matter_are_on_record() -> None:
    assert {"cadaver", "davfs2", "explorer", "finder", "gvfs", "rclone"} <= set(RECORDINGS)


@pytest.mark.parametrize("client", RECORDINGS)
def test_a_recording_is_read_and_written_without_loss(client: str, tmp_path: Path) -> None:
    title, exchanges = read(HERE / f"{client}.txt")
    write(tmp_path / "again", title, exchanges)
    assert (tmp_path / "again").read_bytes() == (HERE / f"{client}.txt").read_bytes()


@pytest.mark.parametrize(
    "body", [b"", b"\n", b"\n\n", b"a", b"a\n", b"\\x41\r\n\xff \n", b"\x00<D:response>" * 40, b"> #\n<+ "]
)
def test_a_recording_holds_bytes_of_every_kind(body: bytes, tmp_path: Path) -> None:
    kept = [Recorded(("a note",), b"PUT / HTTP/1.1\r\nKeep-Alive: \r\n\r\n" + body, b"HTTP/1.1 200 OK\r\n\r\n" + body)]
    write(tmp_path / "kept", "# title\n", kept)
    assert read(tmp_path / "kept") == ("# title\n", kept)


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "threads"])
@pytest.mark.parametrize("client", RECORDINGS)
def test_a_client_gets_the_answers_on_record_each_time(client: str, lane: bool) -> None:
    _, exchanges = read(HERE / f"{client}.txt")
    assert exchanges
    with serving_recorded(lane=lane) as running:
        for _ in range(3):  # answers may be kept after the first time, and must not change by that
            for exchange, answer in zip(exchanges, replay(running, exchanges), strict=True):
                assert answer.decode("utf-8", "backslashreplace") == exchange.answer.decode("utf-8", "backslashreplace")


@pytest.mark.parametrize("client", RECORDINGS)
def test_it_does_not_matter_in_which_pieces_a_request_arrives(client: str) -> None:
    _, exchanges = read(HERE / f"{client}.txt")
    with serving_recorded(lane=True) as running:
        assert replay(running, exchanges, piece=11) == [exchange.answer for exchange in exchanges]


@pytest.mark.parametrize("client", RECORDINGS)
def test_no_answer_has_what_a_client_is_known_to_stumble_over(client: str) -> None:
    title, exchanges = read(HERE / f"{client}.txt")
    for exchange in exchanges:
        head, _, body = exchange.answer.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        assert status not in (301, 302, 307, 308), "gvfs takes a redirect for an error"
        assert b"location" not in body.lower(), "Finder shows files twice"
        assert status < 500
        if exchange.request.startswith(b"OPTIONS"):
            assert fields(head)["dav"] == "1", "Finder mounts class 1 read-only"
        if client == "finder" and b"D:quota" in body:
            assert body.count(b"404 Not Found") == 1, "Finder stalls where it is told of quotas"
    assert title.startswith("# ")
