"""TLS as `openssl s_client` and others see it: versions, ciphers, chain, names, resumption, certificates of clients."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from OpenSSL import SSL

from dav.reply import CERTIFICATE, TLS, Environ, StartResponse
from gateway.tls import Contexts, TlsFiles, make_context
from gateway.web.app import make_fast_lane, make_wsgi_app
from gateway.web.tls import TlsSocket
from tests.conformance.tree_cases import SAMPLE
from tests.interop.http.serving import Serving, serving
from tests.support.authority import Authority, Issued
from tests.support.trees import MemoryTree
from tests.support.until import wait_until

FILE = b"GET /fs/geo/1.0.0/a.txt HTTP/1.1\r\nHost: x\r\n\r\n"
ROOT = Authority("root")
MIDDLE = Authority("middle", ROOT)
CLIENTS = Authority("clients")
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl: apt-get install openssl")


@contextmanager
def secured(folder: Path, *, client_ca: bytes = b"") -> Iterator[Serving]:
    """Serve the sample, and what the application is told at /told, by a certificate with a chain."""
    issued = MIDDLE.issue("server", hosts=["localhost"])
    cert, key = folder / "server.pem", folder / "server.key"
    cert.write_bytes(issued.pem + MIDDLE.pem)
    key.write_bytes(issued.key)
    key.chmod(0o600)
    (folder / "root.pem").write_bytes(ROOT.pem)
    (folder / "clients.pem").write_bytes(client_ca)
    files = TlsFiles(os.fspath(cert), os.fspath(key), os.fspath(folder / "clients.pem") if client_ca else "")
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", SAMPLE)
    whole = make_wsgi_app(tree)

    def app(environ: Environ, start: StartResponse) -> object:
        if environ["PATH_INFO"] != "/told":
            return whole(environ, start)
        told = [environ["wsgi.url_scheme"], str(environ[TLS]), environ[CERTIFICATE].hex()]
        body = " ".join(told).encode()
        start("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    with serving(app, lane=make_fast_lane(tree), tls=Contexts(files)) as running:  # type: ignore[arg-type]  # as WSGI
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Serving]:
    with secured(folder) as running:
        yield running


def s_client(running: Serving, *options: str | Path, say: bytes = b"Q\n") -> str:
    """Connect by openssl and return all that it tells."""
    program = ["openssl", "s_client", "-connect", f"127.0.0.1:{running.port}", *map(str, options)]
    done = subprocess.run(program, input=say, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    return done.stdout.decode("utf-8", "replace")


ANY = ("-cipher", "ALL:@SECLEVEL=0")


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(running: Serving, version: str) -> None:
    told = s_client(running, version, *ANY)
    assert "alert protocol version" in told
    assert "Cipher is (NONE)" in told


@pytest.mark.parametrize(("version", "name"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_new_versions_are_spoken_without_compression(running: Serving, version: str, name: str) -> None:
    told = s_client(running, version)
    assert f"New, {name}, Cipher is" in told
    assert "Compression: NONE" in told


@pytest.mark.parametrize(
    "cipher", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"]
)
def test_ciphers_of_tls_1_2_with_forward_secrecy_are_taken(running: Serving, cipher: str) -> None:
    assert f"Cipher is {cipher}" in s_client(running, "-tls1_2", "-cipher", cipher)


@pytest.mark.parametrize(
    "kind",
    [
        "kRSA",
        "kDHE",
        "ECDHE+AES+SHA1",
        "ECDHE+AES+SHA256:!AESGCM",
        "ECDHE+AES+SHA384:!AESGCM",
        "aNULL",
        "eNULL",
        "AESCCM",
    ],
)
def test_other_ciphers_of_tls_1_2_are_refused(running: Serving, kind: str) -> None:
    assert "handshake failure" in s_client(running, "-tls1_2", "-cipher", f"{kind}:@SECLEVEL=0")


def test_no_cipher_is_taken_that_is_not_listed_above(running: Serving) -> None:
    listed = subprocess.run(["openssl", "ciphers", "ALL:eNULL:@SECLEVEL=0"], capture_output=True, text=True, check=True)
    left = [name for name in listed.stdout.strip().split(":") if not name.startswith("TLS_")]
    taken = []
    # All that are left are offered at once, until none of them is taken.
    while found := re.search(
        r"Cipher is (\S+)", s_client(running, "-tls1_2", "-cipher", f"{':'.join(left)}:@SECLEVEL=0")
    ):
        if found[1] == "(NONE)":
            break
        taken.append(found[1])
        left.remove(found[1])
    assert sorted(taken) == [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ]
    assert len(left) > 50


def test_renegotiation_is_refused(running: Serving) -> None:
    told = s_client(running, "-tls1_2", say=b"R\n")
    assert "RENEGOTIATING" in told
    assert "no renegotiation" in told


def test_the_chain_is_sent_and_leads_to_the_root(running: Serving, folder: Path) -> None:
    told = s_client(running, "-showcerts", "-CAfile", folder / "root.pem", "-verify_return_error")
    assert told.count("-----BEGIN CERTIFICATE-----") == 2
    assert "Verify return code: 0 (ok)" in told


@pytest.mark.parametrize(
    "name", [(), ("-noservername",), ("-servername", "other.example.org"), ("-servername", "localhost")]
)
def test_the_name_that_a_client_gives_decides_nothing(running: Serving, name: tuple[str, ...]) -> None:
    told = s_client(running, *name, "-ign_eof", say=FILE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert "subject=CN = server" in told
    assert "HTTP/1.1 200 OK" in told


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions_are_resumed(running: Serving, folder: Path, version: str) -> None:
    kept = folder / f"session{version}"
    ask = FILE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")  # tickets of 1.3 come after the handshake
    s_client(running, version, "-ign_eof", "-sess_out", kept, say=ask)
    assert "Reused, TLSv1" in s_client(running, version, "-ign_eof", "-sess_in", kept, say=ask)


def test_early_data_is_not_taken(running: Serving, folder: Path) -> None:
    kept = folder / "early"
    ask = FILE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert "Max Early Data: 0" in s_client(running, "-tls1_3", "-ign_eof", "-sess_out", kept, say=ask)


def test_http_1_1_is_the_one_protocol(running: Serving) -> None:
    assert "ALPN protocol: http/1.1" in s_client(running, "-alpn", "h2,http/1.1")
    for version in ("-tls1_2", "-tls1_3"):
        assert "alert no application protocol" in s_client(running, version, "-alpn", "h2")
    assert "No ALPN negotiated" in s_client(running)
    told = s_client(running, "-alpn", "h2")
    assert "Cipher is (NONE)" in told


@pytest.mark.parametrize("method", [b"GET", b"PROPFIND", b"OPTIONS"])
def test_plain_http_is_told_so(running: Serving, method: bytes) -> None:
    with running.connect() as sock:
        sock.sendall(FILE.replace(b"GET", method))
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"this port speaks https" in answer
    assert b"Strict-Transport-Security" not in answer
    assert len(answer.partition(b"\r\n\r\n")[2]) == int(re.findall(rb"Content-Length: (\d+)", answer)[0])


@pytest.mark.parametrize(
    "target", [b"/fs/geo/1.0.0/a.txt", b"/fs/geo/1.0.0/", b"/webdav/geo/1.0.0/", b"/none", b"/healthz"]
)
def test_browsers_are_told_to_come_by_tls_from_now_on(running: Serving, target: bytes) -> None:
    for _ in range(3):  # by the application, by what is kept of its answer
        answer = ask(running, b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % target)
        assert answer.count(b"\r\nStrict-Transport-Security: max-age=31536000\r\n") == 1
        answer = ask(running, b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target, part=True)
        assert answer.count(b"\r\nStrict-Transport-Security: max-age=31536000\r\n") == 1


def ask(running: Serving, request: bytes, own: Issued | None = None, *, part: bool = False) -> bytes:
    """Send a request, with a client's certificate, and return the answer, or only the beginning of it."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if own is not None:
        context.use_certificate(own.certificate)
        context.use_privatekey(own.private_key)
    with running.connect_tls(context) as sock:
        sock.sendall(request)
        answer = sock.recv(65536)
        while not part and (piece := sock.recv(65536)):
            answer += piece
    return answer


TOLD = b"GET /told HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_an_application_is_told_of_tls_whatever_the_target_says(running: Serving) -> None:
    assert ask(running, TOLD).endswith(b"\r\n\r\nhttps True ")
    assert ask(running, TOLD.replace(b"/told", b"http://x/told")).endswith(b"\r\n\r\nhttps True ")


def test_a_client_may_show_a_certificate_of_those_that_are_trusted(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    with secured(tmp_path, client_ca=CLIENTS.pem + ROOT.pem) as running:
        own = CLIENTS.issue("ada", emails=["ada@example.org"], client=True)
        der = own.certificate.public_bytes(Encoding.DER)
        assert ask(running, TOLD, own).endswith(b"https True " + der.hex().encode())
        assert ask(running, TOLD).endswith(b"https True ")  # it need not
        told = s_client(running)
        assert "CN = clients" in told.partition("Acceptable client certificate CA names")[2]


@pytest.mark.parametrize("kind", ["of others", "for servers", "expired", "revoked"])
def test_a_certificate_that_is_not_good_ends_the_handshake(tmp_path: Path, kind: str) -> None:
    own = {
        "of others": lambda: Authority("others").issue("ada", client=True),
        "for servers": lambda: CLIENTS.issue("ada"),
        "expired": lambda: CLIENTS.issue("ada", client=True, expired=True),
        "revoked": lambda: CLIENTS.issue("ada", client=True),
    }[kind]()
    revoking = CLIENTS.revoking(own) if kind == "revoked" else b""
    with secured(tmp_path, client_ca=CLIENTS.pem + revoking) as running:
        with pytest.raises(OSError):
            ask(running, TOLD, own)
        good = CLIENTS.issue("bob", client=True)
        assert b"200 OK" in ask(running, TOLD, good)


def refused(running: Serving, own: Issued) -> bool:
    """Tell whether a new connection is, by a certificate."""
    try:
        ask(running, TOLD, own)
    except OSError:
        return True
    return False


@pytest.mark.parametrize("change", ["revoked", "trusted no more", "others revoked"])
def test_a_certificate_that_is_good_no_more_ends_the_connection_that_is_open_by_it(tmp_path: Path, change: str) -> None:
    own, other = (CLIENTS.issue(name, client=True) for name in ("ada", "bob"))
    with secured(tmp_path, client_ca=CLIENTS.pem) as running:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.use_certificate(own.certificate)
        context.use_privatekey(own.private_key)
        with running.connect_tls(context) as shown, running.connect_tls() as without:
            for sock in (shown, without):
                sock.sendall(FILE)
                assert sock.recv(65536).startswith(b"HTTP/1.1 200 OK")
            (tmp_path / "clients.pem").write_bytes(
                ROOT.pem
                if change == "trusted no more"
                else CLIENTS.pem + CLIENTS.revoking(own if change == "revoked" else other)
            )
            wait_until(lambda: refused(running, other if change == "others revoked" else own))
            without.sendall(FILE)
            assert without.recv(65536).startswith(b"HTTP/1.1 200 OK")
            with contextlib.suppress(OSError):
                shown.sendall(FILE)
                assert shown.recv(65536).startswith(b"HTTP/1.1 200 OK") == (change == "others revoked")


def test_a_certificate_that_expires_ends_the_connection_that_is_open_by_it(tmp_path: Path) -> None:
    cert, key = map(os.fspath, MIDDLE.issue("server").write(tmp_path, "server"))
    (tmp_path / "clients.pem").write_bytes(CLIENTS.pem)
    trusting = make_context(TlsFiles(cert, key, os.fspath(tmp_path / "clients.pem")))
    own = CLIENTS.issue("ada", client=True)
    until_s = own.certificate.not_valid_after_utc.timestamp()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.use_certificate(own.certificate)
    context.use_privatekey(own.private_key)
    client = SSL.Connection(context)
    client.set_connect_state()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        secure = TlsSocket(ours, trusting)
        while not secure.ready:
            with contextlib.suppress(SSL.WantReadError):
                client.do_handshake()
            theirs.sendall(client.bio_read(65536))
            if not secure.shake():
                client.bio_write(theirs.recv(65536))
        secure.hold_against(trusting, until_s)
        with pytest.raises(ConnectionResetError, match="has expired"):
            secure.hold_against(trusting, until_s + 1)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_nothing_is_resumed_where_clients_show_certificates(tmp_path: Path, version: str) -> None:
    with secured(tmp_path, client_ca=CLIENTS.pem) as running:
        kept = tmp_path / "session"
        for option in ("-sess_out", "-sess_in"):
            told = s_client(running, version, "-ign_eof", option, kept, say=TOLD)
            assert "New, TLSv1" in told
            assert "HTTP/1.1 200 OK" in told
            if not kept.exists():  # no ticket was given at all
                break


def test_content_that_breaks_off_does_not_look_whole(tmp_path: Path) -> None:
    cert, key = map(os.fspath, MIDDLE.issue("server").write(tmp_path, "server"))

    def app(environ: Environ, start: StartResponse) -> object:
        start("200 OK", [("Content-Length", "10")])
        return [b"12345"] if environ["PATH_INFO"] == "/short" else [b"1234567890"]

    def answer(path: bytes) -> tuple[bytes, bool]:
        received = b""
        with server.connect_tls() as sock:
            sock.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path)
            try:
                while piece := sock.recv(65536):
                    received += piece
            except ConnectionResetError:
                return received, False
        return received, True

    with serving(app, tls=Contexts(TlsFiles(cert, key))) as server:  # type: ignore[arg-type]  # as WSGI
        assert answer(b"/whole")[0].endswith(b"\r\n\r\n1234567890")
        assert answer(b"/whole")[1]
        assert answer(b"/short")[0].endswith(b"\r\n\r\n12345")
        assert not answer(b"/short")[1]
