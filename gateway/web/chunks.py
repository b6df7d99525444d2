"""Bodies of requests that come in chunks (RFC 9112 section 7.1), with little memory whatever a client calls a chunk.

cheroot reads a size as Python would, from a line of any length, and each chunk whole. Here a size is hexadecimal
digits, its line is short, and of a chunk little is taken at a time. Extensions and trailers are passed over: the
connection ends with such a request. Threads: one at a time.
"""

import re
from typing import Any, Final

from cheroot import server

LINE: Final = 4096  # bytes of the line of a size, with its extensions
PIECE: Final = 8192  # bytes of a chunk taken at a time

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t -~\x80-\xff]*)?\r\n")


class Chunks(server.ChunkedRFile):
    """A body; `read` raises ValueError for what is none, and OSError for one that is too long."""

    def __init__(self, lines: Any, most: int) -> None:
        """Read from `lines`, up to `most` bytes in all."""
        super().__init__(lines, most)
        self._left = 0  # bytes of the chunk that is being read

    def _fetch(self) -> None:
        """Take some more, unless it is at its end."""
        if self.closed:
            return
        if not self._left:
            line = self.rfile.readline(LINE)
            found = _SIZE.fullmatch(line)
            if found is None:
                raise ValueError("Bad size of a chunk.")
            self._left = int(found[1], 16)
            self.bytes_read += len(line) + self._left
            if self.bytes_read > self.maxlen:
                raise OSError("Request Entity Too Large")
            if not self._left:
                self.closed = True
                return
        piece = self.rfile.read(min(self._left, PIECE))
        if not piece:
            raise ValueError("A chunk broke off.")
        self._left -= len(piece)
        self.buffer += piece
        if not self._left and self.rfile.read(2) != b"\r\n":
            raise ValueError("No line break behind a chunk.")
