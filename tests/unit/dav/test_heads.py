"""The strict subset of request heads: what is read, what is left to others, and that nothing else ever comes out."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dav.wire.heads import read_fields, read_line
from dav.wire.propfind import MAX_BODY

HOST = b"\r\nHost: x"


def test_a_head_is_taken_apart() -> None:
    line = read_line(b"GET /a%20b?c=d HTTP/1.1" + HOST + b"\r\nRange: bytes=5-\r\nAccept: */*")
    assert line is not None
    assert line.method == b"GET"
    assert line.target == b"/a%20b?c=d"
    assert line.wanted == (b"5", b"")
    assert line.fields == HOST + b"\r\nAccept: */*"
    fields = read_fields(line.fields)
    assert fields is not None
    assert fields.environ == {"HTTP_HOST": "x", "HTTP_ACCEPT": "*/*"}
    assert (fields.length, fields.harmless) == (0, True)


@pytest.mark.parametrize(
    "head",
    [
        b"PUT / HTTP/1.1",
        b"get / HTTP/1.1",
        b"GET / HTTP/1.0",
        b"GET  / HTTP/1.1",
        b"GET a HTTP/1.1",
        b"GET //a HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET http://x/ HTTP/1.1",
        b"GET /# HTTP/1.1",
        b"GET /\xe9 HTTP/1.1",
        b" GET / HTTP/1.1",
        b"\r\nGET / HTTP/1.1",
    ],
)
def test_other_first_lines_are_left_to_others(head: bytes) -> None:
    assert read_line(head + HOST) is None


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"\r\nAccept: a",
        HOST + HOST,
        HOST + b"\r\nX:a\r\nx: b",
        HOST + b"\r\n X: a",
        HOST + b"\r\nX: a\r\n b",
        HOST + b"\r\nX : a",
        HOST + b"\r\n: a",
        HOST + b"\r\nX",
        HOST + b"\r\n",
        HOST + b"\r\nX_Y: a",
        HOST + b"\r\nX: \xe9",
        HOST + b"\r\nX: a\nY: b",
        HOST + b"\r\nX: a\rY: b",
        HOST + b"\r\nX: a\0",
        HOST + b"\r\nTransfer-Encoding: chunked",
        HOST + b"\r\nExpect: 100-continue",
        HOST + b"\r\nUpgrade: h2c",
        HOST + b"\r\nConnection: close",
        HOST + b"\r\nConnection: keep-alive, x",
        HOST + b"\r\nTE: trailers",
        HOST + b"\r\nContent-Length: -1",
        HOST + b"\r\nContent-Length: +1",
        HOST + b"\r\nContent-Length: 1_0",
        HOST + b"\r\nContent-Length: 1, 1",
        HOST + b"\r\nContent-Length: %d" % (MAX_BODY + 1),
        HOST + b"\r\nContent-Length: " + b"9" * 5000,
        b"\r\nHost: ",
        b"\r\nHost: a b",
        b"\r\nHost: a@b",
        b"\r\nHost: a/b",
        b"\r\nHost: a:b",
        b"\r\nHost: [::1",
    ],
)
def test_other_fields_are_left_to_others(lines: bytes) -> None:
    assert read_fields(lines) is None


def test_what_may_change_an_answer_is_not_harmless() -> None:
    for line in (
        b"If-None-Match: *",
        b"X-Anything: 1",
        b"Want-Repr-Digest: sha-256=1",
        b"X: y",
    ):
        fields = read_fields(HOST + b"\r\n" + line)
        assert fields is not None
        assert not fields.harmless


@given(st.binary(max_size=300))
@example(b"GET / HTTP/1.1\r\n")
def test_any_bytes_are_read_or_not(head: bytes) -> None:
    for data in (head, b"GET " + head, b"GET / HTTP/1.1\r\n" + head):
        line = read_line(data)
        if line is not None:
            assert data.startswith(line.method + b" " + line.target + b" HTTP/1.1\r\n")
            read_fields(line.fields)


@given(st.lists(st.tuples(st.from_regex(r"[A-Za-z0-9-]{1,12}", fullmatch=True), st.text(max_size=20)), max_size=6))
def test_what_is_read_is_what_was_sent(sent: list[tuple[str, str]]) -> None:
    lines = HOST + b"".join(f"\r\n{name}: {value}".encode("utf-8", "replace") for name, value in sent)
    fields = read_fields(lines)
    if fields is None:
        return
    assert all(value.isascii() and value.isprintable() for value in fields.environ.values())
    assert len({name.lower() for name, _ in sent}) == len(sent)
    for name, value in sent:
        assert fields.environ["HTTP_" + name.upper().replace("-", "_")] == value.strip(" ")


@pytest.mark.parametrize(
    "field", [b"X:" + b" " * 60_000, b"X: a" + b" " * 60_000, b"X: " + b"a " * 30_000, b"x" * 60_000]
)
def test_what_is_no_field_is_known_for_it_at_once(field: bytes) -> None:
    began = time.thread_time()
    assert read_fields(HOST + b"\r\n" + field + b"\x80") is None
    assert time.thread_time() - began < 1  # seconds, where every way to divide spaces takes nine


def test_who_asks_and_by_whom_is_told_apart_from_what_is_asked() -> None:
    proxied = (b"X-Forwarded-For: 192.0.2.1, 10.0.0.7", b"X-Forwarded-Proto: https", b"Via: 1.1 proxy", b"X-Real-IP: x")
    for line in (b"Authorization: Basic eA==", b"Cookie: a=b", *proxied):
        fields = read_fields(HOST + b"\r\n" + line)
        assert fields is not None
        assert fields.harmless
