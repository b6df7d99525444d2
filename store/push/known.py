"""Which chunks the store has already: asked for every chunk of a push before it is compressed.

Looked for in manifests of the same dataset first, then through the sparse hooks of the index, within a fixed budget
of requests and memory. A miss costs only space. Any thread: `get` and `find` may run side by side.
"""

import heapq
import itertools
import threading
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from store.digest import Digest, PackId
from store.errors import Corrupt, FeatureMissing, ObjectMissing
from store.index import INDEX, Segment, read_segment
from store.objects.base import ObjectStore
from store.pack import Block, read_footer

MAX_LISTED: Final = 10_000  # index segments looked at
MAX_SEGMENTS: Final = 128  # and read, the newest
MAX_HOOKS: Final = 1_000_000  # remembered, about 200 bytes each
MAX_FOOTERS: Final = 512  # pack footers read in one push
MAX_BLOCKS: Final = 1_000_000  # blocks remembered, about 300 bytes each
_PARALLEL: Final = 8


class KnownBlocks:
    """Chunks that need not be uploaded again."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._blocks: dict[Digest, Block] = {}
        self._hooks: dict[bytes, list[PackId]] | None = None  # not read before they are needed
        self._packs: set[PackId] = set()
        self._doomed: set[PackId] = set()
        self._footers_left = MAX_FOOTERS
        self._lock = threading.Lock()

    def add(self, blocks: Iterable[Block]) -> None:
        """Remember blocks, as far as there is room."""
        room = MAX_BLOCKS - len(self._blocks)
        for block in itertools.islice(blocks, max(0, room)):
            if block.pack not in self._doomed:
                self._blocks.setdefault(block.digest, block)

    def forget(self, packs: Collection[PackId]) -> None:
        """Never again return a block of these packs: they are being deleted. Not while `find` may run."""
        self._doomed.update(packs)
        self._blocks = {digest: block for digest, block in self._blocks.items() if block.pack not in self._doomed}

    def add_pack(self, pack: PackId) -> bool:
        """Remember all blocks of one pack; false where it can't be read (any more)."""
        try:
            blocks = read_footer(self._objects, pack)
        except (ObjectMissing, Corrupt, FeatureMissing):
            blocks = []
        self._packs.add(pack)
        self.add(blocks)
        return bool(blocks)

    def get(self, digest: Digest) -> Block | None:
        """Look one chunk up in memory."""
        return self._blocks.get(digest)

    def find(self, digests: Sequence[Digest]) -> list[Block | None]:
        """Look chunks up that lie together, following hooks among those that are unknown."""
        blocks = self._blocks
        found = [blocks.get(digest) for digest in digests]
        if None not in found:
            return found
        missing = [digest for digest, block in zip(digests, found, strict=True) if block is None]
        self._follow(missing)
        return [blocks.get(digest) for digest in digests]  # another thread may have read the packs that these lie in

    def _follow(self, missing: Iterable[Digest]) -> None:
        """Read the packs that hooks among `missing` lead to."""
        with self._lock:  # one thread reads the index, the others wait: they would ask for the same
            if self._hooks is None:
                self._hooks = self._read_index()
            packs = {pack for digest in missing for pack in self._hooks.get(digest[:8], ()) if pack not in self._packs}
            wanted = list(packs)[: self._footers_left]
            self._footers_left -= len(wanted)
            for pack in wanted:
                self.add_pack(pack)

    def _read_index(self) -> dict[bytes, list[PackId]]:
        listed = itertools.islice(self._objects.list(INDEX), MAX_LISTED)
        newest = heapq.nlargest(MAX_SEGMENTS, listed, key=lambda info: info.modified_ns)
        hooks: dict[bytes, list[PackId]] = {}
        if not newest:
            return hooks
        left = MAX_HOOKS
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="index") as pool:
            for start in range(0, len(newest), _PARALLEL):  # a few at a time: what they hold is bounded by it
                for segment in pool.map(self._segment, [info.key for info in newest[start : start + _PARALLEL]]):
                    for hook, pack in itertools.islice(segment.hooks(), left):
                        hooks.setdefault(hook, []).append(pack)
                        left -= 1
        return hooks

    def _segment(self, key: str) -> Segment:
        try:
            return read_segment(self._objects, key)
        except (ObjectMissing, Corrupt, FeatureMissing):
            return Segment((), b"")  # best effort: another one may help
