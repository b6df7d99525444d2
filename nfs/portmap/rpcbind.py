"""Registration with the rpcbind that runs on this machine, where port 111 is its (RFC 1833 section 2.2, version 4).

rpcbind believes who speaks over its Unix socket, by user id, and who calls from loopback with a port below 1024. It
lists what was registered until it is told otherwise, also for servers that are long dead: what stands in the way is
asked first whether it lives, and only the dead are removed.

Threads: none; each function opens a connection and closes it.
"""

import contextlib
import errno
import functools
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import structlog

from nfs.portmap.procedures import PROCEDURES
from nfs.portmap.services import Service
from nfs.wire.errors import WireError
from nfs.wire.portmap import PMAP_PORT, PORTMAP_PROGRAM, RPCB_V4, parse_universal_address, rpcb, universal_address
from nfs.wire.record import RecordReader, marked
from nfs.wire.rpc import ACCEPTED_SUCCESS, encode_call
from nfs.wire.xdr import decode_whole, encode_whole

SOCKETS: Final = ("/run/rpcbind.sock", "/var/run/rpcbind.sock")
TIMEOUT_S: Final = 3.0  # for each step: all of it is on this machine
LOOK_AGAIN_S: Final = 10.0  # whether an rpcbind that was started anew has forgotten us
_LARGEST_REPLY: Final = 1 << 20  # bytes; rpcbind's list of some dozen services has 3,000
_SET, _UNSET, _DUMP = 1, 2, 4
_RESERVED: Final = range(1023, 599, -1)  # ports that only root may use

_log = structlog.get_logger("aetherfs.portmap")


class RegistrationError(Exception):
    """rpcbind cannot be reached, or does not take what it is told. The message is finished."""


def register(services: Sequence[Service]) -> None:
    """Have rpcbind tell clients of services.

    Raises:
        RegistrationError: not done; nothing of ours is left there.
    """
    done: list[Service] = []
    try:
        with _connected() as connection:
            for service in services:
                _register(connection, service)
                done.append(service)
    except RegistrationError:
        if done:
            unregister(done)
        raise


def unregister(services: Sequence[Service]) -> None:
    """Have rpcbind forget services, whoever registered them, if it names our addresses. Never raises: it is said."""
    try:
        with _connected() as connection:
            listed = _listed(connection)
            for service in services:
                if listed.get(_key(service)) == _address(service):
                    _call(connection, _UNSET, _mapping(service))
    except RegistrationError as error:
        _log.warning("rpcbind goes on naming a gateway that is gone", why=str(error))


@contextlib.contextmanager
def registered(services: Sequence[Service]) -> Iterator[None]:
    """Register services for as long as the context lasts.

    Raises:
        RegistrationError: as `register`.
    """
    register(services)
    try:
        yield
    finally:
        unregister(services)


class Keeper:
    """Registers services again when rpcbind has forgotten them, as one does that was started anew.

    Threads: `serve_forever` runs on the thread that calls it, `drain` on another.
    """

    def __init__(self, services: Sequence[Service], look_again_s: float = LOOK_AGAIN_S) -> None:
        self._services, self._look_again_s = services, look_again_s
        self._stopped = threading.Event()

    def serve_forever(self) -> None:
        """Look now and then, until `drain`."""
        failing = False
        while not self._stopped.wait(self._look_again_s):
            try:
                if _forgotten(self._services):
                    register(self._services)
                    _log.warning("rpcbind had forgotten this gateway, and was told again")
                failing = False
            except RegistrationError as error:
                if not failing:
                    _log.warning("rpcbind does not name this gateway", why=str(error))
                failing = True

    def drain(self, _timeout_s: float) -> None:
        """Stop looking."""
        self._stopped.set()


def _forgotten(services: Sequence[Service]) -> bool:
    with _connected() as connection:
        listed = _listed(connection)
    return any(listed.get(_key(service)) != _address(service) for service in services)


def _register(connection: socket.socket, service: Service) -> None:
    mine, theirs = _address(service), _listed(connection).get(_key(service))
    if theirs is not None and theirs != mine:
        if _answers(service, theirs):
            raise RegistrationError(
                f"rpcbind names another server for program {service.prog} version {service.vers}, at "
                f"{theirs.decode(errors='replace')}, and it answers; stop that one first"
            )
        _call(connection, _UNSET, _mapping(service))
    if not _call(connection, _SET, _mapping(service)):
        raise RegistrationError(
            f"rpcbind does not register program {service.prog} version {service.vers} for this user"
        )


def _answers(service: Service, uaddr: bytes) -> bool:
    """Tell whether a server of this program lives at an address that rpcbind names."""
    try:
        host, port = parse_universal_address(uaddr)
        if ipaddress.ip_address(host).is_unspecified:
            host = "::1" if ":" in host else "127.0.0.1"
        with socket.create_connection((host, port), timeout=TIMEOUT_S) as sock:
            sock.sendall(marked(encode_call(1, service.prog, service.vers, 0)))
            return _reply(sock)[4:].startswith(ACCEPTED_SUCCESS)
    except (OSError, WireError):
        return False


# The connection to rpcbind


@contextlib.contextmanager
def _connected() -> Iterator[socket.socket]:
    """Connect to rpcbind by the first way that it answers on.

    Raises:
        RegistrationError: by none.
    """
    reasons: list[str] = []
    for name, connect in _ways():
        try:
            sock = connect()
        except OSError as error:
            reasons.append(f"{name}: {error.strerror or error}")
            continue
        with sock:
            yield sock
            return
    raise RegistrationError(f"no rpcbind can be reached ({'; '.join(reasons)})")


def _ways() -> Iterator[tuple[str, Callable[[], socket.socket]]]:
    for path in SOCKETS:
        yield path, functools.partial(_connect_local, path)
    yield f"127.0.0.1:{PMAP_PORT}", _connect_loopback


def _connect_local(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(TIMEOUT_S)
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def _connect_loopback() -> socket.socket:
    """Connect from a port that only root may use, where we may: who calls from one counts as root."""
    for port in _RESERVED:
        try:
            return socket.create_connection(("127.0.0.1", PMAP_PORT), TIMEOUT_S, ("127.0.0.1", port))
        except PermissionError:
            break
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                raise
    return socket.create_connection(("127.0.0.1", PMAP_PORT), TIMEOUT_S)


def _listed(connection: socket.socket) -> dict[tuple[int, int, bytes], bytes]:
    """Return what rpcbind lists: program, version and netid -> universal address."""
    listed: Sequence[rpcb] = _call(connection, _DUMP, None)
    return {(entry.r_prog, entry.r_vers, entry.r_netid): entry.r_addr for entry in listed}


def _call(connection: socket.socket, proc: int, args: Any) -> Any:
    """Call a procedure of rpcbind.

    Raises:
        RegistrationError: no answer, or no success.
    """
    procedure = PROCEDURES[RPCB_V4][proc]
    record = encode_call(proc, PORTMAP_PROGRAM, RPCB_V4, proc, encode_whole(procedure.args, args))
    try:
        connection.sendall(marked(record))
        reply = _reply(connection)
        if not reply[4:].startswith(ACCEPTED_SUCCESS):
            raise RegistrationError(f"rpcbind refuses {procedure.name}")
        return decode_whole(procedure.result, reply, 4 + len(ACCEPTED_SUCCESS))
    except (OSError, WireError) as error:
        raise RegistrationError(f"rpcbind does not answer {procedure.name}: {error}") from error


def _reply(sock: socket.socket) -> bytes:
    reader = RecordReader(_LARGEST_REPLY)
    while True:
        count = sock.recv_into(reader.room())
        if not count:
            raise ConnectionResetError("connection closed")
        records = reader.received(count)
        if records:
            return records[0]


def _key(service: Service) -> tuple[int, int, bytes]:
    return service.prog, service.vers, service.transport.netid


def _address(service: Service) -> bytes:
    return universal_address(service.host, service.port)


def _mapping(service: Service) -> rpcb:
    return rpcb(service.prog, service.vers, service.transport.netid, _address(service), b"")
