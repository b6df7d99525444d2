"""One TLS connection in the shape of a socket, so that the loop and cheroot's threads use it as they use a plain one.

OpenSSL works on memory (BIOs): what arrives is given to it whole, and all that can be opened of it is opened at once,
so that nothing waits where no poll can see it; what it seals is sent from here. Content is sealed in pieces of `SEAL`
bytes, each of which is sent before the next is sealed: a client that takes nothing keeps one piece.

Who never finishes a handshake holds this object and no thread. Plain HTTP on such a port is told by its first byte.
Threads: one at a time; `shutdown(SHUT_RDWR)` may come from any.
"""

import contextlib
import errno
import math
import socket
import time
from collections.abc import Iterable
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

from dav.reply import Buffer
from gateway.tls import NOT_OFFERED

READ: Final = 64 << 10  # bytes received at a time
SEAL: Final = 64 << 10  # bytes of content sealed at a time
SEALED: Final = SEAL + 4096  # bytes that these become at most, with what else OpenSSL may have to say
RECORD: Final = 16 << 10  # bytes of content in a record at most (RFC 8446 section 5.1)
SLICE: Final = 16 << 10  # bytes that OpenSSL is given at a time
BARREN: Final = 24 << 10  # bytes that may come without content: more than a record has that is not whole yet
OTHERS_ONLY: Final = bytes.fromhex("15 0303 0002 02 78")  # alert no_application_protocol (RFC 7301 section 3.2)
_LETTERS: Final = range(ord("A"), ord("Z") + 1)  # what a method of HTTP begins with, and no record of TLS


class NotTls(ConnectionError):
    """A client speaks HTTP where TLS is spoken."""


class TlsSocket:
    """See the module. Whatever TLS has to complain of is a ConnectionResetError."""

    __slots__ = (
        "_barren", "_begun", "_broken", "_chain", "_context", "_ends_s", "_plain", "_sealed", "_timeout_s", "_tls",
        "_told", "certificate", "ended", "raw", "ready",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, context: SSL.Context) -> None:
        """Speak over a connected socket, which then is this object's."""
        self.raw = sock
        self.ready = False  # the handshake is over
        self.ended = False  # the client will send no more
        self.certificate = b""  # the client's (DER), verified; empty: it has shown none
        self._context, self._tls = context, SSL.Connection(context)
        self._chain: list[crypto.X509] = []  # the client's certificate, and those that vouch for it
        self._ends_s = math.inf  # since 1970: when it expires
        self._tls.set_accept_state()
        self._plain = b""  # opened, and not yet asked for
        self._sealed: bytes | memoryview = b""  # sealed, and not yet sent
        self._timeout_s: float | None = 0.0
        self._begun = self._broken = self._told = False
        self._barren = 0  # bytes that arrived since the last content

    # Handshake

    def shake(self) -> bool:
        """Go on with the handshake by what has arrived, without waiting; return whether it is over.

        Raises:
            BlockingIOError: nothing has arrived, or not all of what is to be sent was taken.
            NotTls: the client speaks plainly: `raw` is to be used instead.
            OSError: the connection is lost, or there is no agreement.
        """
        self.flush()
        data = self.raw.recv(READ)
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "gone during the handshake")
        if not self._begun and data[0] in _LETTERS:
            raise NotTls
        self._begun = True
        self._open(data)
        return self.ready

    # Receiving

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes of content; none when the client will send no more.

        Raises:
            BlockingIOError: nothing whole has arrived. TimeoutError: it took too long. OSError: as above.
        """
        until_s = 0.0
        while not self._plain and not self.ended:
            data = self._receive(until_s)
            if data:
                self._open(data)
            else:  # without TLS's own end: what the content says of its length decides whether it is whole
                self.ended = True
            if not self._plain and not self.ended:
                if self._timeout_s == 0.0:
                    raise BlockingIOError(errno.EAGAIN, "part of a record")
                until_s = until_s or (time.monotonic() + self._timeout_s if self._timeout_s else 0.0)
        plain, self._plain = self._plain[:size], self._plain[size:]
        return plain

    def recv_into(self, buffer: Any) -> int:
        """As `recv`, into a buffer; return how many bytes."""
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def left(self) -> bytes:
        """Return what was received and not asked for."""
        plain, self._plain = self._plain, b""
        return plain

    def _receive(self, until_s: float) -> bytes:
        """Receive from the socket, if it is to be waited for only until a time (monotonic; 0: as set)."""
        if not until_s:
            return self.raw.recv(READ)
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self.raw.settimeout(left_s)
        try:
            return self.raw.recv(READ)
        finally:
            self.raw.settimeout(self._timeout_s)

    def _open(self, data: bytes) -> None:
        pieces = [self._plain] if self._plain else []
        try:
            for at in range(0, len(data), SLICE):
                self._open_slice(data[at : at + SLICE], pieces)
        except SSL.ZeroReturnError:
            self.ended = True
        except SSL.Error as error:
            self._broken = True
            self._collect()  # the alert that says why
            with contextlib.suppress(OSError):
                self.flush()
            raise ConnectionResetError(errno.ECONNRESET, f"TLS: {error}") from error
        self._plain = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._collect()
        with contextlib.suppress(BlockingIOError):
            self.flush()

    def _open_slice(self, data: bytes, pieces: list[bytes]) -> None:
        """Add to `pieces` what content can be opened.

        Raises:
            ConnectionResetError: nothing but what TLS says itself has come for too long: updates of keys, each of which
                takes OpenSSL longer than its 27 bytes take to be sent.
            SSL.Error: as OpenSSL has it.
        """
        ready, known = self.ready, len(pieces)
        self._tls.bio_write(data)
        with contextlib.suppress(SSL.WantReadError):
            if not self.ready:
                self._shake()
            while True:
                pieces.append(self._tls.recv(RECORD))
        self._barren = self._barren + len(data) if ready and len(pieces) == known else 0
        if self._barren > BARREN:
            self._broken = True
            raise ConnectionResetError(errno.ECONNRESET, "TLS: records without content, and no end of them")

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
        finally:
            if self._tls.get_app_data() is NOT_OFFERED:  # nothing is sent yet, so the alert needs no key
                self._broken, self._sealed = True, OTHERS_ONLY
                with contextlib.suppress(OSError):
                    self.flush()
                raise ConnectionResetError(errno.ECONNRESET, "TLS: it offers no protocol that is spoken here")
        self.ready = True
        found = self._tls.get_peer_certificate(as_cryptography=True)
        if found is not None:
            self.certificate = found.public_bytes(Encoding.DER)
            self._ends_s = found.not_valid_after_utc.timestamp()
            self._chain = self._tls.get_verified_chain() or []

    def hold_against(self, context: SSL.Context, now_s: float) -> None:
        """Hold the client's certificate against the time and whom a later context trusts; quick while it is the same.

        Args:
            context: what a new connection would be made of.
            now_s: since 1970.

        Raises:
            ConnectionResetError: it is good no more.
        """
        if now_s > self._ends_s:
            raise ConnectionResetError(errno.ECONNRESET, "TLS: the client's certificate has expired")
        if context is self._context:
            return
        self._context = context
        if not self._chain:
            return
        store = context.get_cert_store() or crypto.X509Store()  # of nobody, who vouches for nobody
        own, *above = self._chain
        try:
            crypto.X509StoreContext(store, own, above).verify_certificate()
        except crypto.X509StoreContextError as error:
            raise ConnectionResetError(errno.ECONNRESET, f"TLS: the certificate is good no more: {error}") from error

    # Sending

    @property
    def unsent(self) -> int:
        """Bytes that are sealed and were not taken yet."""
        return len(self._sealed)

    def send(self, data: Buffer) -> int:
        """Take up to `SEAL` bytes of content; return how many. The last of them may be `unsent` still.

        Raises:
            BlockingIOError: what was taken before is not sent yet. TimeoutError: the client takes nothing.
            OSError: the connection is lost.
        """
        return self.sendmsg((data,))

    def sendmsg(self, parts: Iterable[Buffer]) -> int:
        """As `send`, of several parts."""
        self.flush()
        taken = 0
        try:
            for part in parts:
                piece = part if len(part) <= SEAL - taken else memoryview(part)[: SEAL - taken]
                if len(piece):
                    taken += self._tls.send(piece)
                if taken >= SEAL:
                    break
        except SSL.Error as error:
            self._broken = True
            raise ConnectionResetError(errno.ECONNRESET, f"TLS: {error}") from error
        self._collect()
        if self._timeout_s == 0.0:
            with contextlib.suppress(BlockingIOError):
                self.flush()
        else:
            self.flush()
        return taken

    def flush(self) -> None:
        """Send what is sealed; raises as `send`."""
        while self._sealed:
            count = self.raw.send(self._sealed)
            self._sealed = memoryview(self._sealed)[count:] if count < len(self._sealed) else b""

    def _collect(self) -> None:
        """Take what OpenSSL has sealed."""
        size = SEALED
        with contextlib.suppress(SSL.WantReadError):  # there is nothing
            while size == SEALED:
                more = self._tls.bio_read(SEALED)
                size = len(more)
                self._sealed = b"".join((self._sealed, more)) if self._sealed else more

    # What else a socket can do

    def end(self) -> None:
        """Say that no more will be sent (close_notify), as far as that can be done without waiting."""
        if self.ready and not self._broken and not self._told:
            self._told = True
            with contextlib.suppress(SSL.Error, OSError):
                self._tls.shutdown()
                self._collect()
                self.flush()

    def shutdown(self, how: int) -> None:
        """As a socket's. What is ended by `SHUT_WR` is whole; a client can tell it from what is cut."""
        if how == socket.SHUT_WR:
            self.end()
        self.raw.shutdown(how)

    def close(self) -> None:
        """Close the socket."""
        self.raw.close()

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.raw.fileno()

    def settimeout(self, timeout_s: float | None) -> None:
        """Set how long to wait, for each part that comes or goes."""
        self._timeout_s = timeout_s
        self.raw.settimeout(timeout_s)

    def gettimeout(self) -> float | None:
        """Return what was set."""
        return self._timeout_s

    def setblocking(self, blocking: bool) -> None:
        """Wait for ever, or not at all."""
        self.settimeout(None if blocking else 0.0)

    def _decref_socketios(self) -> None:
        """Do what `socket.SocketIO` asks of its socket when it is closed: nothing."""
