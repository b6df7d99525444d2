"""RPC-with-TLS as clients meet it: the probe, the handshake, what is refused in the clear, certificates."""

import contextlib
import os
import ssl
import struct
from pathlib import Path

import pytest

from nfs.server import Limits
from nfs.tls import SecureStream, TlsFailed
from nfs.wire import nfs3
from nfs.wire.mount3 import MOUNT_PROGRAM, MOUNT_V3, mountstat3
from nfs.wire.nfs3types import NFS_PROGRAM, NFS_V3, nfsstat3
from nfs.wire.nlm4 import NLM_PROGRAM, NLM_V4
from nfs.wire.record import marked
from nfs.wire.rpc import ACCEPTED_SUCCESS, auth_error, auth_stat, encode_call
from nfs.wire.xdr import encode_whole
from tests.conformance.tree_cases import BIG, SAMPLE
from tests.support.authority import Authority, Issued
from tests.support.nfs_client import TIMEOUT_S, USER, NfsClient, serving
from tests.support.tls_client import STARTTLS, Place, TlsClient, probe
from tests.support.trees import MemoryTree

LARGE = os.urandom(3 << 20)
BADCRED, BADVERF, TOOWEAK = auth_stat.AUTH_BADCRED, auth_stat.AUTH_BADVERF, auth_stat.AUTH_TOOWEAK


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree()
    tree.publish("maps", "1.0.0", SAMPLE)
    tree.publish("large", "1.0.0", {b"f": LARGE})
    return tree


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def denied(xid: int, stat: auth_stat) -> bytes:
    return auth_error(xid, stat)[4:]


def answered(client: NfsClient, xid: int) -> bool:
    """Ask for nothing; tell whether it was answered."""
    client.send(encode_call(xid, NFS_PROGRAM, NFS_V3, 0))
    return client.receive() == struct.pack(">I", xid) + ACCEPTED_SUCCESS


# The probe


def test_a_probe_is_answered_with_starttls_and_calls_go_on_within_tls(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree) as (server, port), TlsClient(port) as client:
        assert client.ask(xid=0xABCD) == bytes.fromhex("0000abcd") + STARTTLS
        client.sock = place.trusting().wrap_socket(client.sock, server_hostname="127.0.0.1")
        assert client.tls.version() == "TLSv1.3"
        assert client.tls.selected_alpn_protocol() is None
        assert client.read(client.handle("maps/1.0.0/big.bin"), 0, len(BIG)) == (BIG, True)
        file = client.handle("large/1.0.0/f")
        for at in (0, 1 << 20, 2 << 20):
            assert client.read(file, at, 1 << 20) == (LARGE[at : at + (1 << 20)], at == 2 << 20)
        (connection,) = server._connections
        assert connection.secured
        assert connection.certificate == b""


@pytest.mark.parametrize(("offered", "taken"), [(("sunrpc",), "sunrpc"), (("h2", "sunrpc"), "sunrpc"), ((), None)])
def test_sunrpc_is_taken_where_it_is_offered(
    tree: MemoryTree, place: Place, offered: tuple[str, ...], taken: str | None
) -> None:
    with place.serving(tree) as (_, port), TlsClient(port) as client:
        assert client.secure(place.trusting(alpn=offered)).tls.selected_alpn_protocol() == taken
        assert answered(client, 1)


def test_a_client_that_means_to_speak_http_within_is_sent_away(tree: MemoryTree, place: Place) -> None:
    refused = pytest.raises(ssl.SSLError, match="no application protocol")
    with place.serving(tree) as (_, port), TlsClient(port) as client, refused:
        client.secure(place.trusting(alpn=["h2", "http/1.1"]))


@pytest.mark.parametrize(
    ("fields", "stat"),
    [
        ({"proc": 1}, BADCRED),
        ({"proc": 6, "args": bytes(80)}, BADCRED),
        ({"prog": MOUNT_PROGRAM, "vers": MOUNT_V3, "proc": 1, "args": b"\0\0\0\1/\0\0\0"}, BADCRED),
        ({"prog": NLM_PROGRAM, "vers": NLM_V4, "proc": 2}, BADCRED),
        ({"cred": bytes(4)}, BADCRED),
        ({"verf": bytes(4)}, BADVERF),
    ],
)
def test_auth_tls_that_is_no_probe_is_refused_and_changes_nothing(
    tree: MemoryTree, place: Place, fields: dict[str, object], stat: auth_stat
) -> None:
    with place.serving(tree) as (_, port), TlsClient(port) as client:
        assert client.ask(xid=5, **fields) == denied(5, stat)
        assert client.attributes(client.handle("maps/1.0.0/a.txt")).size == 6
        assert client.secure(place.trusting()).attributes(client.handle("maps")).type == 2


def test_a_probe_with_arguments_is_garbage(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree) as (_, port), TlsClient(port) as client:
        assert client.ask(xid=5, args=bytes(4)) == struct.pack(">6I", 5, 1, 0, 0, 0, 4)
        assert answered(client, 6)


def test_a_probe_where_tls_is_off_is_refused_and_the_client_may_go_on_in_the_clear(tree: MemoryTree) -> None:
    with serving(tree) as (_, port), TlsClient(port) as client:
        assert client.ask(xid=5) == denied(5, BADCRED)
        assert client.attributes(client.handle("maps/1.0.0/a.txt")).size == 6


def test_a_probe_for_mount_is_one_too_and_for_a_version_that_is_not_served_none(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree) as (_, port), TlsClient(port) as client:
        assert client.ask(xid=5, vers=4) == struct.pack(">8I", 5, 1, 0, 0, 0, 2, 3, 3)
        assert client.ask(xid=6, prog=MOUNT_PROGRAM, vers=MOUNT_V3) == struct.pack(">I", 6) + STARTTLS


def test_a_second_probe_within_tls_is_refused_and_the_session_goes_on(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree) as (_, port), TlsClient(port) as client:
        client.secure(place.trusting())
        assert client.ask(xid=9) == denied(9, BADCRED)
        assert answered(client, 10)


def test_a_probe_may_come_in_fragments_and_drops(tree: MemoryTree, place: Place) -> None:
    record = probe(77)
    fragments = struct.pack(">I", 10) + record[:10] + struct.pack(">I", 0x80000000 | len(record) - 10) + record[10:]
    with place.serving(tree) as (_, port), TlsClient(port) as client:
        for at in range(len(fragments)):
            client.sock.sendall(fragments[at : at + 1])
        assert client.receive() == struct.pack(">I", 77) + STARTTLS
        client.sock = place.trusting().wrap_socket(client.sock, server_hostname="127.0.0.1")
        assert answered(client, 2)


def test_calls_before_a_probe_are_answered_before_it(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree) as (_, port), TlsClient(port) as client:
        client.sock.sendall(marked(encode_call(1, NFS_PROGRAM, NFS_V3, 0)) + marked(probe(2)))
        assert client.receive() == struct.pack(">I", 1) + ACCEPTED_SUCCESS
        assert client.receive() == struct.pack(">I", 2) + STARTTLS


# What is answered in the clear


def test_where_tls_is_allowed_the_clear_goes_on(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree) as (server, port), NfsClient(port) as client:
        assert client.read(client.handle("maps/1.0.0/a.txt"), 0, 100) == (b"hello\n", True)
        (connection,) = server._connections
        assert not connection.secured


def test_where_tls_is_required_null_and_mount_alone_are_answered_in_the_clear(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree, required=True) as (_, port), TlsClient(port) as client, TlsClient(port) as safe:
        assert answered(client, 1)
        file = safe.secure(place.trusting()).handle("maps/1.0.0/a.txt")
        assert safe.read(file, 0, 100) == (b"hello\n", True)
        safe.attributes(file)  # remembered: the short way must not give it away
        mounted = client.mount("MNT", b"/maps/1.0.0")
        assert mounted.fhs_status is mountstat3.MNT3_OK
        for name in ("DUMP", "EXPORT"):
            client.mount(name)
        args = encode_whole(nfs3.GETATTR3[0], nfs3.GETATTR3args(file))
        for number in range(1, 22):
            client.send(encode_call(number, NFS_PROGRAM, NFS_V3, number, args, USER))
            assert client.receive() == denied(number, TOOWEAK)
        for number in (1, 2, 4, 20, 22):
            client.send(encode_call(number, NLM_PROGRAM, NLM_V4, number, b"", USER))
            assert client.receive() == denied(number, TOOWEAK)
        assert client.secure(place.trusting()).read(file, 0, 5) == (b"hello", False)


def test_the_short_way_answers_no_call_whose_credential_is_a_probe(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree) as (_, port), TlsClient(port) as client:
        client.send(probe(1, args=bytes(4)))  # garbage: accepted, and not to be trusted
        client.receive()
        file = client.handle("maps/1.0.0/a.txt")
        client.attributes(file)
        assert client.ask(xid=3, proc=1, args=encode_whole(nfs3.GETATTR3[0], nfs3.GETATTR3args(file))) == denied(
            3, BADCRED
        )


# Certificates of clients


@pytest.fixture
def vouching() -> Authority:
    return Authority("who vouches for clients")


def shown(tree: MemoryTree, place: Place, own: Issued | None) -> bytes | str:
    """Go over to TLS with a certificate; return the one that the server keeps, or why it did not answer."""
    with place.serving(tree) as (server, port), TlsClient(port) as client:
        try:
            client.secure(place.trusting(own))
            assert answered(client, 1)
        except ssl.SSLError as error:
            return error.reason
        (connection,) = server._connections
        return connection.certificate


def test_a_clients_certificate_is_kept_and_none_is_none(tree: MemoryTree, tmp_path: Path, vouching: Authority) -> None:
    place = Place(tmp_path, client_ca=vouching.pem)
    own = vouching.issue("ada", emails=["ada@example.org"], client=True)
    assert shown(tree, place, own) == ssl.PEM_cert_to_DER_cert(own.pem.decode())
    assert shown(tree, place, None) == b""


def test_a_certificate_that_nobody_known_vouches_for_is_refused(
    tree: MemoryTree, tmp_path: Path, vouching: Authority
) -> None:
    place = Place(tmp_path, client_ca=vouching.pem)
    assert shown(tree, place, Authority().issue("ada", client=True)) == "TLSV1_ALERT_UNKNOWN_CA"
    assert "CERTIFICATE" in str(shown(tree, place, vouching.issue("a server's", client=False)))


def test_a_revoked_certificate_is_refused_from_the_next_look_at_the_files_on(
    tree: MemoryTree, tmp_path: Path, vouching: Authority
) -> None:
    place = Place(tmp_path, client_ca=vouching.pem)
    good, lost = (vouching.issue(name, client=True) for name in ("good", "lost"))
    assert isinstance(shown(tree, place, lost), bytes)
    place.client_ca.write_bytes(vouching.pem + vouching.revoking(lost))
    place.contexts.look()
    assert shown(tree, place, lost) == "SSLV3_ALERT_CERTIFICATE_REVOKED"
    assert isinstance(shown(tree, place, good), bytes)
    assert shown(tree, place, None) == b""


def test_a_certificate_that_is_revoked_ends_what_is_open_with_its_next_call_and_leaves_others_alone(
    tree: MemoryTree, tmp_path: Path, vouching: Authority
) -> None:
    above = Authority("intermediate", above=vouching)
    place = Place(tmp_path, client_ca=vouching.pem)
    good, lost, below = (one.issue("x", client=True) for one in (vouching, vouching, above))
    below = below._replace(pem=below.pem + above.pem)
    with contextlib.ExitStack() as stack:
        _, port = stack.enter_context(place.serving(tree))
        theirs, ours, nobodys, through = clients = [stack.enter_context(TlsClient(port)) for _ in range(4)]
        for client, own in zip(clients, (lost, good, None, below), strict=True):
            assert answered(client.secure(place.trusting(own)), 1)
        place.authority.issue("server, the second").write(place.folder, "server")
        place.contexts.look()
        assert all(answered(client, 2) for client in clients)
        lists = vouching.revoking(lost) + above.revoking()
        place.client_ca.write_bytes(vouching.pem + lists)
        place.contexts.look()
        assert all(answered(client, 3) for client in (ours, nobodys, through))
        theirs.send(encode_call(3, NFS_PROGRAM, NFS_V3, 0))
        assert theirs.receive() == b""
        place.client_ca.write_bytes(Authority().pem)  # another authority: nobody is who they were
        place.contexts.look()
        assert answered(nobodys, 4)
        for client in (ours, through):
            client.send(encode_call(4, NFS_PROGRAM, NFS_V3, 0))
            assert client.receive() == b""


def test_a_certificate_that_expires_ends_what_is_open(tree: MemoryTree, tmp_path: Path, vouching: Authority) -> None:
    place = Place(tmp_path, client_ca=vouching.pem)
    own = vouching.issue("ada", client=True)
    until_s = own.certificate.not_valid_after_utc.timestamp()
    stream, client = SecureStream(place.contexts.current), ssl.MemoryBIO()
    said = ssl.MemoryBIO()
    talk = place.trusting(own).wrap_bio(client, said, server_hostname="127.0.0.1")
    while not stream.ready:
        with contextlib.suppress(ssl.SSLWantReadError):
            talk.do_handshake()
        flight = said.read()
        stream.room[: len(flight)] = flight
        stream.received(len(flight))
        client.write(stream.handshake())
    stream.hold_against(place.contexts.current, until_s)
    with pytest.raises(TlsFailed, match="has expired"):
        stream.hold_against(place.contexts.current, until_s + 1)


def test_no_session_is_resumed_where_certificates_count(tree: MemoryTree, tmp_path: Path, vouching: Authority) -> None:
    place = Place(tmp_path, client_ca=vouching.pem)
    context = place.trusting(vouching.issue("ada", client=True))
    with place.serving(tree) as (server, port), TlsClient(port) as first, TlsClient(port) as second:
        assert answered(first.secure(context), 1)
        assert second.ask() == (1).to_bytes(4, "big") + STARTTLS
        second.sock = context.wrap_socket(second.sock, server_hostname="127.0.0.1", session=first.tls.session)
        assert answered(second, 1)
        assert not second.tls.session_reused
        assert all(connection.certificate for connection in server._connections)


def test_a_new_certificate_is_for_new_connections_and_open_ones_go_on(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree) as (_, port), TlsClient(port) as old, TlsClient(port) as new, TlsClient(port) as later:
        before = old.secure(place.trusting()).tls.getpeercert()
        fresh = place.authority.issue("server, the second")
        fresh.write(place.folder, "server")
        place.contexts.look()
        after = new.secure(place.trusting()).tls.getpeercert()
        assert (before or {})["serialNumber"] != (after or {})["serialNumber"]
        assert answered(old, 1)
        place.cert.write_bytes(place.authority.issue("another's").pem)  # the key does not fit
        place.contexts.look()
        assert later.secure(place.trusting()).tls.getpeercert() == after


# Ends


def test_a_server_that_ends_says_so_within_tls(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree) as (server, port), TlsClient(port) as client:
        client.ask()
        client.sock = place.trusting().wrap_socket(client.sock, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        assert answered(client, 1)
        server.drain(TIMEOUT_S)
        assert client.tls.recv(1) == b""  # without close_notify this raises


def test_a_client_that_ends_its_session_is_given_what_it_asked_for(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree, limits=Limits(pool_threads=2)) as (_, port), TlsClient(port) as client:
        file = client.secure(place.trusting()).handle("large/1.0.0/f")
        tree.cold = True
        client.start("READ", nfs3.READ3args(file, 0, 1 << 20))
        with pytest.raises(ssl.SSLError, match="APPLICATION_DATA_AFTER_CLOSE_NOTIFY"):
            client.tls.unwrap()  # says that it ends, and then finds the answer before the server's own end


def test_statuses_within_tls_are_those_of_the_clear(tree: MemoryTree, place: Place) -> None:
    with place.serving(tree) as (_, port), TlsClient(port) as client:
        client.secure(place.trusting())
        assert client.call("GETATTR", nfs3.GETATTR3args(bytes(64))).status is nfsstat3.NFS3ERR_BADHANDLE
