"""A small NFSv3 client that goes over to TLS, by Python's own `ssl`, and a server that it can ask for it."""

import contextlib
import ssl
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from gateway.tls import Contexts, TlsFiles
from nfs.server import Limits, NfsServer
from nfs.tls import ALPN, Tls
from nfs.wire.nfs3types import NFS_PROGRAM, NFS_V3
from store.vfs.tree import FileTree
from tests.support.authority import Authority, Issued
from tests.support.nfs_client import NfsClient, serving

AUTH_TLS: Final = 7
STARTTLS: Final = bytes.fromhex("00000001 00000000 00000000 00000008") + b"STARTTLS" + bytes(4)  # behind the xid


def probe(xid: int = 1, *, prog: int = NFS_PROGRAM, vers: int = NFS_V3, proc: int = 0, cred: bytes = b"",
          verf: bytes = b"", args: bytes = b"") -> bytes:  # fmt: skip
    """Return a call with credential AUTH_TLS, as a record without its mark."""
    head = struct.pack(">8I", xid, 0, 2, prog, vers, proc, AUTH_TLS, len(cred))
    return head + cred + struct.pack(">2I", 0, len(verf)) + verf + args


class Place:
    """A server's certificate and what else its TLS needs, in files of a folder."""

    def __init__(self, folder: Path, *, client_ca: bytes = b"") -> None:
        self.folder, self.authority = folder, Authority()
        self.cert, self.key = self.authority.issue("server").write(folder, "server")
        self.client_ca = folder / "clients.pem"
        self.client_ca.write_bytes(client_ca)
        files = TlsFiles(str(self.cert), str(self.key), str(self.client_ca) if client_ca else "")
        self.contexts = Contexts(files, (ALPN,))

    @contextlib.contextmanager
    def serving(
        self, tree: FileTree, *, required: bool = False, limits: Limits | None = None
    ) -> Iterator[tuple[NfsServer, int]]:
        """Run a server for a tree; give it and its port."""
        with serving(tree, limits=limits, tls=Tls(self.contexts, required=required)) as found:
            yield found

    def trusting(self, own: Issued | None = None, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """Return what a client goes over to TLS with: it trusts the server's authority, and may show a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.authority.pem.decode())
        if own is not None:
            context.load_cert_chain(*own.write(self.folder, "client"))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


class TlsClient(NfsClient):
    """One connection, which goes over to TLS when it is told."""

    def ask(self, **fields: Any) -> bytes:
        """Send a call with AUTH_TLS; return the reply, empty when the connection was closed."""
        self.send(probe(**fields))
        return self.receive()

    def secure(self, context: ssl.SSLContext) -> "TlsClient":
        """Ask for TLS and do the handshake."""
        assert self.ask(xid=77) == (77).to_bytes(4, "big") + STARTTLS
        self.sock = context.wrap_socket(self.sock, server_hostname="127.0.0.1")
        return self

    @property
    def tls(self) -> ssl.SSLSocket:
        """The socket within which TLS is spoken."""
        assert isinstance(self.sock, ssl.SSLSocket)
        return self.sock


class Sealer:
    """What a client's end of TLS 1.3 with TLS_AES_256_GCM_SHA384 does to send (RFC 8446 sections 5.2, 7), by hand."""

    APPLICATION_DATA, HANDSHAKE = 23, 22
    KEY_UPDATE = bytes.fromhex("18 000001 01")  # the server's keys are to be new, too

    def __init__(self, secret: bytes, sent: int) -> None:
        """Go on from a secret (client_application_traffic_secret_N) with which `sent` records were sealed."""
        self._secret, self._sent = secret, sent
        self._take_keys()

    def _take_keys(self) -> None:
        self._key, self._iv = AESGCM(self._expanded(b"key", 32)), int.from_bytes(self._expanded(b"iv", 12), "big")

    def _expanded(self, label: bytes, length: int) -> bytes:
        info = length.to_bytes(2, "big") + bytes([len(label) + 6]) + b"tls13 " + label + b"\0"
        return HKDFExpand(SHA384(), length, info).derive(self._secret)

    def sealed(self, kind: int, content: bytes) -> bytes:
        """Return a TLS record."""
        head = b"\x17\x03\x03" + (len(content) + 17).to_bytes(2, "big")
        nonce = (self._iv ^ self._sent).to_bytes(12, "big")
        self._sent += 1
        return head + self._key.encrypt(nonce, content + bytes([kind]), head)

    def update(self) -> bytes:
        """Return the record that tells of new keys, and take them."""
        told = self.sealed(self.HANDSHAKE, self.KEY_UPDATE)
        self._secret, self._sent = self._expanded(b"traffic upd", 48), 0
        self._take_keys()
        return told
