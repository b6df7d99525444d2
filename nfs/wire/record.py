"""Record marking over TCP (RFC 5531 section 11): from a stream of bytes to whole records.

    offset  size  field
    0       4     bit 31: last fragment of its record; bits 0-30: length of the fragment
    4       ...   the fragment

Bytes are received straight into `RecordReader.room()`, so that a stream is copied once, into its records.
Threads: one reader belongs to one connection's thread. No I/O.
"""

import struct
from typing import Final

from nfs.wire.errors import RecordRefused

LAST_FRAGMENT: Final = 0x80000000
MAX_EMPTY: Final = 1024  # empty fragments of one record: an endless row of them costs no memory but time
FIRST_ROOM: Final = 32768  # bytes: some two hundred calls of the usual size
LEAST_ROOM: Final = 4096  # bytes: never ask the system for a crumb

_MARK: Final = struct.Struct(">I")


class RecordReader:
    """One connection's input: a buffer that grows to one record of the limit's size, and the records within it."""

    def __init__(self, limit: int) -> None:
        """Accept records of at most `limit` bytes."""
        self._limit = limit
        self._buffer = bytearray(FIRST_ROOM)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0  # what was received and not yet taken
        self._begun = False  # a record of several fragments
        self._record = bytearray()  # what has come of it
        self._empty = 0  # its empty fragments
        self._wanted = 0  # bytes from _start on that the fragment in sight needs

    @property
    def partial(self) -> bool:
        """Tell whether a record has begun that is not whole yet."""
        return self._end > self._start or self._begun

    def room(self) -> memoryview:
        """Return where to receive into: never empty. Good until the next call of any method."""
        if self._start == self._end:
            self._start = self._end = 0
        free = len(self._buffer) - self._end
        if free < LEAST_ROOM or len(self._buffer) - self._start < self._wanted:
            pending = self._end - self._start
            size = max(len(self._buffer), self._wanted, pending + LEAST_ROOM)
            fresh = bytearray(size)
            fresh[:pending] = self._view[self._start : self._end]
            self._buffer, self._view = fresh, memoryview(fresh)
            self._start, self._end = 0, pending
        return self._view[self._end :]

    def received(self, count: int) -> list[bytes]:
        """Take note of `count` bytes put into `room()`; return the records that are whole now, in order.

        Raises:
            RecordRefused: a record is longer than the limit or has too many empty fragments.
        """
        self._end += count
        records: list[bytes] = []
        view, start, end = self._view, self._start, self._end
        while end - start >= 4:
            (mark,) = _MARK.unpack_from(view, start)
            length = mark & ~LAST_FRAGMENT
            if len(self._record) + length > self._limit:
                raise RecordRefused(f"record of {len(self._record) + length} bytes or more: limit {self._limit}")
            after = start + 4 + length
            if after > end:
                self._wanted = 4 + length
                break
            if mark & LAST_FRAGMENT and not self._begun:
                records.append(bytes(view[start + 4 : after]))
            else:
                self._begun = True
                self._record += view[start + 4 : after]
                self._empty += not length
                if mark & LAST_FRAGMENT:
                    records.append(bytes(self._record))
                    self._begun, self._record, self._empty = False, bytearray(), 0
                elif self._empty == MAX_EMPTY:
                    raise RecordRefused(f"record with {MAX_EMPTY} empty fragments")
            start = after
        else:
            self._wanted = 0
        self._start = start
        return records


def marked(record: bytes) -> bytes:
    """Return a record as the one fragment that it goes out as."""
    return _MARK.pack(LAST_FRAGMENT | len(record)) + record
