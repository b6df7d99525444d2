"""Replies on their way to the socket: small ones joined, large ones as views, all handed over together.

Threads: a batch belongs to one connection's thread.
"""

import os
from collections.abc import Iterable, Sequence
from typing import Final

from nfs.wire.xdr import Buffer

MAX_PARTS: Final = min(1024, os.sysconf("SC_IOV_MAX"))  # buffers that one sendmsg takes
JOINED: Final = (
    4096  # bytes: replies up to this size are joined with their neighbours, which is cheaper than a buffer each
)


class Batch:
    """Replies gathered for one `sendmsg`."""

    def __init__(self) -> None:
        self._small: list[Buffer] = []
        self._parts: list[Buffer] = []
        self._large_bytes = 0

    @property
    def empty(self) -> bool:
        """Tell whether nothing was added."""
        return not self._small and not self._parts

    @property
    def large_bytes(self) -> int:
        """How much of the batch is data that was added as views."""
        return self._large_bytes

    def small(self, parts: Iterable[Buffer]) -> None:
        """Add a reply whose parts are to be joined with its neighbours."""
        self._small.extend(parts)

    def large(self, head: bytes, data: Sequence[Buffer], padding: bytes) -> None:
        """Add a reply with data that is not to be copied."""
        small = self._small
        small.append(head)
        self._flush_small()
        self._parts.extend(data)
        if padding:
            small.append(padding)
        self._large_bytes += sum(map(len, data))

    def reply(self, parts: Sequence[Buffer]) -> None:
        """Add a reply of any size."""
        if sum(map(len, parts)) <= JOINED:
            self._small.extend(parts)
            return
        for part in parts:
            if len(part) <= JOINED:
                self._small.append(part)
            else:
                self._flush_small()
                self._parts.append(part)
                self._large_bytes += len(part)

    def take(self) -> list[Buffer]:
        """Return everything that was added, in order, and begin anew."""
        self._flush_small()
        parts = self._parts
        self._parts, self._large_bytes = [], 0
        return parts

    def _flush_small(self) -> None:
        if self._small:
            self._parts.append(b"".join(self._small))
            self._small.clear()
