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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from nfs.connection import Connection, Limits
from nfs.export import Export
from nfs.hot import Replies
from store.vfs.tree import FileTree

__all__ = ["Limits", "NfsServer"]

_log = structlog.get_logger("aetherfs.nfs")
_NO_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_MS: Final = 200  # before accepting again when the system has no resources for it
_LOOK_AGAIN_MS: Final = 1000  # for a connection that may go, when there is no room for another
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}  # s: the dead go in 2 min
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
    ) -> None:
        """Prepare to serve.

        Args:
            listener: bound and listening; may be shared with other processes. The caller closes it.
            tree: what is served.
            handle_key: the store's secret for handles, the same on every gateway.
            limits: what to take on.
            uid: owner of everything.
            gid: group of everything.
        """
        self._listener, self._limits = listener, limits if limits is not None else Limits()
        self._export = Export(tree, handle_key=handle_key, uid=uid, gid=gid)
        self._replies = Replies()
        self._pool = ThreadPoolExecutor(self._limits.pool_threads, thread_name_prefix="nfs-blocking")
        self._lock = threading.Lock()
        self._connections: dict[Connection, threading.Thread] = {}
        self._stopping = False
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
        self._pool.shutdown(wait=in_time, cancel_futures=True)
        if self._stopped.is_set():
            self._wake_in.close()
            self._wake_out.close()
        return in_time

    def forget(self) -> None:
        """Drop remembered replies and nodes: to be called when a dataset was removed or hidden."""
        self._export.forget()
        self._replies.clear()

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
        if len(self._connections) >= self._limits.connections:
            self._make_room()
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
            _log.warning("cannot accept connections", why=str(error))
            self._pause(_PAUSE_MS)
            return
        self._start(sock, str(address[0]) if isinstance(address, tuple) else "local")

    def _make_room(self) -> None:
        """Let the connection go that was silent for longest, if it was so for long enough; wait until one has gone."""
        idlest = max(self._open(), key=Connection.idle_s, default=None)
        if idlest is not None and idlest.idle_s() >= self._limits.idle_s:
            idlest.hang_up(at_once=True)
        self._pause(_LOOK_AGAIN_MS)

    def _pause(self, longest_ms: int) -> None:
        """Wait; a connection that ends and `stop` cut it short."""
        poll = select.poll()
        poll.register(self._wake_in, select.POLLIN)
        poll.poll(longest_ms)

    def _start(self, sock: socket.socket, host: str) -> None:
        try:
            connection = self._prepared(sock, host)
        except OSError as error:  # no descriptors left, or the client is gone already
            _log.warning("cannot serve a connection", peer=host, why=str(error))
            sock.close()
            return
        thread = threading.Thread(target=self._serve, args=(connection,), name=f"nfs-{host}", daemon=True)
        with self._lock:
            self._connections[connection] = thread
        thread.start()

    def _prepared(self, sock: socket.socket, host: str) -> Connection:
        sock.setblocking(True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(self._limits.send_timeout_s, 0))
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for option, value in _KEEPALIVE.items():
                if hasattr(socket, option):
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        return Connection(sock, host.encode(), self._export, self._replies, self._submit, self._limits)

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        except Exception:  # the shell: said once, the connection is closed, the others go on
            _log.exception("connection failed")
        finally:
            with self._lock:
                del self._connections[connection]
            self._wake()

    def _submit(self, job: Callable[[], None]) -> object:
        return self._pool.submit(job)

    def _open(self) -> list[Connection]:
        with self._lock:
            return list(self._connections)

    def _joined(self, deadline: float) -> bool:
        with self._lock:
            threads = list(self._connections.values())
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it wakes anyway; closed: nobody waits
            self._wake_out.send(b"\0")
