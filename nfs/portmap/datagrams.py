"""UDP that answers from the address it was asked at, also where a socket listens on all addresses.

A client drops a reply from another address than it asked, so the socket tells to which one each datagram came
(IP_PKTINFO, or RFC 3542's IPV6_PKTINFO) and is told to send from there. Elsewhere than on Linux the system chooses.

Threads: a `Datagrams` belongs to one thread.
"""

import socket
import struct
import sys
from typing import Any, Final, NamedTuple

from nfs.portmap.answering import LARGEST_CALL

_IP_PKTINFO: Final = 8  # linux/in.h; Python has no name for it
_PKTINFO4: Final = struct.Struct("=i4s4s")  # interface, local address, address in the header
_PKTINFO6: Final = struct.Struct("=16si")  # local address, interface
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"  # before an IPv4 address on a socket of IPv6

Control = list[tuple[int, int, bytes]]


class Datagram(NamedTuple):
    """What came: the bytes, from whom, to which address of ours."""

    data: bytes
    peer: Any  # as the system has it
    local: str  # an IP address
    control: Control  # has the reply go out from there


class Datagrams:
    """A bound UDP socket."""

    def __init__(self, sock: socket.socket) -> None:
        """Take a bound socket, which the caller closes."""
        self._sock, self._host = sock, str(sock.getsockname()[0])
        sock.setblocking(False)
        if sys.platform == "linux" and sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        elif sys.platform == "linux":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable."""
        return self._sock.fileno()

    def receive(self) -> Datagram | None:
        """Return the next one, or `None` if it is longer than any call.

        Raises:
            BlockingIOError: there is none.  OSError: the system's word on an earlier one.
        """
        room = socket.CMSG_SPACE(_PKTINFO6.size) + socket.CMSG_SPACE(_PKTINFO4.size)
        data, ancillary, flags, peer = self._sock.recvmsg(LARGEST_CALL, room)
        if flags & socket.MSG_TRUNC:
            return None
        local, control = self._host, []
        for level, kind, content in ancillary:
            if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
                _, here, _ = _PKTINFO4.unpack(content[: _PKTINFO4.size])
                local = socket.inet_ntop(socket.AF_INET, here)
                control = [(level, kind, _PKTINFO4.pack(0, here, bytes(4)))]
            elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                here, interface = _PKTINFO6.unpack(content[: _PKTINFO6.size])
                local = socket.inet_ntop(socket.AF_INET6, here)
                control = [(level, kind, _PKTINFO6.pack(here, 0 if here.startswith(_MAPPED) else interface))]
        return Datagram(data, peer, local, control)

    def send(self, data: bytes, asked: Datagram) -> None:
        """Send a reply.

        Raises:
            OSError: the system can't, or not now.
        """
        self._sock.sendmsg([data], asked.control, 0, asked.peer)
