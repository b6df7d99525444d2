"""Reads small files whole: bytes -> digests and blocks. In a thread of a push, or in a process that serves one.

As a process it is started by `store.push.readers` with a socket as its standard input. It answers each list of paths
with what it read, and ends when the socket does. One thread.
"""

import gc
import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Final, NamedTuple

from store.chunker import Chunker
from store.codec import encode
from store.digest import Digest, chunk_digest
from store.objects.base import Buffer
from store.push.source import Identity, identity, why
from store.root import ChunkerSettings

SMALL: Final = 1 << 20  # files up to this size are small
HOLE_FROM: Final = 256 << 10  # shorter holes, and shorter runs of zeros, are ordinary bytes

_SOCKET: Final = 0
_ZEROS: Final = bytes(1 << 20)

Find = Callable[[Sequence[Digest]], list[int | None]]  # digests -> rows of the blocks that the store has already


class Piece(NamedTuple):
    """One run of a file: a chunk, or a hole."""

    offset: int
    size: int
    digest: Digest | None  # None: a hole
    row: int | None  # of the block that the store has already, in the table of known blocks
    coding: int
    stored: Buffer  # the block to be stored, perhaps a view of all that was read; empty where it is known or a hole


class Small(NamedTuple):
    """A file, read whole."""

    pieces: list[Piece]
    size: int
    sha256: bytes
    md5: bytes
    identity: Identity | None  # None: it changed meanwhile
    problem: str  # why it can't be read


class Settings(NamedTuple):
    """What a process is told first."""

    chunker: ChunkerSettings
    id_key: bytes | None


def ingest_small(paths: Sequence[bytes], chunker: Chunker, id_key: bytes | None, find: Find) -> list[Small]:
    """Read files, one after another.

    Args:
        paths: of files that were small when they were looked at.
        chunker: cuts them.
        id_key: the store's id key, where it is encrypted.
        find: asked once, for the chunks of all: what is known is not compressed.
    """
    wholes = [_whole(path) for path in paths]
    cuts = [_cut(chunker, data) for data, _, _ in wholes]
    digests = [chunk_digest(view, id_key) for cut in cuts for _, view in cut]
    rows = iter(zip(digests, find(digests), strict=True))
    found = []
    for (data, seen, problem), cut in zip(wholes, cuts, strict=True):
        pieces = [piece(offset, view, *next(rows)) for offset, view in cut]
        sha256 = hashlib.sha256(data).digest()
        md5 = hashlib.md5(data, usedforsecurity=False).digest()
        found.append(Small(pieces, len(data), sha256, md5, seen, problem))
    return found


def piece(offset: int, data: memoryview, digest: Digest, row: int | None) -> Piece:
    """Make a chunk into what is stored of it: nothing, where it is all zeros or known."""
    if len(data) >= HOLE_FROM and not data[0] and _all_zero(data):
        return Piece(offset, len(data), None, None, 0, b"")
    if row is not None:
        return Piece(offset, len(data), digest, row, 0, b"")
    return Piece(offset, len(data), digest, None, *encode(data))


def open_regular(path: bytes) -> int:
    """Open a file for reading, if it is (still) a regular one.

    Raises:
        OSError: it can't be opened, or is none.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is no regular file any more")
    return descriptor


def _whole(path: bytes) -> tuple[bytes, Identity | None, str]:
    """Read a small file: its bytes, its identity (None: it changed meanwhile), or why it can't be read."""
    try:
        descriptor = open_regular(path)
    except OSError as error:
        return b"", None, why(error)
    try:
        before = identity(os.fstat(descriptor))
        if before.size > 4 * SMALL:
            return b"", None, ""  # it grew a lot: read anew, as a large one
        parts = []
        size = 0
        while size <= before.size and (part := os.pread(descriptor, before.size + 1 - size, size)):
            parts.append(part)
            size += len(part)
        after = identity(os.fstat(descriptor))
    except OSError as error:
        return b"", None, why(error)
    finally:
        os.close(descriptor)
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    return data, (after if before == after and len(data) == after.size else None), ""


def _cut(chunker: Chunker, data: bytes) -> list[tuple[int, memoryview]]:
    view = memoryview(data)
    return [(at, view[at : at + size]) for at, size in chunker.cut(view, first=True, final=True)]


def _all_zero(data: memoryview) -> bool:
    return all(
        data[at : at + len(_ZEROS)] == _ZEROS[: min(len(_ZEROS), len(data) - at)]
        for at in range(0, len(data), len(_ZEROS))
    )


def _unknown(digests: Sequence[Digest]) -> list[int | None]:
    return [None] * len(digests)


def _sendable(small: Small) -> Small:
    return small._replace(pieces=[one._replace(stored=bytes(one.stored)) for one in small.pieces])


def main() -> None:
    """Read what is asked for until nothing more is."""
    gc.disable()  # what a job makes holds no cycles, and looking for them takes a tenth of the time
    line = Connection(_SOCKET)
    try:
        settings: Settings = line.recv()
        chunker = Chunker(settings.chunker)
        while True:
            paths: list[bytes] = line.recv()
            line.send([_sendable(small) for small in ingest_small(paths, chunker, settings.id_key, _unknown)])
    except (EOFError, OSError):
        return
