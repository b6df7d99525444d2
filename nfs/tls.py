"""RPC-with-TLS (RFC 9289): who may ask for it, and a stream between cipher text and plain text.

A client asks by a NULL with credential AUTH_TLS, empty; the reply's verifier says STARTTLS, and the same connection
goes on with a TLS 1.3 handshake (section 4.1). There is one session for a connection, and it lasts as long.

Threads: a stream belongs to one connection's thread. OpenSSL lets go of the interpreter while it encrypts. No I/O:
bytes come in and go out by memory BIOs; `nfs.securing` and `nfs.connection` move them.
Bounds: one stream holds at most `PIECE` bytes for the client, and `ROOM` from it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

from nfs.wire.errors import WireError
from nfs.wire.mount3 import MOUNT_PROGRAM
from nfs.wire.rpc import AUTH_TLS, Call, auth_stat
from nfs.wire.tlsrecord import Boundaries
from nfs.wire.xdr import Buffer

ALPN: Final = b"sunrpc"  # section 5.1: Linux offers none, so that none is taken too
PIECE: Final = 128 << 10  # bytes encrypted in one go: smaller ones cost calls, larger ones fall out of the CPU's cache
ROOM: Final = 32 << 10  # bytes received in one go: some two hundred calls of the usual size
MOST_OPENED: Final = 1 << 14  # bytes: no TLS record holds more (RFC 8446 section 5.1)
_OVERHEAD: Final = 64  # bytes, at most, by which a TLS record is longer than what it holds
_OPTIONS: Final = SSL.OP_NO_TLSv1 | SSL.OP_NO_TLSv1_1 | SSL.OP_NO_TLSv1_2
_OTHERS_ONLY: Final = bytes.fromhex("15 0303 0002 02 78")  # alert no_application_protocol (RFC 7301 section 3.2)
_CONTROL: Final = ROOM + 1024  # bytes: to `ROOM` of updates of keys the session itself has to say as much


class TlsFailed(WireError):
    """A connection cannot be secured, or no longer is; it ends. `alert` is what the client is to be told."""

    def __init__(self, why: str, alert: bytes = b"") -> None:
        self.alert = alert
        super().__init__(why)


class Contexts(Protocol):
    """Where contexts come from: whoever gives them looks after certificates that change."""

    @property
    def current(self) -> SSL.Context:
        """The context for a new connection: TLS 1.3 among its versions, `ALPN` the one protocol that it takes.

        Of a connection whose client offers other protocols alone it sets the app data. Where clients may show
        certificates, it resumes nothing: that would pass over them. Another one is given when whom it trusts has
        changed, or what was revoked. Any thread may ask; never fails.
        """
        ...


class Tls(NamedTuple):
    """How a server speaks TLS."""

    contexts: Contexts
    required: bool = False  # nothing but NULL and MOUNT is answered in the clear


def refusal(call: Call, tls: Tls | None, *, secured: bool) -> auth_stat | None:
    """Say why a call is not answered for how it comes, or `None`: it is.

    Args:
        call: a program's procedure that exists.
        tls: how the server speaks TLS, if at all.
        secured: whether the call came by TLS.
    """
    if call.flavor == AUTH_TLS:
        # In TLS already, it would begin a session within the session; at another procedure it is no probe.
        return auth_stat.AUTH_BADCRED if tls is None or secured or call.proc else None
    if tls is not None and tls.required and not secured and call.proc and call.prog != MOUNT_PROGRAM:
        return auth_stat.AUTH_TOOWEAK
    return None


class SecureStream:
    """The server's end of one TLS session."""

    def __init__(self, context: SSL.Context) -> None:
        """Begin, with the handshake to be done."""
        self._context, self._ssl = context, SSL.Connection(context, None)
        self._ssl.set_options(_OPTIONS)
        self._ssl.set_accept_state()
        self._boundaries = Boundaries()
        self._buffer = memoryview(bytearray(ROOM))
        self.certificate = b""  # the client's, DER, verified; empty: it showed none
        self._chain: list[crypto.X509] = []  # the same, and those that vouch for it
        self._ends_s = math.inf  # since 1970: when it expires
        self.ready = False  # whether the handshake is done
        self.ended = False  # whether the client said that nothing follows

    @property
    def room(self) -> memoryview:
        """Where to receive cipher text into."""
        return self._buffer

    @property
    def partial(self) -> bool:
        """Tell whether a TLS record has begun that is not whole yet."""
        return self._boundaries.partial

    def received(self, count: int) -> None:
        """Take note of cipher text put into `room`: all of it is to be taken before more is received."""
        data = self._buffer[:count]
        self._boundaries.passed(data)
        self._ssl.bio_write(data)

    def handshake(self) -> bytes:
        """Go on with what was received; return what the client is to be sent.

        Raises:
            TlsFailed: it speaks something else, or its certificate is not accepted.
        """
        try:
            self._ssl.do_handshake()
            self.ready = True
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            raise TlsFailed(f"TLS handshake: {_reason(error)}", self._said()) from error
        if self._ssl.get_app_data() is not None:  # what it means for another protocol is not to be taken for calls
            raise TlsFailed("TLS handshake: the client speaks other protocols than RPC", _OTHERS_ONLY)
        if not self.ready:
            return self.control()
        certificate = self._ssl.get_peer_certificate(as_cryptography=True)
        if certificate is not None:
            self.certificate = certificate.public_bytes(Encoding.DER)
            self._ends_s = certificate.not_valid_after_utc.timestamp()
            self._chain = self._ssl.get_verified_chain() or []
        return self.control()

    def hold_against(self, context: SSL.Context, now_s: float) -> None:
        """Hold the client's certificate against the time and whom a later context trusts; quick while it is the same.

        Args:
            context: what a new connection would be made of.
            now_s: since 1970.

        Raises:
            TlsFailed: it is good no more.
        """
        if now_s > self._ends_s:
            raise TlsFailed("TLS: the client's certificate has expired", self.farewell())
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
            raise TlsFailed(f"TLS: the client's certificate is good no more: {error}", self.farewell()) from error

    def take(self, room: memoryview) -> int:
        """Put plain text into `room`; return how much, 0 when none is left, or when the client ended the session.

        Raises:
            TlsFailed: somebody has meddled with the stream.
        """
        try:
            return self._ssl.recv_into(room, MOST_OPENED)
        except SSL.WantReadError:
            return 0
        except SSL.ZeroReturnError:
            self.ended = True
            return 0
        except SSL.Error as error:
            raise TlsFailed(f"TLS: {_reason(error)}", self._said()) from error

    def sealed(self, parts: Sequence[Buffer]) -> Iterator[list[Buffer]]:
        """Encrypt; yield the cipher text in pieces of some `PIECE` bytes, each to be sent before the next is made."""
        held = longer = 0
        for part in parts:
            view, at = memoryview(part), 0
            while at < len(view):
                size = min(PIECE - held, len(view) - at)
                try:
                    size = self._ssl.send(view[at : at + size])  # all of it, unless the context lets it write parts
                except SSL.Error as error:
                    raise TlsFailed(f"TLS: {_reason(error)}") from error
                at, held, longer = at + size, held + size, longer + (size // MOST_OPENED + 1) * _OVERHEAD
                if held == PIECE:
                    yield [self._said(held + longer)]
                    held = longer = 0
        if held:
            yield [self._said(held + longer)]

    def control(self) -> bytes:
        """Return what the session itself has to say: to each update of the client's keys it is one of the server's.

        To be asked for after each `received` that no reply follows: else it gathers. What is sealed carries it.
        """
        return b"".join(iter(self._said, b""))

    def farewell(self) -> bytes:
        """End the session; return what says so."""
        try:
            self._ssl.shutdown()
        except SSL.Error:
            return b""
        return self._said()

    def _said(self, most: int = 0) -> bytes:
        try:
            return self._ssl.bio_read(most + _CONTROL)
        except SSL.WantReadError:  # nothing
            return b""


def _reason(error: SSL.Error) -> str:
    """Return OpenSSL's own words."""
    reasons = error.args[0] if error.args else ()
    return "; ".join(reason[-1] for reason in reasons if reason) if isinstance(reasons, list) else str(error)
