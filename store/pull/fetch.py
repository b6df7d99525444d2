"""Fetches missing blocks from their packs: few ranged requests, many at a time, each block verified.

A request's blocks are decoded and written one by one, so that what is held is bounded by the stored bytes of the
requests under way (`PARALLEL` times 2 MiB) and one chunk each. The caller's thread only hands out work and counts.

Requests wait side by side, but only as many threads decode and write as there are CPUs, and one where blocks are small:
each small file is a handful of short system calls, and more threads spend more on passing the interpreter's lock to one
another than on the work (measured on two CPUs: twice the CPU for 20,000 files, half as much time again for one of 347
MB). Where there are many small files, other processes make them (`store.pull.workers`).
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from store.blocks import decode_block, runs
from store.layout import pack_key
from store.objects.base import ObjectStore
from store.pack import Block
from store.pull.places import LastFile, Places
from store.pull.worker import Job
from store.pull.workers import Workers

PARALLEL: Final = 16
_AHEAD: Final = PARALLEL + 4  # requests handed out, done or not
_WRITERS: Final = 4  # runs decoded and written at a time, at most
_SMALL: Final = 32 << 10  # plain bytes; runs whose blocks have less on average are small
_LEAST: Final = 128 << 10  # bytes of a request; less is asked for only where there is no more
_MOST: Final = 2 << 20  # bytes of a request; more would be lost when a pull is killed, and leave connections idle

_BLOCKS: Final = 2048  # of a request: what is known of each takes some hundred bytes

OnRun = Callable[[int, int], None]


class Fetcher:
    """Requests under way. Use as a context: what has begun when it ends is waited for, the rest is dropped."""

    def __init__(
        self, objects: ObjectStore, on_run: OnRun, size: int, workers: Workers | None = None,
        id_key: bytes | None = None,
    ) -> None:  # fmt: skip
        """Begin with none.

        Args:
            objects: the store.
            on_run: told after each request, in the caller's thread: stored bytes of its blocks, plain bytes written.
            size: bytes that may be missing in all. Where it is little, so are requests: all connections have some from
                the first moment on, and what is under way when a pull is killed is not most of it.
            workers: make small files; `None`: this process does.
            id_key: the store's id key, where it is encrypted.
        """
        self._objects, self._on_run, self._workers, self._id_key = objects, on_run, workers, id_key
        self._limit = max(_LEAST, min(size // (4 * PARALLEL), _MOST))
        self._small, self._large = threading.Lock(), threading.Semaphore(min(_WRITERS, os.cpu_count() or 1))
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="pull")
        self._under_way: deque[Future[tuple[int, int]]] = deque()

    def __enter__(self) -> "Fetcher":
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def begin(self, places: Places) -> None:
        """Ask for every missing block; each is written as it comes, after this returned perhaps.

        Raises:
            BlockCorrupt, ObjectMissing, what the object store raises, of this or an earlier call; OSError where it
            cannot be written. What was written stays.
        """
        for run in runs(places.blocks(), limit=self._limit):
            for first in range(0, len(run), _BLOCKS):
                self._under_way.append(self._pool.submit(self._one, places, run[first : first + _BLOCKS]))
                if len(self._under_way) >= _AHEAD:
                    self._on_run(*self._under_way.popleft().result())

    def finish(self) -> None:
        """Wait until all that was asked for is written; errors as `begin` has them."""
        while self._under_way:
            self._on_run(*self._under_way.popleft().result())

    def _one(self, places: Places, run: Sequence[Block]) -> tuple[int, int]:
        key = pack_key(run[0].pack.hex())
        start = run[0].offset
        data = self._objects.get(key, offset=start, size=max(b.offset + b.stored for b in run) - start)
        small = sum(block.plain for block in run) < len(run) * _SMALL
        if small and self._workers is not None:
            job = Job(
                key, start, [tuple(block) for block in run], [places.where(block.digest) for block in run], self._id_key
            )
            made = self._workers.do(job, data)
            plain = sum(places.filled(block.digest, one) for block, one in zip(run, made, strict=True))
        else:
            plain = 0
            view = memoryview(data)
            with self._small if small else self._large, LastFile() as last:
                for block in run:
                    stored = view[block.offset - start : block.offset - start + block.stored]
                    plain += places.fill(block.digest, decode_block(block, stored, key, self._id_key), last)
        return sum(block.stored for block in run), plain
