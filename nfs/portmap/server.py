"""The portmapper's shell: one readiness loop over its TCP listener, its UDP socket and its clients.

Answers take microseconds and never wait for anything, so one thread does it all. A client has `idle_s` from one whole
call to the next, and replies that it does not take stop the reading from it; when there are too many clients, the one
that has been silent for longest goes.

Threads: `serve_forever` runs on the thread that calls it. `stop` may be called from any thread; `drain` from another
than `serve_forever`'s.
"""

import contextlib
import errno
import ipaddress
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog

from nfs.portmap.answering import LARGEST_CALL, answer, answer_datagram
from nfs.portmap.datagrams import Datagrams
from nfs.portmap.services import TRANSPORTS, Asked, Register, all_services
from nfs.wire.errors import WireError
from nfs.wire.record import RecordReader

_log = structlog.get_logger("aetherfs.portmap")
_NO_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_S: Final = 0.2  # before accepting again when the system has no resources for it
_AT_A_TIME: Final = 32  # datagrams, or connections, before the others get their turn


class Limits(NamedTuple):
    """What one portmapper takes on."""

    clients: int = 128  # at the same time, by TCP
    idle_s: float = 30.0  # from one whole call of a client to the next
    unsent_bytes: int = 256 << 10  # of replies that a client does not take


class _Client:
    """One TCP client."""

    def __init__(self, sock: socket.socket, asked: Asked) -> None:
        self.sock, self.asked = sock, asked
        self.reader = RecordReader(LARGEST_CALL)
        self.unsent = b""
        self.heard_s = time.monotonic()  # last whole call


class PortmapServer:
    """Portmapper version 2 and rpcbind versions 3 and 4 on one TCP and one UDP socket."""

    def __init__(
        self, listener: socket.socket, datagrams: socket.socket, *, nfs_port: int, limits: Limits | None = None
    ) -> None:
        """Prepare to answer.

        Args:
            listener: TCP, bound and listening.
            datagrams: UDP, bound to the same address. The caller closes both.
            nfs_port: where NFS, MOUNT and NLM answer, on the same host.
            limits: what to take on.
        """
        self._listener, self._datagrams = listener, Datagrams(datagrams)
        self._limits = limits if limits is not None else Limits()
        port = listener.getsockname()[1]
        self.register = Register(tuple(all_services(hosts_of(listener), nfs_port, port)))
        self._clients: dict[socket.socket, _Client] = {}
        self._selector = selectors.DefaultSelector()
        self._accept_again_s = 0.0  # monotonic; 0: accepting
        self._stopping = False
        self._stopped = threading.Event()
        self._stopped.set()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        listener.setblocking(False)

    @property
    def clients(self) -> int:
        """How many clients are connected by TCP."""
        return len(self._clients)

    def serve_forever(self) -> None:
        """Answer until `stop`."""
        self._stopped.clear()
        try:
            for source in (self._listener, self._datagrams, self._wake_in):
                self._selector.register(source, selectors.EVENT_READ)
            while not self._stopping:
                self._turn()
        finally:
            for sock in list(self._clients):
                self._close(sock)
            self._selector.close()
            self._stopped.set()

    def stop(self) -> None:
        """Stop, soon."""
        self._stopping = True
        with contextlib.suppress(OSError):  # full: it wakes anyway; closed: nobody waits
            self._wake_out.send(b"\0")

    def drain(self, timeout_s: float) -> bool:
        """Stop; there are no calls in flight to wait for. The server cannot be used again."""
        self.stop()
        stopped = self._stopped.wait(timeout_s)
        if stopped:
            self._wake_in.close()
            self._wake_out.close()
        return stopped

    # The loop

    def _turn(self) -> None:
        for key, events in self._selector.select(self._patience_s()):
            if key.fileobj is self._datagrams:
                self._answer_datagrams()
            elif key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.data, _Client) and key.data.sock in self._clients:
                self._attend(key.data, events)
        now_s = time.monotonic()
        for client in [c for c in self._clients.values() if now_s - c.heard_s >= self._limits.idle_s]:
            self._close(client.sock)
        if self._accept_again_s and self._accept_again_s <= now_s:
            self._accept_again_s = 0.0
            self._selector.register(self._listener, selectors.EVENT_READ)

    def _patience_s(self) -> float | None:
        times = [client.heard_s + self._limits.idle_s for client in self._clients.values()]
        if self._accept_again_s:
            times.append(self._accept_again_s)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _answer_datagrams(self) -> None:
        for _ in range(_AT_A_TIME):
            try:
                asked = self._datagrams.receive()
            except BlockingIOError:
                return
            except OSError as error:  # what an earlier reply met on its way
                _log.debug("datagram lost", why=str(error))
                continue
            if asked is None:
                continue
            reply = answer_datagram(asked.data, self.register, _asked(b"udp", asked.local, asked.peer))
            if reply is not None:
                try:
                    self._datagrams.send(reply, asked)
                except OSError as error:  # no way there, or no room: clients ask again
                    _log.debug("reply lost", peer=str(asked.peer[0]), why=str(error))

    def _accept(self) -> None:
        for _ in range(_AT_A_TIME):
            try:
                sock, peer = self._listener.accept()
            except (BlockingIOError, ConnectionError):  # no more, or gone before it was its turn
                return
            except OSError as error:
                if error.errno not in _NO_RESOURCES:
                    raise
                _log.warning("cannot accept connections", why=str(error))
                self._selector.unregister(self._listener)
                self._accept_again_s = time.monotonic() + _PAUSE_S
                return
            if len(self._clients) >= self._limits.clients:
                self._close(min(self._clients.values(), key=lambda c: c.heard_s).sock)
            try:
                sock.setblocking(False)
                client = _Client(sock, _asked(b"tcp", sock.getsockname()[0], peer))
            except OSError:  # gone already
                sock.close()
                continue
            self._clients[sock] = client
            self._selector.register(sock, selectors.EVENT_READ, client)

    def _attend(self, client: _Client, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                self._receive(client)
            if client.sock in self._clients:
                self._send(client)
        except BlockingIOError:
            return
        except (OSError, WireError) as error:  # gone, or no RPC
            _log.debug("connection ended", local=client.asked.local, why=str(error))
            self._close(client.sock)

    def _receive(self, client: _Client) -> None:
        count = client.sock.recv_into(client.reader.room())
        if not count:
            self._close(client.sock)
            return
        records = client.reader.received(count)
        if records:
            client.heard_s = time.monotonic()
            for record in records:
                client.unsent += answer(record, self.register, client.asked)
                if len(client.unsent) > self._limits.unsent_bytes:  # before more work is done for who takes nothing
                    self._send(client)

    def _send(self, client: _Client) -> None:
        if client.unsent:
            with contextlib.suppress(BlockingIOError):
                client.unsent = client.unsent[client.sock.send(client.unsent) :]
        if len(client.unsent) > self._limits.unsent_bytes:
            raise ConnectionResetError("takes no replies")
        # Whoever does not take replies is not listened to.
        events = selectors.EVENT_WRITE if client.unsent else selectors.EVENT_READ
        if self._selector.get_key(client.sock).events != events:
            self._selector.modify(client.sock, events, client)

    def _close(self, sock: socket.socket) -> None:
        del self._clients[sock]
        self._selector.unregister(sock)
        sock.close()


def hosts_of(listener: socket.socket) -> Sequence[str]:
    """Return the addresses that a socket listens on: all of IPv6 may be all of IPv4 too."""
    host = str(listener.getsockname()[0]).partition("%")[0]
    if host == "::" and not listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        return ("0.0.0.0", host)  # noqa: S104  what the caller bound
    return (host,)


def _asked(protocol: bytes, local: str, peer: Sequence[object]) -> Asked:
    """Say how a call came; an IPv4 address on a socket of IPv6 is one of IPv4."""
    here, there = _plain(local), _plain(str(peer[0]))
    netid = protocol if here.version == 4 else protocol + b"6"
    return Asked(TRANSPORTS[netid], str(here), there.is_loopback)


def _plain(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
