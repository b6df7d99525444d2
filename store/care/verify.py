"""Checks a store, or one state, and goes on whatever it finds: every fault, what it touches, what to do about it.

Without `deep`: the store's record, every head and segment of history, every manifest that tags and history name
(whole), that every pack is there and its footer lists each block where the manifests say (one request a pack), and
that index segments decode. With `deep`, every block is decoded and digested, and the SHA-256 and MD5 of every file
are made anew.

Only an unreachable store ends a check early. Memory is bounded but for some 100 bytes for each state, pack and damaged
block. The caller's thread goes through what there is, a pool reads. docs/operations.md, Checking a store.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, TypeVar

from store.blocks import BlockReader
from store.cache import ByteCache
from store.care.findings import Findings
from store.care.verify_files import Files
from store.care.verify_heads import Heads, Named
from store.care.verify_packs import Packs, hold_header, reason
from store.catalogue.catalogue import Seen, State
from store.digest import PackId
from store.errors import Corrupt, FeatureMissing, ObjectCorrupt, ObjectMissing
from store.frame import HEADER, INDEX_MAGIC, MANIFEST_MAGIC
from store.index import INDEX, read_segment
from store.kinds import Kind
from store.layout import MANIFESTS, PACKS, manifest_key, pack_key
from store.manifest.layout import NODE, Section
from store.manifest.view import Manifest, PageCache, open_manifest
from store.objects.base import ObjectStore
from store.objects.measure import Measuring
from store.root import StoreRoot

PARALLEL: Final = 8  # objects read at a time
_AHEAD: Final = 3 * PARALLEL
_PAGES: Final = 48 << 20  # bytes of decoded manifest pages
_CHUNKS: Final = 32 << 20  # bytes of plain chunks

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class VerifyCounters:
    """How far a check is; written by its threads, read by whoever shows progress."""

    phase: str = "heads"
    done: int = 0  # objects, or files, of this phase
    bytes_done: int = 0  # stored bytes of blocks, then plain bytes of files: a deep check only
    bytes_total: int = 0
    faults: int = 0  # objects


@dataclass(frozen=True, slots=True)
class Verified:
    """What a check went through, and what it found."""

    findings: Findings
    deep: bool
    datasets: int
    states: int
    packs: int
    segments: int  # of the index
    files: int  # whose digests were made anew
    bytes_read: int  # of blocks and files
    requests: int  # calls of the store; one that was repeated counts once
    bytes_fetched: int  # that they brought
    unnamed_manifests: int  # that nothing names: of pushes that were cut short, or of a dataset whose head is gone
    unnamed_packs: int


def verify(
    objects: ObjectStore, *, state: State | None = None, deep: bool = False, counters: VerifyCounters | None = None,
    root: StoreRoot | None = None, seen: Seen = lambda name, seq: None,
) -> Verified:  # fmt: skip
    """Check a whole store, or one state with all it needs.

    Args:
        objects: the store.
        state: the one to check; `None`: all.
        deep: read every block and every file.
        counters: updated as it goes.
        root: the store's record, where it is encrypted: what `objects` was opened with.
        seen: told of heads that are read.

    Raises:
        StoreMissing: no store lies there.
        FeatureMissing: the store needs something that this program can't do.
        StoreUnavailable, StoreDenied: it can't be read.
    """
    return _Verify(objects, deep=deep, counters=counters or VerifyCounters(), root=root, seen=seen).run(state)


class _Verify:
    def __init__(
        self, objects: ObjectStore, *, deep: bool, counters: VerifyCounters, root: StoreRoot | None, seen: Seen
    ) -> None:
        self.objects, self.deep, self.counters = Measuring(objects), deep, counters
        self.id_key = None if root is None else root.id_key
        self.findings = Findings()
        self.heads = Heads(self.objects, self.findings, root, seen)
        self.packs = Packs(self.objects, self.findings, deep=deep, on_bytes=self._read, id_key=self.id_key)
        self.pages: PageCache = ByteCache(_PAGES)
        self.lock = threading.Lock()
        self.bytes_read = 0
        self.segments = 0

    def run(self, state: State | None) -> Verified:
        with ExitStack() as opened:
            self.pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="verify")
            opened.callback(self.pool.shutdown, wait=True, cancel_futures=True)
            self.heads.check_root()
            states = self._states(state)
            sound, needed = self._manifests(states)
            sizes: dict[PackId, int] = {}
            if state is None:
                sizes = {pack: info.size for info in self.objects.list(PACKS) if (pack := _pack_of(info.key))}
            packs = needed | sizes.keys()
            self._packs(packs, needed, sum(sizes.values()))
            self._places(sound)
            unnamed = 0
            if state is None:
                self._index()
                named = {manifest_key(one.content.manifest) for one in states}
                unnamed = sum(info.key not in named for info in self.objects.list(MANIFESTS))
            blocks = BlockReader(self.objects, _CHUNKS, id_key=self.id_key)
            opened.callback(blocks.close)
            files = Files(self.packs, blocks, self.findings, deep=self.deep, on_bytes=self._read)
            self._files(sound, files)
        cost = self.objects.snapshot()
        return Verified(
            self.findings, self.deep, self.heads.heads, len(states), len(packs), self.segments, files.checked,
            self.bytes_read, cost.requests, cost.bytes_in, unnamed, len(packs - needed),
        )  # fmt: skip

    def _phase(self, phase: str, *, total: int = 0) -> None:
        self.counters.phase, self.counters.done = phase, 0
        self.counters.bytes_done, self.counters.bytes_total = 0, total

    def _step(self) -> None:
        self.counters.done += 1
        self.counters.faults = len(self.findings)

    def _read(self, size: int) -> None:
        with self.lock:
            self.bytes_read += size
            self.counters.bytes_done += size

    # from the top down

    def _states(self, state: State | None) -> list[Named]:
        """Return the states to check, each once."""
        if state is None:
            for _ in self.heads.check_all():
                self._step()
            self.heads.check_orphans()
            return list(self.heads.states.values())
        self.heads.check(state.dataset)
        content = state.content
        own = f"{state.dataset}:{state.tag}" if state.tag else f"{state.dataset}@b3-{content.manifest[:12]}"
        named = self.heads.states.get(content, Named(content, "", [own]))
        return [named]

    def _manifests(self, states: list[Named]) -> tuple[list[Named], set[PackId]]:
        """Check every manifest; return the states that can be read, and all packs that they need."""
        self._phase("manifests")
        sound: list[Named] = []
        packs: set[PackId] = set()
        for named, found in self._side_by_side(self._manifest, states):
            if found is not None:
                sound.append(named)
                packs |= found
            self._step()
        return sound, packs

    def _manifest(self, named: Named) -> set[PackId] | None:
        content = named.content
        key = manifest_key(content.manifest)
        packs: set[PackId] | None = None
        try:
            manifest = self._opened(named)
            key = manifest.key  # the second one, where the state was pushed again while the first was being removed
            hold_header(self.objects.get(key, size=HEADER.size), MANIFEST_MAGIC, key)
            packs = _packs_of(manifest)
            for kind in manifest.contents.sections:
                deque(manifest.pages(kind), maxlen=0)  # each page is held against its digest as it is read
            manifest.check()
            self._hold(named, manifest)
        except (ObjectMissing, Corrupt, FeatureMissing) as error:
            self.findings.add(key, reason(error), missing=isinstance(error, ObjectMissing), names=named.names)
            return None
        return packs

    def _hold(self, named: Named, manifest: Manifest) -> None:
        """Hold what a head says of a state against the state."""
        said = named.content
        rows = (row for page in manifest.pages(Section.NODES) for row in NODE.iter_unpack(page))
        size = sum(row[0] for row in rows if row[6] == Kind.FILE)
        wrong = []
        if manifest.root.hex() != said.root:
            wrong.append(f"its table is {manifest.root.hex()[:12]}, named as {said.root[:12]}")
        if (size, manifest.files) != (said.size, said.files):
            wrong.append(f"it has {manifest.files} files of {size} bytes, named as {said.files} of {said.size}")
        for why in wrong:
            self.findings.add(
                named.source or manifest.key, f"of manifest {said.manifest[:12]}: {why}", names=named.names
            )

    def _packs(self, packs: set[PackId], needed: set[PackId], size: int) -> None:
        self._phase("packs", total=size if self.deep else 0)
        for _ in self._side_by_side(lambda pack: self.packs.check(pack, needed=pack in needed), sorted(packs)):
            self._step()

    def _places(self, states: list[Named]) -> None:
        """Hold every block's place in every manifest against its pack's footer."""
        self._phase("places")
        for named in states:
            manifest = self._opened(named)
            for block in manifest.all_blocks():
                if not self.packs.lists(block):
                    self.packs.misplaced(block)
                    why = "its footer does not list blocks where manifests say"
                    self.findings.add(pack_key(block.pack.hex()), why, names=named.names)
                elif self.packs.faulty and self.packs.fault_of(block):
                    self.findings.touch(pack_key(block.pack.hex()), named.names)
            self._step()

    def _index(self) -> None:
        self._phase("index")
        keys = (info.key for info in self.objects.list(INDEX))
        for _ in self._side_by_side(self._segment, keys):
            self.segments += 1
            self._step()

    def _segment(self, key: str) -> None:
        try:
            read_segment(self.objects, key)
            hold_header(self.objects.get(key, size=HEADER.size), INDEX_MAGIC, key)
        except ObjectMissing:
            return  # deleted since it was listed: nothing needs it
        except (Corrupt, FeatureMissing) as error:
            self.findings.add(key, reason(error))

    def _files(self, states: list[Named], files: Files) -> None:
        """Make the digests of files anew, and find the files that faults touch."""
        if not self.deep and not self.packs.faulty:
            return
        self._phase("files", total=sum(named.content.size for named in states) if self.deep else 0)
        for named in states:
            manifest = self._opened(named)

            def check(entry: tuple[bytes, int], manifest: Manifest = manifest, named: Named = named) -> None:
                files.check(manifest, entry[1], entry[0], named.names)

            entries = ((path, number) for number, path, record in manifest.walk() if record.kind is Kind.FILE)
            for _ in self._side_by_side(check, entries):
                self._step()

    def _opened(self, named: Named) -> Manifest:
        content = named.content
        return open_manifest(self.objects, bytes.fromhex(content.manifest), bytes.fromhex(content.root), self.pages)

    def _side_by_side(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
        """Run `work` on all items, a few at a time; yield (item, result) in order."""
        under_way: deque[tuple[T, Future[R]]] = deque()
        for item in items:
            under_way.append((item, self.pool.submit(work, item)))
            if len(under_way) >= _AHEAD:
                done, future = under_way.popleft()
                yield done, future.result()
        while under_way:
            done, future = under_way.popleft()
            yield done, future.result()


def _packs_of(manifest: Manifest) -> set[PackId]:
    try:
        data = b"".join(bytes(page) for page in manifest.pages(Section.PACKS))
    except ObjectCorrupt:
        return set()
    return {PackId(data[at : at + 16]) for at in range(0, len(data), 16)}


def _pack_of(key: str) -> PackId | None:
    """Return the pack whose key this is, or `None` for what is none."""
    try:
        pack = PackId(bytes.fromhex(key.rpartition("/")[2]))
    except ValueError:
        return None
    return pack if pack_key(pack.hex()) == key and len(pack) == 16 else None
