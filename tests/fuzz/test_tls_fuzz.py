"""Any bytes in place of TLS become nothing or a documented error, and never a call."""

import contextlib
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfs.tls import ROOM, SecureStream, TlsFailed
from nfs.wire.errors import AuthRejected, NotACall, RpcMismatch
from nfs.wire.rpc import AUTH_TLS, decode_call
from nfs.wire.tlsrecord import Boundaries
from tests.support.tls_client import Place, probe

CALL = b"\x80\0\0\x28" + b"what a client sends within TLS, a call maybe"


class Session:
    """Both ends of a TLS session, and what each has for the other."""

    def __init__(self, place: Place) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = place.trusting().wrap_bio(self._in, self._out, server_hostname="127.0.0.1")
        self.server = SecureStream(place.contexts.current)

    def hello(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.client.do_handshake()
        return self._out.read()

    def finish(self) -> None:
        give(self.server, self.hello())
        self._in.write(self.server.handshake())
        self.client.do_handshake()
        give(self.server, self._out.read())
        self._in.write(self.server.handshake())
        assert self.server.ready

    def sent(self, data: bytes) -> bytes:
        self.client.write(data)
        return self._out.read()


def give(stream: SecureStream, data: bytes) -> None:
    stream.room[: len(data)] = data
    stream.received(len(data))


def taken(stream: SecureStream) -> bytes:
    got, room = b"", memoryview(bytearray(1 << 16))
    while count := stream.take(room):
        got += bytes(room[:count])
    return got


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder: Path = tmp_path_factory.mktemp("tls")
    return Place(folder)


@given(st.lists(st.binary(min_size=1, max_size=600), min_size=1, max_size=4))
def test_any_bytes_for_a_handshake_are_no_handshake(place: Place, pieces: list[bytes]) -> None:
    stream = SecureStream(place.contexts.current)
    with contextlib.suppress(TlsFailed):
        for piece in pieces:
            give(stream, piece)
            assert isinstance(stream.handshake(), bytes)
    assert not stream.ready
    assert stream.certificate == b""


@given(st.data())
def test_a_client_hello_with_bytes_changed_is_a_handshake_or_refused(place: Place, data: st.DataObject) -> None:
    session = Session(place)
    hello = bytearray(session.hello())
    for _ in range(data.draw(st.integers(1, 4))):
        hello[data.draw(st.integers(0, len(hello) - 1))] = data.draw(st.integers(0, 255))
    give(session.server, bytes(hello))
    with contextlib.suppress(TlsFailed):
        session.server.handshake()
    assert not session.server.ready


@given(st.data())
def test_cipher_text_with_a_byte_changed_gives_nothing(place: Place, data: st.DataObject) -> None:
    session = Session(place)
    session.finish()
    sealed = bytearray(session.sent(CALL))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    give(session.server, bytes(sealed))
    with contextlib.suppress(TlsFailed):
        assert taken(session.server) == b""


@given(st.data())
def test_cipher_text_in_any_pieces_is_what_was_sent(place: Place, data: st.DataObject) -> None:
    session = Session(place)
    session.finish()
    plain = [data.draw(st.binary(min_size=1, max_size=40_000)) for _ in range(data.draw(st.integers(1, 4)))]
    sealed = b"".join(map(session.sent, plain))
    got, at = b"", 0
    while at < len(sealed):
        size = data.draw(st.sampled_from((1, 5, 6, 100, 5000, ROOM)))
        give(session.server, sealed[at : at + size])
        got += taken(session.server)
        at += size
        if at < len(sealed):
            assert session.server.partial or got == b"".join(plain)[: len(got)]
    assert got == b"".join(plain)
    assert not session.server.partial


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(0, 6), st.data())
def test_records_are_counted_alike_however_their_stream_was_cut(
    bodies: list[bytes], cut: int, data: st.DataObject
) -> None:
    stream = b"".join(b"\x17\x03\x03" + len(body).to_bytes(2, "big") + body for body in bodies)
    stream = stream[: max(0, len(stream) - cut)]
    whole, parts, at = Boundaries(), Boundaries(), 0
    whole.passed(memoryview(stream))
    while at < len(stream):
        size = data.draw(st.integers(1, 40))
        parts.passed(memoryview(stream[at : at + size]))
        at += size
    assert parts.partial == whole.partial
    ends, end = {0}, 0
    for body in bodies:
        end += 5 + len(body)
        ends.add(end)
    assert whole.partial == (len(stream) not in ends)


@given(st.binary(max_size=120), st.binary(max_size=40), st.binary(max_size=40))
def test_only_an_empty_credential_with_no_verifier_is_a_probe(args: bytes, cred: bytes, verf: bytes) -> None:
    record = probe(7, cred=cred, verf=verf, args=args)
    try:
        call = decode_call(record)
    except (AuthRejected, NotACall, RpcMismatch):
        assert cred or verf
        return
    assert call.flavor == AUTH_TLS
    assert not cred
    assert not verf
    assert record[call.args_at :] == args
