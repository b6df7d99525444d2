"""Reads chunks: from memory, else from their packs, each verified before anyone sees it.

Blocks of one pack that lie close together are fetched by one request; two callers who want one block share one
request; requests of one call go out side by side. Plain chunks are kept in a memory cache bounded in bytes. A disk
cache is not this module's matter: it is a wrapper of the object store (`store.objects.cached`).

Any thread; `warm` never blocks.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from store.cache import ByteCache
from store.codec import Undecodable, decode
from store.digest import Digest, chunk_digest
from store.errors import BlockCorrupt, StoreError
from store.layout import pack_key
from store.objects.base import Buffer, ObjectStore
from store.pack import Block

GAP: Final = 64 << 10  # bytes between two blocks that are read along rather than asked for apart
RANGE: Final = 4 << 20  # most bytes of one request
PARALLEL: Final = 16  # requests under way for one process

Forget = Callable[[str, int, int], None]


def decode_block(block: Block, stored: Buffer, source: str, id_key: bytes | None = None) -> bytes:
    """Return the plain bytes of a block.

    Args:
        block: what it must be; its sizes are bounded already.
        stored: the bytes as they were read.
        source: where from, for messages.
        id_key: the store's id key, where it is encrypted.

    Raises:
        BlockCorrupt: the bytes do not decode, or do not hash to the chunk's name.
    """
    if len(stored) != block.stored:
        raise BlockCorrupt(expected=block.digest, source=source, why=f"{len(stored)} of {block.stored} bytes")
    try:
        plain = bytes(decode(block.coding, stored, block.plain))
    except Undecodable as error:
        raise BlockCorrupt(expected=block.digest, source=source, why=str(error)) from error
    if chunk_digest(plain, id_key) != block.digest:
        raise BlockCorrupt(expected=block.digest, source=source, why="its content does not match its name")
    return plain


def runs(blocks: Iterable[Block], *, gap: int = GAP, limit: int = RANGE) -> list[list[Block]]:
    """Group blocks by pack into runs that one ranged request each can fetch, sorted by place.

    Args:
        blocks: in any order; repeated ones count once.
        gap: most bytes between two blocks of a run.
        limit: most bytes of a run of several blocks.
    """
    found: list[list[Block]] = []
    start = end = 0
    for block in sorted(set(blocks), key=lambda block: (block.pack, block.offset)):
        near = bool(found) and found[-1][-1].pack == block.pack and block.offset - end <= gap
        if near and block.offset + block.stored - start <= limit:
            found[-1].append(block)
            end = max(end, block.offset + block.stored)
            continue
        found.append([block])
        start, end = block.offset, block.offset + block.stored
    return found


def fetch_run(objects: ObjectStore, run: Sequence[Block], id_key: bytes | None = None) -> list[bytes]:
    """Fetch one run by one request and return its plain chunks, in order.

    Raises:
        BlockCorrupt, ObjectMissing, and what the object store raises.
    """
    key = pack_key(run[0].pack.hex())
    start = run[0].offset
    data = memoryview(objects.get(key, offset=start, size=max(b.offset + b.stored for b in run) - start))
    return [decode_block(b, data[b.offset - start : b.offset - start + b.stored], key, id_key) for b in run]


class BlockReader:
    """Chunks by block, through a memory cache."""

    def __init__(
        self, objects: ObjectStore, memory: int, *, id_key: bytes | None = None, forget: Forget | None = None
    ) -> None:
        """Start.

        Args:
            objects: where packs lie.
            memory: bytes of plain chunks to keep.
            id_key: the store's id key, where it is encrypted.
            forget: told (key, offset, size) of a run that came damaged, so that a cache below drops it and it is
                fetched once more.
        """
        self._objects, self._id_key, self._forget = objects, id_key, forget
        self.cache: ByteCache[Digest, bytes] = ByteCache(memory)
        self._flights: dict[Digest, Future[bytes]] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="fetch")

    def warm(self, digest: Digest) -> bytes | None:
        """Return a chunk that is in memory, or `None`."""
        return self.cache.get(digest)

    def load(self, blocks: Sequence[Block]) -> list[bytes]:
        """Return the chunks of `blocks`, in order.

        Raises:
            BlockCorrupt, ObjectMissing, and what the object store raises.
        """
        found = {block.digest: chunk for block in blocks if (chunk := self.cache.get(block.digest)) is not None}
        missing = [block for block in blocks if block.digest not in found]
        if missing:
            waiting, mine = self._claim(missing)
            self._fetch(mine)
            found.update((digest, flight.result()) for digest, flight in waiting.items())
        return [found[block.digest] for block in blocks]

    def _claim(self, missing: Sequence[Block]) -> tuple[dict[Digest, Future[bytes]], list[Block]]:
        """Return a flight for every missing block, and those that this caller has to fly itself."""
        waiting: dict[Digest, Future[bytes]] = {}
        mine: list[Block] = []
        with self._lock:
            for block in missing:
                if block.digest in waiting:
                    continue
                flight = self._flights.get(block.digest)
                chunk = self.cache.get(block.digest) if flight is None else None
                if chunk is not None:  # another caller's flight ended between the first look and this claim
                    flight = Future()
                    flight.set_result(chunk)
                elif flight is None:
                    flight = self._flights[block.digest] = Future()
                    mine.append(block)
                waiting[block.digest] = flight
        return waiting, mine

    def _fetch(self, mine: Sequence[Block]) -> None:
        if not mine:
            return
        first, *others = runs(mine)
        for run in others:
            self._pool.submit(self._fly, run)
        self._fly(first)

    def _fly(self, run: Sequence[Block]) -> None:
        try:
            chunks = self._verified(run)
        except BaseException as error:
            for block in run:
                self._land(block.digest).set_exception(error)
            if not isinstance(error, StoreError):
                raise
            return
        for block, chunk in zip(run, chunks, strict=True):
            self.cache.put(block.digest, chunk, len(chunk))
            self._land(block.digest).set_result(chunk)

    def _verified(self, run: Sequence[Block]) -> list[bytes]:
        try:
            return fetch_run(self._objects, run, self._id_key)
        except BlockCorrupt:
            if self._forget is None:
                raise
            end = max(block.offset + block.stored for block in run)
            self._forget(pack_key(run[0].pack.hex()), run[0].offset, end - run[0].offset)
            return fetch_run(self._objects, run, self._id_key)

    def _land(self, digest: Digest) -> Future[bytes]:
        with self._lock:
            return self._flights.pop(digest)

    def close(self) -> None:
        """Stop the threads; fetches that have begun end."""
        self._pool.shutdown(wait=False, cancel_futures=True)
