"""What deletion has marked, `gc/state`: read before a commit, and changed where the commit needs what is marked.

    {"format": 1, "seq": n, "operations": [[seq, id], ...], "next": n,
     "batches": [{"n": n, "phase": "marked", "since": ns, "packs": [id, ...], "manifests": [name, ...]}, ...]}

Objects are in a batch from when they are marked until no push is left that may have seen them. *marked*: they go after
a grace period, unless somebody needs them and takes them out. *deleting*: they may vanish at any moment. *gone*: they
were removed. Nobody may begin to rely on what is deleting or gone; a phase unknown to us counts as these. A pack is
named by its id, a manifest by the last part of its key.

The document is bounded (`GC_STATE_LIMIT`): a deletion marks no more at a time than fits, and the rest once others are
gone. Taking out makes it smaller, and always succeeds. Values are immutable; any thread; `keep` blocks.
docs/format.md, Deletion.
"""

import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from store import jsondoc
from store.commit import Operations, compare_and_set, remember
from store.digest import PackId
from store.errors import FeatureMissing
from store.layout import GC_STATE_KEY
from store.objects.base import ObjectStore

FORMAT: Final = 1
GC_STATE_LIMIT: Final = 4 << 20  # bytes: about 100,000 packs, which hold 1.6 TB
MARKED: Final = "marked"
DELETING: Final = "deleting"
GONE: Final = "gone"


@dataclass(frozen=True, slots=True)
class Batch:
    """Objects that go together."""

    n: int
    phase: str
    since_ns: int  # the store's time when it came into this phase
    packs: frozenset[str] = frozenset()  # ids, 32 hex digits
    manifests: frozenset[str] = frozenset()  # last parts of keys
    extra: Mapping[str, Any] = field(default_factory=dict)

    def without(self, packs: Collection[str], manifests: Collection[str]) -> "Batch":
        """Return the batch less some of its objects; itself when none of them is in it."""
        if self.packs.isdisjoint(packs) and self.manifests.isdisjoint(manifests):
            return self
        return replace(self, packs=self.packs.difference(packs), manifests=self.manifests.difference(manifests))


@dataclass(frozen=True, slots=True)
class GcState:
    """One generation of `gc/state`."""

    seq: int = 0
    operations: Operations = ()
    next_batch: int = 1
    batches: tuple[Batch, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


class Doomed(NamedTuple):
    """What may not be relied on."""

    packs: frozenset[PackId] = frozenset()
    manifests: frozenset[str] = frozenset()  # last parts of keys

    def __bool__(self) -> bool:
        return bool(self.packs or self.manifests)


def decode_gc_state(data: bytes) -> GcState:
    """Read the document.

    Raises:
        ObjectCorrupt: the bytes are none.
        FeatureMissing: it is of a later format.
    """
    fields = jsondoc.decode(GC_STATE_KEY, data, limit=GC_STATE_LIMIT)
    found = fields.integer("format")
    if found != FORMAT:
        raise FeatureMissing("write to", [f"gc/state of format {found}"])
    batches = tuple(
        Batch(
            n=batch.integer("n"),
            phase=batch.text("phase", limit=64),
            since_ns=batch.integer("since"),
            packs=_names(batch, "packs"),
            manifests=_names(batch, "manifests"),
            extra=batch.rest(),
        )
        for batch in fields.objects("batches")
    )
    return GcState(fields.integer("seq"), jsondoc.operations(fields), fields.integer("next"), batches, fields.rest())


def encode_gc_state(state: GcState, operation: str) -> bytes:
    """Write the next generation: `seq` grows by one and `operation` is remembered. The caller minds the limit."""
    seq = state.seq + 1
    return jsondoc.encode(
        {
            **state.extra,
            "format": FORMAT,
            "seq": seq,
            "operations": [[*pair] for pair in remember(state.operations, seq, operation)],
            "next": state.next_batch,
            "batches": [
                {
                    **batch.extra,
                    "n": batch.n,
                    "phase": batch.phase,
                    "since": batch.since_ns,
                    "packs": sorted(batch.packs),
                    "manifests": sorted(batch.manifests),
                }
                for batch in state.batches
            ],
        }
    )


def keep(
    objects: ObjectStore,
    packs: Collection[PackId],
    manifests: Collection[str],
    *,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> Doomed:
    """Take out of the marks what a commit relies on, and tell what can't be kept. One GET where nothing is marked.

    Args:
        objects: the store.
        packs: ids of packs.
        manifests: last parts of the keys of manifests.
        sleep: see `commit.compare_and_set`.
        jitter: the same.

    Raises:
        ObjectCorrupt, FeatureMissing: `gc/state` can't be understood.
        Contended, OutcomeUnknown, and what the object store raises: the marks could not be changed.
    """
    wanted_packs, wanted_manifests = {pack.hex() for pack in packs}, frozenset(manifests)
    doomed = Doomed()

    def decide(old: bytes | None, operation: str) -> bytes | None:
        nonlocal doomed
        if old is None:
            doomed = Doomed()
            return None
        state = decode_gc_state(old)
        lost = [batch for batch in state.batches if batch.phase != MARKED]
        doomed = Doomed(
            frozenset(PackId(bytes.fromhex(pack)) for batch in lost for pack in batch.packs & wanted_packs),
            frozenset(name for batch in lost for name in batch.manifests & wanted_manifests),
        )
        left = tuple(
            batch.without(wanted_packs, wanted_manifests) if batch.phase == MARKED else batch for batch in state.batches
        )
        if left == state.batches:
            return None
        kept = tuple(batch for batch in left if batch.packs or batch.manifests)
        return encode_gc_state(replace(state, batches=kept), operation)

    compare_and_set(objects, GC_STATE_KEY, decide, sleep=sleep, jitter=jitter)
    return doomed


def _names(batch: jsondoc.Fields, name: str) -> frozenset[str]:
    names = batch.array(name)
    if not all(isinstance(item, str) for item in names):
        batch.fail(name, "an array of text", names)
    return frozenset(names)
