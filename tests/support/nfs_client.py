"""A small NFSv3 client that speaks through the project's own codecs, and a server on a free port of loopback for it.

Threads: one client belongs to one thread.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any, Self

from nfs.grants import Grants
from nfs.server import Limits, NfsServer
from nfs.table import MOUNT_PROCEDURES, NFS_PROCEDURES, Procedure
from nfs.tls import Tls
from nfs.wire import nfs3
from nfs.wire.mount3 import MOUNT_PROGRAM, MOUNT_V3
from nfs.wire.nfs3types import FATTR3, NFS_PROGRAM, NFS_V3, Result, diropargs3, fattr3, nfsstat3
from nfs.wire.record import marked
from nfs.wire.rpc import ACCEPTED_SUCCESS, authsys_parms, encode_call
from nfs.wire.xdr import decode_whole, encode_whole
from store.vfs.tree import FileTree

KEY = b"a key for handles in tests"
USER = authsys_parms(0, b"tester", 1000, 1000, (1000,))
NFS_NUMBERS = {p.name: n for n, p in NFS_PROCEDURES.items()}
MOUNT_NUMBERS = {p.name: n for n, p in MOUNT_PROCEDURES.items()}
TIMEOUT_S = 30


@contextlib.contextmanager
def serving(
    tree: FileTree, *, limits: Limits | None = None, tls: Tls | None = None, grants: Grants | None = None
) -> Iterator[tuple[NfsServer, int]]:
    """Run a server for a tree; give it and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = NfsServer(listener, tree, handle_key=KEY, limits=limits, tls=tls, grants=grants)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server, listener.getsockname()[1]
        finally:
            server.drain(5)
            thread.join()


class NfsClient:
    """One connection."""

    def __init__(self, port: int, *, address: str = "127.0.0.1", user: authsys_parms | None = USER) -> None:
        """Connect from `address`, one of loopback's, and say to be `user`; `None`: say nothing."""
        self._user = user
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S, source_address=(address, 0))
        self._xid = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    # Records

    def send(self, record: bytes) -> None:
        """Send one record, marked."""
        self.sock.sendall(marked(record))

    def receive(self) -> bytes:
        """Return the next record; empty when the server closed the connection."""
        mark = self._exactly(4)
        return self._exactly(int.from_bytes(mark, "big") & 0x7FFFFFFF) if mark else b""

    def _exactly(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            part = self.sock.recv(size - len(got))
            if not part:
                return b""
            got += part
        return got

    # Calls

    def start(self, name: str, args: Any = None, *, program: int = NFS_PROGRAM) -> int:
        """Send a call; return its xid."""
        self._xid += 1
        number, procedure, version = _procedure(name, program)
        self.send(encode_call(self._xid, program, version, number, encode_whole(procedure.args, args), self._user))
        return self._xid

    def call(self, name: str, args: Any = None, *, program: int = NFS_PROGRAM) -> Any:
        """Send a call and return its decoded result."""
        xid = self.start(name, args, program=program)
        reply = self.receive()
        assert int.from_bytes(reply[:4], "big") == xid
        return decode_reply(name, reply, program=program)

    def mount(self, name: str, args: Any = None) -> Any:
        """Call a procedure of MOUNT."""
        return self.call(name, args, program=MOUNT_PROGRAM)

    # What tests ask most

    def handle(self, path: str) -> bytes:
        """Mount the root and look every part of a path up."""
        fh: bytes = self.mount("MNT", b"/").mountinfo.fhandle
        for part in path.encode().split(b"/"):
            if part:
                fh = ok(self.call("LOOKUP", nfs3.LOOKUP3args(diropargs3(fh, part)))).object
        return fh

    def attributes(self, fh: bytes) -> fattr3:
        """Return a handle's attributes."""
        return fattr3(*FATTR3.unpack(ok(self.call("GETATTR", nfs3.GETATTR3args(fh)))))

    def read(self, fh: bytes, offset: int, count: int) -> tuple[bytes, bool]:
        """Return data and eof."""
        got = ok(self.call("READ", nfs3.READ3args(fh, offset, count)))
        data = b"".join(got.data)
        assert len(data) == got.count_
        return data, got.eof


def ok(result: Result[Any, Any]) -> Any:
    """Return what a successful call returned."""
    assert result.status is nfsstat3.NFS3_OK, result
    return result.resok


def decode_reply(name: str, reply: bytes, *, program: int = NFS_PROGRAM) -> Any:
    """Decode a whole successful reply."""
    start = 4 + len(ACCEPTED_SUCCESS)
    assert reply[4:start] == ACCEPTED_SUCCESS, reply.hex()
    return decode_whole(_procedure(name, program)[1].result, reply, start)


def _procedure(name: str, program: int) -> tuple[int, Procedure, int]:
    if program == NFS_PROGRAM:
        return NFS_NUMBERS[name], NFS_PROCEDURES[NFS_NUMBERS[name]], NFS_V3
    return MOUNT_NUMBERS[name], MOUNT_PROCEDURES[MOUNT_NUMBERS[name]], MOUNT_V3
