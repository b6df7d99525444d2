"""Fills the disk cache with a state, or what lies below a path of it, so that it is served without the store.

Goes the way that a gateway goes: the whole manifest and every chunk are read through the cache and verified. The
caller's thread hands out the chunks; the reader below has threads of its own. What is held is bounded by `STEP`.
"""

import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from store.blocks import BlockReader
from store.catalogue.catalogue import State
from store.errors import NotAFolder, PathMissing
from store.kinds import Kind
from store.layout import pack_key
from store.manifest.view import Manifest, Record
from store.objects.base import ObjectStore
from store.objects.cached import PIECE, CachedObjects
from store.objects.measure import Measuring
from store.objects.pieces import SLACK, PieceCache
from store.pack import Block
from store.repository import Repository
from store.root import StoreRoot, in_plain_through
from store.secret import Secret

STEP: Final = 16 << 20  # plain bytes read at a time
REMEMBERED: Final = 500_000  # chunks below a path that are not read twice, about 100 bytes each


@dataclass(slots=True)
class WarmCounters:
    """How far it is; read by whoever shows progress. Bytes are plain."""

    phase: str = "manifest"
    bytes_done: int = 0
    bytes_total: int = 0


@dataclass(frozen=True, slots=True)
class Warmed:
    """What was done."""

    chunks: int
    plain: int  # bytes of those chunks
    fetched: int  # bytes read from the store; the rest was there
    needed: int  # most bytes that the chunks' pieces take in the cache
    pieces: int
    kept: int  # pieces that are on disk now
    limit: int  # bytes that the cache may take for pieces

    @property
    def fits(self) -> bool:
        """Tell whether everything is on disk now."""
        return self.kept == self.pieces


def warm(
    objects: ObjectStore, root: StoreRoot, state: State, path: bytes, cache_dir: Path, limit: int,
    counters: WarmCounters | None = None, *, cache_key: Secret | None = None,
) -> Warmed:  # fmt: skip
    """Fill the cache.

    Args:
        objects: the store, as it lies; not closed.
        root: its record.
        state: what to read.
        path: of a folder or file in it; empty: all.
        cache_dir: the gateway's; each store has a folder of its own in it.
        limit: most bytes that folder may take.
        counters: updated as it goes.
        cache_key: the gateway's, which seals what the folder keeps of a plain store.

    Raises:
        PathMissing, NotAFolder: no such path.  ObjectMissing, ObjectCorrupt, BlockCorrupt: the state cannot be read.
        OSError: the folder cannot be used.  What the object store raises.
    """
    counters = counters or WarmCounters()
    measured = Measuring(objects)
    with ExitStack() as opened:
        try:
            pieces = PieceCache(
                cache_dir / root.store, limit, patient=True, key=cache_key if root.keys is None else None
            )
        except sqlite3.Error as error:
            raise OSError(f"the cache in {cache_dir} cannot be used: {error}") from error
        opened.callback(pieces.close)
        cached = CachedObjects(measured, pieces)
        through = in_plain_through(cached, root)
        plain, below = through.objects, through.below
        manifest = _read_manifest(plain, root, state)
        reader = BlockReader(plain, STEP, id_key=root.id_key, forget=through.forget)
        opened.callback(reader.close)
        counters.phase, counters.bytes_total = "chunks", 0 if path else state.content.size
        wanted: set[tuple[str, int]] = set()  # (object, number of the piece)
        chunks = 0
        for step in _steps(_below(manifest, path) if path else manifest.all_blocks()):
            reader.load(step)
            chunks += len(step)
            counters.bytes_done += sum(block.plain for block in step)
            for block in step:
                key, offset, size = below(pack_key(block.pack.hex()), block.offset, block.stored)
                wanted |= {(key, number) for number in range(offset // PIECE, (offset + size - 1) // PIECE + 1)}
                if root.keys is not None:
                    wanted.add((key, 0))  # with the header, without which nothing of a sealed object opens
        counters.phase = "writing"
        pieces.settle()
        # What was there before is the oldest, so it may have had to go for what came now: once more, as the newest.
        for key, number in sorted(wanted):
            if not cached.kept(key, number * PIECE, PIECE):
                cached.get(key, offset=number * PIECE, size=PIECE)
        _read_manifest(plain, root, state)
        pieces.settle()
        kept = sum(cached.kept(key, number * PIECE, PIECE) for key, number in wanted)
        fetched = measured.snapshot().bytes_in
        return Warmed(chunks, counters.bytes_done, fetched, len(wanted) * PIECE, len(wanted), kept, limit - SLACK)


def _read_manifest(objects: ObjectStore, root: StoreRoot, state: State) -> Manifest:
    """Open a state's manifest, with no page of it in memory, and read all of it."""
    manifest = Repository(objects, root).manifest(bytes.fromhex(state.manifest), bytes.fromhex(state.content.root))
    for kind in manifest.contents.sections:
        deque(manifest.pages(kind), maxlen=0)
    return manifest


def check_path(manifest: Manifest, path: bytes) -> tuple[int, Record]:
    """Find what lies at a path; empty parts of it mean nothing.

    Raises:
        PathMissing, NotAFolder.
    """
    number, record = 0, manifest.record(0)
    last = b""
    for name in filter(None, path.split(b"/")):
        if record.kind is not Kind.FOLDER:
            raise NotAFolder(last)
        found = manifest.find(number, record, name)
        if found is None:
            raise PathMissing(path)
        (number, record), last = found, name
    return number, record


def _below(manifest: Manifest, path: bytes) -> Iterator[Block]:
    """Yield the blocks of all files at or below a path, each once (of a large state: seldom twice)."""
    seen: set[bytes] = set()
    for record in _files(manifest, path):
        at = 0
        while at < record.size:
            for span in manifest.spans(record, at, STEP):
                at += span.size
                if span.block is not None and span.block.digest not in seen:
                    if len(seen) < REMEMBERED:
                        seen.add(span.block.digest)
                    yield span.block


def _files(manifest: Manifest, path: bytes) -> Iterator[Record]:
    number, record = check_path(manifest, path)
    if record.kind is not Kind.FOLDER:
        if record.kind is Kind.FILE:
            yield record
        return
    stack = [manifest.entries(number, record, 0, record.size)]
    while stack:
        found = next(stack[-1], None)
        if found is None:
            stack.pop()
            continue
        child, _, entry = found
        if entry.kind is Kind.FOLDER:
            stack.append(manifest.entries(child, entry, 0, entry.size))
        elif entry.kind is Kind.FILE:
            yield entry


def _steps(blocks: Iterator[Block]) -> Iterator[list[Block]]:
    step: list[Block] = []
    size = 0
    for block in blocks:
        step.append(block)
        size += block.plain
        if size >= STEP:
            yield step
            step, size = [], 0
    if step:
        yield step
