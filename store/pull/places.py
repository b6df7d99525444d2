"""Where in a tree under construction each missing block has to go, and the writing of it.

A block is written to all its places at once, so that it is got once. A file that is one block whole is made only then,
with its content and its time in one go, and what it can be known by later is noted; every other has its size already.
`fill` and `write` may be called from any thread, for different blocks; a `LastFile` is one thread's. All offsets in
bytes.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from store.digest import Digest
from store.objects.base import Buffer
from store.pack import Block
from store.pull.flush import start_writing

_MUCH: Final = 1 << 20  # bytes written into a file before it is worth a call to have them written out


Whole = tuple[
    int, bool, int
]  # what a file is made with that one block fills: number of its record, executable, mtime_ns
Place = tuple[bytes, int, Whole | None]  # path, offset, how to make the file
Made = tuple[int, int, int]  # number of the record, inode, ctime in ns
OnMade = Callable[[int, int, int], None]


class Places:
    """The blocks that are missing in one tree."""

    def __init__(self, on_made: OnMade) -> None:
        """Begin with none; `on_made` is told each file that is made, in any thread."""
        self._needs: dict[bytes, tuple[Block, list[Place]]] = {}
        self.noted = 0  # places, those filled meanwhile too: one block may be missing at very many
        self._on_made = on_made

    def __len__(self) -> int:
        return len(self._needs)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._needs

    def add(self, block: Block, path: bytes, offset: int, whole: Whole | None = None) -> None:
        """Note that a block is missing at an offset of a file, which has its size already unless it is to be made."""
        self.noted += 1
        need = self._needs.get(block.digest)
        if need is None:
            self._needs[block.digest] = block, [(path, offset, whole)]
        else:
            need[1].append((path, offset, whole))

    def block(self, digest: Digest) -> Block:
        """Return a missing block."""
        return self._needs[digest][0]

    def blocks(self) -> Iterable[Block]:
        """Return the missing blocks."""
        return [block for block, _ in self._needs.values()]

    def where(self, digest: Digest) -> list[Place]:
        """Return where a missing block has to go."""
        return self._needs[digest][1]

    def fill(self, digest: Digest, plain: Buffer, last: "LastFile | None" = None) -> int:
        """Write a block, whose digest was checked, wherever it is missing; return the bytes written.

        Args:
            digest: its name.
            plain: its bytes.
            last: holds the file that was written last, where one file after another gets many blocks.

        Raises:
            OSError: it can't be written.
        """
        _, places = self._needs.pop(digest)
        if last is None:
            with LastFile() as file:
                made = write(places, plain, file)
        else:
            made = write(places, plain, last)
        for one in made:
            self._on_made(*one)
        return len(plain) * len(places)

    def filled(self, digest: Digest, made: Iterable[Made]) -> int:
        """Note that a block was written by somebody else; return the bytes written."""
        block, places = self._needs.pop(digest)
        for one in made:
            self._on_made(*one)
        return block.plain * len(places)


def write(places: Sequence[Place], plain: Buffer, last: "LastFile") -> list[Made]:
    """Write a block to its places; return what was made whole.

    Raises:
        OSError: it can't be written.
    """
    made = []
    for path, offset, whole in places:
        if whole is None:
            last.write(path, plain, offset)
        else:
            made.append(make(path, plain, whole))
    return made


class LastFile:
    """Keeps the file open that was written last, and has what was written on its way to the disk when it is let go."""

    def __init__(self) -> None:
        self._path = b""
        self._descriptor = -1
        self._written = 0

    def __enter__(self) -> "LastFile":
        return self

    def __exit__(self, *exc: object) -> None:
        self._let_go()

    def write(self, path: bytes, data: Buffer, offset: int) -> None:
        """Write into a file that is there.

        Raises:
            OSError: it can't be written.
        """
        if path != self._path:
            self._let_go()
            self._descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            self._path = path
        write_at(self._descriptor, data, offset)
        self._written += len(data)

    def _let_go(self) -> None:
        if self._descriptor >= 0:
            try:
                if self._written >= _MUCH:
                    start_writing(self._descriptor)
            finally:
                os.close(self._descriptor)
                self._path, self._descriptor, self._written = b"", -1, 0


def make(path: bytes, plain: Buffer, whole: Whole) -> Made:
    """Make a file with its content and its time; return what it can be known by, zeros where that would not do.

    Raises:
        OSError: it is there, or can't be made or written.
    """
    number, executable, mtime_ns = whole
    descriptor = create(path, executable=executable)
    try:
        write_at(descriptor, plain, 0)
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if (status.st_size, status.st_mtime_ns) != (len(plain), mtime_ns):  # a file system with coarser times
        return number, 0, 0
    return number, status.st_ino, status.st_ctime_ns


def create(path: bytes, *, executable: bool) -> int:
    """Make a file that is not there yet; return it open for writing.

    Raises:
        OSError: it is there, or can't be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o777 if executable else 0o666)


def write_at(descriptor: int, data: Buffer, offset: int) -> None:
    """Write all of `data` at an offset."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
