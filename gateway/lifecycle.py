"""What every long-running process needs: listening sockets, signals as something to wait for, death with its parent.

Threads: `Signals` belongs to the main thread, as Python's signal handling does; the rest may be called from any.
"""

import contextlib
import ctypes
import errno
import ipaddress
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType
from typing import Any, Final, Protocol

from gateway.config import Address

BACKLOG: Final = 1024  # connections that wait in the kernel while no worker accepts, as when one is replaced
BIND_PATIENCE_S: Final = 1.5  # a gateway that was killed a moment ago leaves workers that take some ms to die
BIND_PAUSE_S: Final = 0.05
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_MAPPED: Final = "::ffff:"  # before an IPv4 address that is written as one of IPv6 (RFC 4291 section 2.5.5.2)
SPARED: Final = 512  # descriptors that connections leave to the store, or half of them where there are fewer

_log = logging.getLogger(__name__)


class ServeError(Exception):
    """Serving cannot start. The message is finished; `exit_code` is what the program should end with."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        self.exit_code = exit_code
        super().__init__(message)


class Server(Protocol):
    """What a worker runs: accepts on the socket it was built with until it is drained."""

    def serve_forever(self) -> None:
        """Accept and answer until drained. Blocks."""
        ...

    def drain(self, timeout_s: float) -> object:
        """Stop accepting, let requests in flight finish for at most `timeout_s`, return. Called from another thread."""
        ...


def listen(
    interface: str, address: Address, *, patience_s: float = BIND_PATIENCE_S, accepting: bool = True
) -> socket.socket:
    """Bind and listen, once and exclusively.

    `SO_REUSEADDR` only lets a new gateway follow an old one's closed connections; `SO_REUSEPORT` is never set, because
    with it a second gateway would bind the same port unnoticed.

    Args:
        interface: its name, for messages.
        address: a name is resolved, and the first answer used.
        patience_s: for how long to try again while the address is in use.
        accepting: if not, the socket only holds its port: nobody is given that by chance, and on Linux whoever binds
            it with `SO_REUSEADDR` may listen there, once.

    Raises:
        ServeError: in use, not ours, or not allowed; names the address.
    """
    family, sockaddr = _resolve(interface, address)
    give_up = time.monotonic() + patience_s
    while True:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(sockaddr)
            if accepting:
                sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE:
                raise ServeError(f"{interface}: cannot listen on {address}: {error.strerror}") from error
            if time.monotonic() >= give_up:
                raise in_use(interface, address) from error
            time.sleep(BIND_PAUSE_S)
        else:
            return sock


def in_use(interface: str, address: Address) -> ServeError:
    """Return what to say of an address that something else listens on."""
    return ServeError(
        f"{interface}: address {address} is already in use; stop what listens there, "
        f"or choose another with --{interface} HOST:PORT (port 0 picks a free one; off: none)"
    )


def bound(sock: socket.socket) -> Address:
    """Say where a listening socket ended up."""
    host, port = sock.getsockname()[:2]
    return Address(host, port)


def is_loopback(interface: str, address: Address) -> bool:
    """Tell whether this machine alone can reach an address.

    Raises:
        ServeError: the name does not resolve.
    """
    _, sockaddr = _resolve(interface, address)
    return ipaddress.ip_address(peer_of(sockaddr)[0].partition("%")[0]).is_loopback


def peer_of(address: object) -> tuple[str, int]:
    """Return the host and the port of a socket's address; IPv4 as that, also where the socket takes both kinds."""
    if not isinstance(address, tuple):
        return "local", 0
    host = str(address[0])
    return (host[len(_MAPPED) :] if host.startswith(_MAPPED) and "." in host else host), int(address[1])


def _resolve(interface: str, address: Address) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA cannot encode
        raise ServeError(f"{interface}: no such host {address.host!r}") from error
    return found[0][0], found[0][4]


class Signals:
    """Turns signals into bytes on a descriptor, so that one loop can wait for them beside everything else."""

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._numbers = tuple(numbers)
        self._reader, self._writer = socket.socketpair()
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None] = {}
        self._wakeup_before = -1

    def __enter__(self) -> "Signals":
        """Take the signals over."""
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = signal.signal(number, _ignore)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        """Return the descriptor that becomes readable."""
        return self._reader.fileno()

    def take(self) -> set[int]:
        """Return the numbers of the signals that came since the last call; never waits."""
        with contextlib.suppress(BlockingIOError):
            return set(self._reader.recv(4096))
        return set()


def _ignore(number: int, frame: FrameType | None) -> None:
    """Stand as a handler: the wake-up descriptor has it already."""


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies. Linux only; elsewhere a closed pipe has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def allow_descriptors() -> None:
    """Allow this process as many open descriptors as it may have: the usual 1,024 are fewer than its connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a system that refuses what it calls its limit: what is there stays
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def affordable(connections: int, *, each: int) -> int:
    """Return how many connections, at most `connections`, the descriptors suffice for that this process may open.

    Where these ran out, clients that are idle would keep new ones out, and the store could not be read.

    Args:
        connections: as many as are wanted.
        each: descriptors that one takes.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return connections
    found = min(connections, max(1, (most - min(SPARED, most // 2)) // each))
    if found < connections:
        _log.info("%d connections instead of %d, for want of descriptors", found, connections)
    return found


def close_all(descriptors: Iterable[int]) -> None:
    """Close descriptors, leaving out those that are closed already."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
