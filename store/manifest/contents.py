"""What the files of a tree hold, by their numbers: digests in temporary files, extents in columns.

A file of one chunk, as most are, takes 4 bytes of memory; any other 12 more for each extent. The digests are random
bytes that are written once and read once, in order; they lie on disk beyond the first MiB. One thread.
"""

import io
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from store.manifest.layout import HOLE
from store.veil import Veil, open_unnamed
from store.veiled_file import LocalFile

_IN_MEMORY: Final = 1 << 20  # bytes of a column that need no file
_RUN: Final = 64 << 10  # bytes of following rows that are written at once
_PURPOSE: Final = b"column"

_UNREAD: Final = 0xFFFFFFFF
_EMPTY: Final = 0xFFFFFFFE
_SEVERAL: Final = 1 << 31  # the rest is a row of `_starts`; without it, the row of the one block that is the file


class Column:
    """Rows of one width, by number, on disk where they are many; the file has no name and ends with the process."""

    def __init__(self, width: int, folder: Path | None = None, veil: Veil | None = None) -> None:
        """Begin empty.

        Args:
            width: bytes of a row.
            folder: where the file goes; `None`: to the system's temporary files.
            veil: seals the file, where the store is encrypted.
        """
        self.width, self._folder, self._veil = width, folder, veil
        self._file: LocalFile = io.BytesIO()
        self._run = bytearray()
        self._first = self._next = 0  # rows that the run begins with, and that would follow it

    def put(self, row: int, data: bytes) -> None:
        """Set one row; quickest where rows follow one another."""
        if row != self._next or len(self._run) >= _RUN:
            self._flush()
            self._first = row
        self._run += data
        self._next = row + 1

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield all rows from the first on, `size` bytes at a time."""
        self._flush()
        at = 0
        while True:
            self._file.seek(at)  # each time, so that two may read side by side
            piece = self._file.read(size)
            if not piece:
                return
            yield piece
            at += len(piece)

    def keep(self, rows: Iterable[int]) -> None:
        """Keep these rows alone, given in order, numbered anew."""
        kept = Column(self.width, self._folder, self._veil)
        self._flush()
        for number, row in enumerate(rows):
            self._file.seek(row * self.width)
            kept.put(number, self._file.read(self.width))
        self.close()
        self._file, self._run, self._first, self._next = kept._file, kept._run, kept._first, kept._next

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _flush(self) -> None:
        if self._run:
            if isinstance(self._file, io.BytesIO) and self._next * self.width > _IN_MEMORY:
                held = self._file
                self._file = open_unnamed(self._folder, self._veil, _PURPOSE)
                self._file.write(held.getbuffer())
            self._file.seek(self._first * self.width)
            self._file.write(self._run)
            self._run.clear()


class Contents:
    """The contents of files, by their numbers."""

    def __init__(self, files: int, folder: Path | None = None, veil: Veil | None = None) -> None:
        """Begin with none known.

        Args:
            files: how many there are.
            folder: for temporary files.
            veil: seals them, where the store is encrypted.
        """
        self.sha256, self.md5 = Column(32, folder, veil), Column(16, folder, veil)
        self._spots = array("I", [_UNREAD]) * files
        self._starts = array("Q", [0])  # rows of extents: where those of each file of several begin, and the end
        self._offsets, self._rows = array("Q"), array("I")
        self.unread = files

    def set(self, file: int, sha256: bytes, md5: bytes, extents: list[tuple[int, int]]) -> None:
        """Say what a file holds.

        Args:
            file: its number.
            sha256: of all its bytes.
            md5: likewise.
            extents: (offset in the file, row in the table of blocks or HOLE), by offset, no gap.
        """
        self.sha256.put(file, sha256)
        self.md5.put(file, md5)
        self.unread -= self._spots[file] == _UNREAD
        if not extents:
            self._spots[file] = _EMPTY
        elif len(extents) == 1 and extents[0][1] < _SEVERAL:
            self._spots[file] = extents[0][1]
        else:
            self._spots[file] = _SEVERAL | (len(self._starts) - 1)
            for offset, row in extents:
                self._offsets.append(offset)
                self._rows.append(row)
            self._starts.append(len(self._rows))

    def known(self, file: int) -> bool:
        """Tell whether a file's content is known."""
        return self._spots[file] != _UNREAD

    def forget(self, file: int) -> None:
        """Have a file read again."""
        self.unread += self._spots[file] != _UNREAD
        self._spots[file] = _UNREAD

    def extents(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the extents of each file in order; all must be known."""
        for spot in self._spots:
            yield self._extents(spot)

    def _extents(self, spot: int) -> list[tuple[int, int]]:
        if spot < _SEVERAL:
            return [(0, spot)]
        if spot == _EMPTY:
            return []
        start, end = self._starts[spot - _SEVERAL], self._starts[spot - _SEVERAL + 1]
        return [*zip(self._offsets[start:end], self._rows[start:end], strict=True)]

    def uses(self, file: int, doomed: Callable[[int], bool]) -> bool:
        """Tell whether a file is known and one of its blocks, by its row, is doomed."""
        return self.known(file) and any(row != HOLE and doomed(row) for _, row in self._extents(self._spots[file]))

    def keep(self, files: list[int]) -> None:
        """Keep these files alone, given in order, numbered anew; all must be known."""
        self._spots = array("I", map(self._spots.__getitem__, files))
        self.sha256.keep(files)
        self.md5.keep(files)
        self.unread = 0

    def close(self) -> None:
        """Let go of the temporary files."""
        self.sha256.close()
        self.md5.close()
