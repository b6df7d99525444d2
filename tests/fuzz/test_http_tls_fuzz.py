"""A TLS connection of HTTP, fed any bytes in any pieces: content, nothing yet, or an error of a connection."""

import contextlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from gateway.tls import TlsFiles, make_context
from gateway.web.tls import TlsSocket
from tests.fuzz.test_store_decoders import damaged
from tests.support.authority import Authority


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> SSL.Context:
    issued, folder = Authority().issue("server"), tmp_path_factory.mktemp("tls")
    cert, key = issued.write(Path(folder), "server")
    return make_context(TlsFiles(str(cert), str(key)))


@contextlib.contextmanager
def pair(context: SSL.Context) -> Iterator[tuple[socket.socket, TlsSocket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield theirs, TlsSocket(ours, context)


def hello() -> bytes:
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
    client.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        client.do_handshake()
    return client.bio_read(65536)


HELLO = hello()


@given(st.one_of(st.binary(min_size=1), damaged(HELLO)), st.integers(1, 600))
def test_any_beginning_ends_in_an_error_of_the_connection_or_waits(
    context: SSL.Context, data: bytes, size: int
) -> None:
    with pair(context) as (theirs, secure):
        with contextlib.suppress(OSError):
            for at in range(0, len(data), size):
                theirs.sendall(data[at : at + size])
                with contextlib.suppress(BlockingIOError):
                    secure.shake()
        assert not secure.ready


def handshake(theirs: socket.socket, secure: TlsSocket) -> SSL.Connection:
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
    client.set_connect_state()
    while not secure.ready:
        with contextlib.suppress(SSL.WantReadError):
            client.do_handshake()
        with contextlib.suppress(SSL.WantReadError):
            theirs.sendall(client.bio_read(65536))
        with contextlib.suppress(BlockingIOError):
            secure.shake()
        with contextlib.suppress(BlockingIOError):
            client.bio_write(theirs.recv(65536))
    return client


@given(
    st.lists(st.binary(min_size=1, max_size=40_000), min_size=1, max_size=4),
    st.integers(1, 70_000),
    st.integers(1, 9000),
)
def test_what_is_sent_arrives_however_it_is_cut_and_asked_for(
    context: SSL.Context, parts: list[bytes], size: int, asked: int
) -> None:
    with pair(context) as (theirs, secure):
        client = handshake(theirs, secure)
        received = b""
        for part in parts:
            client.sendall(part)
        sealed = client.bio_read(1 << 20)
        for at in range(0, len(sealed), size):
            theirs.sendall(sealed[at : at + size])
            with contextlib.suppress(BlockingIOError):
                while True:
                    received += secure.recv(asked)
        received += secure.left()
        assert received == b"".join(parts)
        assert not secure.ended


@given(st.binary(min_size=1, max_size=3000), st.integers(0, 1 << 30))
def test_a_flipped_bit_is_never_content(context: SSL.Context, content: bytes, seed: int) -> None:
    with pair(context) as (theirs, secure):
        client = handshake(theirs, secure)
        client.sendall(content)
        sealed = bytearray(client.bio_read(1 << 20))
        sealed[random.Random(seed).randrange(len(sealed))] ^= 1 << seed % 8
        theirs.sendall(sealed)
        with pytest.raises(OSError):  # it is refused, or more is waited for
            secure.recv(65536)


@given(st.lists(st.binary(max_size=30_000), min_size=1, max_size=5), st.integers(1, 70_000))
def test_what_is_taken_is_sent_in_order(context: SSL.Context, parts: list[bytes], size: int) -> None:
    with pair(context) as (theirs, secure):
        client = handshake(theirs, secure)
        received = b""

        def take() -> None:
            nonlocal received
            with contextlib.suppress(BlockingIOError, SSL.WantReadError):
                client.bio_write(theirs.recv(size))
                while True:
                    received += client.recv(65536)

        for part in parts:
            left = memoryview(part)
            while left:
                try:
                    left = left[secure.send(left) :]
                except BlockingIOError:
                    take()
        while secure.unsent:
            with contextlib.suppress(BlockingIOError):
                secure.flush()
            take()
        for _ in range(len(b"".join(parts)) // size + 10 + 4096 // size):
            take()
        assert received == b"".join(parts)
