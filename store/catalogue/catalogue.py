"""The catalogue: which datasets there are, what their tags name, what a reference means, and how tags change.

Everything below a state never changes; this is the small part above it that does. Heads are remembered with their ETag
and asked for again by a conditional request once they are older than the caller allows.

Any thread; blocks on the store; no lock is held across a request. docs/format.md, Dataset heads and Commit.
"""

import datetime
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from store import commit
from store.catalogue.head import (
    HEAD_LIMIT,
    Content,
    Head,
    HistoryEntry,
    Op,
    TagState,
    advance,
    decode_head,
    encode_head,
)
from store.catalogue.history import Archive
from store.catalogue.listing import listed
from store.catalogue.refs import (
    ByDigest,
    InRange,
    Named,
    OnDay,
    Reference,
    TagKind,
    fold,
    parse_dataset,
    parse_reference,
)
from store.catalogue.tagging import (
    Plan,
    Wish,
    check_texts,
    check_wish,
    live,
    lived,
    plan_deletion,
    plan_removal,
    plan_rollback,
    plan_set,
)
from store.catalogue.versions import parse_version
from store.errors import (
    BadName,
    DatasetMissing,
    ObjectCorrupt,
    ObjectMissing,
    Refused,
    Replayed,
    TagMissing,
    Unavailable,
)
from store.layout import change_key, dataset_key, name_prefix
from store.objects.base import ObjectStore
from store.root import StoreRoot, refreshed

HEADS_SIZE: Final = 32 * 1024 * 1024  # encoded bytes of remembered heads
HEADS_COUNT: Final = 4096  # remembered heads, absent ones too
Guard = Callable[[Head, Content], None]
Seen = Callable[[str, int], None]  # (dataset, seq of its head): raises `Replayed` where a later one was seen
_UNIQUE_DIGITS: Final = 32  # 128 bits: from here on a prefix of an id is taken to be unique
_DAY_NS: Final = 86_400 * 10**9
_EPOCH: Final = datetime.date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class State:
    """What a reference means."""

    dataset: str
    tag: str | None  # by which it was reached
    tag_n: int  # the tag's creation number when the state is what the tag names now, else 0
    kind: TagKind | None
    content: Content
    entry: HistoryEntry | None  # the commit that made it so, when that is known without reading further

    @property
    def manifest(self) -> str:
        """Return the manifest's id, 64 hex digits."""
        return self.content.manifest


class Change(NamedTuple):
    """What a commit did."""

    head: Head
    changed: tuple[str, ...]  # tags that were written; none: everything was as wished already
    entry: HistoryEntry | None  # the commit's own; None: nothing was written, or others have pushed it out of the head


class _Remembered(NamedTuple):
    head: Head | None  # None: there was no such dataset
    etag: str
    size: int
    checked_s: float


class Catalogue:
    """Datasets and tags of one store."""

    def __init__(
        self,
        objects: ObjectStore,
        root: StoreRoot,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        archive: Archive | None = None,
        seen: Seen = lambda name, seq: None,
    ) -> None:
        self._objects, self._root, self._seen = objects, root, seen
        self._clock, self._sleep, self._jitter = clock, sleep, jitter
        self._archive = archive or Archive(objects)
        self._heads: OrderedDict[str, _Remembered] = OrderedDict()
        self._heads_size = 0
        self._lock = threading.Lock()

    def datasets(self, prefix: str = "") -> Iterator[str]:
        """Yield the names that begin with `prefix`, streaming, in no particular order, possibly a moment old."""
        return (found.name for found in listed(self._objects) if found.name.startswith(prefix) and not found.deleted)

    def head(self, name: str, *, max_age_s: float = 0.0) -> Head:
        """Return a dataset's head, no older than `max_age_s` seconds.

        Raises:
            DatasetMissing: no such dataset, or it was removed.
            BadName: `name` can't be a dataset.
            ObjectCorrupt: the head does not decode.
        """
        parse_dataset(name)
        with self._lock:
            known = self._heads.get(name)
        if known is None or self._clock() - known.checked_s > max_age_s or max_age_s <= 0:
            known = self._refresh(name, known)
        if known.head is None or known.head.deleted:
            raise DatasetMissing(name)
        return known.head

    def tags(self, name: str, *, max_age_s: float = 0.0) -> list[TagState]:
        """Return all tags of a dataset in the order in which they were made."""
        records = self._archive.records(self.head(name, max_age_s=max_age_s))
        return sorted((r for r in records.values() if isinstance(r, TagState)), key=lambda tag: tag.n)

    def resolve(self, reference: Reference | str, *, max_age_s: float = 0.0) -> State:
        """Find the state that a reference means.

        Raises:
            BadName: it is no reference, or digits of an id fit several states.
            DatasetMissing, TagMissing: nothing it could mean.
        """
        if isinstance(reference, str):
            reference = parse_reference(reference)
        head = self.head(reference.dataset, max_age_s=max_age_s)
        match reference.select:
            case Named(tag):
                return self._tagged(head, live(self._archive, head, tag))
            case InRange() as wanted:
                return self._newest(head, wanted)
            case OnDay(day, channel):
                return self._on_day(head, day, channel)
            case ByDigest(digits):
                return self._by_digest(head, digits)

    def log(self, dataset: str, channel: str | None = None) -> Iterator[HistoryEntry]:
        """Yield a dataset's commits, or those that changed one tag, newest first, streaming.

        Raises:
            DatasetMissing: no such dataset.
            TagMissing: there never was such a tag.
        """
        head = self.head(dataset)
        if channel is None:
            return self._archive.entries(head)
        if self._archive.record(head, fold(channel)) is None and not any(
            entry.touches(channel) and entry.op != "delete" for entry in self._archive.entries(head)
        ):
            raise TagMissing(dataset, f"tag {channel!r}")
        return (entry for entry in self._archive.entries(head) if entry.touches(channel))

    def set_tags(
        self,
        dataset: str,
        tags: Iterable[str],
        content: Content,
        *,
        message: str = "",
        by: str = "",
        op: Op = "push",
        expect: Mapping[str, str] | None = None,
        parents: Mapping[str, str] | None = None,
        guard: Guard | None = None,
    ) -> Change:
        """Make tags name a state: all of them in one change, or none. Makes the dataset when there is none.

        Args:
            dataset: its name.
            tags: 1 to 256.
            content: the state; its manifest must be durable already.
            message: for the history, up to 4096 bytes.
            by: who does it, up to 256 bytes.
            op: "push" or "tag".
            expect: channel -> the id that it must have (12 digits or more), or "" where it must not exist.
            parents: channel -> the id that it had when the work began, or "". As `expect`, but no conflict when the
                channel names the wished state already.
            guard: called before each attempt to write, with the head that will be replaced and the state; what it
                raises ends the matter.

        Raises:
            TagExists: a version has, or had, other content.
            TagMoved: a channel is not what was expected; the message names the winner.
            TagNameTaken: a name differs from an existing one by case alone.
            BadName: a name, or the number or length of what was given, is not allowed.
            FeatureMissing, Contended, OutcomeUnknown: see `commit.compare_and_set`.
        """
        wish = Wish(tuple(dict.fromkeys(tags)), content, expect or {}, parents or {})
        check_wish(wish, message, by)

        def step(head: Head, operation: str) -> tuple[Head, Plan] | None:
            plan = plan_set(self._archive, head, wish)
            if not plan.tags:
                return None
            if guard is not None:
                guard(head, content)
            return self._advance(head, plan, op, operation, content, message=message, by=by), plan

        return self._commit(dataset, step)

    def untag(self, dataset: str, tag: str, *, message: str = "", by: str = "", expect: str | None = None) -> Change:
        """Remove a tag. A version's name may come back for the same state only.

        Raises:
            DatasetMissing, TagMissing, TagMoved, BadName, FeatureMissing, Contended, OutcomeUnknown.
        """
        check_texts(message, by)

        def step(head: Head, operation: str) -> tuple[Head, Plan]:
            plan = plan_removal(self._archive, _alive(head), tag, expect)
            return self._advance(head, plan, "untag", operation, None, message=message, by=by), plan

        return self._commit(dataset, step)

    def rollback(
        self, dataset: str, channel: str, *, message: str = "", by: str = "", expect: str | None = None,
        guard: Guard | None = None,
    ) -> Change:  # fmt: skip
        """Move a channel to its previous state; repeated, further back. `guard`: see `set_tags`.

        Raises:
            DatasetMissing, TagMissing, TagMoved, BadName, FeatureMissing, Contended, OutcomeUnknown.
        """
        check_texts(message, by)

        def step(head: Head, operation: str) -> tuple[Head, Plan]:
            plan, back = plan_rollback(self._archive, _alive(head), channel, expect)
            origin = back.origin or back.n
            if guard is not None and back.content is not None:
                guard(head, back.content)
            return (
                self._advance(head, plan, "rollback", operation, back.content, origin=origin, message=message, by=by),
                plan,
            )

        return self._commit(dataset, step)

    def delete(self, dataset: str, *, message: str = "", by: str = "") -> Change:
        """Remove a dataset with all its tags. Its versions' names may come back for the same states only.

        Raises:
            DatasetMissing, BadName, FeatureMissing, Contended, OutcomeUnknown.
        """
        check_texts(message, by)

        def step(head: Head, operation: str) -> tuple[Head, Plan]:
            plan = plan_deletion(self._archive, _alive(head))
            return self._advance(head, plan, "delete", operation, None, message=message, by=by), plan

        return self._commit(dataset, step)

    def _tagged(self, head: Head, tag: TagState) -> State:
        entry = next((entry for entry in reversed(head.history) if entry.touches(tag.tag)), None)
        return State(head.name, tag.tag, tag.n, tag.kind, tag.content, entry)

    def _newest(self, head: Head, wanted: InRange) -> State:
        found = [
            (version.precedence, record.n, record)
            for record in self._archive.records(head).values()
            if isinstance(record, TagState) and record.kind is TagKind.VERSION
            if (version := parse_version(record.tag)) is not None and wanted.range.includes(version)
        ]
        if not found:
            raise TagMissing(head.name, f"version in the range {wanted.range.text!r}")
        return self._tagged(head, max(found, key=lambda item: item[:2])[2])

    def _on_day(self, head: Head, day: datetime.date, channel: str) -> State:
        end_ns = (day.toordinal() + 1 - _EPOCH) * _DAY_NS
        entry = next((e for e in lived(self._archive, head, before_ns=end_ns) if e.touches(channel)), None)
        if entry is None or entry.content is None or channel not in entry.tags:
            raise TagMissing(head.name, f"channel {channel!r} on {day.isoformat()}")
        return State(head.name, channel, 0, TagKind.CHANNEL, entry.content, entry)

    def _by_digest(self, head: Head, digits: str) -> State:
        found: dict[str, State] = {}
        for content, entry in self._contents(head):
            if content.manifest.startswith(digits):
                entry = entry or _newest_entry(head, content.manifest)
                found.setdefault(content.manifest, State(head.name, None, 0, None, content, entry))
                if len(found) > 1 or len(digits) >= _UNIQUE_DIGITS:
                    break
        if not found:
            raise TagMissing(head.name, f"state b3-{digits}")
        if len(found) > 1:
            both = " and ".join(f"b3-{manifest[: len(digits) + 8]}" for manifest in sorted(found))
            raise BadName(f"{head.name}@b3-{digits}", f"fits {both}; give more digits")
        return next(iter(found.values()))

    def _contents(self, head: Head) -> Iterator[tuple[Content, HistoryEntry | None]]:
        """Yield all states that the dataset has or had, those at hand first."""
        for record in head.tags.values():
            if isinstance(record, TagState):
                yield record.content, None
        for entry in lived(self._archive, head):
            if entry.content is not None:
                yield entry.content, entry

    def _advance(
        self,
        head: Head,
        plan: Plan,
        op: Op,
        operation: str,
        content: Content | None,
        *,
        message: str,
        by: str,
        origin: int | None = None,
    ) -> Head:
        return advance(
            head,
            plan.records,
            now_ns=self._objects.now_ns(),
            op=op,
            operation=operation,
            tags=plan.tags,
            content=content,
            origin=origin,
            message=message,
            by=by,
        )

    def _commit(self, name: str, step: Callable[[Head, str], tuple[Head, Plan] | None]) -> Change:
        parse_dataset(name)
        self._root = refreshed(self._objects, self._root)
        self._root.require("write")
        key = dataset_key(name)
        plan, own = Plan((), {}), ""

        def decide(old: bytes | None, operation: str) -> bytes | None:
            nonlocal plan, own
            own = operation
            head = self._decoded(name, old)
            made = step(head, operation)
            if made is None:
                plan = Plan((), {})
                return None
            new, plan = made
            data = encode_head(self._archive.spill(new))
            if len(data) > HEAD_LIMIT:
                raise ObjectCorrupt(key, f"its next generation would take {len(data)} bytes, at most {HEAD_LIMIT}")
            return data

        committed = commit.compare_and_set(self._objects, key, decide, sleep=self._sleep, jitter=self._jitter)
        head = self._decoded(name, committed.data)
        self._remember(name, _Remembered(head, committed.etag, len(committed.data or b""), self._clock()))
        if committed.written:
            self._hint(name, head)
        entry = next((entry for entry in reversed(head.history) if entry.operation == own), None)
        return Change(head, plan.tags, entry)

    def _hint(self, name: str, head: Head) -> None:
        """Tell gateways that something below the name's prefix changed. They look by themselves now and then, too."""
        try:
            self._objects.put(change_key(name_prefix(name)), head.operations[-1][1].encode())
        except (Unavailable, Refused):
            return  # the commit is done: failing now would say the opposite

    def _refresh(self, name: str, known: _Remembered | None) -> _Remembered:
        asked_s = self._clock()
        try:
            found = self._objects.fetch(dataset_key(name), unless=known.etag if known and known.etag else None)
        except ObjectMissing:
            self._decoded(name, None)
            fresh = _Remembered(None, "", 0, asked_s)
        else:
            if found is not None:
                fresh = _Remembered(self._decoded(name, found.data), found.etag, len(found.data), asked_s)
            else:
                fresh = known._replace(checked_s=asked_s) if known else _Remembered(None, "", 0, asked_s)
        self._remember(name, fresh)
        return fresh

    def _decoded(self, name: str, data: bytes | None) -> Head:
        """Read a head, `None` where there is none, and hold it against what was seen of it before.

        Others may have committed since it was read, and told us: what counts is that the store has it now.
        """
        head = Head(name) if data is None else decode_head(name, data)
        try:
            self._seen(name, head.seq)
        except Replayed as error:
            try:
                now = decode_head(name, self._objects.get(dataset_key(name))).seq
            except ObjectMissing:
                now = 0
            if now < error.seen:
                raise
        return head

    def _remember(self, name: str, fresh: _Remembered) -> None:
        with self._lock:
            old = self._heads.get(name)
            if old and old.head and fresh.head and old.head.seq > fresh.head.seq:
                return  # another thread asked later than we did, and was told of a later generation
            self._heads.pop(name, None)
            self._heads_size += fresh.size - (old.size if old else 0)
            self._heads[name] = fresh
            while self._heads_size > HEADS_SIZE or len(self._heads) > HEADS_COUNT:
                _, dropped = self._heads.popitem(last=False)
                self._heads_size -= dropped.size


def _newest_entry(head: Head, manifest: str) -> HistoryEntry | None:
    """Find the last commit at hand that set a tag to a state."""
    return next((e for e in reversed(head.history) if e.content and e.content.manifest == manifest), None)


def _alive(head: Head) -> Head:
    if head.seq == 0 or head.deleted:
        raise DatasetMissing(head.name)
    return head
