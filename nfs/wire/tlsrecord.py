"""Where TLS records begin and end (RFC 8446 section 5.1), so that one that never gets whole is noticed.

    offset  size  field
    0       1     type
    1       2     version
    3       2     length of what follows
    5       ...   cipher text

Threads: belongs to one connection's thread. No I/O.
"""

from typing import Final

HEAD: Final = 5


class Boundaries:
    """Counts along with a stream of records. What lengths are lawful is OpenSSL's to say."""

    def __init__(self) -> None:
        """Stand before a record."""
        self._left = 0  # bytes of the present record that are yet to come
        self._head = b""  # of a header that is not whole

    @property
    def partial(self) -> bool:
        """Tell whether a record has begun that is not whole yet."""
        return bool(self._left or self._head)

    def passed(self, data: memoryview) -> None:
        """Count further bytes of the stream."""
        at, size = min(self._left, len(data)), len(data)
        self._left -= at
        while at < size:
            head = self._head + bytes(data[at : at + HEAD - len(self._head)])
            at += len(head) - len(self._head)
            if len(head) < HEAD:
                self._head = head
                return
            self._head = b""
            self._left = int.from_bytes(head[3:5], "big")
            step = min(self._left, size - at)
            self._left -= step
            at += step
