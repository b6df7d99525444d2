"""The NFS server: takes connections from a listening socket, one thread each, until it is told to stop.

Threads: `serve_forever` runs on the thread that calls it. `stop` may be called from any thread and from a signal
handler; `drain` from any other thread than `serve_forever`'s, or on that one after it returned.
"""

import contextlib
import errno
import select
import socket
import struct
import threading
import time
from collections import Counter
from typing import Final

import structlog

from nfs.access import Access, Exports
from nfs.connection import Connection
from nfs.export import Export
from nfs.grants import Grants, OpenGrants, Peer
from nfs.limits import InFlight, Limits
from nfs.pool import FairPool
from nfs.seldom import Seldom
from nfs.tls import Tls
from store.vfs.tree import FileTree

__all__ = ["Limits", "NfsServer"]

_log = structlog.get_logger("aetherfs.nfs")
_NO_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_MS: Final = 200  # before accepting again when the system has no resources for it
_POOL_S: Final = 1.0  # for jobs that nobody waits for any more, when everything is answered
_RELIEVED_S: Final = 0.1  # how long one stalled connection that goes must do, where too many bytes are in flight
_SEND_S: Final = 1.0  # how exactly it is known since when a client takes nothing
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}  # s: the dead go in 2 min
_seldom: Final = Seldom(20, 10.0)
_MAPPED: Final = "::ffff:"
_TIMEVAL: Final = struct.Struct("ll")


class NfsServer:
    """NFSv3 and MOUNT v3 on one listening TCP socket."""

    def __init__(
        self,
        listener: socket.socket,
        tree: FileTree,
        *,
        handle_key: bytes,
        limits: Limits | None = None,
        uid: int = 0,
        gid: int = 0,
        small_fileids: bool = False,
        tls: Tls | None = None,
        grants: Grants | None = None,
    ) -> None:
        """Prepare to serve.

        Args:
            listener: bound and listening; may be shared with other processes. Made non-blocking; the caller closes it.
            tree: what is served.
            handle_key: the store's secret for handles, the same on every gateway.
            limits: what to take on.
            uid: owner of everything.
            gid: group of everything.
            small_fileids: show fileids of 31 bits, see `Export`.
            tls: how TLS is spoken with those who ask for it; `None`: not.
            grants: who sees what of the tree, in the place of `uid` and `gid`; `None`: everybody sees all of it.
        """
        listener.setblocking(False)  # another process may be faster than this one between `poll` and `accept`
        self._listener, self._limits = listener, limits if limits is not None else Limits()
        first = Export(tree, handle_key=handle_key, uid=uid, gid=gid, small_fileids=small_fileids)
        self._exports, self._tls = Exports(first), tls
        self._grants: Grants = grants if grants is not None else OpenGrants(tree, uid=uid, gid=gid)
        self._pool = FairPool(self._limits.pool_threads, name="nfs-blocking")
        self._in_flight = InFlight(self._limits.in_flight_bytes)
        self._relieved_s = 0.0  # monotonic
        self._lock = threading.Lock()
        self._connections: dict[Connection, threading.Thread] = {}
        self._leaving: dict[Connection, threading.Thread] = {}  # hung up to make room, and not ended yet
        self._stopping = self._drained = False
        self._stopped = threading.Event()
        self._stopped.set()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def serve_forever(self) -> None:
        """Accept connections until `stop`. Those that are open go on being served until `drain`."""
        self._stopped.clear()
        try:
            while not self._stopping:
                self._accept()
        finally:
            self._stopped.set()
            if self._drained:  # it was not waited for any longer
                self._close()

    def _close(self) -> None:
        self._wake_in.close()
        self._wake_out.close()

    def stop(self) -> None:
        """Stop accepting, soon."""
        self._stopping = True
        self._wake()

    def drain(self, timeout_s: float) -> bool:
        """Stop accepting, let calls in flight be answered, close everything. The server cannot be used again.

        Args:
            timeout_s: how long to wait; what is not done by then is cut off.

        Returns:
            Whether everything was answered in time.
        """
        deadline = time.monotonic() + timeout_s
        self.stop()
        self._stopped.wait(timeout_s)
        for connection in self._open():
            connection.hang_up(at_once=False)
        in_time = self._joined(deadline)
        if not in_time:
            for connection in self._open():
                connection.hang_up(at_once=True)
        self._pool.close(_POOL_S if in_time else 0.0)
        self._drained = True
        if self._stopped.is_set():
            self._close()
        return in_time

    # Accepting

    def _accept(self) -> None:
        poll = select.poll()
        poll.register(self._wake_in, select.POLLIN)
        poll.register(self._listener, select.POLLIN)
        ready = {fd for fd, _ in poll.poll()}
        if self._wake_in.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                self._wake_in.recv(4096)
        if self._stopping or self._listener.fileno() not in ready:
            return
        try:
            sock, address = self._listener.accept()
        except BlockingIOError:
            return  # another process was faster
        except ConnectionError:
            return  # the client went away before it was its turn
        except OSError as error:
            if error.errno not in _NO_RESOURCES:
                raise
            _warn("cannot accept connections", why=str(error))
            self._pause(_PAUSE_MS)
            return
        host = host_of(address)
        if len(self._connections) >= self._limits.connections and not self._make_room(host.encode()):
            sock.close()  # clients try again by themselves
            return
        self._start(sock, host)

    def _make_room(self, host: bytes) -> bool:
        """Let a connection go for one from `host`; tell whether there was one.

        It is the one that was silent for longest, if it was so for long enough; else one of the address that has most,
        if that is more than `host` would have then.
        """
        open_now = self._open()
        idlest = min(open_now, key=Connection.idle_since_s, default=None)
        if idlest is None:
            return True  # those that were counted have just ended
        if time.monotonic() - idlest.idle_since_s() < self._limits.idle_s:
            count = Counter(connection.host for connection in open_now)
            greedy, most = count.most_common(1)[0]
            if count[host] + 1 >= most:
                _warn("too many connections; one more was refused", peer=host.decode(), limit=len(open_now))
                return False
            idlest = min((c for c in open_now if c.host == greedy), key=Connection.idle_since_s)
        with self._lock:
            thread = self._connections.pop(idlest, None)
            if thread is not None:
                self._leaving[idlest] = thread
        idlest.hang_up(at_once=True)
        return True

    def _relieve(self) -> None:
        """Let the connection go that has not taken what is being sent to it for longest, if that was long enough."""
        now_s = time.monotonic()
        if now_s - self._relieved_s < _RELIEVED_S:
            return
        self._relieved_s = now_s
        stalled = max(self._open(), key=Connection.stalled_s, default=None)
        if stalled is not None and stalled.stalled_s() >= self._limits.stalled_s:
            _warn("too many bytes in flight; a connection that takes none was closed", peer=stalled.host.decode())
            stalled.hang_up(at_once=True)

    def _pause(self, longest_ms: int) -> None:
        """Wait; a connection that ends and `stop` cut it short."""
        poll = select.poll()
        poll.register(self._wake_in, select.POLLIN)
        poll.poll(longest_ms)

    def _start(self, sock: socket.socket, host: str) -> None:
        try:
            connection = self._prepared(sock, host)
        except OSError as error:  # no descriptors left, or the client is gone already
            _warn("cannot serve a connection", peer=host, why=str(error))
            sock.close()
            return
        thread = threading.Thread(target=self._serve, args=(connection,), name=f"nfs-{host}", daemon=True)
        with self._lock:
            self._connections[connection] = thread
        try:
            thread.start()
        except RuntimeError as error:  # the system has no room for another thread
            _warn("cannot serve a connection", peer=host, why=str(error))
            del self._connections[connection]
            connection.close()

    def _prepared(self, sock: socket.socket, host: str) -> Connection:
        sock.setblocking(True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(self._limits.record_s))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(min(_SEND_S, self._limits.send_s)))
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for option, value in _KEEPALIVE.items():
                if hasattr(socket, option):
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        return Connection(
            sock,
            Access(self._grants, self._exports, Peer(host)),
            self._pool.submit,
            self._limits,
            self._in_flight,
            self._relieve,
            self._tls,
        )

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        except Exception:  # the shell: said once, the connection is closed, the others go on
            _log.exception("connection failed")
        finally:
            with self._lock:
                self._connections.pop(connection, None)
                self._leaving.pop(connection, None)
            self._wake()

    def _open(self) -> list[Connection]:
        with self._lock:
            return list(self._connections)

    def _joined(self, deadline: float) -> bool:
        with self._lock:
            threads = [*self._connections.values(), *self._leaving.values()]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it wakes anyway; closed: nobody waits
            self._wake_out.send(b"\0")


def host_of(address: object) -> str:
    """Return a peer's host as rules, lists and logs have it: IPv4 as that, also where the socket takes both."""
    host = str(address[0]) if isinstance(address, tuple) else "local"
    return host[len(_MAPPED) :] if host.startswith(_MAPPED) and "." in host else host


def _timeval(time_s: float) -> bytes:
    seconds, rest_s = divmod(time_s, 1)
    return _TIMEVAL.pack(int(seconds), int(rest_s * 1_000_000))


def _warn(event: str, **said: object) -> None:
    """Say something that a hostile client could have said thousands of times a second."""
    if (unsaid := _seldom.ask()) is not None:
        _log.warning(event, **said, unsaid_before=unsaid)
