"""One HTTP client as the loop sees it: what it sent and was not answered, what it is owed and was not sent.

`receive` takes what has arrived, `send` gives what the socket takes. Neither waits. Threads: the loop's alone; while a
client is handed to a thread, that one's alone.
"""

import contextlib
import socket
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from OpenSSL import SSL

from dav.fast import Answer, Peer, Request
from dav.files import PIECE, FileBody
from dav.reply import Buffer
from gateway.web.tls import TlsSocket

READ: Final = 64 << 10  # bytes received at a time
JOINED: Final = 16 << 10  # bytes: an answer up to here leaves as one buffer
PARTS: Final = 64  # buffers of one `sendmsg`
TURN: Final = 4 << 20  # bytes sent to all clients that take more, before others are looked at again
LEAST: Final = 64 << 10  # of these to each
UNSENT: Final = 256 << 10  # bytes that the system keeps of an answer beyond those on their way; more for who took KEEN
KEEN: Final = 4 << 20  # bytes of bodies that a connection took before: then the system keeps MORE_UNSENT,
MORE_UNSENT: Final = 1 << 20  # with which large files go out a fifth faster to several at once
HELD: Final = 256 << 20  # bytes that clients who take nothing may keep from being freed, in all


class Client:
    """A connection between requests, or while its answer is sent."""

    __slots__ = (
        "asked_body",
        "began_s",
        "body",
        "buffer",
        "close_after",
        "cut",
        "engine",
        "fetching",
        "linger_s",
        "lingered",
        "mask",
        "moved_s",
        "needs",
        "out",
        "peer",
        "port",
        "request",
        "searched",
        "secure",
        "sent_s",
        "socket",
        "taken",
    )

    def __init__(self, sock: socket.socket, address: str, port: int, now_s: float) -> None:
        """Take a connected socket that does not block."""
        self.socket: socket.socket | TlsSocket = sock
        self.peer, self.port = Peer(address), port
        self.secure: TlsSocket | None = None  # the same as `socket`, where it speaks TLS
        self.buffer = b""  # received, and not yet answered
        self.searched = 0  # bytes of `buffer` in which no head ends
        self.needs = 0  # bytes that `buffer` has to hold before there is anything to do
        self.request: Request | None = None  # whose head is whole: its body is not, or a thread answers it
        self.asked_body = b""  # its body
        self.out: deque[Buffer] = deque()
        self.body: FileBody | None = None  # what is to be sent behind `out`
        self.taken = 0  # bytes of bodies that were put to `out`
        self.fetching = False  # a thread reads the next piece of `body`
        self.close_after = False  # when all is sent
        self.cut = False  # its answer broke off, and must not look whole
        self.moved_s = now_s  # when bytes came or went last
        self.began_s = 0.0  # when the request began that is not whole; 0: there is none
        self.sent_s = 0.0  # when it took something last of a body that a thread sends; 0: none does
        self.linger_s = 0.0  # when the last answer was sent, and only its arrival is waited for; 0: not so
        self.lingered = 0  # bytes that came since, and were dropped
        self.mask = 0  # what the loop waits for
        self.engine: object = None  # cheroot's connection, once it had one

    @property
    def address(self) -> str:
        """Where it connects from."""
        return self.peer.address

    @property
    def owed(self) -> bool:
        """Something is to be sent."""
        return bool(self.out) or self.body is not None or (self.secure is not None and self.secure.unsent > 0)

    @property
    def unsent(self) -> int:
        """Bytes that TLS has sealed and the socket has not taken."""
        return self.secure.unsent if self.secure is not None else 0

    @property
    def shaking(self) -> bool:
        """Its TLS handshake is not over."""
        return self.secure is not None and not self.secure.ready

    @property
    def ended(self) -> bool:
        """It has said, in TLS, that it will send no more; no poll tells of that."""
        return self.secure is not None and self.secure.ended

    def speak_tls(self, context: SSL.Context) -> None:
        """Speak TLS from now on."""
        self.socket = self.secure = TlsSocket(self._plain_socket(), context)

    def speak_plainly(self) -> None:
        """Speak no TLS with one who never began to."""
        self.socket, self.secure = self._plain_socket(), None

    def shake(self) -> bool:
        """Go on with the TLS handshake; return whether it is over. Raises as `TlsSocket.shake`."""
        assert self.secure is not None, "asked of who speaks TLS"  # noqa: S101  # for the type checker
        if not self.secure.shake():
            return False
        self.peer = Peer(self.peer.address, tls=True, certificate=self.secure.certificate)
        return True

    def end(self) -> None:
        """Say that no more will be sent.

        Raises:
            OSError: the connection is lost.
        """
        (self._plain_socket() if self.cut else self.socket).shutdown(socket.SHUT_WR)

    def _plain_socket(self) -> socket.socket:
        return self.socket.raw if isinstance(self.socket, TlsSocket) else self.socket

    def receive(self) -> bool:
        """Take what has arrived; `False` when the client will send no more.

        Raises:
            OSError: the connection is lost. BlockingIOError: nothing has arrived.
        """
        data = self.socket.recv(READ)
        if data:
            self.buffer = self.buffer + data if self.buffer else data
        return bool(data)

    def leave(self, rest: bytes) -> None:
        """Be done with a request; `rest` is what was received behind it."""
        self.buffer, self.request = rest, None
        self.searched = self.needs = 0

    def owe(self, answer: Answer, tail: bytes) -> None:
        """Put an answer behind what is to be sent; `tail` ends its head."""
        if answer.rest is None and answer.size <= JOINED:
            self.out.append(b"".join((answer.head, tail, *answer.first)))
            return
        self.out.append(answer.head + tail)
        self.out.extend(answer.first)
        self.body = answer.rest

    def send(self, share: int) -> bool:
        """Send what the socket takes, up to about `share` bytes; return whether it took all of `out`.

        Raises:
            OSError: the connection is lost.
        """
        out, left = self.out, share
        while out and left > 0:
            try:
                if len(out) == 1 or len(out[0]) >= left:
                    count = self.socket.send(out[0] if len(out[0]) <= left else memoryview(out[0])[:left])
                else:
                    count = self.socket.sendmsg(self._parts(left))
            except BlockingIOError:
                return False
            left -= count
            while out and count >= len(out[0]):
                count -= len(out.popleft())
            if count:
                out[0] = memoryview(out[0])[count:]
        if self.secure is not None and not out:
            return self._flushed(self.secure)
        return not out

    def _flushed(self, secure: TlsSocket) -> bool:
        try:
            secure.flush()
        except BlockingIOError:
            return False
        return True

    def _parts(self, most: int) -> list[Buffer]:
        """Return the first of what is to be sent, up to some bytes and the first part that goes beyond them."""
        parts: list[Buffer] = []
        for part in self.out:
            if most <= 0 or len(parts) == PARTS:
                break
            parts.append(part)
            most -= len(part)
        return parts

    def next_piece(self) -> bool:
        """Move the next piece of the body to `out`, if memory has it.

        Raises:
            StoreError: it cannot be read.
        """
        body = self.body
        assert body is not None, "asked of who is owed one"  # noqa: S101  # for the type checker
        views, body.first = body.first, []
        if not views:
            found = body.tree.read_warm(body.file, body.at, min(PIECE, body.stop - body.at))
            if found is None:
                return False
            views = found
        self.take(views)
        return True

    def take(self, views: list[memoryview]) -> None:
        """Put a piece of the body to what is sent next."""
        body = self.body
        assert body is not None, "as above"  # noqa: S101  # for the type checker
        self.out.extend(views)
        size = sum(map(len, views))
        body.at += size
        if self.taken < KEEN <= self.taken + size:
            keep_unsent(self._plain_socket(), MORE_UNSENT)
        self.taken += size
        if body.at >= body.stop or not views:
            if body.tail:
                self.out.append(body.tail)
            self.body = body.after


def keep_unsent(sock: socket.socket, size: int) -> None:
    """Have the system take no more bytes of a connection than it has room to send, and `size`; of a listener, of all.

    Else it keeps megabytes for each client who takes nothing. Systems other than Linux and macOS have no such setting.
    """
    if sock.family in (socket.AF_INET, socket.AF_INET6) and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with contextlib.suppress(OSError):  # a connection that is lost already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)


def beyond(clients: Iterable[Client], limit: int) -> list[Client]:
    """Return whose owed buffers would have to go for all others' to hold no more than `limit` bytes of memory.

    What several are owed counts once, and a view as what it is a view of. Who took something last stays first.
    """
    held: set[int] = set()
    size, found = 0, []
    for client in sorted(clients, key=lambda client: client.moved_s, reverse=True):
        kept = {id(whole): len(whole) for whole in map(_whole, client.out) if id(whole) not in held}
        own = sum(kept.values()) + client.unsent
        if size + own > limit:
            found.append(client)
            continue
        size += own
        held.update(kept)
    return found


def _whole(buffer: Buffer) -> Any:
    """Return what stays in memory for a buffer."""
    whole: Any = buffer.obj if isinstance(buffer, memoryview) else buffer  # its types say less than it is
    return whole
