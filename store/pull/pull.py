"""Makes a local folder equal to a state: reuses what lies there, fetches the rest, and shows it all by one exchange.

    check the manifest -> look at the destination -> refuse what is foreign -> build beside it -> exchange -> remove

Nothing in the destination changes before the exchange, and before that every file and folder of the new tree is
durable. The exchange itself is durable when `pull` returns; a machine that loses power before may show the old tree
again, whole. A pull that is killed leaves its tree beside the destination (`staging`); the next one takes from it every
block that hashes to its name, whichever state it asks for. Kept are content, kinds, the executable bit, links and
times; modes are 0666 or 0777 less the umask.

The caller's thread does all but hashing and fetching, which have small pools.
"""

import errno
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blake3 import blake3

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
from store.kinds import Kind
from store.manifest.view import Manifest
from store.objects.measure import Measuring
from store.pull.assembly import Assembly
from store.pull.fetch import fetch
from store.pull.placed import Placed, Placement, note, recall
from store.pull.places import Places
from store.pull.present import Found, hash_files, look
from store.pull.sources import take_cut, take_known
from store.pull.staging import Staging, resolve, staging
from store.pull.wanted import Entry, read_wanted
from store.repository import Repository

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_FINE_GRAIN_NS: Final = 100_000_000  # clocks of local file systems tick at least every 10 ms
_COARSE_GRAIN_NS: Final = 2_000_000_000  # FAT


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
    try:
        return _Pull(repository, state, dest, state_dir, options or PullOptions(), counters or PullCounters()).run()
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull(str(dest)) from error
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
        self.record = state_dir / "pull" / blake3(self.dest).hexdigest()[:32]
        self.intent = self.record.with_suffix(".next")  # written just before the exchange

    def run(self) -> Pulled:
        content = self.state.content
        self.manifest = self.repository.manifest(bytes.fromhex(content.manifest), bytes.fromhex(content.root))
        self.wanted = read_wanted(self.manifest, self.options.include)
        self.files = sum(1 for _ in self.wanted.files())
        self.size = sum(entry.size for entry in self.wanted.files())
        self.counters.files_total, self.counters.bytes_total = self.files, self.size
        with staging(self.dest, (self.manifest.id, self.manifest.root)) as place:
            return self._into(place)

    def _into(self, place: Staging) -> Pulled:
        placements = [found for path in (self.record, self.intent) if (found := recall(path)) is not None]
        before = look(self.dest)
        contents = self._contents(before, placements)
        if not self.options.force:
            foreign = [path for path, found in before.items() if not self._ours(path, found, contents, placements)]
            if foreign:
                raise DestinationForeign(self.shown, foreign)
        if self._equal(before, contents):
            self.counters.bytes_reused = self.size
            exchanged, changed = True, False
            placement = self._placement()
        else:
            self._build(place, before, contents, placements)
            self._refuse_changed(before)
            self.counters.phase = "exchanging"
            placement = self._placement()
            note(self.intent, placement)
            exchanged, changed = place.swap(), True
        place.clear()
        now = look(self.dest)
        self._identify(placement, now, place.now_ns())
        note(self.record, placement)
        self.intent.unlink(missing_ok=True)
        self.counters.bytes_done = self.size
        return Pulled(
            self.state.dataset, self.state.manifest, changed, self.files, self.size, self.counters.bytes_reused,
            self.counters.bytes_fetched, self.objects.snapshot().requests, exchanged,
        )  # fmt: skip

    # what lies there

    def _contents(self, before: dict[bytes, Found], placements: Sequence[Placement]) -> dict[bytes, bytes]:
        """Return the SHA-256 of the destination's files, as far as it matters: as remembered, else by reading them."""
        contents: dict[bytes, bytes] = {}
        unknown = []
        for path, found in before.items():
            if found.kind != Kind.FILE:
                continue
            placed = [entry for entry in _at(path, placements) if entry.kind == Kind.FILE]
            trusted = [entry.digest for entry in placed if entry.identity == found.identity]
            entry = self.wanted.entries.get(path)
            if trusted and not self.options.verify:
                contents[path] = trusted[0]
            elif (placed and not self.options.force) or (entry is not None and entry.size == found.identity.size):
                unknown.append(path)
        contents.update(hash_files(self.dest, unknown))
        return contents

    def _ours(
        self, path: bytes, found: Found, contents: dict[bytes, bytes], placements: Sequence[Placement]
    ) -> bool:  # fmt: skip
        """Tell whether nothing is lost when an entry is replaced: a pull put it there, or it is wanted just so."""
        has = _digest(found, contents.get(path))
        entry = self.wanted.entries.get(path)
        known = [*_at(path, placements)]
        if entry is not None:
            known.append(_placed(entry))
        return any((one.kind, one.executable, one.digest) == (found.kind, found.executable, has) for one in known)

    def _equal(self, before: dict[bytes, Found], contents: dict[bytes, bytes]) -> bool:
        try:
            if os.stat(self.dest).st_mtime_ns != self.wanted.mtime_ns or before.keys() != self.wanted.entries.keys():
                return False
        except FileNotFoundError:
            return False
        for path, found in before.items():
            entry = self.wanted.entries[path]
            is_so = (found.kind, found.executable, found.identity.mtime_ns, _digest(found, contents.get(path)))
            if is_so != (entry.kind, entry.executable, entry.mtime_ns, _placed(entry).digest):
                return False
        return True

    def _refuse_changed(self, before: dict[bytes, Found]) -> None:
        """Refuse when somebody changed the destination meanwhile. Not by ctime, which our own links have moved."""
        if self.options.force:
            return
        now = look(self.dest)
        changed = [path for path, found in now.items() if path not in before or _seen(found) != _seen(before[path])]
        if changed:
            raise DestinationForeign(self.shown, changed)

    # building

    def _build(
        self, place: Staging, before: dict[bytes, Found], contents: dict[bytes, bytes], placements: Sequence[Placement]
    ) -> None:  # fmt: skip
        self.counters.phase = "reusing"
        assembly = Assembly(place.tree, self.wanted, self.manifest)
        for places in assembly.prepare(self.dest, before, contents, self._reused):
            self._take_local(places, place, assembly.filled, before, contents, placements)
            self.counters.phase = "fetching"
            fetch(self.objects, places, self._fetched)
        self.counters.phase = "finishing"
        assembly.finish()
        if self.options.verify:
            self._verify(place.tree)

    def _take_local(
        self, places: Places, place: Staging, filled: set[bytes], before: dict[bytes, Found],
        contents: dict[bytes, bytes], placements: Sequence[Placement],
    ) -> None:  # fmt: skip
        """Fill places from files that are here: of the new tree, of the destination, of pulls that were killed."""
        if filled:
            take_known(place.tree, self.manifest, places, self._reused, only=filled)
        states = [(self.dest, placement.manifest, placement.root) for placement in placements if before]
        covered: set[bytes] = set()
        for folder, id, root in (*states, *place.leftovers()):
            manifest = self._manifest(id, root)
            if manifest is not None and len(places):
                seen = take_known(folder, manifest, places, self._reused)
                covered |= seen if folder == self.dest else set()
        chunker = Chunker(self.repository.root.chunker)
        for path, found in before.items():
            if (
                len(places)
                and found.kind == Kind.FILE
                and not self._looked_through(path, covered, contents, placements)
            ):
                take_cut(os.path.join(self.dest, path), chunker, places, self._reused)

    def _looked_through(
        self, path: bytes, covered: set[bytes], contents: dict[bytes, bytes], placements: Sequence[Placement]
    ) -> bool:
        """Tell whether a file of the destination has nothing more to give, as a manifest said where its blocks lie."""
        content = contents.get(path)
        entry = self.wanted.entries.get(path)
        as_placed = path in covered and any(placed.digest == content for placed in _at(path, placements))
        return content is not None and (as_placed or (entry is not None and entry.sha256 == content))

    def _manifest(self, id: bytes, root: bytes) -> Manifest | None:
        try:
            return self.repository.manifest(id, root)
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
        entries = list(self.wanted.files())
        hashes = hash_files(tree, (entry.path for entry in entries))
        for entry in entries:
            if hashes.get(entry.path) != entry.sha256:
                raise ObjectCorrupt(
                    self.manifest.key, f"{printable(entry.path)} does not have the SHA-256 that it says"
                )

    # remembering

    def _placement(self) -> Placement:
        """Return what is to be noted, without identities."""
        entries = {path: _placed(entry) for path, entry in self.wanted.entries.items()}
        return Placement(self.manifest.id, self.manifest.root, entries)

    def _identify(self, placement: Placement, now: dict[bytes, Found], now_ns: int) -> None:
        """Note the identities of files where no later write could leave them as they are."""
        fine = any(found.identity.ctime_ns % 1_000_000 for found in now.values())
        settled = now_ns - (_FINE_GRAIN_NS if fine else _COARSE_GRAIN_NS)
        for entry in self.wanted.files():
            found = now.get(entry.path)
            if found is not None and found.kind == Kind.FILE:
                seen = found.identity
                as_made = (seen.size, seen.mtime_ns, found.executable) == (entry.size, entry.mtime_ns, entry.executable)
                if as_made and max(seen.ctime_ns, seen.mtime_ns) < settled:
                    placement.entries[entry.path] = Placed(Kind.FILE, entry.executable, entry.sha256, seen)


def _at(path: bytes, placements: Iterable[Placement]) -> Iterable[Placed]:
    """Return what pulls put at one path."""
    return [placed for placement in placements if (placed := placement.entries.get(path)) is not None]


def _placed(entry: Entry) -> Placed:
    digest = hashlib.sha256(entry.target).digest() if entry.kind == Kind.LINK else entry.sha256
    return Placed(entry.kind, entry.executable, digest or bytes(32), None)


def _digest(found: Found, content: bytes | None) -> bytes | None:
    """Return what `Placed.digest` says of an entry; `None` where it is not known."""
    if found.kind == Kind.FILE:
        return content
    return hashlib.sha256(found.target).digest() if found.kind == Kind.LINK else bytes(32)


def _seen(found: Found) -> tuple[object, ...]:
    folder = found.kind == Kind.FOLDER
    identity = found.identity
    return found.kind, identity.inode, 0 if folder else identity.size, 0 if folder else identity.mtime_ns, found.target
