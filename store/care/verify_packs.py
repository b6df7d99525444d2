"""The lower part of a check: packs. Each is asked for its footer once; a deep check reads and decodes every block.

What footers list is remembered as 8 bytes a block in a cache bounded in bytes; a footer that fell out of it is read
again. Any thread. docs/format.md, Packs.
"""

import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Final

from store.blocks import decode_block, extent, runs
from store.cache import ByteCache
from store.care.findings import Findings
from store.digest import Digest, PackId
from store.errors import BlockCorrupt, Corrupt, FeatureMissing, ObjectCorrupt, ObjectMissing
from store.frame import HEADER, PACK_MAGIC, check_header, header
from store.layout import pack_key
from store.objects.base import ObjectStore
from store.pack import Block, read_footer

FOOTERS: Final = 128 << 20  # bytes of remembered footers: some 16 million blocks


class Packs:
    """Checks packs, and blocks against them."""

    def __init__(
        self, objects: ObjectStore, findings: Findings, *, deep: bool, on_bytes: Callable[[int], None],
        id_key: bytes | None = None,
    ) -> None:  # fmt: skip
        """Start.

        Args:
            objects: the store.
            findings: told of every fault.
            deep: read and decode every block.
            on_bytes: told of bytes that were checked.
            id_key: the store's id key, where it is encrypted.
        """
        self._objects, self._findings, self._deep, self._on_bytes = objects, findings, deep, on_bytes
        self._id_key = id_key
        self._listed: ByteCache[PackId, array[int]] = ByteCache(FOOTERS)
        self._unusable: set[PackId] = set()  # the object or its footer
        self._bad_blocks: dict[PackId, set[Digest]] = {}
        self._lock = threading.Lock()

    @property
    def faulty(self) -> bool:
        """Tell whether any pack has a fault."""
        return bool(self._unusable or self._bad_blocks)

    def check(self, pack: PackId, *, needed: bool = True) -> None:
        """Check one pack; one that is not `needed` was listed, and may be gone since."""
        key = pack_key(pack.hex())
        blocks = self._read(pack, needed=needed)
        if blocks is None or not self._deep:
            return
        try:
            head = self._objects.get(key, size=HEADER.size)
            hold_header(head, PACK_MAGIC, key)
        except (ObjectMissing, Corrupt, FeatureMissing) as error:
            self._findings.add(key, reason(error), missing=isinstance(error, ObjectMissing))
            self._add_unusable(pack)
        for run in runs(blocks, gap=0):
            self._check_run(pack, key, run)

    def lists(self, block: Block) -> bool:
        """Tell whether a block's pack lists it at its place; true where the pack has a fault of its own."""
        if block.pack in self._unusable:
            return True
        listed = self._listed.get(block.pack)
        if listed is None:
            blocks = self._read(block.pack)
            if blocks is None:
                return True
            listed = _marks(blocks)
        mark = _mark(block)
        at = bisect_left(listed, mark)
        return at < len(listed) and listed[at] == mark

    def misplaced(self, block: Block) -> None:
        """Note a block that its pack does not list where a manifest says."""
        self._add_block(block)

    def fault_of(self, block: Block) -> bool:
        """Tell whether a block, or its whole pack, is known to have a fault."""
        return block.pack in self._unusable or block.digest in self._bad_blocks.get(block.pack, ())

    def _read(self, pack: PackId, *, needed: bool = True) -> list[Block] | None:
        key = pack_key(pack.hex())
        try:
            blocks = read_footer(self._objects, pack)
        except (ObjectMissing, Corrupt, FeatureMissing) as error:
            missing = isinstance(error, ObjectMissing)
            if needed or not missing:
                self._findings.add(key, reason(error), missing=missing)
                self._add_unusable(pack)
            return None
        marks = _marks(blocks)
        self._listed.put(pack, marks, 8 * len(marks))
        return blocks

    def _check_run(self, pack: PackId, key: str, run: list[Block]) -> None:
        start, end = extent(run)
        try:
            data = memoryview(self._objects.get(key, offset=start, size=end - start))
        except ObjectMissing as error:
            self._findings.add(key, reason(error), missing=True)
            self._add_unusable(pack)
            return
        except ObjectCorrupt as error:  # of an encrypted store: nothing that touches a damaged segment is handed out
            if len(run) > 1:
                for block in run:
                    self._check_run(pack, key, [block])
            else:
                self._findings.add(key, f"block {run[0].digest.hex()[:12]} at {start}: {error.why}")
                self._add_block(run[0])
            return
        for block in run:
            at = block.offset - start
            try:
                decode_block(block, data[at : at + block.stored], key, self._id_key)
            except BlockCorrupt as error:
                self._findings.add(key, f"block {error.expected.hex()[:12]} at {block.offset}: {error.why}")
                self._add_block(block)
        self._on_bytes(end - start)

    def _add_unusable(self, pack: PackId) -> None:
        with self._lock:
            self._unusable.add(pack)

    def _add_block(self, block: Block) -> None:
        with self._lock:
            self._bad_blocks.setdefault(block.pack, set()).add(block.digest)


def hold_header(head: bytes, magic: bytes, key: str) -> None:
    """Hold an object's first bytes against the only ones that writers write.

    Raises:
        ObjectCorrupt, FeatureMissing: they are others.
    """
    if len(head) < HEADER.size:
        raise ObjectCorrupt(key, f"it ends after {len(head)} bytes")
    check_header(head, magic, key)
    if head != header(magic):
        raise ObjectCorrupt(key, "its header holds what no writer puts there")


def reason(error: ObjectMissing | Corrupt | FeatureMissing) -> str:
    """Say what is wrong with an object, without naming it again."""
    if isinstance(error, ObjectMissing):
        return "it is not there"
    if isinstance(error, FeatureMissing):
        return f"damaged, or written by a later version: it needs {', '.join(error.features)}"
    return error.why if isinstance(error, ObjectCorrupt) else str(error)


def _mark(block: Block) -> int:
    return hash((block.digest, block.offset, block.stored, block.plain, block.coding))


def _marks(blocks: Iterable[Block]) -> "array[int]":
    return array("q", sorted(map(_mark, blocks)))
