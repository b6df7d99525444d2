"""The portmapper over real sockets: what it tells, from which address, and what it does not do for strangers."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from nfs.portmap.procedures import PROCEDURES, taddr2uaddr, uaddr2taddr
from nfs.portmap.server import Limits
from nfs.portmap.services import TRANSPORTS, Asked, Register
from nfs.wire import portmap as p
from nfs.wire.mount3 import MOUNT_PROGRAM
from nfs.wire.nfs3types import NFS_PROGRAM
from nfs.wire.nlm4 import NLM_PROGRAM
from nfs.wire.record import marked
from nfs.wire.rpc import accept_stat, encode_call, prog_mismatch, refused, rpc_mismatch
from nfs.wire.xdr import encode_whole, uint32
from tests.support.portmap_client import NFS_PORT, PortmapClient, answering, request, result

TCP, UDP = p.IPPROTO_TCP, p.IPPROTO_UDP
HIGH, LOW = divmod(NFS_PORT, 256)
NOWHERE = Asked(TRANSPORTS[b"tcp"], "127.0.0.1", this_machine=True)
WAYS = pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
DEADLINE_S = 30


def question(prog: int, vers: int, netid: bytes = b"") -> p.rpcb:
    return p.rpcb(prog, vers, netid, b"", b"")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with answering() as (_, port):
        yield port


@WAYS
@pytest.mark.parametrize(
    ("prog", "vers", "prot", "served"),
    [
        (NFS_PROGRAM, 3, TCP, True),
        (MOUNT_PROGRAM, 3, TCP, True),
        (NLM_PROGRAM, 4, TCP, True),
        (NFS_PROGRAM, 0, TCP, True),  # which versions are there?
        (NFS_PROGRAM, 3, UDP, False),
        (NFS_PROGRAM, 4, TCP, False),  # mount.nfs asks, and would wait for a version 4 that is named
        (NFS_PROGRAM, 2, TCP, False),
        (MOUNT_PROGRAM, 1, TCP, False),
        (MOUNT_PROGRAM, 1, UDP, False),
        (MOUNT_PROGRAM, 3, UDP, False),
        (100024, 1, TCP, False),
        (NFS_PROGRAM, 3, 132, False),
    ],
)
def test_getport_names_what_is_served_and_0_for_the_rest(
    port: int, prog: int, vers: int, prot: int, served: bool, udp: bool
) -> None:
    with PortmapClient(port, udp=udp) as client:
        assert client.call(2, "GETPORT", p.mapping(prog, vers, prot, 0)) == (NFS_PORT if served else 0)


@WAYS
def test_the_portmapper_names_itself(port: int, udp: bool) -> None:
    with PortmapClient(port, udp=udp) as client:
        for prot in (TCP, UDP):
            assert client.call(2, "GETPORT", p.mapping(p.PORTMAP_PROGRAM, 2, prot, 0)) == port
        for vers in (3, 4):
            uaddr = p.universal_address("127.0.0.1", port)
            assert client.call(vers, "GETADDR", question(p.PORTMAP_PROGRAM, vers)) == uaddr


@pytest.mark.parametrize("vers", [3, 4])
def test_getaddr_takes_the_netid_that_is_named_else_that_of_the_call(port: int, vers: int) -> None:
    nfs = f"127.0.0.1.{HIGH}.{LOW}".encode()
    with PortmapClient(port) as tcp, PortmapClient(port, udp=True) as udp:
        assert tcp.call(vers, "GETADDR", question(NFS_PROGRAM, 3)) == nfs
        assert udp.call(vers, "GETADDR", question(NFS_PROGRAM, 3)) == b""
        assert udp.call(vers, "GETADDR", question(NFS_PROGRAM, 3, b"tcp")) == nfs
        assert tcp.call(vers, "GETADDR", question(NFS_PROGRAM, 3, b"udp")) == b""
        assert tcp.call(vers, "GETADDR", question(NFS_PROGRAM, 3, b"local")) == nfs
        assert tcp.call(vers, "GETADDR", question(NFS_PROGRAM, 4)) == b""
        assert tcp.call(4, "GETVERSADDR", question(NLM_PROGRAM, 4)) == nfs


@WAYS
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.77"])
def test_on_all_addresses_the_one_that_was_asked_is_told_and_answers(host: str, udp: bool) -> None:
    with answering("0.0.0.0") as (_, port), PortmapClient(port, host, udp=udp) as client:
        uaddr = client.call(4, "GETADDR", question(NFS_PROGRAM, 3, b"tcp"))
        assert uaddr == f"{host}.{HIGH}.{LOW}".encode()


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        (b"192.0.2.2.0.111", "192.0.2.2"),  # by a forwarded port
        (b"127.0.0.1.0.111", "127.0.0.1"),
        (b"0.0.0.0.0.111", "127.0.0.1"),
        (b"2001:db8::2.0.111", "127.0.0.1"),
        (b"/run/rpcbind.sock", "127.0.0.1"),
        (b"", "127.0.0.1"),
    ],
)
@pytest.mark.parametrize("listening", ["127.0.0.1", "0.0.0.0"])
def test_who_tells_at_which_address_it_asked_is_told_that_one(listening: str, hint: bytes, told: str) -> None:
    with answering(listening) as (_, port), PortmapClient(port) as client:
        asked = p.rpcb(NFS_PROGRAM, 3, b"tcp", hint, b"")
        assert client.call(4, "GETADDR", asked) == f"{told}.{HIGH}.{LOW}".encode()
        assert client.call(4, "GETADDRLIST", asked)[0].r_maddr == f"{told}.{HIGH}.{LOW}".encode()


@WAYS
@pytest.mark.parametrize(
    ("host", "netid", "addresses"), [("127.0.0.5", b"tcp", 1), ("::1", b"tcp6", 1)], ids=["inet", "inet6"]
)
def test_all_of_ipv6_is_all_of_ipv4_too(host: str, netid: bytes, addresses: int, udp: bool) -> None:
    with answering("::") as (_, port), PortmapClient(port, host, udp=udp) as client:
        uaddr = f"{host}.{HIGH}.{LOW}".encode()
        assert client.call(4, "GETADDR", question(NFS_PROGRAM, 3, netid)) == uaddr
        assert client.call(2, "GETPORT", p.mapping(NFS_PROGRAM, 3, TCP, 0)) == NFS_PORT
        if not udp:
            assert client.call(4, "GETADDR", question(NFS_PROGRAM, 3)) == uaddr
        entries = client.call(4, "GETADDRLIST", question(NFS_PROGRAM, 3))
        assert [(entry.r_maddr, entry.r_nc_netid) for entry in entries] == [(uaddr, netid)] * addresses


def test_dump_lists_everything(port: int) -> None:
    own = [(p.PORTMAP_PROGRAM, vers) for vers in (4, 3, 2)]
    served = [(NFS_PROGRAM, 3), (MOUNT_PROGRAM, 3), (NLM_PROGRAM, 4)]
    with PortmapClient(port) as client:
        maps = client.call(2, "DUMP")
        assert maps == [
            *(p.mapping(*program, prot, port) for prot in (TCP, UDP) for program in own),
            *(p.mapping(*program, TCP, NFS_PORT) for program in served),
        ]
        for vers in (3, 4):
            listed = client.call(vers, "DUMP")
            assert [(entry.r_prog, entry.r_vers) for entry in listed] == [(m.prog, m.vers) for m in maps]
            assert listed[-1] == p.rpcb(NLM_PROGRAM, 4, b"tcp", f"127.0.0.1.{HIGH}.{LOW}".encode(), b"superuser")


@WAYS
def test_nobody_may_register_or_remove(port: int, udp: bool) -> None:
    with PortmapClient(port, udp=udp) as client:
        for vers, args in ((2, p.mapping(NFS_PROGRAM, 3, TCP, 666)), (3, question(1, 1)), (4, question(1, 1))):
            assert client.call(vers, "SET", args) is False
            assert client.call(vers, "UNSET", args) is False
        assert client.call(2, "GETPORT", p.mapping(NFS_PROGRAM, 3, TCP, 0)) == NFS_PORT


@pytest.mark.parametrize("vers", [2, 3, 4])
def test_calls_are_not_forwarded(port: int, vers: int) -> None:
    call = encode_call(9, p.PORTMAP_PROGRAM, vers, 5, encode_whole(uint32, 100003) * 4)
    unavailable = refused(9, accept_stat.PROC_UNAVAIL)[4:]
    with PortmapClient(port) as tcp, PortmapClient(port, udp=True) as udp:
        assert tcp.exchange(call) == unavailable
        assert tcp.exchange(encode_call(9, p.PORTMAP_PROGRAM, 4, 10)) == unavailable
        udp.sock.send(call)
        assert udp.call(2, "NULL") is None  # the answer to this one is the first that comes


@WAYS
def test_what_is_not_served_is_refused_as_rpc_says(port: int, udp: bool) -> None:
    with PortmapClient(port, udp=udp) as client:
        assert client.exchange(encode_call(9, NFS_PROGRAM, 3, 0)) == refused(9, accept_stat.PROG_UNAVAIL)[4:]
        assert client.exchange(encode_call(9, p.PORTMAP_PROGRAM, 5, 0)) == prog_mismatch(9, 2, 4)[4:]
        assert client.exchange(encode_call(9, p.PORTMAP_PROGRAM, 2, 9)) == refused(9, accept_stat.PROC_UNAVAIL)[4:]
        assert client.exchange(encode_call(9, p.PORTMAP_PROGRAM, 2, 3)) == refused(9, accept_stat.GARBAGE_ARGS)[4:]
        old = bytearray(encode_call(9, p.PORTMAP_PROGRAM, 2, 0))
        old[11] = 3
        assert client.exchange(bytes(old)) == rpc_mismatch(9)[4:]


def test_time_is_told(port: int) -> None:
    with PortmapClient(port) as client:
        assert abs(client.call(3, "GETTIME") - time.time()) < 60


@pytest.mark.parametrize("uaddr", [b"192.0.2.1.8.1", b"2001:db8::7.0.111"])
def test_universal_addresses_become_sockaddrs_and_back(port: int, uaddr: bytes) -> None:
    with PortmapClient(port) as client:
        taddr = client.call(4, "UADDR2TADDR", uaddr)
        assert taddr.maxlen == len(taddr.buf) in (16, 28)
        assert client.call(3, "TADDR2UADDR", taddr) == uaddr


def test_what_is_no_address_becomes_an_empty_one() -> None:
    register = Register(())
    assert uaddr2taddr(b"nonsense", register, NOWHERE) == p.netbuf(0, b"")
    for taddr in (b"", b"\2", b"\2\0" + bytes(13), b"\1\0" + bytes(14), bytes(128)):
        assert taddr2uaddr(p.netbuf(128, taddr), register, NOWHERE) == b""


def test_what_was_asked_is_counted() -> None:
    with answering() as (_, port), PortmapClient(port) as client:
        for _ in range(3):
            client.call(2, "GETPORT", p.mapping(NFS_PROGRAM, 3, TCP, 0))
        client.call(4, "GETADDR", question(MOUNT_PROGRAM, 3))
        client.call(4, "GETADDR", question(100024, 1))
        second, third, fourth = client.call(4, "GETSTAT")
        assert (second.info[3], sum(second.info)) == (3, 3)
        assert second.addrinfo == [p.rpcbs_addrlist(NFS_PROGRAM, 3, 3, 0, b"tcp")]
        assert sum(third.info) == 0
        assert (fourth.info[3], fourth.info[12]) == (2, 1)
        assert fourth.addrinfo == [p.rpcbs_addrlist(MOUNT_PROGRAM, 3, 1, 0, b"tcp")]


# What one client can do to others


def test_clients_that_send_nothing_or_halves_hold_nobody_up() -> None:
    with answering(limits=Limits(clients=8)) as (server, port), contextlib.ExitStack() as opened:
        for number in range(20):
            idle = opened.enter_context(PortmapClient(port))
            idle.sock.sendall(b"\x80\0\0\x28half"[: number % 9])
        with PortmapClient(port) as client:
            assert client.call(2, "NULL") is None
        assert server.clients <= 8


def test_a_client_that_takes_no_replies_is_let_go_and_costs_the_others_nothing() -> None:
    with answering(limits=Limits(unsent_bytes=4096)) as (server, port), PortmapClient(port) as greedy:
        greedy.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.sock.settimeout(0.2)
        with contextlib.suppress(OSError):
            while True:
                greedy.sock.sendall(marked(request(4, "DUMP")) * 1000)
        with PortmapClient(port) as client:
            assert client.call(2, "NULL") is None
            give_up = time.monotonic() + DEADLINE_S
            while server.clients > 1 and time.monotonic() < give_up:
                time.sleep(0.01)
            assert server.clients == 1


def test_a_silent_client_is_closed_after_a_while_even_if_it_drips() -> None:
    with answering(limits=Limits(idle_s=0.5)) as (server, port), PortmapClient(port) as client:
        assert client.call(2, "NULL") is None
        client.sock.settimeout(0.05)
        with contextlib.suppress(ConnectionError):
            while True:
                client.sock.sendall(b"\0")
                with contextlib.suppress(TimeoutError):
                    if client.sock.recv(1) == b"":
                        break
        assert server.clients == 0


def test_a_record_longer_than_any_call_ends_the_connection(port: int) -> None:
    with PortmapClient(port) as client:
        client.sock.sendall((0x80000000 | 8804).to_bytes(4, "big"))
        assert client.receive() == b""


def test_what_is_no_call_is_answered_by_silence(port: int) -> None:
    with PortmapClient(port, udp=True) as client:
        for datagram in (b"", b"short", b"\xff" * 400, bytes(9000)):
            client.sock.send(datagram)
        reply = bytearray(request(2, "NULL"))
        reply[7] = 1  # a REPLY: answered, two portmappers could go on for ever
        client.sock.send(reply)
        assert result(2, "NULL", client.exchange(request(2, "NULL"))) is None


def test_every_procedure_of_the_rfc_is_here_but_those_that_forward() -> None:
    assert {vers: sorted(by) for vers, by in PROCEDURES.items()} == {
        2: [0, 1, 2, 3, 4],
        3: [0, 1, 2, 3, 4, 6, 7, 8],
        4: [0, 1, 2, 3, 4, 6, 7, 8, 9, 11, 12],
    }
