"""Index segments: sparse hooks that lead from a chunk's digest to a pack that may hold it (docs/format.md, Index).

Derived data, best effort, never needed for correctness. A push that wrote packs writes one segment; its table holds

    u32 number of packs, u32 number of hooks
    packs, 16 bytes each: id
    hooks, 12 bytes each: first 8 bytes of a chunk's digest, u32 row of its pack

A chunk is a hook when the first byte of its digest is below 8 (1 in 32, so that the few megabytes that a push looks up
together nearly always hold one); every pack has one at least: its smallest digest. Chunks that are alike lie
together, so one hook that is met again leads to the footer of a pack that holds most of its neighbours.
"""

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from store.digest import PACK_ID_SIZE, PackId
from store.errors import ObjectCorrupt
from store.frame import INDEX_MAGIC, header, read_table, table_and_trailer
from store.layout import index_key, name_prefix
from store.objects.base import Buffer, ObjectStore
from store.pack import Block

INDEX: Final = "index/"
HEAD: Final = struct.Struct("<II")
HOOK: Final = struct.Struct("<8sI")
MAX_SEGMENT: Final = 16 << 20  # plain bytes of its table; a push with more to say writes several
HOOKED: Final = 8  # first bytes below this make a hook


class Segment(NamedTuple):
    """One push's hooks."""

    packs: Sequence[PackId]
    rows: Buffer  # of hooks, as they stand in the segment

    def hooks(self) -> Iterator[tuple[bytes, PackId]]:
        """Yield (first 8 bytes of a digest, pack)."""
        for hook, row in HOOK.iter_unpack(self.rows):
            yield hook, self.packs[row]


def hooks_of(blocks: Iterable[Block]) -> list[bytes]:
    """Return the hooks of one pack's blocks: those below `HOOKED`, and the smallest."""
    digests = [block.digest for block in blocks]
    return sorted({digest[:8] for digest in digests if digest[0] < HOOKED} | {min(digests)[:8]}) if digests else []


def write_segment(objects: ObjectStore, dataset: str, packs: Sequence[tuple[PackId, Sequence[bytes]]]) -> None:
    """Write what one push has to say, as one segment, or several where it would outgrow one.

    Args:
        objects: the store.
        dataset: whose blocks these are.
        packs: each pack's id with its hooks.
    """
    start, size = 0, HEAD.size
    for end, (_, hooks) in enumerate(packs):
        more = PACK_ID_SIZE + len(hooks) * HOOK.size
        if size + more > MAX_SEGMENT:
            _write(objects, dataset, packs[start:end])
            start, size = end, HEAD.size
        size += more
    _write(objects, dataset, packs[start:])


def _write(objects: ObjectStore, dataset: str, packs: Sequence[tuple[PackId, Sequence[bytes]]]) -> None:
    hooks = [HOOK.pack(hook, row) for row, (_, found) in enumerate(packs) for hook in found]
    plain = b"".join((HEAD.pack(len(packs), len(hooks)), *(pack for pack, _ in packs), *hooks))
    head = header(INDEX_MAGIC)
    end, _ = table_and_trailer(plain, at=len(head), magic=INDEX_MAGIC)
    objects.put(index_key(name_prefix(dataset), os.urandom(16).hex()), head + end)


def read_segment(objects: ObjectStore, key: str) -> Segment:
    """Read one segment.

    Raises:
        ObjectMissing, ObjectCorrupt, and what the object store raises.
    """
    plain = memoryview(read_table(objects, key, INDEX_MAGIC, limit=MAX_SEGMENT).plain)
    if len(plain) < HEAD.size:
        raise ObjectCorrupt(key, "it is empty")
    n_packs, n_hooks = HEAD.unpack_from(plain)
    hooks_at = HEAD.size + n_packs * PACK_ID_SIZE
    if hooks_at + n_hooks * HOOK.size != len(plain):
        raise ObjectCorrupt(key, f"it claims {n_packs} packs and {n_hooks} hooks in {len(plain)} bytes")
    packs = [PackId(bytes(plain[at : at + PACK_ID_SIZE])) for at in range(HEAD.size, hooks_at, PACK_ID_SIZE)]
    rows = plain[hooks_at:]
    if any(row >= n_packs for _, row in HOOK.iter_unpack(rows)):
        raise ObjectCorrupt(key, "a hook leads to a pack that is not listed")
    return Segment(packs, rows)
