"""Finds missing blocks in local files, so that they need not be fetched; every block is hashed before it is used.

Files of a known state are read just where a missing block lay in that state: its manifest is searched for the blocks,
section by section, which costs little where it has none of them. Other files are cut as a push would cut them. One
thread; holes are not read.
"""

import contextlib
import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Final

from store.chunker import WINDOW, Chunker
from store.digest import Digest, chunk_digest
from store.errors import Corrupt, FeatureMissing, Missing
from store.kinds import Kind
from store.manifest import layout
from store.manifest.layout import HOLE, Section
from store.manifest.view import Manifest, plausible
from store.pack import Block
from store.pull.places import LastFile, Places
from store.push.ingest import data_runs

_TRIES: Final = 4  # places at which one block is looked for: the file at one of them may have been changed
_FOLDERS: Final = 4096  # paths of folders remembered

Taken = Callable[[int], None]  # told the plain bytes written


def take_known(
    folder: bytes, manifest: Manifest, places: Places, taken: Taken,
    *, only: Callable[[int], bool] | None = None, id_key: bytes | None = None,
) -> None:  # fmt: skip
    """Fill places from a folder that should hold a state, or part of it.

    Args:
        folder: where.
        manifest: the state.
        places: what is missing.
        taken: told what was filled.
        only: tells of a record whether to look at its file; `None`: all.
        id_key: the store's id key, where it is encrypted.

    Raises:
        OSError: writing failed; files that can't be read are passed over.
    """
    with contextlib.suppress(Missing, Corrupt, FeatureMissing):  # gone or damaged: it is fetched then
        spots = _spots(manifest, places)
        for file, path in _paths(manifest.near(), spots, only):
            with opened(os.path.join(folder, path)) as descriptor, LastFile() as last:
                if descriptor is None:
                    continue
                for offset, digest in spots[file]:
                    if digest in places:
                        plain = read_block(descriptor, offset, places.block(digest), id_key)
                        if plain is not None:
                            taken(places.fill(digest, plain, last))


def _spots(manifest: Manifest, places: Places) -> dict[int, list[tuple[int, Digest]]]:
    """Return by number of a file of a state where in it missing blocks lie: (offset, digest)."""
    rows: dict[int, Digest] = {}
    row = 0
    for page in manifest.pages(Section.DIGESTS):
        data = bytes(page)
        for at in range(0, len(data), 32):
            digest = data[at : at + 32]
            if digest in places:
                rows[row] = Digest(digest)
            row += 1
    if not rows:
        return {}
    rows.pop(HOLE, None)
    tries: Counter[int] = Counter()
    spots: dict[int, list[tuple[int, Digest]]] = {}
    files = _FileOf(manifest)
    at = 0
    for page in manifest.pages(Section.EXTENTS):
        for offset, row in layout.EXTENT.iter_unpack(page):
            if row in rows and tries[row] < _TRIES:
                tries[row] += 1
                spots.setdefault(files.of(at), []).append((offset, rows[row]))
            at += 1
    return spots


class _FileOf:
    """Tells to which file an extent belongs; asked in rising order."""

    def __init__(self, manifest: Manifest) -> None:
        self._pages = manifest.pages(Section.FILES)
        self._starts = memoryview(b"").cast("I")
        self._first = 0  # number of the file whose extents begin at `_starts[0]`

    def of(self, extent: int) -> int:
        while not len(self._starts) or self._starts[-1] <= extent:
            page = next(self._pages, None)
            if page is None:
                break
            self._first += len(self._starts)
            self._starts = memoryview(page).cast("I")
        return self._first + bisect_right(self._starts, extent) - 1


def _paths(
    manifest: Manifest, files: Container[int], only: Callable[[int], bool] | None
) -> Iterator[tuple[int, bytes]]:
    """Yield (number of the file, path) of those files of a state that are wanted."""
    if not files:
        return
    folders: dict[int, bytes] = {}
    number = 0
    for page in manifest.pages(Section.NODES):
        for row in layout.NODE.iter_unpack(page):
            if row[6] == Kind.FILE and row[2] in files and (only is None or only(number)):
                path = _path(manifest, number, folders)
                if path is not None:
                    yield row[2], path
            number += 1


def _path(manifest: Manifest, number: int, folders: dict[int, bytes]) -> bytes | None:
    """Return the path of a record, or `None` where a name in it cannot be."""
    record = manifest.record(number)
    name = manifest.name(record)
    if not plausible(name):
        return None
    if not record.parent:
        return name
    above = folders.get(record.parent) or _path(manifest, record.parent, folders)
    if above is None:
        return None
    if len(folders) >= _FOLDERS:
        folders.clear()
    folders[record.parent] = above
    return b"%b/%b" % (above, name)


def take_cut(path: bytes, chunker: Chunker, places: Places, taken: Taken, id_key: bytes | None = None) -> None:
    """Fill places from a file of which nothing is known."""
    with opened(path) as descriptor:
        if descriptor is None:
            return
        for start, end in data_runs(descriptor, os.fstat(descriptor).st_size):
            for chunk in _chunks(descriptor, start, end, chunker):
                if not len(places):
                    return
                digest = chunk_digest(chunk, id_key)
                if digest in places:
                    taken(places.fill(digest, chunk))


def read_block(descriptor: int, offset: int, block: Block, id_key: bytes | None = None) -> bytes | None:
    """Return a block's plain bytes from a place where it may lie, or `None` where it does not."""
    try:
        plain = os.pread(descriptor, block.plain, offset)
    except OSError:
        return None
    return plain if len(plain) == block.plain and chunk_digest(plain, id_key) == block.digest else None


@contextlib.contextmanager
def opened(path: bytes) -> Iterator[int | None]:
    """Open a regular file for reading, or give `None` where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _chunks(descriptor: int, start: int, end: int, chunker: Chunker) -> Iterable[memoryview]:
    """Yield the chunks of one run of a file, window by window; stops where the file ends early or can't be read."""
    first = True
    while start < end:
        try:
            data = memoryview(os.pread(descriptor, min(WINDOW, end - start), start))
        except OSError:
            return
        if not data:
            return
        used = 0
        for at, size in chunker.cut(data, first=first, final=start + len(data) == end):
            yield data[at : at + size]
            used = at + size
        if not used:
            return
        start += used
        first = False
