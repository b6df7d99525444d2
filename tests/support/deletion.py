"""A model of deletion, as docs/format.md describes it: what pushes are tested against until there is a real one.

It keeps what tags name, and with `history` what entries of history name, and marks everything else at once. Times are
the store's: ages of heartbeats are their `LastModified`. It may be killed at any request; the next one goes on from
`gc/state`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Protocol

from store import jsondoc
from store.cache import ByteCache
from store.catalogue.head import Content, Head, TagState, advance, decode_head, encode_head
from store.catalogue.history import Archive
from store.commit import compare_and_set, remember
from store.errors import ObjectMissing
from store.gc_state import DELETING, GONE, MARKED, Batch, GcState, decode_gc_state, encode_gc_state
from store.layout import DATASETS, GC_STATE_KEY, MANIFESTS, PACKS, PUSHES, dataset_key, dataset_of_key, manifest_key
from store.manifest.view import open_manifest
from store.objects.base import ObjectStore
from store.push.lease import HEARTBEAT_LIMIT
from store.push.reliance import packs_of
from store.root import open_store


class Waiting(ObjectStore, Protocol):
    """A store that can be waited for."""

    def wait(self, prefix: str, ready: Callable[[ObjectStore], bool]) -> None:
        """Go on only once `ready`, which looks at nothing but the clock and what is below `prefix`."""
        ...


@dataclass(frozen=True)
class Rules:
    """What a deletion is told. Times are ns."""

    grace_ns: int  # from marks to the first removal
    dead_ns: int  # without a beat, a push is taken for dead
    late_ns: int  # a request to delete arrives in that time, or never
    history: bool = False  # keep what entries of history name, too


class Deletion:
    """One deletion, from marks to the end."""

    def __init__(self, objects: Waiting, rules: Rules) -> None:
        """Begin nothing yet."""
        self.objects, self.rules = objects, rules
        self.archive = Archive(objects)

    def run(self) -> None:
        """Go on from wherever `gc/state` stands, until nothing is left to be done."""
        if not self.state().batches:
            self.mark()
        while batches := self.state().batches:
            match batches[0].phase:
                case "marked":
                    self.condemn(batches[0])
                case "deleting":
                    self.wait()
                    self.spare(batches[0])
                    self.delete(batches[0])
                case _:
                    self.wait()
                    self.forget(batches[0])

    def mark(self) -> None:
        """Put what nothing needs into a batch."""
        self.look()
        packs = self.names(PACKS)
        manifests = self.names(MANIFESTS)
        needed = self.needed()
        now_ns = self.objects.now_ns()

        def change(state: GcState) -> GcState:
            listed = needed.union(*(batch.packs | batch.manifests for batch in state.batches))
            batch = Batch(state.next_batch, MARKED, now_ns, packs - listed, manifests - listed)
            if not batch.packs and not batch.manifests:
                return state
            return replace(state, next_batch=state.next_batch + 1, batches=(*state.batches, batch))

        self.change(change)

    def condemn(self, batch: Batch) -> None:
        """Begin to delete what nothing needs even after the grace period."""
        self.until(batch.since_ns + self.rules.grace_ns)
        self.look()
        self.turn(batch, DELETING, self.needed())

    def wait(self) -> None:
        """Wait until all pushes that are listed have ended, or look dead; shut these out."""
        running = self.names(PUSHES)

        def ended(store: ObjectStore) -> bool:
            alive_since = store.now_ns() - self.rules.dead_ns
            beats = {info.key.removeprefix(PUSHES): info.modified_ns for info in store.list(PUSHES)}
            return all(beats[push] <= alive_since for push in running & beats.keys())

        if running:
            self.objects.wait(PUSHES, ended)
        for push in sorted(running):
            self.shut_out(PUSHES + push)

    def spare(self, batch: Batch) -> None:
        """Take out what a push that was waited for has begun to need."""
        self.look()
        self.turn(batch, DELETING, self.needed())

    def delete(self, batch: Batch) -> None:
        """Delete what is being deleted, manifests first."""
        for batch in [now for now in self.state().batches if now.n == batch.n]:
            for prefix, names in (MANIFESTS, batch.manifests), (PACKS, batch.packs):
                for name in sorted(names):
                    self.objects.delete(f"{prefix}{name[:2]}/{name}")
            self.turn(batch, GONE)

    def forget(self, batch: Batch) -> None:
        """Free the names, once no request to delete can be on its way and no push is left that found them there."""
        self.until(batch.since_ns + self.rules.late_ns)
        self.change(lambda state: replace(state, batches=tuple(now for now in state.batches if now.n != batch.n)))

    def look(self) -> None:
        """Refuse what this program can't do."""
        open_store(self.objects).require("maintenance")

    def state(self) -> GcState:
        try:
            found = self.objects.fetch(GC_STATE_KEY)
        except ObjectMissing:
            return GcState()
        assert found is not None
        return decode_gc_state(found.data)

    def until(self, time_ns: int) -> None:
        if time_ns > self.objects.now_ns():
            self.objects.wait(GC_STATE_KEY, lambda store: store.now_ns() >= time_ns)

    def names(self, prefix: str) -> frozenset[str]:
        return frozenset(info.key.rpartition("/")[2] for info in self.objects.list(prefix))

    def needed(self) -> frozenset[str]:
        """Return the names of all packs and manifests that roots need."""
        needed: set[str] = set()
        for info in sorted(self.objects.list(DATASETS)):
            name = dataset_of_key(info.key)
            assert name is not None
            found = self.objects.fetch(info.key)
            assert found is not None
            for content in self.roots(decode_head(name, found.data)):
                id, root = content.manifest, content.root
                manifest = open_manifest(self.objects, bytes.fromhex(id), bytes.fromhex(root), ByteCache(1 << 20))
                needed |= {key.rpartition("/")[2] for key in (manifest_key(id), manifest_key(id, root))}
                needed |= {pack.hex() for pack in packs_of(manifest)}
        return frozenset(needed)

    def roots(self, head: Head) -> Collection[Content]:
        """Return the states of a dataset that are kept."""
        records = self.archive.records(head).values()
        roots = {(of.content.manifest, of.content.root): of.content for of in records if isinstance(of, TagState)}
        if self.rules.history:
            entries = self.archive.entries(head)
            roots |= {(of.content.manifest, of.content.root): of.content for of in entries if of.content is not None}
        return roots.values()

    def turn(self, batch: Batch, phase: str, needed: Collection[str] = ()) -> None:
        """Set a batch's phase, less what is needed; leave it alone where somebody was here before."""
        now_ns = self.objects.now_ns()

        def change(state: GcState) -> GcState:
            left = []
            for now in state.batches:
                if now.n == batch.n and now.phase == batch.phase:
                    since_ns = now.since_ns if now.phase == phase else now_ns
                    now = replace(now.without(needed, needed), phase=phase, since_ns=since_ns)
                if now.packs or now.manifests:
                    left.append(now)
            return replace(state, batches=tuple(left))

        self.change(change)

    def change(self, change: Callable[[GcState], GcState]) -> None:
        def decide(old: bytes | None, operation: str) -> bytes | None:
            before = GcState() if old is None else decode_gc_state(old)
            after = change(before)
            return None if after == before else encode_gc_state(after, operation)

        compare_and_set(self.objects, GC_STATE_KEY, decide, sleep=lambda seconds: None)

    def shut_out(self, key: str) -> None:
        """Shut out a push that looks dead: its heartbeat says so, then its head is another one, then the beat goes."""
        try:
            found = self.objects.fetch(key)
        except ObjectMissing:
            return  # it has ended
        assert found is not None
        beat = jsondoc.decode(key, found.data, limit=HEARTBEAT_LIMIT)
        dataset = beat.text("dataset")
        self.objects.put(key, jsondoc.encode({**beat.rest(), "dataset": dataset, "ended": True}))
        self.rewrite(dataset)
        self.objects.delete(key)

    def rewrite(self, dataset: str) -> None:
        """Make a head another one, so that a commit on its way fails."""

        def decide(old: bytes | None, operation: str) -> bytes:
            if old is not None:
                head = decode_head(dataset, old)
                seq = head.seq + 1
                return encode_head(replace(head, seq=seq, operations=remember(head.operations, seq, operation)))
            now_ns = self.objects.now_ns()
            return encode_head(
                advance(Head(dataset), {}, now_ns=now_ns, op="delete", operation=operation, tags=(), content=None)
            )

        compare_and_set(self.objects, dataset_key(dataset), decide, sleep=lambda seconds: None)
