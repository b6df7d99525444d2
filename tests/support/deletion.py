"""A model of deletion, as docs/format.md describes it: what pushes are tested against until there is a real one.

It keeps nothing but what tags name, marks everything else at once, and has no patience where it is told so: then it
takes every push for dead. Times are the store's.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from store import jsondoc
from store.cache import ByteCache
from store.catalogue.head import Head, TagState, advance, decode_head, encode_head
from store.commit import compare_and_set, remember
from store.gc_state import DELETING, GONE, MARKED, Batch, GcState, decode_gc_state, encode_gc_state
from store.layout import DATASETS, GC_STATE_KEY, MANIFESTS, PACKS, PUSHES, dataset_key, dataset_of_key, manifest_key
from store.manifest.view import open_manifest
from store.objects.base import ObjectStore
from store.push.lease import HEARTBEAT_LIMIT
from store.push.reliance import packs_of

Until = Callable[[str, Callable[[], bool]], None]


class Deletion:
    """One deletion, from marks to the end."""

    def __init__(self, objects: ObjectStore, bare: ObjectStore, *, until: Until | None) -> None:
        """Begin nothing yet.

        Args:
            objects: the store.
            bare: the same store, for reading what never changes.
            until: waits for running pushes; `None`: they are taken for dead.
        """
        self.objects, self.bare, self.until = objects, bare, until

    def run(self, *, marked: bool = False) -> None:
        """Do all of it, with no grace period, since safety must not need one; with `marked`, all but the marks."""
        if not marked:
            self.mark()
        self.condemn()
        self.wait()
        self.spare()
        self.delete()
        self.wait()
        self.forget()

    def mark(self) -> None:
        needed = self._needed()
        manifests = {info.key.rpartition("/")[2] for info in self.objects.list(MANIFESTS)}
        packs = {info.key.rpartition("/")[2] for info in self.objects.list(PACKS)}

        def change(state: GcState) -> GcState:
            listed = needed.union(*(batch.packs | batch.manifests for batch in state.batches))
            batch = Batch(
                state.next_batch, MARKED, self.bare.now_ns(), frozenset(packs - listed), frozenset(manifests - listed)
            )
            return replace(state, next_batch=state.next_batch + 1, batches=(*state.batches, batch))

        self._change(change)

    def condemn(self) -> None:
        self._drop_needed(MARKED, DELETING)

    def wait(self) -> None:
        """Wait for all pushes that run, or go on without them."""
        running = {info.key for info in self.objects.list(PUSHES)}
        if self.until is None:
            for key in sorted(running):
                self._end(key)
        elif running:
            self.until("all pushes ended", lambda: running.isdisjoint(info.key for info in self.bare.list(PUSHES)))

    def spare(self) -> None:
        self._drop_needed(DELETING, DELETING)

    def delete(self) -> None:
        """Delete what is being deleted, manifests first."""
        found = self.objects.fetch(GC_STATE_KEY)
        assert found is not None
        state = decode_gc_state(found.data)
        for batch in state.batches:
            if batch.phase == DELETING:
                for name in sorted(batch.manifests):
                    self.objects.delete(f"{MANIFESTS}{name[:2]}/{name}")
                for name in sorted(batch.packs):
                    self.objects.delete(f"{PACKS}{name[:2]}/{name}")
        self._change(lambda state: self._with(state, DELETING, GONE))

    def forget(self) -> None:
        self._change(
            lambda state: replace(state, batches=tuple(batch for batch in state.batches if batch.phase != GONE))
        )

    def _drop_needed(self, before: str, after: str) -> None:
        needed = self._needed()
        self._change(lambda state: self._with(state, before, after, needed))

    def _with(self, state: GcState, before: str, after: str, needed: Iterable[str] = ()) -> GcState:
        needed = frozenset(needed)
        return replace(
            state,
            batches=tuple(
                replace(batch.without(needed, needed), phase=after) if batch.phase == before else batch
                for batch in state.batches
            ),
        )

    def _needed(self) -> frozenset[str]:
        """Return the names of all packs and manifests that tags need."""
        needed: set[str] = set()
        for info in self.objects.list(DATASETS):
            name = dataset_of_key(info.key)
            assert name is not None
            found = self.objects.fetch(info.key)
            assert found is not None
            for record in decode_head(name, found.data).tags.values():
                if isinstance(record, TagState):
                    id, root = record.content.manifest, record.content.root
                    manifest = open_manifest(self.bare, bytes.fromhex(id), bytes.fromhex(root), ByteCache(1 << 20))
                    needed |= {key.rpartition("/")[2] for key in (manifest_key(id), manifest_key(id, root))}
                    needed |= {pack.hex() for pack in packs_of(manifest)}
        return frozenset(needed)

    def _change(self, change: Callable[[GcState], GcState]) -> None:
        def decide(old: bytes | None, operation: str) -> bytes | None:
            before = GcState() if old is None else decode_gc_state(old)
            after = change(before)
            return None if after == before else encode_gc_state(after, operation)

        compare_and_set(self.objects, GC_STATE_KEY, decide, sleep=lambda seconds: None)

    def _end(self, key: str) -> None:
        """Shut out a push: its heartbeat says so, then its head is another one, then the heartbeat goes."""
        found = self.bare.fetch(key) if any(info.key == key for info in self.bare.list(key)) else None
        if found is None:
            return
        beat = jsondoc.decode(key, found.data, limit=HEARTBEAT_LIMIT)
        dataset = beat.text("dataset")
        self.objects.put(key, jsondoc.encode({**beat.rest(), "dataset": dataset, "ended": True}))

        def decide(old: bytes | None, operation: str) -> bytes:
            if old is not None:
                head = decode_head(dataset, old)
                seq = head.seq + 1
                return encode_head(replace(head, seq=seq, operations=remember(head.operations, seq, operation)))
            empty = advance(
                Head(dataset), {}, now_ns=self.bare.now_ns(), op="delete", operation=operation, tags=(), content=None
            )
            return encode_head(empty)

        compare_and_set(self.objects, dataset_key(dataset), decide, sleep=lambda seconds: None)
        self.objects.delete(key)
