"""Publishes a folder: walk -> what is unchanged -> read -> packs -> index segment -> manifest -> tags.

The order of writing is the safety of it: a tag is set last, in one compare-and-set, once everything that it names is
durable. A push that is killed leaves packs that nothing names; the journal lets the next one use them. The caller's
thread does the walking, the packing and the tagging; `ingest` and `upload` have threads of their own.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from store.cache import ByteCache
from store.catalogue.head import Content as StateContent
from store.catalogue.head import Head
from store.catalogue.refs import Named, Reference, TagKind, kind_of
from store.chunker import Chunker
from store.digest import Digest, PackId
from store.errors import (
    Conflict,
    Contended,
    Corrupt,
    DatasetMissing,
    Missing,
    ObjectMissing,
    OutcomeUnknown,
    PreconditionFailed,
    SourceChanged,
    SourceUnusable,
    TagMissing,
)
from store.gc_state import Doomed
from store.heap import keep_little
from store.index import write_segment
from store.layout import GC_STATE_KEY, manifest_key, pack_key
from store.manifest.build import Built, build
from store.manifest.contents import Contents
from store.manifest.layout import HOLE
from store.manifest.view import Manifest, PageCache, open_manifest
from store.push import unchanged
from store.push.ingest import Ingest, Read
from store.push.journal import Journal
from store.push.known import KnownBlocks
from store.push.lease import Lease
from store.push.plan import Plan, foresee
from store.push.readers import Readers
from store.push.reliance import Reliance, packs_of
from store.push.source import Scan, SourceFile, scan
from store.push.upload import Uploader
from store.repository import Repository
from store.veil import name_of

ATTEMPTS: Final = 3  # to read a file that keeps changing
MANY: Final = 4096  # files to be read from which on it pays to start processes for it
RECENT: Final = 4  # states of the dataset whose blocks are known from the start
PAGES: Final = 8 << 20  # bytes of decoded manifest pages: they are gone through once, from front to back


@dataclass(slots=True)
class PushCounters:
    """How far a push is; written by its threads, read by whoever shows progress.

    Bytes are plain bytes but for `uploaded`.
    """

    phase: str = "walking"
    files_total: int = 0
    bytes_total: int = 0
    bytes_read: int = 0
    bytes_new: int = 0
    bytes_reused: int = 0
    bytes_uploaded: int = 0


@dataclass(frozen=True, slots=True)
class PushOptions:
    """What a push is told besides what and where."""

    message: str = ""
    by: str = ""
    expect: Mapping[str, str] = field(default_factory=dict)  # channel -> manifest id (hex), or "" for none
    exclude: Sequence[str] = ()
    reread: bool = False
    skip_unreadable: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did."""

    dataset: str
    manifest: str
    tags: tuple[str, ...]
    changed: bool  # False: every tag named this state already
    entries: int
    files: int
    size: int  # plain bytes of all files
    bytes_new: int
    bytes_reused: int
    bytes_stored: int  # bytes of packs written
    puts: int
    skipped: tuple[tuple[bytes, str], ...]
    hard_links: int
    plan: Plan | None = None  # of a dry run: what would be done


def push(
    repository: Repository, source: Path, dataset: str, tags: Sequence[str], state_dir: Path,
    options: PushOptions | None = None, counters: PushCounters | None = None,
) -> Pushed:  # fmt: skip
    """Publish a folder, or one file, under all tags at once.

    Args:
        repository: the store.
        source: folder or file.
        dataset: whose state this becomes.
        tags: the tags that will name it.
        state_dir: local folder for the journal and for how files looked; losing it costs only time.
        options: see `PushOptions`.
        counters: updated as it goes.

    Raises:
        PathMissing: no such source.  SourceUnusable, SourceChanged: it can't be read.
        TagExists, TagMoved, TagNameTaken: the tags can't be set; everything else is done and stays for the next push.
        Any error of the object store.
    """
    repository.root.require("write")
    keep_little()
    return _Push(
        repository, os.fsencode(source), dataset, tags, state_dir, options or PushOptions(), counters or PushCounters()
    ).run()


class _Push:
    def __init__(
        self, repository: Repository, source: bytes, dataset: str, tags: Sequence[str], state_dir: Path,
        options: PushOptions, counters: PushCounters,
    ) -> None:  # fmt: skip
        self.repository, self.source, self.dataset, self.tags = repository, source, dataset, tuple(tags)
        self.options, self.counters = options, counters
        self.objects = repository.objects
        self.known = KnownBlocks(self.objects)
        self.veil, self.id_key = repository.veil, repository.root.id_key
        place = name_of(os.path.realpath(source) + b"\0" + dataset.encode(), self.veil)[:32]
        self.record = state_dir / "push" / repository.root.store / place
        self.pages: PageCache = ByteCache(PAGES)
        self.contents: Contents | None = None  # of the files; None: the folder is taken as a whole
        self.problems: list[tuple[bytes, str]] = []
        self.unreadable: set[int] = set()  # numbers of files
        self.chunks = 0  # written by this push
        self.last: Manifest | None = None  # of the last push from here
        self.packs = 0  # written by this push
        self.lease = Lease(self.objects, dataset)
        self.reliance = Reliance(self.objects, self.lease)
        self.states: dict[str, Manifest] = {}  # of the dataset, as they were read, by id
        self.second = False  # what stood at the manifest's first key can't be relied on

    def run(self) -> Pushed:
        started_ns, before = time.time_ns(), self.objects.snapshot()
        with contextlib.ExitStack() as stack:
            alone = not self.options.dry_run and stack.enter_context(_alone(self.record))
            folder = self.record.parent if alone else None
            found = scan(self.source, self.options.exclude, folder=folder, progress=self._walked, veil=self.veil)
            stack.callback(found.looks.close)
            self.problems += found.problems
            self._refuse_problems()
            path = self.record.with_suffix(".journal") if alone and not self.options.dry_run else None
            journal = Journal(path, self.veil)
            parents = self._parents(journal)
            same = self._whole(found, started_ns)
            if same is None:
                self._learn(found, journal, folder)
            try:
                built = same or self._read(found, journal)
                pushed, built = self._publish(built, parents, journal, found, folder)
            except Conflict:
                journal.forget_parents()
                raise
            finally:
                self.lease.end()
                if self.contents is not None:
                    self.contents.close()
            if alone and not self.options.dry_run and built is not same:
                unchanged.remember(self.record, built, found, started_ns, self.veil)
        return replace(pushed, puts=self.objects.snapshot().since(before).puts)

    def _walked(self, files: int, size: int) -> None:
        self.counters.files_total, self.counters.bytes_total = files, size

    # what is known before anything is read

    def _parents(self, journal: Journal) -> dict[str, str]:
        """Return what each channel named when this push first started: a move since then is a conflict."""
        channels = [tag for tag in self.tags if kind_of(tag) == TagKind.CHANNEL]
        parents = journal.parents(channels)
        for tag in channels:
            if tag not in parents:
                parents[tag] = self._named(tag)
        journal.begin(parents)
        return parents

    def _named(self, tag: str) -> str:
        try:
            return self.repository.catalogue.resolve(Reference(self.dataset, Named(tag))).manifest
        except (DatasetMissing, TagMissing):
            return ""

    def _whole(self, found: Scan, started_ns: int) -> Built | None:
        """Return the state that was pushed last if the folder is still just that, so that nothing is left to be done.

        A dry run goes the long way: it tells what the new state shares with others, chunk by chunk.
        """
        if self.options.reread or self.options.dry_run:
            return None
        self.counters.phase = "comparing"
        same = unchanged.whole(self.record, found, started_ns, self._open, self.veil)
        if same is None:
            return None
        self._note(same.manifest)
        self.counters.bytes_read = self.counters.bytes_reused = found.tree.size
        return same.built

    def _learn(self, found: Scan, journal: Journal, folder: Path | None) -> None:
        """Fill in unchanged files, and collect the blocks that the store has already."""
        self.counters.phase = "comparing"
        contents = self.contents = Contents(found.tree.files, folder, self.veil)
        if not self.options.reread:
            self.last = unchanged.fill_in(self.record, found, contents, self.known.table, self._open, self.veil)
            if self.last is not None:
                self._note(self.last)
            size = sum(size for number, size in enumerate(found.tree.sizes()) if contents.known(number))
            self.counters.bytes_read += size
            self.counters.bytes_reused += size
        if not contents.unread:
            return
        for content in self._recent():
            if self.last is None or content.manifest != self.last.id.hex():
                with contextlib.suppress(Missing, Corrupt):  # best effort: what is not known is uploaded again
                    manifest = self._open(bytes.fromhex(content.manifest), bytes.fromhex(content.root))
                    self.known.add(manifest.all_blocks())
                    self._note(manifest)
        self.known.resume(journal.packs())

    def _open(self, id: bytes, root: bytes | None) -> Manifest:
        return open_manifest(self.objects, id, root, self.pages)

    def _note(self, manifest: Manifest) -> None:
        self.reliance.read(manifest)
        self.states[manifest.id.hex()] = manifest

    def _recent(self) -> list[StateContent]:
        """Return the states that the dataset had last, each once."""
        try:
            head = self.repository.catalogue.head(self.dataset)
        except DatasetMissing:
            return []
        contents = [entry.content for entry in reversed(head.history) if entry.content is not None]
        newest: dict[str, StateContent] = {}
        for content in contents:  # of one id, the newest: earlier ones may lie at another key, that is no more
            newest.setdefault(content.manifest, content)
        return list(newest.values())[:RECENT]

    # reading and packing

    def _read(self, found: Scan, journal: Journal) -> Built:
        self.counters.phase = "reading"
        assert self.contents is not None, "what is known is learnt first"  # noqa: S101  # for the type checker
        contents, begun = self.contents, self.counters.bytes_read

        def ahead(stored: int) -> int:
            """Foretell how many bytes are still to be stored, by what became of those read so far."""
            read, left = self.counters.bytes_read - begun, self.counters.bytes_total - self.counters.bytes_read
            return max(0, left * stored // read if stored and read else left)

        uploader = Uploader(
            None if self.options.dry_run else self.objects, journal, on_pack=self._uploaded, ahead=ahead
        )
        chunker = Chunker(self.repository.root.chunker)
        with contextlib.ExitStack() as helpers:
            readers = None
            if contents.unread >= MANY and not len(self.known.table):
                readers = helpers.enter_context(Readers(chunker, self.id_key, self.known.find))
            ingest = Ingest(chunker, self.known, id_key=self.id_key, readers=readers)
            helpers.callback(uploader.close)
            helpers.callback(ingest.close)
            todo: Iterable[SourceFile] = (file for file in found.files() if not contents.known(file.number))
            for _ in range(ATTEMPTS):
                todo = changing = list(self._take(ingest.read(todo), uploader, found, contents))
                if not changing:
                    break
            if changing:
                raise SourceChanged(changing[0].shown)
            self._refuse_problems()
            if self.unreadable:
                contents.keep(found.drop(self.unreadable))
                self.unreadable.clear()
            self.counters.phase = "uploading"
            uploader.finish()
        self.packs += len(uploader.packs)
        for pack, _ in uploader.packs:
            self.reliance.wrote(pack_key(pack.hex()))
        if uploader.packs and not self.options.dry_run:
            write_segment(self.objects, self.dataset, uploader.packs)
        return build(found.tree, contents, self.known.table, salt=os.urandom(16) if self.second else b"")

    def _take(self, reads: Iterable[Read], uploader: Uploader, found: Scan, contents: Contents) -> Iterator[SourceFile]:
        """Pack what is read; yield the files that changed meanwhile and must be read again."""
        table = self.known.table
        extents: list[tuple[int, int]] = []
        size = 0
        for read in reads:
            self.counters.bytes_read += read.size
            for piece in read.pieces:
                if piece.digest is None:
                    if not extents or extents[-1][1] != HOLE:
                        extents.append((piece.offset, HOLE))
                    self.counters.bytes_reused += piece.size
                else:
                    row = piece.row if piece.row is not None else table.find(piece.digest)
                    if row is None:
                        self._begin()
                        row = table.add(uploader.add(piece.digest, piece.coding, piece.stored, piece.size))
                        self.chunks += 1
                        self.counters.bytes_new += piece.size
                    else:
                        self.counters.bytes_reused += piece.size
                    extents.append((piece.offset, row))
            size += read.size
            if not read.last:
                continue
            if read.problem:
                self.problems.append((read.file.shown, read.problem))
                self.unreadable.add(read.file.number)
            elif read.identity is None or read.identity.size != size:
                self.counters.bytes_read -= size
                yield read.file._replace(size=_size_now(read.file))
            else:
                found.seen(read.file, read.identity)
                contents.set(read.file.number, read.sha256, read.md5, extents)
            extents, size = [], 0

    def _uploaded(self, size: int) -> None:
        self.counters.bytes_uploaded += size

    def _refuse_problems(self) -> None:
        if self.problems and not self.options.skip_unreadable:
            raise SourceUnusable(self.problems)

    # making it visible

    def _publish(
        self, built: Built, parents: dict[str, str], journal: Journal, found: Scan, folder: Path | None
    ) -> tuple[Pushed, Built]:  # fmt: skip
        """Set the tags; return what was done and the manifest that they name."""
        self.counters.phase = "publishing"
        changed, plan = True, None
        if self.options.dry_run:
            plan = foresee(
                self.repository, self.dataset, self.tags, built, self.known.table,
                chunks=self.chunks, packs=self.packs, packed=self.counters.bytes_uploaded,
                asked=built.id.hex() not in self.states,
            )  # fmt: skip
        else:
            for left in reversed(range(ATTEMPTS)):
                try:
                    changed = self._set_tags(built, parents)
                    break
                except _Doomed as found_doomed:
                    if not left:
                        raise Contended(GC_STATE_KEY, ATTEMPTS) from None
                    built = self._replace(found_doomed.doomed, found, journal, folder)
            journal.end()
        pushed = Pushed(
            self.dataset, built.id.hex(), self.tags, changed, built.records - 1, built.files, built.size,
            self.counters.bytes_new, self.counters.bytes_reused, self.counters.bytes_uploaded,
            0, tuple(self.problems), found.hard_links, plan,
        )  # fmt: skip
        return pushed, built

    def _set_tags(self, built: Built, parents: dict[str, str]) -> bool:
        """Place the manifest and name it; false where all tags named it already.

        Raises:
            _Doomed: it relies on what is being deleted.
        """
        key, root, packs = self._place(built)
        content = StateContent(built.id.hex(), root.hex(), built.size, built.files)

        def guard(head: Head, state: StateContent) -> None:
            doomed = self.reliance.check(head, state, key, packs)
            if doomed:
                raise _Doomed(doomed)

        change = self.repository.catalogue.set_tags(
            self.dataset, self.tags, content, message=self.options.message, by=self.options.by, op="push",
            expect=self.options.expect, parents=parents, guard=guard,
        )  # fmt: skip
        return bool(change.changed)

    def _place(self, built: Built) -> tuple[str, Digest, frozenset[PackId]]:
        """See to it that the manifest is in the store; return its key, its root, and the packs that it names.

        Where its id is there already, the places of that one count, since they are what readers see.
        """
        there = self.states.get(built.id.hex())
        if there is None or self.second:
            self._begin()
            there = self._write_manifest(built)
        if there is not None:
            return there.key, there.root, packs_of(there)
        key = manifest_key(built.id.hex(), built.root.hex() if self.second else "")
        self.reliance.wrote(key)
        return key, built.root, built.packs

    def _write_manifest(self, built: Built) -> Manifest | None:
        """Write the manifest; return the one that is there already."""
        key = manifest_key(built.id.hex(), built.root.hex() if self.second else "")
        for attempt in range(ATTEMPTS):
            try:
                self.objects.put_if(key, built.data, match=None)
            except (PreconditionFailed, OutcomeUnknown) as error:
                with contextlib.suppress(ObjectMissing):
                    return self._open(built.id, built.root if self.second else None)  # `None`: checked against its id
                if attempt == ATTEMPTS - 1:
                    raise OutcomeUnknown(key, str(error)) from error
            else:
                break
        return None

    def _replace(self, doomed: Doomed, found: Scan, journal: Journal, folder: Path | None) -> Built:
        """Read again, and upload into packs of other ids, what lies in packs that are being deleted.

        The manifest goes to its second key, whatever became of the first: a key that is being deleted can't be used,
        since the deletion of what stands there may come at any time.
        """
        self.second = True
        if self.contents is None:
            self.counters.bytes_read = self.counters.bytes_reused = 0
            self._learn(found, journal, folder)
        assert self.contents is not None, "just learnt"  # noqa: S101  # for the type checker
        table = self.known.table
        table.forget(doomed.packs)
        for number, size in enumerate(found.tree.sizes()):
            if self.contents.uses(number, lambda row: table.pack(row) in doomed.packs):
                self.contents.forget(number)
                self.counters.bytes_read -= size
                self.counters.bytes_reused -= min(size, self.counters.bytes_reused)
        return self._read(found, journal)

    def _begin(self) -> None:
        if not self.options.dry_run:
            self.lease.begin()


class _Doomed(Exception):
    """The state relies on what is being deleted."""

    def __init__(self, doomed: Doomed) -> None:
        self.doomed = doomed
        super().__init__()


def _size_now(file: SourceFile) -> int:
    try:
        return os.lstat(file.path).st_size
    except OSError:
        return file.size


@contextlib.contextmanager
def _alone(record: Path) -> Iterator[bool]:
    """Tell whether no other push of the same folder is running here; two would spoil each other's journal."""
    lock = record.with_suffix(".lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
