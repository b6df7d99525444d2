"""Collects blocks into packs and writes them beside the reading of files, a few at a time.

`add` belongs to one thread; the writing is done by a pool, and `add` waits while `PENDING` packs are being written.
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

PENDING: Final = 4  # packs being written at a time, so at most about 2 x 4 x 16 MiB are held


class Uploader:
    """Collects blocks into packs and writes them."""

    def __init__(
        self, objects: ObjectStore | None, journal: Journal, *, on_pack: Callable[[int], None] = lambda size: None
    ) -> None:
        """Start.

        Args:
            objects: where packs go; `None` only counts (a dry run).
            journal: told of each pack that the store has confirmed.
            on_pack: told the size of each pack that the store has confirmed.
        """
        self._objects, self._journal, self._on_pack = objects, journal, on_pack
        self._builder = PackBuilder()
        self._blocks: list[Block] = []
        self._pool = ThreadPoolExecutor(PENDING, thread_name_prefix="upload")
        self._room = threading.Semaphore(PENDING)
        self._writing: list[Future[None]] = []
        self.packs: list[tuple[PackId, list[bytes]]] = []  # with their hooks, in order

    def add(self, digest: Digest, coding: int, stored: Buffer, plain: int) -> Block:
        """Append a block and return where it will lie. Raises what writing an earlier pack raised."""
        block = self._builder.add(digest, coding, stored, plain)
        self._blocks.append(block)
        if self._builder.full:
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

    def _flush(self) -> None:
        for future in self._writing:
            if future.done():
                future.result()
        self._writing = [future for future in self._writing if not future.done()]
        builder, self._builder = self._builder, PackBuilder()
        self.packs.append((builder.id, hooks_of(self._blocks)))
        self._blocks = []
        self._room.acquire()
        self._writing.append(self._pool.submit(self._write, builder))

    def _write(self, builder: PackBuilder) -> None:
        try:
            data = builder.finish()
            if self._objects is not None:
                self._objects.put(pack_key(builder.id.hex()), data)
                self._journal.pack(builder.id)
            self._on_pack(len(data))
        finally:
            self._room.release()
