"""The procedures of portmapper version 2 and rpcbind versions 3 and 4, as data (RFC 1833 sections 2.2 and 3.2).

Lookups alone are answered. SET and UNSET are refused: nobody but this gateway has anything to say here. CALLIT (BCAST)
and INDIRECT are not served: a portmapper that forwards calls hides who made them, and multiplies what is sent by UDP.

Threads: the table is constant; handlers change counts, on the thread that owns the register.
"""

import ipaddress
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from nfs.portmap.services import TRANSPORTS, Asked, Register, Service, Transport
from nfs.wire import portmap as p
from nfs.wire.errors import GarbageArgs
from nfs.wire.xdr import Codec, boolean, uint32, void

OWNER: Final = b"superuser"  # as rpcbind calls who may use port 111
_PROTOCOLS: Final = {p.IPPROTO_TCP: TRANSPORTS[b"tcp"], p.IPPROTO_UDP: TRANSPORTS[b"udp"]}
_NUMBERS: Final = {transport: number for number, transport in _PROTOCOLS.items()}
_SEMANTICS: Final = {b"tcp": p.NC_TPI_COTS_ORD, b"udp": p.NC_TPI_CLTS}
_NO_NETBUF: Final = p.netbuf(0, b"")
# sockaddr_in and sockaddr_in6 in this machine's order, as UADDR2TADDR is defined: for callers on the same machine
_BSD: Final = sys.platform != "linux"  # these begin with a byte of length and a byte of family
_SOCKADDR: Final = {
    socket.AF_INET: struct.Struct("=2s2s4s8x"),
    socket.AF_INET6: struct.Struct("=2s2s4x16s4x"),
}


class Procedure(NamedTuple):
    """One procedure of one version."""

    name: str
    args: Codec[Any]
    handler: Callable[[Any, Register, Asked], Any]
    result: Codec[Any]


def null(_args: None, _register: Register, _asked: Asked) -> None:
    """Do nothing: clients see that the server lives."""


def refuse(_args: object, _register: Register, _asked: Asked) -> bool:
    """Answer SET and UNSET: not done."""
    return False


def getport(args: p.mapping, register: Register, asked: Asked) -> int:
    """Return a program's port, 0 for what is not served."""
    transport = _PROTOCOLS.get(args.prot)
    if transport is not None and asked.transport.family == b"inet6":  # version 2 knows no families
        transport = TRANSPORTS[transport.netid + b"6"]
    service = _found(register, p.PMAP_V2, args.prog, args.vers, transport)
    return service.port if service is not None else 0


def dump2(_args: None, register: Register, _asked: Asked) -> list[p.mapping]:
    """Return all of IPv4, which is all that version 2 can tell."""
    return [
        p.mapping(s.prog, s.vers, _NUMBERS[s.transport], s.port) for s in register.services if s.transport in _NUMBERS
    ]


def getaddr3(args: p.rpcb, register: Register, asked: Asked) -> bytes:
    return _getaddr(p.RPCB_V3, args, register, asked)


def getaddr4(args: p.rpcb, register: Register, asked: Asked) -> bytes:
    """Return a program's universal address, empty for what is not served; the same for GETVERSADDR.

    The RFC takes the transport that the call came by, whatever `r_netid` says. One that is served is obeyed here, since
    a client that names it means it. `r_addr` is the portmapper's address as the client knows it, in what TI-RPC's
    clients send.
    """
    return _getaddr(p.RPCB_V4, args, register, asked)


def _getaddr(version: int, args: p.rpcb, register: Register, asked: Asked) -> bytes:
    transport = TRANSPORTS.get(args.r_netid, asked.transport)
    service = _found(register, version, args.r_prog, args.r_vers, transport)
    return service.address(asked, args.r_addr) if service is not None else b""


def _found(register: Register, version: int, prog: int, vers: int, transport: Transport | None) -> Service | None:
    service = register.find(prog, vers, transport) if transport is not None else None
    if service is not None:
        register.found[version, service] += 1
    return service


def getaddrlist(args: p.rpcb, register: Register, asked: Asked) -> list[p.rpcb_entry]:
    """Return the addresses of a program's version on all transports of the family that the call came by."""
    return [
        p.rpcb_entry(
            s.address(asked, args.r_addr),
            s.transport.netid,
            _SEMANTICS[s.transport.protocol],
            s.transport.family,
            s.transport.protocol,
        )
        for s in register.services
        if (s.prog, s.vers) == (args.r_prog, args.r_vers) and s.transport.family == asked.transport.family
    ]


def dump(_args: None, register: Register, _asked: Asked) -> list[p.rpcb]:
    """Return everything, with the addresses that are listened on."""
    return [
        p.rpcb(s.prog, s.vers, s.transport.netid, p.universal_address(s.host, s.port), OWNER) for s in register.services
    ]


def gettime(_args: None, _register: Register, _asked: Asked) -> int:
    """Return the seconds since 1970, as many as 32 bits hold."""
    return int(time.time()) & 0xFFFFFFFF


def uaddr2taddr(uaddr: bytes, _register: Register, _asked: Asked) -> p.netbuf:
    """Return a universal address as a `sockaddr` of this machine; empty if it is none."""
    try:
        host, port = p.parse_universal_address(uaddr)
    except GarbageArgs:
        return _NO_NETBUF
    address = ipaddress.ip_address(host)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    packer = _SOCKADDR[family]
    start = bytes((packer.size, family)) if _BSD else family.to_bytes(2, sys.byteorder)
    return p.netbuf(packer.size, packer.pack(start, port.to_bytes(2, "big"), address.packed))


def taddr2uaddr(taddr: p.netbuf, _register: Register, _asked: Asked) -> bytes:
    """Return a `sockaddr` of this machine as universal address; empty if it is none."""
    family = taddr.buf[1] if _BSD and len(taddr.buf) > 1 else int.from_bytes(taddr.buf[:2], sys.byteorder)
    for known, packer in _SOCKADDR.items():
        if known == family and packer.size == len(taddr.buf):
            _, port, packed = packer.unpack(taddr.buf)
            return p.universal_address(str(ipaddress.ip_address(packed)), int.from_bytes(port, "big"))
    return b""


def getstat(_args: None, register: Register, _asked: Asked) -> Sequence[p.rpcb_stat]:
    """Return how often each version's procedures were called. Nothing is registered, and nothing forwarded."""
    return tuple(
        p.rpcb_stat(
            tuple(register.calls[version, number] for number in range(p.RPCBSTAT_HIGHPROC)),
            0,
            0,
            [
                p.rpcbs_addrlist(service.prog, service.vers, count, 0, service.transport.netid)
                for (asked_version, service), count in register.found.items()
                if asked_version == version
            ],
            [],
        )
        for version in (p.PMAP_V2, p.RPCB_V3, p.RPCB_V4)
    )


CALLIT: Final = 5  # CALLIT and, in version 4, BCAST: not served

_PMAP: Final[Mapping[int, Procedure]] = {
    0: Procedure("NULL", void, null, void),
    1: Procedure("SET", p.MAPPING, refuse, boolean),
    2: Procedure("UNSET", p.MAPPING, refuse, boolean),
    3: Procedure("GETPORT", p.MAPPING, getport, uint32),
    4: Procedure("DUMP", void, dump2, p.PMAPLIST),
}
_RPCB: Final[Mapping[int, Procedure]] = {
    0: Procedure("NULL", void, null, void),
    1: Procedure("SET", p.RPCB, refuse, boolean),
    2: Procedure("UNSET", p.RPCB, refuse, boolean),
    3: Procedure("GETADDR", p.RPCB, getaddr3, p.UADDR),
    4: Procedure("DUMP", void, dump, p.RPCBLIST),
    6: Procedure("GETTIME", void, gettime, uint32),
    7: Procedure("UADDR2TADDR", p.UADDR, uaddr2taddr, p.NETBUF),
    8: Procedure("TADDR2UADDR", p.NETBUF, taddr2uaddr, p.UADDR),
}
_RPCB4: Final[Mapping[int, Procedure]] = {
    **_RPCB,
    3: Procedure("GETADDR", p.RPCB, getaddr4, p.UADDR),
    9: Procedure("GETVERSADDR", p.RPCB, getaddr4, p.UADDR),
    11: Procedure("GETADDRLIST", p.RPCB, getaddrlist, p.ENTRIES),
    12: Procedure("GETSTAT", void, getstat, p.STATS),
}
PROCEDURES: Final[Mapping[int, Mapping[int, Procedure]]] = {p.PMAP_V2: _PMAP, p.RPCB_V3: _RPCB, p.RPCB_V4: _RPCB4}
