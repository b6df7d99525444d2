"""Reads chunks: from memory, else from their packs, each verified before anyone sees it.

Blocks of one pack that lie close together are fetched by one request; two callers who want one block share one
request; requests of one call go out side by side. Plain chunks are kept in a memory cache bounded in bytes. A disk
cache is not this module's matter: it is a wrapper of the object store (`store.objects.cached`).

Any thread; `warm` and `near` never wait.
"""

import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from store.cache import ByteCache
from store.codec import Undecodable, decode
from store.digest import Digest, chunk_digest
from store.errors import BlockCorrupt, Corrupt, ObjectCorrupt, StoreError, StoreUnavailable
from store.layout import pack_key
from store.objects.base import AtHand, Buffer, ObjectStore
from store.pack import Block

GAP: Final = 64 << 10  # bytes between two blocks that are read along rather than asked for apart
RANGE: Final = 4 << 20  # most bytes of one request
PARALLEL: Final = 16  # requests under way for one process

Forget = Callable[[str, int, int], None]
Flight = Future[dict[Block, bytes | StoreError]]  # of the blocks of one run


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


class BlockReader:
    """Chunks by block, through a memory cache."""

    def __init__(
        self, objects: ObjectStore, memory: int, *, id_key: bytes | None = None, forget: Forget | None = None,
        at_hand: AtHand | None = None,
    ) -> None:  # fmt: skip
        """Start.

        Args:
            objects: where packs lie.
            memory: bytes of plain chunks to keep.
            id_key: the store's id key, where it is encrypted.
            forget: told (key, offset, size) of a run that came damaged, so that a cache below drops it and it is
                fetched once more.
            at_hand: returns the range (key, offset, size) of a pack if a cache has it without waiting.
        """
        self._objects, self._id_key, self._forget = objects, id_key, forget
        self._at_hand = at_hand
        self.cache: ByteCache[Digest, bytes] = ByteCache(memory)
        self.warm = self.cache.get  # a chunk that is in memory, or `None`
        self._flights: dict[Block, Flight] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="fetch")

    def near(self, block: Block) -> bytes | None:
        """Return a chunk that a cache on this machine has and that takes no waiting, but only the work of decoding it.

        What somebody is at already, or is damaged, is `None`: `load` waits for it, and deals with it.
        """
        if self._at_hand is None or block in self._flights:
            return None
        key = pack_key(block.pack.hex())
        stored = self._at_hand(key, block.offset, block.stored)
        if stored is None:
            return None
        try:
            chunk = decode_block(block, stored, key, self._id_key)
        except BlockCorrupt:
            return None
        self.cache.put(block.digest, chunk, len(chunk))
        return chunk

    def load(self, blocks: Sequence[Block]) -> list[bytes]:
        """Return the chunks of `blocks`, in order.

        Raises:
            BlockCorrupt, ObjectMissing, and what the object store raises.
        """
        known = self.cache.get
        found = {block.digest: chunk for block in blocks if (chunk := known(block.digest)) is not None}
        missing = [block for block in blocks if block.digest not in found]
        if missing:
            waiting, mine = self._claim(missing, found)
            self._fetch(mine)
            for block, flight in waiting.items():
                landed = flight.result()[block]
                if isinstance(landed, StoreError):
                    raise landed
                found[block.digest] = landed
        chunks = [found[block.digest] for block in blocks]
        for block, chunk in zip(blocks, chunks, strict=True):
            if len(chunk) != block.plain:  # it was in memory already, and this block claims another length for it
                why = f"it claims {block.plain} bytes of a chunk of {len(chunk)}"
                raise BlockCorrupt(expected=block.digest, source=pack_key(block.pack.hex()), why=why)
        return chunks

    def _claim(
        self, missing: Sequence[Block], found: dict[Digest, bytes]
    ) -> tuple[dict[Block, Flight], list[list[Block]]]:
        """Return the flight of every missing block, and the runs that this caller has to fly itself.

        What has landed since it was looked for goes to `found`. A block's place is part of it: who knows a chunk at a
        good place never shares the failure of another.
        """
        waiting: dict[Block, Flight] = {}
        unknown: list[Block] = []
        with self._lock:
            for block in missing:
                flight = self._flights.get(block)
                if flight is not None:
                    waiting[block] = flight
                elif (chunk := self.cache.get(block.digest)) is not None:
                    found[block.digest] = chunk
                else:
                    unknown.append(block)
            mine = runs(unknown)
            for run in mine:
                flight = Future()
                for block in run:
                    waiting[block] = self._flights[block] = flight
        return waiting, mine

    def _fetch(self, mine: Sequence[Sequence[Block]]) -> None:
        if not mine:
            return
        first, *others = mine
        for run in others:
            try:
                job = self._pool.submit(self._fly, run)
            except RuntimeError:  # closed meanwhile: nobody may be left waiting
                self._fly(run)
            else:
                job.add_done_callback(functools.partial(self._dropped, run))
        self._fly(first)

    def _dropped(self, run: Sequence[Block], job: Future[None]) -> None:
        if job.cancelled():
            self._land(run, dict.fromkeys(run, StoreUnavailable(self._objects.address, "it was closed")))

    def _fly(self, run: Sequence[Block]) -> None:
        """Fetch one run and end its flight."""
        landed: dict[Block, bytes | StoreError] = {}
        left: dict[Block, Corrupt | None] = dict.fromkeys(run)
        try:
            self._read(run, left, landed)
            if left and self._forget is not None:
                start, end = extent(left)
                self._forget(pack_key(run[0].pack.hex()), start, end - start)
                self._read(list(left), left, landed)
        except StoreError as error:
            landed.update(dict.fromkeys(left, error))
        except BaseException as error:
            self._land(run, error)
            raise
        else:
            landed.update((block, damage) for block, damage in left.items() if damage is not None)
        self._land(run, landed)

    def _read(
        self, run: Sequence[Block], left: dict[Block, Corrupt | None], landed: dict[Block, bytes | StoreError]
    ) -> None:
        """Ask for one run; move to `landed` what arrived well, and note in `left` what did not."""
        key = pack_key(run[0].pack.hex())
        start, end = extent(run)
        try:
            data = memoryview(self._objects.get(key, offset=start, size=end - start))
        except ObjectCorrupt as error:  # of an encrypted store: one damaged segment spoils the run, but not each block
            left.update(dict.fromkeys(run, error))
            for block in run if len(run) > 1 else ():
                self._read([block], left, landed)
            return
        for block in run:
            at = block.offset - start
            try:
                chunk = decode_block(block, data[at : at + block.stored], key, self._id_key)
            except BlockCorrupt as error:
                left[block] = error
                continue
            del left[block]
            self.cache.put(block.digest, chunk, len(chunk))
            landed[block] = chunk

    def _land(self, run: Sequence[Block], landed: dict[Block, bytes | StoreError] | BaseException) -> None:
        with self._lock:
            for block in run:
                flight = self._flights.pop(block)
        if isinstance(landed, BaseException):
            flight.set_exception(landed)
        else:
            flight.set_result(landed)

    def close(self) -> None:
        """Stop the threads; fetches that have begun end, and who waits for others is told."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def extent(run: Iterable[Block]) -> tuple[int, int]:
    """Return the first byte of a run of blocks of one pack, and the one behind its last."""
    blocks = list(run)
    return min(block.offset for block in blocks), max(block.offset + block.stored for block in blocks)
