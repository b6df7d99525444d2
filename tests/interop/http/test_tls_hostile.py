"""TLS to clients that vanish, dawdle, send what is no TLS, or take nothing; and certificates that change meanwhile."""

import contextlib
import os
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from OpenSSL import SSL
from structlog.testing import capture_logs

from gateway.tls import Contexts, TlsFiles, TlsRefused
from gateway.web.app import make_fast_lane, make_wsgi_app
from gateway.web.server import HttpLimits
from tests.conformance.tree_cases import SAMPLE
from tests.interop.http.serving import Secured, Serving, serving
from tests.support.authority import Authority, Issued
from tests.support.tls_client import Sealer
from tests.support.trees import MemoryTree
from tests.support.until import wait_until

FILE = b"GET /fs/geo/1.0.0/a.txt HTTP/1.1\r\nHost: x\r\n\r\n"
BIG = random.Random(1).randbytes(24 << 20)
AUTHORITY = Authority()
REFUSED = "certificate not taken, the old one stays"


class Place:
    """A folder with a certificate that can be exchanged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.issued = self.put(AUTHORITY.issue("first"))
        self.contexts = Contexts(TlsFiles(os.fspath(folder / "server.pem"), os.fspath(folder / "server.key")))

    def put(self, issued: Issued) -> Issued:
        issued.write(self.folder, "server")
        (self.folder / "server.key").chmod(0o600)
        return issued

    @contextlib.contextmanager
    def serving(self, limits: HttpLimits | None = None) -> Iterator[Serving]:
        tree = MemoryTree()
        tree.publish("geo", "1.0.0", SAMPLE)
        tree.publish("big", "1.0.0", {b"big.bin": BIG})
        with serving(make_wsgi_app(tree), lane=make_fast_lane(tree), tls=self.contexts, limits=limits) as running:
            yield running


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def running(place: Place) -> Iterator[Serving]:
    with place.serving() as running:
        yield running


def hello() -> bytes:
    """Return what a client says first."""
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
    client.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        client.do_handshake()
    return client.bio_read(65536)


def well(running: Serving) -> float:
    """Ask for a file, and return how long that took, handshake included."""
    began_s = time.monotonic()
    with running.connect_tls() as sock:
        sock.sendall(FILE)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 OK")
    return time.monotonic() - began_s


def reset(sock: socket.socket) -> None:
    """Vanish: the server is told by a reset, and nothing else."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_who_vanishes_in_the_handshake_leaves_nothing(running: Serving) -> None:
    said = hello()
    for at in range(0, len(said) + 1, 8):
        sock = running.connect()
        sock.sendall(said[:at])
        if at % 16:
            reset(sock)
        else:
            sock.close()
    well(running)
    wait_until(lambda: running.server.connections == 0)


@pytest.mark.slow
def test_a_thousand_half_handshakes_hold_nobody_up(place: Place) -> None:
    said = hello()
    with place.serving(HttpLimits(timeout_s=3)) as running, contextlib.ExitStack() as opened:
        threads = threading.active_count()
        for number in range(1000):
            sock = opened.enter_context(running.connect())
            sock.sendall(said[: number % 3 and len(said) - number % 3 + 1])  # some whole, and then silent
        assert threading.active_count() == threads
        assert sorted(well(running) for _ in range(20))[10] < 1  # some hundred times what it takes
        wait_until(lambda: running.server.connections == 0)  # those who do not go on are closed


def test_a_handshake_byte_by_byte_is_bounded_in_time(place: Place) -> None:
    said = hello()
    with place.serving(HttpLimits(timeout_s=1)) as running, running.connect() as sock, pytest.raises(OSError):
        trickle(sock, said)


def trickle(sock: socket.socket, data: bytes) -> None:
    """Send byte by byte, which takes many times as long as is waited for."""
    for at in range(len(data)):
        sock.sendall(data[at : at + 1])
        time.sleep(0.05)


def test_a_record_byte_by_byte_is_bounded_in_time(place: Place) -> None:
    with place.serving(HttpLimits(timeout_s=1)) as running:
        client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
        client.set_connect_state()
        with running.connect() as sock:
            handshake(client, sock)
            client.sendall(b"PROPFIND /webdav/ HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n")
            sock.sendall(client.bio_read(65536))
            client.sendall(bytes(16000))
            record = client.bio_read(65536)
            with pytest.raises(OSError):
                trickle(sock, record)


def handshake(client: SSL.Connection, sock: socket.socket) -> None:
    while True:
        try:
            client.do_handshake()
        except SSL.WantReadError:
            sock.sendall(client.bio_read(65536))
            client.bio_write(sock.recv(65536))
        else:
            sock.sendall(client.bio_read(65536))
            return


@pytest.mark.parametrize("kind", ["noise", "records of noise", "a hello with noise"])
def test_noise_ends_its_connection_and_no_other(running: Serving, kind: str) -> None:
    drawn = random.Random(kind)
    said = hello()
    with running.connect_tls() as bystander:
        for _ in range(150):
            noise = drawn.randbytes(drawn.randrange(1, 600))
            if kind == "records of noise":
                noise = (
                    bytes([drawn.choice((20, 21, 22, 23, 24))]) + b"\x03\x03" + struct.pack(">H", len(noise)) + noise
                )
            elif kind == "a hello with noise":
                at = drawn.randrange(len(said))
                noise = said[:at] + bytes([drawn.randrange(256)]) + said[at + 1 :]
            with running.connect() as sock, contextlib.suppress(OSError):
                sock.sendall(noise)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
        bystander.sendall(FILE)
        assert bystander.recv(65536).startswith(b"HTTP/1.1 200 OK")
    well(running)


def test_updates_of_keys_without_end_end_their_connection(running: Serving, tmp_path: Path) -> None:
    context, log = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), tmp_path / "secrets"
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.keylog_filename = os.fspath(log)
    with context.wrap_socket(running.connect()) as sock:
        sock.sendall(FILE)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 OK")
        lines = dict(line.split()[::2] for line in log.read_text().splitlines() if line[0] != "#")
        sealer = Sealer(bytes.fromhex(lines["CLIENT_TRAFFIC_SECRET_0"]), sent=1)
        with socket.socket(fileno=sock.detach()) as raw:
            raw.settimeout(20)
            for _ in range(3):  # some are taken, between requests
                updates = b"".join(sealer.update() for _ in range(300))
                raw.sendall(updates + sealer.sealed(Sealer.APPLICATION_DATA, FILE))
                got = 0
                while got < len(updates):  # each is answered by one
                    piece = raw.recv(65536)
                    assert piece
                    got += len(piece)
            updates, got = b"".join(sealer.update() for _ in range(5000)), 0
            with contextlib.suppress(ConnectionError):  # a reset; a time-out is none
                raw.sendall(updates)
                while piece := raw.recv(65536):
                    got += len(piece)
            assert got < len(updates) / 2
    well(running)


def test_a_record_that_was_meddled_with_ends_its_connection(running: Serving) -> None:
    for at in (0, 3, 5, 20, -1):
        client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
        client.set_connect_state()
        with running.connect() as sock:
            handshake(client, sock)
            client.sendall(FILE)
            record = bytearray(client.bio_read(65536))
            record[at] ^= 1
            sock.sendall(record)
            sock.shutdown(socket.SHUT_WR)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := sock.recv(65536):
                    received += piece
            client.bio_write(received)
            answer = b""
            with contextlib.suppress(SSL.Error):  # the alert, after tickets
                while piece := client.recv(65536):
                    answer += piece
            assert not answer
    well(running)


def test_who_says_the_end_with_a_request_that_is_known_is_answered_and_ended(place: Place) -> None:
    with place.serving(HttpLimits(timeout_s=600)) as running:
        for _ in range(2):
            well(running)
        client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
        client.set_connect_state()
        with running.connect() as sock:
            handshake(client, sock)
            client.sendall(FILE)
            client.shutdown()
            sock.sendall(client.bio_read(65536))
            while piece := sock.recv(65536):
                client.bio_write(piece)
            assert client.recv(65536).endswith(b"hello\n")


def test_a_request_that_is_cut_off_is_not_answered_as_if_it_were_whole(running: Serving) -> None:
    with running.connect_tls() as sock:
        sock.sendall(FILE[:-2])
        sock.sock.shutdown(socket.SHUT_WR)  # without TLS's own end
        with contextlib.suppress(ConnectionResetError):
            assert b"200 OK" not in sock.recv(65536)


def test_large_content_arrives_whole_also_where_little_is_taken_at_a_time(running: Serving) -> None:
    with running.connect_tls() as sock:
        sock.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 << 10)
        sock.sendall(b"GET /fs/big/1.0.0/big.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = bytearray()
        while piece := sock.recv(16384):
            received += piece
    assert received.partition(b"\r\n\r\n")[2] == BIG


@pytest.mark.slow
def test_who_takes_nothing_keeps_no_more_than_a_piece(place: Place) -> None:
    with place.serving(HttpLimits(timeout_s=3)) as running, running.connect_tls() as sock:
        sock.sendall(b"GET /fs/big/1.0.0/big.bin HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        assert min(well(running) for _ in range(2)) < 2
        wait_until(lambda: running.server.connections == 0)


def subject(sock: Secured) -> str:
    certificate = sock.tls.get_peer_certificate(as_cryptography=True)
    assert certificate is not None
    return certificate.subject.rfc4514_string()


def shows(running: Serving, name: str) -> bool:
    with running.connect_tls() as sock:
        return subject(sock) == f"CN={name}"


def test_a_new_certificate_is_shown_and_no_request_is_lost(place: Place, running: Serving) -> None:
    ended, counts, failed = threading.Event(), [0, 0], list[BaseException]()

    def steady() -> None:  # one connection, all the while
        with running.connect_tls() as sock:
            while not ended.is_set():
                sock.sendall(FILE)
                assert sock.recv(65536).startswith(b"HTTP/1.1 200 OK")
                counts[0] += 1

    def fresh() -> None:  # a connection for each request
        while not ended.is_set():
            well(running)
            counts[1] += 1

    def guarded(work: object) -> None:
        try:
            work()  # type: ignore[operator]  # one of the two above
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (steady, fresh, fresh)]
    for thread in threads:
        thread.start()
    for name in ("second", "third"):
        place.put(AUTHORITY.issue(name))
        wait_until(lambda: shows(running, name), every_s=0.05)  # noqa: B023  # asked here and now
        before = [*counts]
        wait_until(lambda: failed or all(now > was + 10 for now, was in zip(counts, before, strict=True)))  # noqa: B023
    ended.set()
    for thread in threads:
        thread.join(60)
    assert not failed


def test_a_pair_that_does_not_fit_is_refused_once_and_the_old_one_stays(place: Place) -> None:
    contexts, other = place.contexts, AUTHORITY.issue("second")
    first = contexts.current
    with capture_logs() as logs:
        (place.folder / "server.key").write_bytes(other.key)
        for _ in range(3):
            contexts.look()
        assert contexts.current is first
        assert [(log["event"], log["log_level"]) for log in logs] == [(REFUSED, "error")]
        assert "server.key is not that of the certificate" in logs[0]["why"]
        (place.folder / "server.pem").write_bytes(other.pem)  # now it fits
        contexts.look()
        second = contexts.current
        assert second is not first
        (place.folder / "server.pem").unlink()
        contexts.look()
        assert contexts.current is second
    assert [log["event"] for log in logs] == [REFUSED, "certificate read again", REFUSED]
    assert other.key.decode() not in str(logs)


def test_a_key_that_everybody_can_read_is_warned_of(place: Place) -> None:
    with capture_logs() as logs:
        (place.folder / "server.key").chmod(0o644)
        place.contexts.look()
    assert "private key can be read by every user of this machine" in [log["event"] for log in logs]


@pytest.mark.parametrize(
    ("cert", "key", "ca", "why"),
    [
        (None, b"", b"", "can't be read"),
        (b"", b"", b"", "holds no certificate"),
        (b"first", b"nonsense", b"", "holds no private key"),
        (b"first", b"other", b"", "not that of the certificate"),
        (b"first", b"first", b"nonsense", "vouch for clients"),
        (b"first", b"first", b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "can't be read"),
    ],
)
def test_files_that_are_no_good_are_refused_by_name(
    place: Place, tmp_path: Path, cert: bytes | None, key: bytes, ca: bytes, why: str
) -> None:
    other = AUTHORITY.issue("other")
    known = {b"first": place.issued, b"other": other}
    files = TlsFiles(os.fspath(tmp_path / "c"), os.fspath(tmp_path / "k"), os.fspath(tmp_path / "ca") if ca else "")
    if cert is not None:
        (tmp_path / "c").write_bytes(known[cert].pem if cert in known else cert)
    (tmp_path / "k").write_bytes(known[key].key if key in known else key)
    (tmp_path / "ca").write_bytes(ca)
    with pytest.raises(TlsRefused, match=f"{tmp_path}.*{why}"):
        Contexts(files)


def test_python_s_own_client_trusts_the_authority_and_sees_a_clean_end(running: Serving, tmp_path: Path) -> None:
    context = ssl.create_default_context(cadata=AUTHORITY.pem.decode())
    with socket.create_connection(("127.0.0.1", running.port)) as raw, context.wrap_socket(
        raw, server_hostname="127.0.0.1", suppress_ragged_eofs=False
    ) as sock:  # fmt: skip
        sock.sendall(FILE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        received = b""
        while piece := sock.recv(65536):
            received += piece
        assert received.endswith(b"hello\n")
