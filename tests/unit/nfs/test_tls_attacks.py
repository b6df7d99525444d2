"""What a hostile or clumsy client does around the handshake and within TLS: it ends its own connection, and no more."""

import contextlib
import random
import socket
import ssl
import statistics
import struct
import threading
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from nfs import connection
from nfs.seldom import Seldom
from nfs.server import Limits, NfsServer
from nfs.tls import PIECE, SecureStream
from nfs.wire import nfs3
from nfs.wire.nfs3types import NFS_PROGRAM, NFS_V3
from nfs.wire.record import marked
from nfs.wire.rpc import ACCEPTED_SUCCESS, encode_call
from nfs.wire.xdr import encode_whole
from tests.conformance.tree_cases import SAMPLE
from tests.support.nfs_client import TIMEOUT_S, USER, NfsClient, decode_reply
from tests.support.tls_client import STARTTLS, Place, Sealer, TlsClient, probe
from tests.support.trees import MemoryTree
from tests.support.until import wait_until

LARGE = random.Random(1).randbytes(1 << 20)
NULL = marked(encode_call(5, NFS_PROGRAM, NFS_V3, 0))
HELD_S = 0.3
QUICK_S = 0.5  # some thousand times what it takes, and less than a handshake is waited for


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree()
    tree.publish("maps", "1.0.0", SAMPLE)
    tree.publish("large", "1.0.0", {b"f": LARGE})
    return tree


@pytest.fixture(autouse=True)
def _nothing_said_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_seldom", Seldom(20, 10.0))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def hello(place: Place, context: ssl.SSLContext | None = None) -> bytes:
    """Return a ClientHello."""
    out = ssl.MemoryBIO()
    session = (context or place.trusting()).wrap_bio(ssl.MemoryBIO(), out, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return out.read()


def rest(client: NfsClient) -> bytes:
    """Return what comes until the server closes the connection."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.sock.recv(65536):
            got += part
    return got


def serves(port: int) -> bool:
    with NfsClient(port) as other:
        return int(other.attributes(other.handle("maps/1.0.0/a.txt")).size) == 6


# Bytes in the clear behind the probe


@pytest.mark.parametrize("behind", ["a byte", "a call", "half a call", "a probe", "a handshake"])
def test_bytes_in_the_buffer_behind_a_probe_end_the_connection_unanswered(
    tree: MemoryTree, place: Place, behind: str
) -> None:
    injected = {
        "a byte": b"\x80", "a call": NULL, "half a call": NULL[:20], "a probe": marked(probe(2)),
        "a handshake": hello(place),
    }[behind]  # fmt: skip
    with place.serving(tree) as (_, port), TlsClient(port) as client:
        client.sock.sendall(marked(probe(1)) + injected)
        assert rest(client) == b""
        assert serves(port)


def test_calls_in_the_clear_after_starttls_are_no_calls(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree) as (_, port), TlsClient(port) as client:
        assert client.ask()
        client.sock.sendall(NULL)
        assert ACCEPTED_SUCCESS not in rest(client)
        assert serves(port)


def test_a_call_that_waits_for_the_store_is_not_answered_within_tls(tree: MemoryTree, place: Place) -> None:
    go = threading.Event()

    def wait(_operation: str) -> None:
        go.wait(TIMEOUT_S)

    with place.serving(tree) as (_, port), TlsClient(port) as client:
        file = client.handle("maps/1.0.0/a.txt")
        tree.cold, tree.on_blocking = True, wait
        client.start("READ", nfs3.READ3args(file, 0, 10))
        client.send(probe(7))
        assert rest(client) == b""
        go.set()


# Handshakes that are none


def test_a_handshake_that_does_not_begin_ends_at_its_time(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree, limits=Limits(handshake_s=HELD_S)) as (_, port), TlsClient(port) as client:
        began_s = time.monotonic()
        assert client.ask()
        assert rest(client) == b""
        assert HELD_S <= time.monotonic() - began_s < TIMEOUT_S
        assert serves(port)


def test_a_handshake_that_comes_in_drops_ends_at_its_time(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree, limits=Limits(handshake_s=HELD_S)) as (_, port), TlsClient(port) as client:
        began_s = time.monotonic()
        assert client.ask()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for byte in hello(place):
                client.sock.sendall(bytes([byte]))
                time.sleep(0.01)
        assert HELD_S <= time.monotonic() - began_s < TIMEOUT_S


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_for_a_handshake_end_the_connection(tree: MemoryTree, place: Place, seed: int) -> None:
    chance = random.Random(seed)
    with place.serving(tree, limits=Limits(handshake_s=HELD_S)) as (_, port), TlsClient(port) as client:
        assert client.ask()
        start = hello(place)[: seed * 20]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sock.sendall(start + chance.randbytes(5000))
        assert len(rest(client)) <= 7  # an alert at most
        assert serves(port)


def test_a_client_that_speaks_tls_1_2_alone_is_told_so(tree: MemoryTree, place: Place) -> None:
    context = place.trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with place.serving(tree) as (_, port), TlsClient(port) as client, capture_logs() as lines:
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            client.secure(context)
        client.sock.close()
        wait_until(lambda: lines)
    assert [(line["event"], line["why"]) for line in lines] == [
        ("connection ended", "TLS handshake: unsupported protocol")
    ]


def test_a_client_that_is_refused_for_speaking_in_the_clear_is_told_of_once(tree: MemoryTree, place: Place) -> None:
    with capture_logs() as lines, place.serving(tree, required=True) as (_, port), NfsClient(port) as client:
        for xid in range(5):
            client.send(encode_call(xid, NFS_PROGRAM, NFS_V3, 1, b"", USER))
            assert client.receive()
    assert [line["event"] for line in lines] == ["calls in the clear are refused"]


def test_failing_handshakes_do_not_fill_the_log(tree: MemoryTree, place: Place) -> None:
    with capture_logs() as lines, place.serving(tree) as (_, port):
        for _ in range(100):
            with TlsClient(port) as client:
                assert client.ask()
                client.sock.sendall(NULL)
                rest(client)
    assert 0 < len(lines) <= 40  # 20 at once, and as many again each ten seconds


def test_handshakes_count_as_connections_and_give_way_to_another_address(tree: MemoryTree, place: Place) -> None:
    with (
        place.serving(tree, limits=Limits(connections=4)) as (server, port),
        contextlib.ExitStack() as stack,
    ):
        held = [stack.enter_context(TlsClient(port)) for _ in range(4)]
        for one in held:
            assert one.ask()
            # A server may note only after its reply when it heard of a client.
            wait_until(lambda: not any(connection.stalled_s() for connection in server._open()))
        assert server.connections == 4
        with NfsClient(port, address="127.0.0.2") as other:
            other.call("NULL")
        assert rest(held[0]) == b""


def half_handshakes(stack: contextlib.ExitStack, place: Place, port: int, count: int) -> list[TlsClient]:
    begun = hello(place)
    held = []
    for _ in range(count):
        client = stack.enter_context(TlsClient(port, address="127.0.0.2"))
        client.send(probe(1))
        held.append(client)
    for client in held:
        assert client.receive()
        client.sock.sendall(begun[:100])
    return held


@pytest.mark.slow
def test_a_thousand_half_handshakes_leave_others_quick(tree: MemoryTree, place: Place) -> None:
    limits = Limits(connections=1100, handshake_s=4 * TIMEOUT_S)  # so that all are there when it is measured
    with place.serving(tree, limits=limits) as (server, port), NfsClient(port) as client:
        file = client.handle("maps/1.0.0/a.txt")
        with contextlib.ExitStack() as stack:
            half_handshakes(stack, place, port, 1000)
            assert server.connections == 1001
            took_s: list[float] = []
            while len(took_s) < 500:
                asked_s = time.monotonic()
                client.attributes(file)
                took_s.append(time.monotonic() - asked_s)
            assert statistics.median(took_s) < QUICK_S
            assert server.connections == 1001


# Within TLS


def test_a_stream_that_was_meddled_with_ends_and_what_it_held_is_not_done(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree) as (_, port), TlsClient(port) as client:
        client.secure(place.trusting())
        raw = socket.socket(fileno=client.sock.detach())
        with raw:
            raw.settimeout(TIMEOUT_S)
            raw.sendall(b"\x17\x03\x03\0\x40" + bytes(64))
            got = b""
            with contextlib.suppress(ConnectionResetError):
                while part := raw.recv(65536):
                    got += part
        assert b"\x17\x03\x03" in got  # an alert, encrypted
        assert serves(port)


def test_a_connection_that_is_cut_within_a_call_does_nothing_of_it(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree) as (server, port), TlsClient(port) as client:
        file = client.secure(place.trusting()).handle("maps/1.0.0/a.txt")
        tree.cold = True
        before = tree.blocking_calls["read"]
        args = encode_whole(nfs3.READ3[0], nfs3.READ3args(file, 0, 10))
        record = marked(encode_call(9, NFS_PROGRAM, NFS_V3, 6, args, USER))
        client.sock.sendall(record[:-1])
        client.sock.shutdown(socket.SHUT_RDWR)  # without close_notify
        client.sock.close()
        wait_until(lambda: server.connections == 0)
        assert tree.blocking_calls["read"] == before


@pytest.mark.parametrize("part", ["of a TLS record", "of a call"])
def test_what_does_not_get_whole_within_tls_ends_the_connection(tree: MemoryTree, place: Place, part: str) -> None:
    with place.serving(tree, limits=Limits(record_s=HELD_S)) as (_, port), TlsClient(port) as client:
        client.secure(place.trusting())
        client.call("NULL")
        time.sleep(2 * HELD_S)  # silence is no fault
        client.call("NULL")
        if part == "of a call":
            client.sock.sendall(b"\x80\0\0\x40only a part of it")
        else:
            raw = socket.socket(fileno=client.sock.detach())
            raw.settimeout(TIMEOUT_S)
            client.sock = raw
            raw.sendall(b"\x17\x03\x03\x01")
        rest(client)  # it does end: no client gets nothing for longer than TIMEOUT_S


def test_a_tls_record_that_comes_in_drops_for_ever_ends_the_connection(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree, limits=Limits(record_s=HELD_S)) as (_, port), TlsClient(port) as client:
        client.secure(place.trusting())
        client.call("NULL")
        with socket.socket(fileno=client.sock.detach()) as raw:
            began_s = time.monotonic()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                raw.sendall(b"\x17\x03\x03\x40\x00")
                while time.monotonic() - began_s < TIMEOUT_S:
                    raw.sendall(b"x")
                    time.sleep(0.01)
            assert HELD_S <= time.monotonic() - began_s < TIMEOUT_S


def test_large_reads_reach_a_client_that_takes_them_slowly_and_others_meanwhile(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree) as (_, port), TlsClient(port) as slow, TlsClient(port) as quick:
        slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        file = slow.secure(place.trusting()).handle("large/1.0.0/f")
        quick.secure(place.trusting())
        xids = [slow.start("READ", nfs3.READ3args(file, 0, 1 << 20)) for _ in range(24)]
        for xid in xids:
            assert quick.read(file, 0, 1 << 20) == (LARGE, True)
            reply = slow.receive()
            assert int.from_bytes(reply[:4], "big") == xid
            assert b"".join(decode_reply("READ", reply).resok.data) == LARGE
            time.sleep(0.01)


def test_a_client_that_takes_nothing_within_tls_goes_and_keeps_one_piece(
    tree: MemoryTree, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []  # bytes of cipher text, each taken from the session before more was made
    said = SecureStream._said

    def noted(stream: SecureStream, most: int = 0) -> bytes:
        found = said(stream, most)
        made.append(len(found))
        return found

    monkeypatch.setattr(SecureStream, "_said", noted)
    with place.serving(tree, limits=Limits(send_s=1.0)) as (server, port), TlsClient(port) as stalled:
        stalled.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        file = stalled.secure(place.trusting()).handle("large/1.0.0/f")
        for _ in range(16):
            stalled.start("READ", nfs3.READ3args(file, 0, 1 << 20))
        wait_until(lambda: server.connections == 0)
    assert PIECE <= max(made) <= 2 * PIECE
    assert sum(made) < 8 << 20  # what the system took of the 16 MiB, and no more


def test_cold_reads_that_get_done_while_tls_is_writing_are_all_answered(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree) as (_, port), TlsClient(port) as client:
        file = client.secure(place.trusting()).handle("large/1.0.0/f")
        tree.cold, tree.on_blocking = True, lambda _operation: time.sleep(0.005)
        chance = random.Random(3)
        for _ in range(8):
            wanted: dict[int, tuple[int, int]] = {}
            for _ in range(25):
                at, size = chance.randrange(1 << 20), chance.choice((1, 100, 5000, 200_000, 1 << 20))
                wanted[client.start("READ", nfs3.READ3args(file, at, size))] = at, size
                tree.cold = chance.random() < 0.7  # some are answered at once, between those that come from the pool
            while wanted:
                reply = client.receive()
                at, size = wanted.pop(int.from_bytes(reply[:4], "big"))
                assert b"".join(decode_reply("READ", reply).resok.data) == LARGE[at : at + size]


def test_many_calls_in_one_tls_record_and_one_call_in_many_are_answered(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree) as (_, port), TlsClient(port) as client:
        client.secure(place.trusting())
        calls = b"".join(marked(encode_call(xid, NFS_PROGRAM, NFS_V3, 0)) for xid in range(1000))
        client.sock.sendall(calls)
        for xid in range(1000):
            assert client.receive() == struct.pack(">I", xid) + ACCEPTED_SUCCESS
        for at in range(len(NULL)):
            client.sock.sendall(NULL[at : at + 1])
        assert client.receive() == struct.pack(">I", 5) + ACCEPTED_SUCCESS


UPDATE_BYTES = 27  # of the server's answer to each update of keys


def exactly(raw: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        part = raw.recv(size - len(got))
        assert part
        got += part
    return got


def test_updates_of_keys_are_answered_as_they_come_and_calls_after_them_too(tree: MemoryTree, place: Place) -> None:
    context = place.trusting()
    context.keylog_filename = str(place.folder / "secrets")
    with place.serving(tree) as (server, port), TlsClient(port) as client:
        client.secure(context)
        assert client.tls.cipher() == ("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256)
        client.call("NULL")
        lines = dict(
            line.split()[::2] for line in (place.folder / "secrets").read_text().splitlines() if line[0] != "#"
        )
        sealer = Sealer(bytes.fromhex(lines["CLIENT_TRAFFIC_SECRET_0"]), sent=1)
        with socket.socket(fileno=client.sock.detach()) as raw:
            raw.settimeout(TIMEOUT_S)
            for count, answered in ((2000, 1999), (3000, 3000)):  # the last one's answer goes with what is sent next
                raw.sendall(b"".join(sealer.update() for _ in range(count)))
                exactly(raw, answered * UPDATE_BYTES)  # the others wait for no reply to go with
            raw.sendall(b"".join(sealer.update() for _ in range(100)) + sealer.sealed(sealer.APPLICATION_DATA, NULL))
            exactly(
                raw, (1 + 100) * UPDATE_BYTES + len(ACCEPTED_SUCCESS) + 8 + 22
            )  # a mark and an xid, and what TLS adds
            assert server.connections == 1


@pytest.mark.slow
def test_a_client_that_updates_keys_and_takes_no_answer_goes(tree: MemoryTree, place: Place) -> None:
    context = place.trusting()
    context.keylog_filename = str(place.folder / "secrets")
    with place.serving(tree, limits=Limits(send_s=1.0)) as (server, port), TlsClient(port) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.secure(context)
        client.call("NULL")
        lines = dict(
            line.split()[::2] for line in (place.folder / "secrets").read_text().splitlines() if line[0] != "#"
        )
        sealer = Sealer(bytes.fromhex(lines["CLIENT_TRAFFIC_SECRET_0"]), sent=1)
        updates = b"".join(sealer.update() for _ in range(10_000))
        with socket.socket(fileno=client.sock.detach()) as raw, contextlib.suppress(OSError):
            raw.settimeout(TIMEOUT_S)
            while server.connections:
                raw.sendall(updates[: 27 * 500])
                updates = updates[27 * 500 :] + b"".join(sealer.update() for _ in range(500))
        wait_until(lambda: server.connections == 0)


def test_a_server_ends_in_time_while_handshakes_are_held(tree: MemoryTree, place: Place) -> None:
    limits = Limits(handshake_s=4 * TIMEOUT_S)
    with place.serving(tree, limits=limits) as (server, port), TlsClient(port) as client:
        assert client.ask(xid=3) == struct.pack(">I", 3) + STARTTLS
        assert isinstance(server, NfsServer)
        assert server.drain(TIMEOUT_S)
