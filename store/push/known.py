"""Which chunks the store has already: asked for every chunk of a push before it is compressed.

Looked for in manifests of the same dataset first, then through the sparse hooks of the index, within a fixed budget
of requests and memory. A miss costs only space. Any thread: `find` may run side by side.
"""

import heapq
import itertools
import threading
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from store.digest import Digest, PackId
from store.errors import Corrupt, FeatureMissing, ObjectMissing
from store.index import INDEX, Segment, read_segment
from store.manifest.blocktable import BlockTable
from store.objects.base import ObjectStore
from store.pack import Block, read_footer

MAX_LISTED: Final = 10_000  # index segments looked at
MAX_SEGMENTS: Final = 128  # and read, the newest
MAX_HOOKS: Final = 1_000_000  # remembered, 12 bytes each (while they are sorted, some 60)
MAX_FOOTERS: Final = 512  # pack footers read in one push
MAX_BLOCKS: Final = 1_000_000  # blocks in the table, about 60 bytes each, from which on no others are learnt of
_PARALLEL: Final = 8


class KnownBlocks:
    """Chunks that need not be uploaded again."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self.table = BlockTable()  # also of what the push itself writes
        self._hooks: _Hooks | None = None  # not read before they are needed
        self._packs: set[PackId] = set()
        self._footers_left = MAX_FOOTERS
        self._lock = threading.Lock()

    def add(self, blocks: Iterable[Block]) -> None:
        """Remember blocks of other states and pushes, as far as there is room."""
        room = MAX_BLOCKS - len(self.table)
        for block in itertools.islice(blocks, max(0, room)):
            self.table.add(block)

    def resume(self, packs: Sequence[PackId]) -> None:
        """Remember all blocks of the packs that this very push wrote before it was interrupted."""

        def learn(pack: PackId) -> None:
            for block in self._footer(pack):
                self.table.add(block)

        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="resume") as pool:
            for _ in pool.map(learn, packs):
                pass

    def _footer(self, pack: PackId) -> list[Block]:
        """Read what one pack holds; nothing where it can't be read (any more)."""
        try:
            blocks = read_footer(self._objects, pack)
        except (ObjectMissing, Corrupt, FeatureMissing):
            blocks = []
        self._packs.add(pack)
        return blocks

    def find(self, digests: Sequence[Digest]) -> list[int | None]:
        """Look chunks up that lie together, following hooks among those that are unknown; return rows of the table."""
        find = self.table.find
        found = [find(digest) for digest in digests]
        if None not in found:
            return found
        self._follow(digest for digest, row in zip(digests, found, strict=True) if row is None)
        # Another thread may have read the packs that these lie in.
        return [find(digest) if row is None else row for digest, row in zip(digests, found, strict=True)]

    def _follow(self, missing: Iterable[Digest]) -> None:
        """Read the packs that hooks among `missing` lead to."""
        with self._lock:  # one thread reads the index, the others wait: they would ask for the same
            if self._hooks is None:
                self._hooks = self._read_index()
            packs = {pack for digest in missing for pack in self._hooks.packs(digest) if pack not in self._packs}
            wanted = list(packs)[: self._footers_left]
            self._footers_left -= len(wanted)
            for pack in wanted:
                self.add(self._footer(pack))

    def _read_index(self) -> "_Hooks":
        listed = itertools.islice(self._objects.list(INDEX), MAX_LISTED)
        newest = heapq.nlargest(MAX_SEGMENTS, listed, key=lambda info: info.modified_ns)
        packs: dict[PackId, int] = {}  # their rows
        hooks: list[int] = []
        if not newest:
            return _Hooks((), hooks)
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="index") as pool:
            for start in range(0, len(newest), _PARALLEL):  # a few at a time: what they hold is bounded by it
                for segment in pool.map(self._segment, [info.key for info in newest[start : start + _PARALLEL]]):
                    for hook, pack in itertools.islice(segment.hooks(), MAX_HOOKS - len(hooks)):
                        hooks.append(int.from_bytes(hook) << 32 | packs.setdefault(pack, len(packs)))
        return _Hooks([*packs], hooks)

    def _segment(self, key: str) -> Segment:
        try:
            return read_segment(self._objects, key)
        except (ObjectMissing, Corrupt, FeatureMissing):
            return Segment((), b"")  # best effort: another one may help


class _Hooks:
    """Hooks in columns, sorted."""

    def __init__(self, packs: Sequence[PackId], hooks: list[int]) -> None:
        """Take packs, and hooks as numbers: 8 bytes of a digest, then 4 of the row of its pack."""
        hooks.sort()
        self._packs = packs
        self._hooks = array("Q", (hook >> 32 for hook in hooks))
        self._rows = array("I", (hook & 0xFFFFFFFF for hook in hooks))

    def packs(self, digest: Digest) -> Iterator[PackId]:
        """Yield the packs that a chunk leads to if it is a hook."""
        hook = int.from_bytes(digest[:8])
        at = bisect_left(self._hooks, hook)
        while at < len(self._hooks) and self._hooks[at] == hook:
            yield self._packs[self._rows[at]]
            at += 1
