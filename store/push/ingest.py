"""Reads files and turns them into chunks: read -> cut -> digest -> known? -> compress.

The digests of whole files are made beside it. The caller's thread reads large files window by window and cuts them; a
pool digests and compresses; one thread each carries SHA-256 and MD5 along. Small files go through the pool many at a
time (`reader`), and on from there to processes where there are very many (`readers`). Results come out in the order of
the files, and no more than `IN_FLIGHT` bytes are ever under way. Hashing, cutting and compressing release the
interpreter's lock.
"""

import errno
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from store.chunker import WINDOW, Chunker
from store.digest import chunk_digest
from store.objects.base import Buffer
from store.push import reader
from store.push.known import KnownBlocks
from store.push.reader import HOLE_FROM, SMALL, Piece, ingest_small, piece
from store.push.readers import Readers
from store.push.source import Identity, SourceFile, identity, why

IN_FLIGHT: Final = 48 << 20
BATCH_BYTES: Final = 4 << 20
BATCH_FILES: Final = 64

_ZEROS: Final = bytes(1 << 20)


@dataclass(slots=True)
class Read:
    """Some pieces of a file.

    Those of one file come one after another; the last has its digests, or says what went wrong.
    """

    file: SourceFile
    pieces: list[Piece]
    size: int  # bytes read, holes included
    last: bool = False
    sha256: bytes = b""
    md5: bytes = b""
    identity: Identity | None = None  # of the file as it was read; None: it changed meanwhile
    problem: str = ""  # why it can't be read


class Ingest:
    """The reading half of a push. One caller at a time."""

    def __init__(
        self, chunker: Chunker, known: KnownBlocks, *,
        id_key: bytes | None = None, readers: Readers | None = None, workers: int = 0,
    ) -> None:  # fmt: skip
        """Start the threads.

        Args:
            chunker: cuts files.
            known: asked for each chunk.
            id_key: the store's id key, where it is encrypted.
            readers: who reads small files; `None`: the threads.
            workers: threads; 0: by the number of CPUs.
        """
        self._chunker, self._known, self._id_key, self._readers = chunker, known, id_key, readers
        self._pool = ThreadPoolExecutor(workers or min(8, (os.cpu_count() or 1) + 1), thread_name_prefix="ingest")
        self._sha = ThreadPoolExecutor(1, thread_name_prefix="sha256")
        self._md5 = ThreadPoolExecutor(1, thread_name_prefix="md5")

    def close(self) -> None:
        """Stop the threads; work that has not begun is dropped."""
        for pool in (self._pool, self._sha, self._md5):
            pool.shutdown(wait=True, cancel_futures=True)

    def read(self, files: Iterable[SourceFile]) -> Iterator[Read]:
        """Yield what is read, in the order of `files`."""
        under_way: deque[tuple[int, Future[list[Read]]]] = deque()
        size = 0
        for cost, future in self._submitted(files):
            under_way.append((cost, future))
            size += cost
            while under_way and (size > IN_FLIGHT or under_way[0][1].done()):
                cost, first = under_way.popleft()
                yield from first.result()
                size -= cost
        while under_way:
            yield from under_way.popleft()[1].result()

    def _submitted(self, files: Iterable[SourceFile]) -> Iterator[tuple[int, Future[list[Read]]]]:
        batch: list[SourceFile] = []
        batch_size = 0
        for file in files:
            if file.size > SMALL:
                if batch:
                    yield batch_size, self._pool.submit(self._small_files, batch)
                    batch, batch_size = [], 0
                yield from self._large_file(file)
                continue
            batch.append(file)
            batch_size += file.size + 4096
            if batch_size >= BATCH_BYTES or len(batch) >= BATCH_FILES:
                yield batch_size, self._pool.submit(self._small_files, batch)
                batch, batch_size = [], 0
        if batch:
            yield batch_size, self._pool.submit(self._small_files, batch)

    # small files

    def _small_files(self, files: list[SourceFile]) -> list[Read]:
        paths = [file.path for file in files]
        if self._readers is None:
            smalls = ingest_small(paths, self._chunker, self._id_key, self._known.find)
        else:
            smalls = self._readers.read(paths)
        return [
            Read(file, small.pieces, small.size, True, small.sha256, small.md5, small.identity, small.problem)
            for file, small in zip(files, smalls, strict=True)
        ]

    # large files

    def _large_file(self, file: SourceFile) -> Iterator[tuple[int, Future[list[Read]]]]:
        try:
            descriptor = reader.open_regular(file.path)
        except OSError as error:
            yield 0, _done([Read(file, [], 0, True, problem=why(error))])
            return
        try:
            before = identity(os.fstat(descriptor))
            sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
            broken = ""
            at = 0
            try:
                for start, end in data_runs(descriptor, before.size):
                    if start > at:
                        yield self._hole(file, at, start - at, sha256.update, md5.update)
                    for offset, window, cuts in self._windows(descriptor, start, end):
                        yield self._window(file, offset, window, cuts, sha256.update, md5.update)
                    at = end
            except OSError as error:
                broken = why(error)
            except _Shrunk:
                before = before._replace(size=-1)
            if before.size > at and not broken:
                yield self._hole(file, at, before.size - at, sha256.update, md5.update)
            after = identity(os.fstat(descriptor))
        finally:
            os.close(descriptor)
        digests = (self._sha.submit(sha256.digest), self._md5.submit(md5.digest))  # behind all updates

        def last() -> list[Read]:
            seen = after if after == before else None
            return [Read(file, [], 0, True, digests[0].result(), digests[1].result(), seen, broken)]

        yield 0, self._pool.submit(last)

    def _windows(self, descriptor: int, start: int, end: int) -> Iterator[tuple[int, bytearray, list[tuple[int, int]]]]:
        """Yield (offset, bytes, cuts) so that every window begins and ends at a cut, and all together cover the run."""
        rest = b""
        first = True
        while start < end:
            buffer = bytearray(min(WINDOW, end - start))
            buffer[: len(rest)] = rest
            filled = len(rest)
            view = memoryview(buffer)
            while filled < len(buffer):
                got = os.preadv(descriptor, [view[filled:]], start + filled)
                if not got:
                    raise _Shrunk
                filled += got
            cuts = list(self._chunker.cut(view, first=first, final=start + filled == end))
            used = cuts[-1][0] + cuts[-1][1] if cuts else 0
            rest = bytes(view[used:])
            view.release()
            del buffer[used:]
            yield start, buffer, cuts
            start += used
            first = False

    def _window(
        self, file: SourceFile, offset: int, window: bytearray, cuts: list[tuple[int, int]],
        sha256: Callable[[Buffer], None], md5: Callable[[Buffer], None],
    ) -> tuple[int, Future[list[Read]]]:  # fmt: skip
        hashed = (self._sha.submit(sha256, window), self._md5.submit(md5, window))

        def work() -> list[Read]:
            view = memoryview(window)
            chunks = [view[at : at + size] for at, size in cuts]
            digests = [chunk_digest(chunk, self._id_key) for chunk in chunks]
            rows = self._known.find(digests)
            pieces = [
                piece(offset + at, chunk, digest, row)
                for (at, _), chunk, digest, row in zip(cuts, chunks, digests, rows, strict=True)
            ]
            for future in hashed:  # bounds how far the slower digest may lag behind
                future.result()
            return [Read(file, pieces, len(window))]

        return len(window), self._pool.submit(work)

    def _hole(
        self, file: SourceFile, offset: int, size: int, sha256: Callable[[Buffer], None], md5: Callable[[Buffer], None]
    ) -> tuple[int, Future[list[Read]]]:
        hashed = (self._sha.submit(_feed_zeros, sha256, size), self._md5.submit(_feed_zeros, md5, size))

        def work() -> list[Read]:
            for future in hashed:
                future.result()
            return [Read(file, [Piece(offset, size, None, None, 0, b"")], size)]

        return 0, self._pool.submit(work)


class _Shrunk(Exception):
    """The file ended before its size."""


def data_runs(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of what lies between holes of at least HOLE_FROM; the whole file where holes can't be seen."""
    at = run = hole = 0
    while at < size:
        try:
            hole = os.lseek(descriptor, at, os.SEEK_HOLE)
            data = os.lseek(descriptor, hole, os.SEEK_DATA) if hole < size else size
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end, or it has shrunk below `at`
                hole, data = max(hole, at), size
            else:
                yield run, size
                return
        hole, data = min(hole, size), min(data, size)
        if data - hole >= HOLE_FROM:
            if hole > run:
                yield run, hole
            run = data
        at = max(data, at + 1)
    if run < size:
        yield run, size


def _feed_zeros(update: Callable[[Buffer], None], size: int) -> None:
    while size > 0:
        update(_ZEROS if size >= len(_ZEROS) else memoryview(_ZEROS)[:size])
        size -= len(_ZEROS)


def _done(reads: list[Read]) -> Future[list[Read]]:
    future: Future[list[Read]] = Future()
    future.set_result(reads)
    return future
