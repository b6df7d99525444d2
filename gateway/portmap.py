"""How clients find the port of NFS: the portmapper that is built in, or a running rpcbind where port 111 is its.

Threads: called by the supervisor before it runs; the two servers are built in a worker.
"""

import contextlib
import errno
import os
import socket
import sys
import time
from typing import Final

import structlog

from gateway.config import Address, Settings
from gateway.lifecycle import BACKLOG, BIND_PATIENCE_S, BIND_PAUSE_S, ServeError, Server, bound
from gateway.supervisor import Group
from nfs.portmap.rpcbind import Keeper, RegistrationError, registered
from nfs.portmap.server import PortmapServer, hosts_of
from nfs.portmap.services import Service, all_services
from nfs.wire.portmap import PMAP_PORT, PORTMAP_PROGRAM

NAME: Final = "portmap"
RPCBIND: Final = "rpcbind"  # stands in the ready line for an address

_log = structlog.get_logger("aetherfs.portmap")


def open_portmap(settings: Settings, nfs: socket.socket, opened: contextlib.ExitStack) -> tuple[Group, str]:
    """Bind the portmapper's port, TCP and UDP, or register with the rpcbind that has it.

    Args:
        settings: with the port.
        nfs: the listener of NFS; the portmapper listens on its host.
        opened: takes what has to be closed, and the registration, which ends with it.

    Returns:
        The group to run, and what the ready line says.

    Raises:
        ServeError: neither can be done; says what to do.
    """
    address = Address(bound(nfs).host, settings.nfs.portmap_port)
    give_up_s = time.monotonic() + BIND_PATIENCE_S
    while True:
        try:
            sockets = _bind(nfs.family, address)
        except OSError as error:
            problem = error
        else:
            for sock in sockets:
                opened.enter_context(sock)
            return Group(NAME, "gateway.portmap:portmap_server", (*sockets, nfs), 1), f"{NAME}={bound(sockets[0])}"
        if problem.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise ServeError(f"{NAME}: cannot listen on {address}: {problem.strerror}") from problem
        try:
            _register(address, nfs, opened)
        except RegistrationError as error:
            if problem.errno == errno.EACCES or time.monotonic() >= give_up_s:
                raise ServeError(_advice(address, bound(nfs).port, problem, error)) from error
            time.sleep(BIND_PAUSE_S)
        else:
            return Group(NAME, "gateway.portmap:keeper", (nfs,), 1), f"{NAME}={RPCBIND}"


def portmap_server(
    _settings: Settings, listener: socket.socket, datagrams: socket.socket, nfs: socket.socket
) -> Server:
    """Build the portmapper's worker."""
    return PortmapServer(listener, datagrams, nfs_port=bound(nfs).port)


def keeper(_settings: Settings, nfs: socket.socket) -> Server:
    """Build the worker that tells rpcbind again what it has forgotten."""
    return Keeper(_services(nfs))


def _bind(family: socket.AddressFamily, address: Address) -> tuple[socket.socket, socket.socket]:
    """Bind both; with port 0, UDP gets the port that TCP was given.

    Raises:
        OSError: one of them can't be had.
    """
    with contextlib.ExitStack() as opened:
        tcp = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
        # Of UDP this option would let a second gateway take the datagrams of the first.
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind(tuple(address))
        udp = opened.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        udp.bind(tcp.getsockname())
        tcp.listen(BACKLOG)
        opened.pop_all()
    return tcp, udp


def _register(address: Address, nfs: socket.socket, opened: contextlib.ExitStack) -> None:
    if address.port != PMAP_PORT:
        raise RegistrationError(f"rpcbind has port {PMAP_PORT} alone")
    opened.enter_context(registered(_services(nfs)))
    _log.warning("port 111 is not free: NFS, MOUNT and NLM are registered with the rpcbind that runs here")


def _services(nfs: socket.socket) -> list[Service]:
    return [s for s in all_services(hosts_of(nfs), bound(nfs).port, PMAP_PORT) if s.prog != PORTMAP_PROGRAM]


def _advice(address: Address, nfs_port: int, problem: OSError, registration: RegistrationError) -> str:
    without = f"or leave the portmapper off and mount with port={nfs_port},mountport={nfs_port}"
    if problem.errno == errno.EACCES:
        program = os.path.realpath(sys.executable)
        return (
            f"{NAME}: {address} needs root or CAP_NET_BIND_SERVICE, and {registration}. Run as root, or say "
            "AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit, or run "
            f"`setcap cap_net_bind_service=+ep {program}`, {without}"
        )
    return f"{NAME}: address {address} is already in use, and {registration}. Free it, {without}"
