"""Collects blocks into packs and writes them beside the reading of files, over several connections.

What counts on a line with latency is that all connections have something to carry, from as early as possible to the
end. So packs are small, and smaller still where all that is to be stored, as far as that can be foretold, would not
make one for each connection.

`add` belongs to one thread; the writing is done by a pool. `add` waits while `HELD` bytes of packs are being written.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from store.digest import Digest, PackId
from store.index import hooks_of
from store.layout import pack_key
from store.objects.base import Buffer, ObjectStore
from store.pack import Block, PackBuilder
from store.push.journal import Journal

CONNECTIONS: Final = 12  # packs being written at a time
LARGEST: Final = 8 << 20  # bytes at which a pack is closed; why no more: docs/decisions/0007-pack-size.md
SMALLEST: Final = 4 << 20  # the least of it, in a push so small that there would not be a pack for each connection
HELD: Final = CONNECTIONS * (LARGEST + (1 << 20))  # bytes being written at a time: room for a pack on each connection


class Uploader:
    """Collects blocks into packs and writes them."""

    def __init__(
        self,
        objects: ObjectStore | None,
        journal: Journal,
        *,
        on_pack: Callable[[int], None] = lambda size: None,
        ahead: Callable[[int], int] = lambda stored: 0,
    ) -> None:
        """Start.

        Args:
            objects: where packs go; `None` only counts (a dry run).
            journal: told of each pack that the store has confirmed.
            on_pack: told the size of each pack that the store has confirmed.
            ahead: told how many bytes of packs there are so far, says how many are about to follow.
        """
        self._objects, self._journal, self._on_pack, self._ahead = objects, journal, on_pack, ahead
        self._builder = PackBuilder()
        self._aim = 0  # bytes at which it is closed; 0: not decided yet
        self._blocks: list[Block] = []
        self._pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="upload")
        self._room = threading.Condition()
        self._held = self._stored = 0  # bytes of packs being written, and of all that were closed
        self._writing: list[Future[None]] = []
        self.packs: list[tuple[PackId, list[bytes]]] = []  # with their hooks, in order

    def add(self, digest: Digest, coding: int, stored: Buffer, plain: int) -> Block:
        """Append a block and return where it will lie. Raises what writing an earlier pack raised."""
        if not self._aim:
            self._aim = self._decide()
        block = self._builder.add(digest, coding, stored, plain)
        self._blocks.append(block)
        if self._builder.full(self._aim):
            self._flush()
        return block

    def finish(self) -> None:
        """Write what is left and wait until the store has confirmed everything."""
        if self._builder.blocks:
            self._flush()
        for future in self._writing:
            future.result()
        self._pool.shutdown()

    def close(self) -> None:
        """Let go of the threads; packs not begun are not written."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _decide(self) -> int:
        """Return how large the pack that begins is to be."""
        share = (self._stored + self._ahead(self._stored)) // CONNECTIONS
        return max(SMALLEST, min(LARGEST, share))

    def _flush(self) -> None:
        for future in self._writing:
            if future.done():
                future.result()
        self._writing = [future for future in self._writing if not future.done()]
        builder, self._builder, self._aim = self._builder, PackBuilder(), 0
        self.packs.append((builder.id, hooks_of(self._blocks)))
        self._blocks = []
        size = builder.size
        self._stored += size
        with self._room:
            self._room.wait_for(lambda: not self._held or self._held + size <= HELD)
            self._held += size
        self._writing.append(self._pool.submit(self._write, builder, size))

    def _write(self, builder: PackBuilder, size: int) -> None:
        try:
            data = builder.finish()
            if self._objects is not None:
                self._objects.put(pack_key(builder.id.hex()), data)
                self._journal.pack(builder.id)
            self._on_pack(len(data))
        finally:
            with self._room:
                self._held -= size
                self._room.notify()
