"""A small portmapper client over the project's own codecs, and a portmapper on a free port for it."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from nfs.portmap.procedures import PROCEDURES
from nfs.portmap.server import Limits, PortmapServer
from nfs.wire.portmap import PORTMAP_PROGRAM
from nfs.wire.record import marked
from nfs.wire.rpc import ACCEPTED_SUCCESS, encode_call
from nfs.wire.xdr import decode_whole, encode_whole

NFS_PORT = 12049
TIMEOUT_S = 30
NUMBERS = {(vers, procedure.name): number for vers, by in PROCEDURES.items() for number, procedure in by.items()}


@contextlib.contextmanager
def answering(host: str = "127.0.0.1", limits: Limits | None = None) -> Iterator[tuple[PortmapServer, int]]:
    """Run a portmapper; give it and its port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::") as listener,
        socket.socket(family, socket.SOCK_DGRAM) as datagrams,
    ):
        if host == "::":
            datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        port = listener.getsockname()[1]
        datagrams.bind((host, port))
        server = PortmapServer(listener, datagrams, nfs_port=NFS_PORT, limits=limits)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server, port
        finally:
            assert server.drain(TIMEOUT_S)
            thread.join()


def request(vers: int, name: str, args: Any = None) -> bytes:
    """Return a call's record."""
    procedure = PROCEDURES[vers][NUMBERS[vers, name]]
    return encode_call(9, PORTMAP_PROGRAM, vers, NUMBERS[vers, name], encode_whole(procedure.args, args))


def result(vers: int, name: str, reply: bytes) -> Any:
    """Decode a reply without its mark."""
    start = 4 + len(ACCEPTED_SUCCESS)
    assert reply[:start] == b"\0\0\0\x09" + ACCEPTED_SUCCESS, reply.hex()
    return decode_whole(PROCEDURES[vers][NUMBERS[vers, name]].result, reply, start)


class PortmapClient:
    """Calls by TCP, or by UDP from a socket that takes replies only from where it asked."""

    def __init__(self, port: int, host: str = "127.0.0.1", *, udp: bool = False) -> None:
        self._udp = udp
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect((host, port))

    def __enter__(self) -> "PortmapClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def exchange(self, record: bytes) -> bytes:
        """Send a record and return the reply's; empty when the connection ends."""
        if self._udp:
            self.sock.send(record)
            return self.sock.recv(65536)
        self.sock.sendall(marked(record))
        return self.receive()

    def receive(self) -> bytes:
        """Return the next record of TCP; empty when the connection ends."""
        with self.sock.makefile("rb") as stream:
            mark = stream.read(4)
            return stream.read(int.from_bytes(mark, "big") & 0x7FFFFFFF) if mark else b""

    def call(self, vers: int, name: str, args: Any = None) -> Any:
        """Call a procedure and return its result."""
        return result(vers, name, self.exchange(request(vers, name, args)))
