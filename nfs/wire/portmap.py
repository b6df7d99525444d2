"""Portmapper version 2 and rpcbind versions 3 and 4 (RFC 1833): types, codecs, and universal addresses.

Names are the RFC's. Threads: immutable values and pure functions. No I/O.
"""

import ipaddress
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from nfs.wire.errors import GarbageArgs
from nfs.wire.xdr import Buffer, Chain, Codec, Opaque, Structure, uint32

PORTMAP_PROGRAM: Final = 100000
PMAP_V2: Final = 2
RPCB_V3: Final = 3
RPCB_V4: Final = 4
PMAP_PORT: Final = 111

IPPROTO_TCP: Final = 6
IPPROTO_UDP: Final = 17

MAX_NETID: Final = 32  # bytes; the longest in use has 6
MAX_UADDR: Final = 255  # bytes; a local socket's is a path
MAX_OWNER: Final = 255  # bytes
MAX_NETBUF: Final = 128  # bytes: a `sockaddr_storage`
MAX_LISTED: Final = 1024  # entries of one list, when a client decodes
RPCBSTAT_HIGHPROC: Final = 13  # procedures of version 4, counted from 0
RPCBVERS_STAT: Final = 3  # versions 2, 3 and 4

NC_TPI_CLTS: Final = 1  # semantics of UDP
NC_TPI_COTS_ORD: Final = 3  # semantics of TCP


class mapping(NamedTuple):
    """Section 3.1: one registration of version 2."""

    prog: int
    vers: int
    prot: int  # IPPROTO_TCP or IPPROTO_UDP
    port: int


class rpcb(NamedTuple):
    """Section 2.1: one registration of versions 3 and 4, or a question after one."""

    r_prog: int
    r_vers: int
    r_netid: bytes  # tcp, udp, tcp6, udp6, local
    r_addr: bytes  # universal address
    r_owner: bytes


class rpcb_entry(NamedTuple):
    """One address of GETADDRLIST."""

    r_maddr: bytes
    r_nc_netid: bytes
    r_nc_semantics: int
    r_nc_protofmly: bytes  # inet, inet6
    r_nc_proto: bytes  # tcp, udp


class netbuf(NamedTuple):
    """A transport's own form of an address: here a `sockaddr`'s bytes."""

    maxlen: int
    buf: bytes


class rpcbs_addrlist(NamedTuple):
    """How often a program was asked for by GETADDR or GETPORT."""

    prog: int
    vers: int
    success: int
    failure: int
    netid: bytes


class rpcbs_rmtcalllist(NamedTuple):
    """How often a procedure was called by way of the portmapper."""

    prog: int
    vers: int
    proc: int
    success: int
    failure: int
    indirect: int
    netid: bytes


class rpcb_stat(NamedTuple):
    """What one version was asked for."""

    info: Sequence[int]  # calls, by procedure
    setinfo: int
    unsetinfo: int
    addrinfo: Sequence[rpcbs_addrlist]
    rmtinfo: Sequence[rpcbs_rmtcalllist]


class _Row:
    """A fixed-length array (RFC 4506 section 4.12)."""

    def __init__(self, inner: Codec[Any], size: int) -> None:
        self._inner, self._size = inner, size

    def encode(self, value: Sequence[Any], out: list[Buffer]) -> None:
        if len(value) != self._size:
            raise AssertionError(f"{len(value)} values, not {self._size}")
        for item in value:
            self._inner.encode(item, out)

    def decode(self, buf: bytes, at: int) -> tuple[Sequence[Any], int]:
        items: list[Any] = []
        for _ in range(self._size):
            item, at = self._inner.decode(buf, at)
            items.append(item)
        return tuple(items), at


_NETID: Final = Opaque(MAX_NETID)
_OWNER: Final = Opaque(MAX_OWNER)
UADDR: Final = Opaque(MAX_UADDR)
MAPPING: Final = Structure(mapping, uint32, uint32, uint32, uint32)
PMAPLIST: Final = Chain(MAPPING, MAX_LISTED)
RPCB: Final = Structure(rpcb, uint32, uint32, _NETID, UADDR, _OWNER)
RPCBLIST: Final = Chain(RPCB, MAX_LISTED)
ENTRIES: Final = Chain(Structure(rpcb_entry, UADDR, _NETID, uint32, Opaque(32), Opaque(32)), MAX_LISTED)
NETBUF: Final = Structure(netbuf, uint32, Opaque(MAX_NETBUF))
_ADDRLIST: Final = Chain(Structure(rpcbs_addrlist, uint32, uint32, uint32, uint32, _NETID), MAX_LISTED)
_CALLLIST: Final = Chain(
    Structure(rpcbs_rmtcalllist, uint32, uint32, uint32, uint32, uint32, uint32, _NETID), MAX_LISTED
)
STATS: Final = _Row(
    Structure(rpcb_stat, _Row(uint32, RPCBSTAT_HIGHPROC), uint32, uint32, _ADDRLIST, _CALLLIST), RPCBVERS_STAT
)


def universal_address(host: str, port: int) -> bytes:
    """Spell an address as rpcbind does: `192.0.2.1.8.1` is port 2049 (RFC 5665 sections 5.2.3.3 and 5.2.3.4)."""
    return f"{host.partition('%')[0]}.{port >> 8}.{port & 0xFF}".encode()


def parse_universal_address(uaddr: bytes) -> tuple[str, int]:
    """Read a universal address of TCP or UDP; return its host, an IP address, and its port.

    Raises:
        GarbageArgs: it is none.
    """
    try:
        host, high, low = uaddr.decode("ascii").rsplit(".", 2)
        ipaddress.ip_address(host)
        if not (high.isdigit() and low.isdigit() and int(high) < 256 and int(low) < 256):
            raise ValueError
    except ValueError as error:  # UnicodeDecodeError is one
        raise GarbageArgs(f"{uaddr[:64]!r} is not a universal address") from error
    return host, int(high) << 8 | int(low)
