"""What one server takes on, and the count of bytes that are on their way to clients.

Threads: `Limits` is a value; the rest may be called from any thread.
"""

import threading
from typing import Final, NamedTuple

from nfs.wire.nfs3types import RTMAX, WTMAX


class Limits(NamedTuple):
    """What one server takes on."""

    connections: int = 1024  # for a further one another goes, see `NfsServer`
    idle_s: float = 15.0  # a connection that was silent for so long may be closed: clients connect again by themselves
    pool_threads: int = 16  # calls that may block at the same time
    pending_calls: int = 64  # of one connection, handed to the pool
    waiting_calls: int = 1024  # of one connection, not yet handed to the pool; for further ones the client comes again
    waiting_bytes: int = 1 << 20  # of these calls' records
    connection_bytes: int = 16 << 20  # of one connection: replies being made or sent
    in_flight_bytes: int = 256 << 20  # of all connections; beyond, each gets `LEAST_BYTES`, and the stalled go
    record_bytes: int = WTMAX + 4096  # a WRITE of wtmax, refused politely, and its headers
    record_s: float = 10.0  # from a record's first byte to its last
    handshake_s: float = 5.0  # from STARTTLS to the end of the TLS handshake; it counts as a connection meanwhile
    send_s: float = 60.0  # a client that takes nothing for so long is gone
    stalled_s: float = 5.0  # the same, where `in_flight_bytes` are used up
    patience_s: float = 10.0  # for a call that blocks, before the client is told to come again (NFS3ERR_JUKEBOX)


LEAST_BYTES = RTMAX  # of replies that a connection may have in flight at any time: one READ


DESCRIPTORS: Final = 3  # of a connection: its socket, and two to wake its thread


class InFlight:
    """Bytes of replies being made or sent, of all connections."""

    def __init__(self, limit: int) -> None:
        """Count up to `limit` as usual, and above as too many."""
        self._limit, self._bytes, self._lock = limit, 0, threading.Lock()

    def add(self, size: int) -> None:
        """Count bytes, or (negative) count them no longer."""
        with self._lock:
            self._bytes += size

    @property
    def full(self) -> bool:
        """Tell whether there are more than there should be."""
        return self._bytes >= self._limit
