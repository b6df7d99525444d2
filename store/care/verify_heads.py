"""The upper part of a check: the store's record, every dataset's head and segments, and the states that they name.

Heads that other programs wrote need not carry a sum of themselves, so everything in one is held against the rest: its
numbers, its times, its tags against its history, and what it says of states against the states. One thread.
docs/format.md, Dataset heads and Segments.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from store import jsondoc
from store.care.findings import Findings
from store.catalogue.catalogue import Seen
from store.catalogue.head import (
    HEAD_LIMIT,
    Content,
    Head,
    HistoryEntry,
    HistoryRef,
    Record,
    TagState,
    decode_head,
    encode_head,
    entry_of,
    history_ref_of,
    looks_deleted,
    records_of,
)
from store.catalogue.history import SEGMENT_LIMIT
from store.catalogue.refs import fold, is_dataset
from store.digest import stored_digest
from store.errors import Corrupt, FeatureMissing, ObjectCorrupt, ObjectMissing, Replayed, StoreMissing
from store.layout import DATASETS, ROOT_KEY, dataset_key, dataset_of_key, history_key
from store.objects.base import ObjectStore
from store.root import StoreRoot, encode_root, open_store, refreshed

HISTORY: Final = "history/"


@dataclass(slots=True)
class Named:
    """A state that something names."""

    content: Content
    source: str  # key of the head (or segment) that says so
    names: list[str] = field(default_factory=list)


class Heads:
    """Goes through heads and collects the states they name."""

    def __init__(
        self, objects: ObjectStore, findings: Findings, root: StoreRoot | None = None,
        told: Seen = lambda name, seq: None,
    ) -> None:  # fmt: skip
        """Start.

        Args:
            objects: the store.
            findings: what is found goes there.
            root: the record of an encrypted store, as it was opened.
            told: of heads that are read; raises `Replayed` where a later one was seen before.
        """
        self._objects, self._findings, self._root, self._told = objects, findings, root, told
        self.states: dict[Content, Named] = {}
        self._seen: set[str] = set()  # names, some 100 bytes each
        self.heads = 0
        self.segments = 0

    def check_root(self) -> None:
        """Check the store's record.

        Raises:
            StoreMissing: there is none, and no dataset either.
            FeatureMissing: the store needs something that this program can't do.
        """
        try:
            known = self._root
            root = open_store(self._objects) if known is None or known.keys is None else refreshed(self._objects, known)
            absent = _absent(self._objects.get(ROOT_KEY), encode_root(root, ""))
            if absent:
                self._findings.add(ROOT_KEY, f"it lacks {', '.join(absent)}")
            if root.operations and root.operations[-1][0] != root.seq:
                last = root.operations[-1][0]
                self._findings.add(ROOT_KEY, f"its generation is {root.seq}, its last operation was {last}")
        except ObjectCorrupt as error:
            self._findings.add(error.key, error.why)
        except StoreMissing:
            if next(self._objects.list(DATASETS), None) is None:
                raise
            self._findings.add(ROOT_KEY, "it is not there, though datasets are", missing=True)

    def check_all(self) -> Iterator[str]:
        """Check every head; yield each dataset's name as it is done."""
        for info in self._objects.list(DATASETS):
            name = dataset_of_key(info.key)
            if name is None or not is_dataset(name):
                self._findings.add(info.key, "no dataset can have this key")
                continue
            self.check(name)
            yield name

    def check_orphans(self) -> None:
        """Note the heads that must have been there, because history of theirs is: after `check_all`."""
        for info in self._objects.list(HISTORY):
            name = info.key.removeprefix(HISTORY).rpartition("/")[0]
            if is_dataset(name) and name not in self._seen:
                self.check(name)

    def check(self, name: str) -> Head | None:
        """Check one dataset's head and segments, and note the states that it names."""
        key = dataset_key(name)
        self.heads += 1
        self._seen.add(name)
        try:
            head, data = self._head(name)
            try:
                self._told(name, head.seq)
            except Replayed as error:  # or somebody has published meanwhile, and told us: what counts is what is there
                head, data = self._head(name)
                if head.seq < error.seen:
                    self._findings.add(key, str(error), names=[name])
        except ObjectMissing:
            self._findings.add(key, "it is not there", missing=True, names=[name])
            return None
        except Corrupt as error:
            self._findings.add(key, _why(error), names=[name])
            return None
        absent = _absent(data, encode_head(head))
        if absent:
            self._findings.add(key, f"it lacks {', '.join(absent)}", names=[name])
        for fault in _contradictions(head):
            self._findings.add(key, fault, names=[name])
        if looks_deleted(len(data)) != head.deleted:
            self._findings.add(key, "its length and its mark of deletion contradict each other", names=[name])
        self._collect(head, key)
        return head

    def _head(self, name: str) -> tuple[Head, bytes]:
        key = dataset_key(name)
        fetched = self._objects.fetch(key)
        data = fetched.data if fetched else b""
        if len(data) > HEAD_LIMIT:
            raise ObjectCorrupt(key, f"it takes {len(data)} bytes, at most {HEAD_LIMIT}")
        return decode_head(name, data), data

    def _collect(self, head: Head, key: str) -> None:
        """Note the states that a head names, and hold its tags against its history."""
        segments_with_faults = len(self._findings)
        records = {} if head.deleted else self._records(head, key)
        for record, source in records.values():
            if isinstance(record, TagState):
                self._note(record.content, source, f"{head.name}:{record.tag}")
        last: dict[str, HistoryEntry] = {}  # by folded name: the entry that changed a tag last
        for entry, source in self._entries(head, key):
            if entry.time_ns < head.created_ns or head.deleted:
                continue  # of a dataset of this name that was removed
            for tag in entry.tags:
                if fold(tag) not in last or last[fold(tag)].n < entry.n:
                    last[fold(tag)] = entry
            if entry.content is not None:
                known = self.states.get(entry.content)
                if known is None or not any(name.startswith(f"{head.name}:") for name in known.names):
                    self._note(entry.content, source, f"{head.name}@b3-{entry.content.manifest[:12]}")
        if len(self._findings) == segments_with_faults:
            for folded in records.keys() | last.keys():
                known_tag = records.get(folded)
                if not _agree(known_tag[0] if known_tag else None, last.get(folded)):
                    tag, source = (known_tag[0].tag, known_tag[1]) if known_tag else (folded, key)
                    why = f"what it says of the tag {tag!r} is not what its history says"
                    self._findings.add(source, why, names=[f"{head.name}:{tag}"])

    def _records(self, head: Head, key: str) -> dict[str, tuple[Record, str]]:
        """Return all that is known of tags, by folded name, and the object that says so."""
        records: dict[str, tuple[Record, str]] = {}
        for ref in head.tagged:
            source = history_key(head.name, ref.n, ref.digest)
            fields = self._segment(head.name, source, ref.digest)
            if fields is not None:
                try:
                    records |= {folded: (record, source) for folded, record in records_of(fields).items()}
                except Corrupt as error:
                    self._findings.add(source, _why(error), names=[head.name])
        return records | {folded: (record, key) for folded, record in head.tags.items()}

    def _note(self, content: Content, source: str, name: str) -> None:
        named = self.states.setdefault(content, Named(content, source))
        if name not in named.names:
            named.names.append(name)

    def _entries(self, head: Head, key: str) -> Iterator[tuple[HistoryEntry, str]]:
        waiting = list(head.older)
        while waiting:
            ref = waiting.pop()
            source = history_key(head.name, ref.n, ref.digest)
            fields = self._segment(head.name, source, ref.digest)
            if fields is None:
                continue
            try:
                if ref.level:
                    waiting += self._below(fields, ref, source)
                else:
                    for item in fields.objects("entries"):
                        yield entry_of(item), source
            except Corrupt as error:
                self._findings.add(source, _why(error), names=[head.name])
        for entry in head.history:
            yield entry, key

    def _below(self, fields: jsondoc.Fields, ref: HistoryRef, source: str) -> list[HistoryRef]:
        refs = [history_ref_of(item) for item in fields.objects("refs")]
        if any(below.level >= ref.level for below in refs):
            raise ObjectCorrupt(source, "a segment's level does not fall")
        return refs

    def _segment(self, dataset: str, key: str, digest: str) -> jsondoc.Fields | None:
        self.segments += 1
        try:
            data = self._objects.get(key, size=SEGMENT_LIMIT + 1)
            actual = stored_digest(data).hex()
            if actual != digest:
                raise ObjectCorrupt(key, f"its digest is {actual[:12]}, the head says {digest[:12]}")
            return jsondoc.decode(key, data, limit=SEGMENT_LIMIT)
        except ObjectMissing:
            self._findings.add(key, "it is not there", missing=True, names=[dataset])
        except Corrupt as error:
            self._findings.add(key, _why(error), names=[dataset])
        return None


def _contradictions(head: Head) -> Iterator[str]:
    """Yield what cannot be true at once in a head."""
    sequence = [seq for seq, _ in head.operations]
    if not sequence or sequence[-1] != head.seq or any(later != one + 1 for one, later in pairwise(sequence)):
        yield f"its generation is {head.seq}, its last operations are {sequence[-3:]}"
    history = head.history
    numbers = [entry.n for entry in history]
    if any(later != one + 1 for one, later in pairwise(numbers)) or (numbers and numbers[-1] + 1 != head.next_entry):
        yield f"the numbers of its entries do not follow one another up to {head.next_entry - 1}"
    times = [entry.time_ns for entry in history]
    if any(later <= one for one, later in pairwise(times)) or (times and times[-1] != head.changed_ns):
        yield "the times of its entries do not grow up to its last change"
    if head.older and numbers and head.older[-1].last + 1 != numbers[0]:
        yield f"its older history ends at {head.older[-1].last}, the newer begins at {numbers[0]}"
    tags = [record for record in head.tags.values() if isinstance(record, TagState)]
    if len({tag.n for tag in tags}) != len(tags) or any(not 0 < tag.n < head.next_tag for tag in tags):
        yield "two of its tags have one number, or one that was never given"
    if any(tag.moved_ns > head.changed_ns for tag in tags):
        yield "one of its tags moved after its last change"


def _agree(record: Record | None, last: HistoryEntry | None) -> bool:
    """Tell whether a tag is what the entry that changed it last made of it."""
    if isinstance(record, TagState):
        return (
            last is not None
            and record.tag in last.tags
            and (last.content, last.time_ns) == (record.content, record.moved_ns)
        )
    return last is None or last.content is None


def _absent(data: bytes, expected: bytes) -> list[str]:
    """Return the fields that a JSON object lacks, of those that every writer writes: a reader takes them as empty.

    Only the sum may be left out.
    """
    absent: list[str] = []
    waiting: list[tuple[str, Any, Any]] = [("", json.loads(data), json.loads(expected))]
    while waiting:
        at, found, wanted = waiting.pop()
        if isinstance(wanted, dict) and isinstance(found, dict):
            absent += [f"{at}{name}" for name in wanted if name not in found and name != "sum"]
            waiting += [(f"{at}{name}.", found[name], wanted[name]) for name in wanted if name in found]
        elif isinstance(wanted, list) and isinstance(found, list):
            waiting += [(at, one, other) for one, other in zip(found, wanted, strict=False)]
    return sorted(absent)


def _why(error: Corrupt | FeatureMissing) -> str:
    return error.why if isinstance(error, ObjectCorrupt) else str(error)
