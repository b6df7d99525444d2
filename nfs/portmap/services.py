"""What the portmapper knows: which program answers where, and how often it was asked.

Threads: a `Register` belongs to the thread that answers.
"""

import ipaddress
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from nfs.wire.errors import GarbageArgs
from nfs.wire.mount3 import MOUNT_PROGRAM, MOUNT_V3
from nfs.wire.nfs3types import NFS_PROGRAM, NFS_V3
from nfs.wire.nlm4 import NLM_PROGRAM, NLM_V4
from nfs.wire.portmap import PMAP_V2, PORTMAP_PROGRAM, RPCB_V3, RPCB_V4, parse_universal_address, universal_address

ANY_VERSION: Final = 0  # asked for by `rpcinfo`, which finds out by a mismatch which versions there are
SERVED: Final = ((NFS_PROGRAM, NFS_V3), (MOUNT_PROGRAM, MOUNT_V3), (NLM_PROGRAM, NLM_V4))  # all on one TCP port
PORTMAP_VERSIONS: Final = (PMAP_V2, RPCB_V3, RPCB_V4)


class Transport(NamedTuple):
    """What a netid stands for (RFC 5665 section 5.1)."""

    netid: bytes
    family: bytes  # inet, inet6
    protocol: bytes  # tcp, udp


TRANSPORTS: Final = {
    t.netid: t
    for t in (
        Transport(b"tcp", b"inet", b"tcp"),
        Transport(b"udp", b"inet", b"udp"),
        Transport(b"tcp6", b"inet6", b"tcp"),
        Transport(b"udp6", b"inet6", b"udp"),
    )
}


class Asked(NamedTuple):
    """How a call came: by which transport, and to which of this machine's addresses."""

    transport: Transport
    local: str  # an IP address
    this_machine: bool  # the peer is on it


class Service(NamedTuple):
    """One program in one version on one transport."""

    prog: int
    vers: int
    transport: Transport
    host: str  # where it listens; may be all addresses, 0.0.0.0 or ::
    port: int

    def address(self, asked: Asked, hint: bytes = b"") -> bytes:
        """Return the universal address at which the caller reaches it.

        Args:
            asked: how the call came.
            hint: the portmapper's own address as the caller knows it, if it told. Where ports are forwarded, as into
                containers, it is another than the one that the call came to, and the only one that the caller reaches.
        """
        if asked.transport.family != self.transport.family:
            return universal_address(self.host, self.port)
        if not ipaddress.ip_address(self.host).is_unspecified and self.host != asked.local:
            return universal_address(self.host, self.port)
        return universal_address(self._hinted(hint) or asked.local, self.port)

    def _hinted(self, hint: bytes) -> str:
        """Return the host of a hint, empty if it is of no use."""
        try:
            host, _ = parse_universal_address(hint)
        except GarbageArgs:
            return ""
        address = ipaddress.ip_address(host)
        same_family = (address.version == 6) == (self.transport.family == b"inet6")
        return host if same_family and not address.is_unspecified else ""


class Register:
    """All services, and counts of what was asked (GETSTAT)."""

    def __init__(self, services: Sequence[Service]) -> None:
        self.services = tuple(services)
        self.calls: Counter[tuple[int, int]] = Counter()  # by the portmapper's version and procedure
        self.found: Counter[tuple[int, Service]] = Counter()  # by the portmapper's version

    def find(self, prog: int, vers: int, transport: Transport) -> Service | None:
        """Return who serves a program's version, or any version of it (`ANY_VERSION`)."""
        for service in self.services:
            if service.prog == prog and service.transport == transport and vers in (service.vers, ANY_VERSION):
                return service
        return None


def all_services(hosts: Sequence[str], nfs_port: int, portmap_port: int) -> Iterator[Service]:
    """Yield what a gateway serves: NFS, MOUNT and NLM by TCP, the portmapper by TCP and UDP.

    Args:
        hosts: IP addresses that are listened on, at most one of each family.
        nfs_port: of NFS, MOUNT and NLM.
        portmap_port: of the portmapper.
    """
    for host in hosts:
        six = b"6" if ":" in host else b""
        tcp, udp = TRANSPORTS[b"tcp" + six], TRANSPORTS[b"udp" + six]
        for transport in (tcp, udp):
            for vers in reversed(PORTMAP_VERSIONS):
                yield Service(PORTMAP_PROGRAM, vers, transport, host, portmap_port)
        for prog, vers in SERVED:
            yield Service(prog, vers, tcp, host, nfs_port)
