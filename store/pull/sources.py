"""Finds missing blocks in local files, so that they need not be fetched; every block is hashed before it is used.

Files of a known state are read just where a missing block lay in that state. Other files are cut as a push would cut
them. One thread; holes are not read.
"""

import contextlib
import itertools
import os
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Final

from store.chunker import WINDOW, Chunker
from store.digest import chunk_digest
from store.errors import Corrupt, FeatureMissing, Missing
from store.kinds import Kind
from store.manifest.view import Manifest, Record
from store.pack import Block
from store.pull.places import Places
from store.push.ingest import data_runs

_STRETCH: Final = 1 << 30  # bytes of a file whose runs are held at a time

Taken = Callable[[int], None]  # told the plain bytes written


def take_known(
    folder: bytes, manifest: Manifest, places: Places, taken: Taken,
    *, only: Container[bytes] | None = None, id_key: bytes | None = None,
) -> set[bytes]:  # fmt: skip
    """Fill places from a folder that should hold a state, or part of it.

    Args:
        folder: where.
        manifest: the state.
        places: what is missing.
        taken: told what was filled.
        only: paths to look at; `None`: all.
        id_key: the store's id key, where it is encrypted.

    Returns:
        The paths of the files of that state that are there, whatever is in them.

    Raises:
        OSError: writing failed; files that can't be read are passed over.
    """
    seen: set[bytes] = set()
    with contextlib.suppress(Missing, Corrupt, FeatureMissing):  # gone or damaged: it is fetched then
        for _, path, record in manifest.walk():
            if not len(places):
                break
            if record.kind == Kind.FILE and record.size and (only is None or path in only):
                seen.add(path)
                with opened(os.path.join(folder, path)) as descriptor:
                    if descriptor is not None:
                        for offset, _, block in extents(manifest, record):
                            if block is not None and block.digest in places:
                                plain = read_block(descriptor, offset, block, id_key)
                                if plain is not None:
                                    taken(places.fill(block.digest, plain))
    return seen


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


def extents(manifest: Manifest, record: Record) -> Iterator[tuple[int, int, Block | None]]:
    """Yield (offset, size, block or `None` for a hole) of a file's runs, a stretch of the file at a time.

    A hole may come in several runs.
    """
    if record.size <= _STRETCH:
        starts = manifest.extents(record)
        ends = itertools.chain((start for start, _ in starts[1:]), (record.size,))
        yield from ((start, end - start, block) for (start, block), end in zip(starts, ends, strict=False))
        return
    for start in range(0, record.size, _STRETCH):
        at = start
        for span in manifest.spans(record, start, _STRETCH):
            if span.block is None:
                yield at, span.size, None
            elif not span.start:  # else it began in the stretch before
                yield at, span.block.plain, span.block
            at += span.size


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
