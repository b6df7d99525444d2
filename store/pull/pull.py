"""Makes a local folder equal to a state: reuses what lies there, fetches the rest, and shows it all by one exchange.

    check the manifest -> look at the destination -> refuse what is foreign -> build beside it -> exchange -> remove

Nothing in the destination changes before the exchange, and before that every file and folder of the new tree is
durable. The exchange itself is durable when `pull` returns; a machine that loses power before may show the old tree
again, whole. A pull that is killed leaves its tree beside the destination (`staging`); the next one takes from it every
block that hashes to its name, whichever state it asks for. Kept are content, kinds, the executable bit, links and
times; modes are 0666 or 0777 less the umask.

The caller's thread does all but hashing and fetching, which have small pools.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from store.cache import ByteCache
from store.catalogue.catalogue import State
from store.chunker import Chunker
from store.errors import (
    Corrupt,
    DestinationForeign,
    DestinationUnusable,
    FeatureMissing,
    Missing,
    ObjectCorrupt,
    StoreFull,
    printable,
)
from store.heap import reuse_buffers
from store.kinds import Kind
from store.manifest.view import Manifest, PageCache, open_manifest
from store.objects.local_files import FULL, free_bytes
from store.objects.measure import Measuring
from store.pull.assembly import Assembly, as_wanted
from store.pull.compare import Comparison, changed, compare
from store.pull.content import fetch_content
from store.pull.fetch import Fetcher
from store.pull.placed import Identities, Placement, note_identities, note_taken, recall
from store.pull.places import Places
from store.pull.present import hash_files, look_at
from store.pull.sources import take_cut, take_known
from store.pull.staging import Staging, resolve, staging
from store.pull.wanted import FILES, Standing, Wanted
from store.pull.workers import Workers
from store.repository import Repository
from store.veil import name_of

_INTENT: Final = ".next"
_FINE_GRAIN_NS: Final = 100_000_000  # clocks of local file systems tick at least every 10 ms
_COARSE_GRAIN_NS: Final = 2_000_000_000  # FAT
_PAGES: Final = 32 << 20  # bytes of manifests' pages held; most are read once, front to back
_BATCH: Final = 1 << 12  # places of missing blocks noted at a time, about 700 bytes each
_SEARCHED_BATCH: Final = 1 << 14  # the same, where a whole manifest is searched for each batch
_CUT_BATCH: Final = 200_000  # the same, where all files of the destination have to be cut for each batch
_MANY: Final = 4096  # files to be made from which on other processes are worth their start (0.1 s of a CPU each)
_LARGE: Final = 128 << 10  # bytes; where files have more on average, processes are not


@dataclass(slots=True)
class PullCounters:
    """How far a pull is; written by its thread, read by whoever shows progress. Plain bytes but for `bytes_fetched`."""

    phase: str = "comparing"
    files_total: int = 0
    bytes_total: int = 0
    bytes_reused: int = 0
    bytes_fetched: int = 0
    bytes_done: int = 0


@dataclass(frozen=True, slots=True)
class PullOptions:
    """What a pull is told besides what and where."""

    include: Sequence[str] = ()  # shell patterns on paths or names; none: everything
    verify: bool = False  # hash every file before it is shown, and believe no identity
    force: bool = False  # overwrite what no pull put there


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did."""

    dataset: str
    manifest: str
    changed: bool  # False: the destination was equal already
    files: int
    size: int  # plain bytes of all files
    bytes_reused: int  # plain
    bytes_fetched: int  # stored
    requests: int  # for blocks
    exchanged: bool  # False: for a moment there was nothing at the destination, as the system can't exchange folders


def pull(
    repository: Repository, state: State, dest: Path, state_dir: Path,
    options: PullOptions | None = None, counters: PullCounters | None = None,
) -> Pulled:  # fmt: skip
    """Make a folder equal to a state.

    Args:
        repository: the store.
        state: which.
        dest: the folder; made if it is not there. A link to a folder stays, and what it points to is exchanged.
        state_dir: local folder that remembers what pulls put where. Without it only what equals the new state is ours.
        options: see `PullOptions`.
        counters: updated as it goes.

    Raises:
        DestinationForeign: it holds what no pull put there, or what was changed since; nothing is changed.
        DestinationUnusable: it cannot be written, or another pull is at it.
        PathMissing: `include` matches nothing.
        StoreFull: no space left there; what is done already is kept for the next pull.
        Corrupt, Missing, and any error of the object store.
    """
    repository.root.require("read")
    reuse_buffers()
    try:
        return _Pull(repository, state, dest, state_dir, options or PullOptions(), counters or PullCounters()).run()
    except (OSError, DestinationUnusable) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError) and cause.errno in FULL:
            raise StoreFull(str(dest), free_bytes(os.path.dirname(os.path.abspath(dest)))) from error
        if isinstance(error, DestinationUnusable):
            raise
        where = f"{printable(os.fspath(error.filename))}: " if error.filename else ""
        raise DestinationUnusable(str(dest), f"{where}{error.strerror or error}") from error


class _Pull:
    def __init__(
        self, repository: Repository, state: State, dest: Path, state_dir: Path,
        options: PullOptions, counters: PullCounters,
    ) -> None:  # fmt: skip
        self.repository, self.state, self.options, self.counters = repository, state, options, counters
        self.shown = str(dest)
        self.dest = resolve(self.shown)
        self.objects = Measuring(repository.objects)
        self.pages: PageCache = ByteCache(_PAGES)
        self.veil, self.id_key = repository.veil, repository.root.id_key
        self.record = state_dir / "pull" / name_of(self.dest, self.veil)[:32]
        self.intent = self.record.with_suffix(_INTENT)  # written just before the exchange
        self.begun = self.record.with_suffix(".new")
        self.plain: tuple[Path, ...] = ()  # what pulls of plain stores noted, where this store is encrypted
        if self.veil is not None:
            record = self.record.with_name(name_of(self.dest, None)[:32])
            self.plain = record, record.with_suffix(_INTENT)

    def run(self) -> Pulled:
        stored = self.state.content
        self.manifest = self._open(bytes.fromhex(stored.manifest), bytes.fromhex(stored.root))
        with contextlib.ExitStack() as held:
            place = held.enter_context(staging(self.dest, (self.manifest.id, self.manifest.root), self.veil))
            held.callback(self.begun.unlink, missing_ok=True)
            self.content = fetch_content(self.manifest, self.begun, along=not self.options.include, veil=self.veil)
            held.enter_context(self.content.file)
            self.wanted = Wanted(self.content, self.options.include)
            self.identities = Identities(self.content.records)
            self.counters.files_total, self.counters.bytes_total = self.wanted.files, self.wanted.size
            noted = [recall(path, self.veil) for path in (self.record, self.intent)] + [*map(recall, self.plain)]
            placements = [held.enter_context(found) for found in noted if found is not None]
            return self._into(place, placements)

    def _into(self, place: Staging, placements: Sequence[Placement]) -> Pulled:
        looked_ns = place.now_ns()
        manifests = [self._manifest(placement.id, placement.root) for placement in placements]
        before = compare(
            self.dest, self.wanted, placements, [manifest is not None for manifest in manifests], self.identities,
            verify=self.options.verify, force=self.options.force,
        )  # fmt: skip
        if before.foreign:
            raise DestinationForeign(self.shown, before.foreign)
        exchanged, has_changed = True, not before.equal
        if has_changed:
            self._build(place, before, [manifest for manifest in manifests if manifest is not None])
            self._refuse_changed(before)
            self.counters.phase = "exchanging"
        else:
            self.counters.bytes_reused = self.wanted.size
        note_taken(self.content, self.begun, self.wanted.taken(), self.intent)
        if has_changed:
            looked_ns = place.now_ns()
            exchanged = place.swap()
        place.clear()
        self._identify(looked_ns, place)
        device = os.stat(self.dest).st_dev
        note_identities(self.content, self.intent, device, self.identities, self.record)
        for path in self.plain:  # it says what is there no longer
            with contextlib.suppress(OSError):
                path.unlink()
        self.counters.bytes_done = self.wanted.size
        return Pulled(
            self.state.dataset, self.state.manifest, has_changed, self.wanted.files, self.wanted.size,
            self.counters.bytes_reused, self.counters.bytes_fetched, self.objects.snapshot().requests, exchanged,
        )  # fmt: skip

    def _refuse_changed(self, before: Comparison) -> None:
        """Refuse when somebody changed the destination meanwhile."""
        if not self.options.force:
            foreign = changed(self.dest, before.seen)
            if foreign:
                raise DestinationForeign(self.shown, foreign)

    # building

    def _build(self, place: Staging, before: Comparison, manifests: Sequence[Manifest]) -> None:
        self.counters.phase = "reusing"
        assembly = Assembly(
            place.tree, self.dest, self.wanted, self.manifest, self.identities, before.donors, self._reused, self.id_key
        )
        known = [(self.dest, manifest) for manifest in manifests if before.seen]
        for folder, id, root in place.leftovers():
            manifest = self._manifest(id, root)
            if manifest is not None:
                known.append((folder, manifest))
        with contextlib.ExitStack() as held:
            workers = None
            missing = self.wanted.standing.count(Standing.MISSING)
            if missing >= _MANY and self.wanted.size < self.wanted.files * _LARGE:
                workers = held.enter_context(Workers(self.shown, place.lock))
            fetcher = held.enter_context(Fetcher(self.objects, self._fetched, self.wanted.size, workers, self.id_key))
            searched = before.seen or known
            for places, repeated in assembly.prepare(
                _CUT_BATCH if before.to_cut else _SEARCHED_BATCH if searched else _BATCH
            ):
                if repeated:
                    fetcher.finish()
                    take_known(place.tree, self.manifest, places, self._reused, id_key=self.id_key)
                elif assembly.reuses:
                    take_known(place.tree, self.manifest, places, self._reused, only=assembly.holds, id_key=self.id_key)
                for folder, manifest in known:
                    if len(places):
                        take_known(folder, manifest, places, self._reused, id_key=self.id_key)
                self._take_cut(before.to_cut, places)
                self.counters.phase = "fetching"
                fetcher.begin(places)
            fetcher.finish()
        self.counters.phase = "finishing"
        assembly.finish()
        if self.options.verify:
            self._verify(place.tree)

    def _take_cut(self, paths: bytearray, places: Places) -> None:
        chunker = Chunker(self.repository.root.chunker)
        start = 0
        while len(places) and start < len(paths):
            end = paths.index(0, start)
            take_cut(os.path.join(self.dest, bytes(paths[start:end])), chunker, places, self._reused, self.id_key)
            start = end + 1

    def _open(self, id: bytes, root: bytes) -> Manifest:
        return open_manifest(self.repository.objects, id, root, self.pages)

    def _manifest(self, id: bytes, root: bytes) -> Manifest | None:
        try:
            return self._open(id, root)
        except (Missing, Corrupt, FeatureMissing):  # gone, or of another store
            return None

    def _reused(self, size: int) -> None:
        self.counters.bytes_reused += size
        self.counters.bytes_done += size

    def _fetched(self, stored: int, plain: int) -> None:
        self.counters.bytes_fetched += stored
        self.counters.bytes_done += plain

    def _verify(self, tree: bytes) -> None:
        self.counters.phase = "verifying"
        entries = ((entry.file, path) for path, entry in self.wanted.entries() if entry.kind == Kind.FILE)
        for (file, path), digest in hash_files(tree, (((file, path), path) for file, path in entries)):
            if digest != self.content.sha256(file):
                raise ObjectCorrupt(self.manifest.key, f"{printable(path)} does not have the SHA-256 that it says")

    # remembering

    def _identify(self, looked_ns: int, place: Staging) -> None:
        """Note the identities of files where no later write could leave them as they are.

        Args:
            looked_ns: when nobody could yet have changed the files whose identities are known already.
            place: tells the time.
        """
        self._drop_unsettled(looked_ns)
        looked_ns = place.now_ns()
        for standing in FILES:
            for number in self.wanted.numbers(standing):
                if not self.identities.inodes[number]:
                    found = look_at(os.path.join(self.dest, self.content.path(number)))
                    if found is not None and as_wanted(found, self.content.row(number)):
                        self.identities.note(number, found.identity.inode, found.identity.ctime_ns)
        self._drop_unsettled(looked_ns)

    def _drop_unsettled(self, looked_ns: int) -> None:
        ctimes = self.identities.ctimes
        fine = any(ctime_ns % 1_000_000 for ctime_ns in ctimes)
        settled_ns = looked_ns - (_FINE_GRAIN_NS if fine else _COARSE_GRAIN_NS)
        for number, ctime_ns in enumerate(ctimes):
            if ctime_ns >= settled_ns:
                self.identities.drop(number)
