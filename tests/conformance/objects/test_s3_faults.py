"""What the S3 store makes of servers that answer wrongly, late or not at all: a server on loopback plays them."""

import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from store.errors import (
    ObjectMissing,
    OutcomeUnknown,
    PreconditionFailed,
    StoreError,
    StoreUnavailable,
)
from store.objects import s3_answers
from store.objects.address import S3Address
from store.objects.retry import Backoff, Retrying
from store.objects.s3 import S3Store

DATA = bytes(range(100))
DATE = "Sun, 06 Nov 2033 08:49:37 GMT"


def reply(status: str, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(body) if length is None else length}",
        f"Date: {DATE}",
        'ETag: "e"',
        "Connection: close",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def error(status: str, code: str, *headers: str) -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>".encode()
    return reply(status, body, "Content-Type: application/xml", *headers)


class Scripted:
    """Answers each request with the next reply; `None` closes the connection, `...` leaves it without an answer."""

    def __init__(self) -> None:
        self.replies: list[object] = []
        self.requests: list[str] = []
        self._held: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for connection in self._held:
            connection.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
            head += more
        if not head:
            connection.close()
            return
        text, _, body = head.partition(b"\r\n\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in text.decode().split("\r\n")[1:])
        }
        if headers.get("expect") == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(body) < int(headers.get("content-length", "0")) and (more := connection.recv(65536)):
            body += more
        self.requests.append(f"{text.decode().split(' ')[0]} {headers.get('range', '')}".strip())
        answer = self.replies.pop(0)
        if isinstance(answer, bytes):
            connection.sendall(answer)
        if answer is ...:
            self._held.append(connection)
        else:
            connection.close()


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted()
    yield scripted
    scripted.close()


@pytest.fixture
def store(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    opened = S3Store(S3Address("bucket", "", server.endpoint, "us-east-1"), read_timeout_s=0.3)
    yield opened
    opened.close()


def create(store: S3Store) -> str:
    return store.put_if("k", b"1", match=None)


def put(store: S3Store) -> str:
    return store.put("k", b"1")


@pytest.mark.parametrize("answer", [None, ..., error("503 Slow Down", "SlowDown"), error("500 Oops", "InternalError")])
@pytest.mark.parametrize(("write", "raised"), [(create, OutcomeUnknown), (put, StoreUnavailable)])
def test_a_write_without_a_clear_answer_is_sent_once_and_only_a_condition_makes_it_unknown(
    server: Scripted, store: S3Store, answer: object, write: Callable[[S3Store], str], raised: type[StoreError]
) -> None:
    server.replies = [answer] * 9
    with pytest.raises(raised):
        write(store)
    assert server.requests == ["PUT"]


@pytest.mark.parametrize(
    "answer",
    [
        error("412 Precondition Failed", "PreconditionFailed"),
        error("409 Conflict", "ConditionalRequestConflict"),
        error("404 Not Found", "NoSuchKey"),
    ],
)
def test_each_way_to_refuse_a_condition_is_understood(server: Scripted, store: S3Store, answer: bytes) -> None:
    server.replies = [answer]
    with pytest.raises(PreconditionFailed):
        store.put_if("k", b"1", match='"e"')


def test_a_body_that_breaks_off_is_never_handed_on(server: Scripted, store: S3Store) -> None:
    server.replies = [reply("200 OK", DATA[:50], length=100)]
    with pytest.raises(StoreUnavailable):
        store.get("k")
    server.replies = [reply("206 Partial Content", DATA[10:15], "Content-Range: bytes 10-19/100", length=10)]
    with pytest.raises(StoreUnavailable):
        store.get("k", offset=10, size=10)


@pytest.mark.parametrize(
    "told", ["bytes 0-9/100", "bytes 11-20/100", "bytes 10-18/100", "bytes 10-19/15", "bytes */100", "10-19", ""]
)
def test_another_range_than_was_asked_for_is_never_handed_on(server: Scripted, store: S3Store, told: str) -> None:
    server.replies = [reply("206 Partial Content", DATA[:10], f"Content-Range: {told}")]
    with pytest.raises(StoreUnavailable):
        store.get("k", offset=10, size=10)


def test_a_range_that_is_short_before_the_end_is_never_handed_on(server: Scripted, store: S3Store) -> None:
    server.replies = [reply("206 Partial Content", DATA[10:15], "Content-Range: bytes 10-14/100")]
    with pytest.raises(StoreUnavailable):
        store.get("k", offset=10, size=10)


def test_a_server_that_ignores_ranges_is_read_right(server: Scripted, store: S3Store) -> None:
    server.replies = [reply("200 OK", DATA) for _ in range(4)]
    assert store.get("k", offset=10, size=10) == DATA[10:20]
    assert store.get("k", offset=95, size=10) == DATA[95:]
    assert store.get("k", offset=100) == b""
    assert store.tail("k", 7) == (DATA[93:], 100)


def test_a_server_without_suffix_ranges_is_asked_for_the_size_from_then_on(server: Scripted, store: S3Store) -> None:
    size, end = reply("200 OK", length=100), reply("206 Partial Content", DATA[90:], "Content-Range: bytes 90-99/100")
    dated = size.replace(b"\r\n\r\n", b"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n")
    server.replies = [
        reply("206 Partial Content", DATA[:11], "Content-Range: bytes 0-10/100"),
        *[dated, end],
        *[dated, end],
    ]
    for _ in range(2):
        assert store.tail("k", 10) == (DATA[90:], 100)
    assert server.requests == ["GET bytes=-10", "HEAD", "GET bytes=90-99", "HEAD", "GET bytes=90-99"]


def test_a_listing_that_stops_in_the_middle_is_an_error_not_an_end(server: Scripted, store: S3Store) -> None:
    page = b"<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>a</Key><Size>1</Size>"
    page += b"<ETag>e</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>%s</ListBucketResult>"
    server.replies = [
        reply("200 OK", page % b"<NextContinuationToken>t</NextContinuationToken>"),
        reply("200 OK", page % b""),
    ]
    with pytest.raises(StoreUnavailable):
        list(store.list(""))
    server.replies = [reply("200 OK", page % b"<NextContinuationToken>t</NextContinuationToken>")] * 2
    with pytest.raises(StoreUnavailable):
        list(store.list(""))


def test_what_is_no_xml_is_a_store_that_cannot_be_reached(server: Scripted, store: S3Store) -> None:
    server.replies = [reply("200 OK", b"<html>hello"), reply("502 Bad Gateway", b"<html>hello")]
    with pytest.raises(StoreUnavailable):
        list(store.list(""))
    with pytest.raises(StoreUnavailable):
        store.get("k")


def test_a_busy_server_is_asked_again_after_as_long_as_it_said(server: Scripted, store: S3Store) -> None:
    slept: list[float] = []
    server.replies = [error("503 Slow Down", "SlowDown", "Retry-After: 3"), None, reply("200 OK", DATA)]
    retrying = Retrying(store, Backoff(first_s=0.5), sleep=slept.append, draw=lambda: 1.0)
    assert retrying.get("k") == DATA
    assert slept == [3.0, 1.0]


def test_the_time_comes_from_the_servers_answers_even_from_errors(server: Scripted, store: S3Store) -> None:
    server.replies = [error("404 Not Found", "NoSuchKey")]
    with pytest.raises(ObjectMissing):
        store.get("k")
    assert abs(store.now_ns() - 2_014_879_777_000_000_000) < 60_000_000_000
    assert server.requests == ["GET"]


@pytest.mark.parametrize(
    ("ask", "status", "raised"),
    [
        (lambda store: store.get("k"), "503 Slow Down", StoreUnavailable),
        (lambda store: store.get("k"), "403 Forbidden", StoreUnavailable),
        (put, "200 OK", StoreUnavailable),
        (create, "412 Precondition Failed", OutcomeUnknown),
        (lambda store: list(store.list("")), "200 OK", StoreUnavailable),
    ],
)
def test_an_answer_that_is_no_object_is_not_read_past_a_limit(
    server: Scripted,
    store: S3Store,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[S3Store], object],
    status: str,
    raised: type[StoreError],
) -> None:
    monkeypatch.setattr(s3_answers, "ANSWER_LIMIT", 1000)
    server.replies = [reply(status, b"<" * 1001, length=1 << 40)]
    with pytest.raises(raised, match="of more than 1000 bytes"):
        ask(store)


def test_an_object_may_be_longer_than_what_else_is_answered(
    server: Scripted, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_answers, "ANSWER_LIMIT", len(DATA) - 1)
    server.replies = [reply("200 OK", DATA)]
    assert store.get("k") == DATA
