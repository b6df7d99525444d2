"""What a dataset's head has no room for: segments of older history and of rarely moved tags, written once.

History is a tree that grows at its newest end: level 0 holds entries; when 32 segments of one level have gathered, they
are folded into one of the next level, so that a head names at most 31 a level, and three levels hold millions of moves.
Tags lie in segments of which later ones override earlier ones; a new segment swallows the last ones while they are no
more than twice its size, so that there are about log2(tags) of them and each tag is rewritten about as often.

A segment's key holds its number and its digest, so that two writers who spill at once never overwrite each other; one
that no head names is left for deletion to sweep. Segments are written before the head that names them.

Any thread; blocks on the store. Decoded segments are kept in a bounded memory cache. docs/format.md, Segments.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from store import jsondoc
from store.catalogue.head import (
    Head,
    HistoryEntry,
    HistoryRef,
    Record,
    Removed,
    TagsRef,
    TagState,
    encode_head,
    entry_json,
    entry_of,
    history_ref_json,
    history_ref_of,
    records_json,
    records_of,
)
from store.digest import stored_digest
from store.errors import ObjectCorrupt
from store.layout import history_key
from store.objects.base import ObjectStore

SPILL_FROM: Final = 192 * 1024  # bytes of a head; leaves a quarter of its limit for what one commit adds
KEEP: Final = 48 * 1024  # bytes of the newest history, and of the tags moved last, that stay in the head
FAN_OUT: Final = 32  # segments of one level that are folded into one
SEGMENT_TAGS: Final = 50_000  # most tags of one segment, about 17 MB
SEGMENT_LIMIT: Final = 32 * 1024 * 1024  # bytes of one segment
CACHE_SIZE: Final = 64 * 1024 * 1024  # bytes of decoded segments that are kept
DECODED: Final = 3  # a decoded segment takes about so many times its encoded bytes

Entries = tuple[HistoryEntry, ...]
Refs = tuple[HistoryRef, ...]
Records = Mapping[str, Record]


class Archive:
    """Spills heads into segments, and reads heads and segments as one."""

    def __init__(
        self, objects: ObjectStore, *, spill_from: int = SPILL_FROM, keep: int = KEEP, cache_size: int = CACHE_SIZE
    ) -> None:
        self._objects, self._spill_from, self._keep = objects, spill_from, keep
        self._cache = _Cache(cache_size)

    @property
    def cached(self) -> int:
        """Return how many bytes of decoded segments are kept, about."""
        return self._cache.used

    def spill(self, head: Head) -> Head:
        """Return the head, small enough to be written; what it lost lies in segments that are durable by then."""
        if len(encode_head(head)) <= self._spill_from:
            return head
        head = self._spill_history(head)
        if len(encode_head(head)) > self._spill_from // 2:
            head = self._spill_tags(head)
        return head

    def record(self, head: Head, folded: str) -> Record | None:
        """Find what is known of one tag, by its folded name."""
        if folded in head.tags:
            return head.tags[folded]
        for ref in reversed(head.tagged):
            records = self._records(head.name, ref)
            if folded in records:
                return records[folded]
        return None

    def records(self, head: Head) -> dict[str, Record]:
        """Return all that is known of the dataset's tags, removed ones too, by folded name."""
        merged: dict[str, Record] = {}
        for ref in head.tagged:
            merged.update(self._records(head.name, ref))
        merged.update(head.tags)
        return merged

    def entries(self, head: Head, *, before_ns: int | None = None) -> Iterator[HistoryEntry]:
        """Yield history, newest first; with `before_ns` only what is older, without reading what is not."""
        for entry in reversed(head.history):
            if before_ns is None or entry.time_ns < before_ns:
                yield entry
        yield from self._below(head.name, head.older, before_ns)

    def _below(self, dataset: str, refs: Refs, before_ns: int | None) -> Iterator[HistoryEntry]:
        for ref in reversed(refs):
            if before_ns is not None and ref.since_ns >= before_ns:
                continue
            if ref.level:
                yield from self._below(dataset, self._refs(dataset, ref), before_ns)
            else:
                for entry in reversed(self._entries(dataset, ref)):
                    if before_ns is None or entry.time_ns < before_ns:
                        yield entry

    def _spill_history(self, head: Head) -> Head:
        kept = room = 0
        for entry in reversed(head.history):
            room += len(jsondoc.encode(entry_json(entry)))
            if kept and room > self._keep:
                break
            kept += 1
        old = head.history[:-kept]
        if not old:
            return head
        digest = self._write(head.name, head.next_segment, {"entries": [entry_json(entry) for entry in old]})
        ref = HistoryRef(head.next_segment, 0, old[0].n, old[-1].n, old[0].time_ns, old[-1].time_ns, digest)
        head = replace(head, history=head.history[-kept:], older=(*head.older, ref), next_segment=head.next_segment + 1)
        return self._fold(head)

    def _fold(self, head: Head) -> Head:
        level = 0
        while True:
            same = [ref for ref in head.older if ref.level == level]
            if len(same) < FAN_OUT:
                return head
            digest = self._write(head.name, head.next_segment, {"refs": [history_ref_json(ref) for ref in same]})
            one = HistoryRef(
                n=head.next_segment,
                level=level + 1,
                first=same[0].first,
                last=same[-1].last,
                since_ns=same[0].since_ns,
                until_ns=same[-1].until_ns,
                digest=digest,
            )
            above = tuple(ref for ref in head.older if ref.level > level)
            head = replace(head, older=(*above, one), next_segment=head.next_segment + 1)
            level += 1

    def _spill_tags(self, head: Head) -> Head:
        newest = sorted(
            (record for record in head.tags.items() if isinstance(record[1], TagState)),
            key=lambda item: item[1].moved_ns if isinstance(item[1], TagState) else 0,
            reverse=True,
        )
        kept: dict[str, Record] = {}
        room = 0
        for folded, record in newest:
            room += len(jsondoc.encode(records_json({folded: record})))
            if room > self._keep:
                break
            kept[folded] = record
        moved = {folded: record for folded, record in head.tags.items() if folded not in kept}
        if not moved:
            return head
        tagged = list(head.tagged)
        while tagged and tagged[-1].count <= 2 * len(moved) and tagged[-1].count + len(moved) <= SEGMENT_TAGS:
            moved = {**self._records(head.name, tagged.pop()), **moved}
        if not tagged:  # a removed channel has nothing below it any more that it would have to hide
            moved = {
                folded: record for folded, record in moved.items() if not isinstance(record, Removed) or record.manifest
            }
        number = head.next_segment
        left = list(moved.items())
        while left:  # more than one segment holds only where a dataset with very many versions is removed
            part, left = dict(left[:SEGMENT_TAGS]), left[SEGMENT_TAGS:]
            tagged.append(TagsRef(number, len(part), self._write(head.name, number, records_json(part))))
            number += 1
        return replace(head, tags=kept, tagged=tuple(tagged), next_segment=number)

    def _write(self, dataset: str, number: int, body: dict[str, Any]) -> str:
        data = jsondoc.encode({"dataset": dataset, **body})
        digest = stored_digest(data).hex()
        self._objects.put(history_key(dataset, number, digest), data)
        return digest

    def _read(self, dataset: str, n: int, digest: str) -> tuple[jsondoc.Fields, int]:
        key = history_key(dataset, n, digest)
        data = self._objects.get(key, size=SEGMENT_LIMIT + 1)
        actual = stored_digest(data).hex()
        if actual != digest:
            raise ObjectCorrupt(key, f"its digest is {actual[:12]}, the head says {digest[:12]}")
        return jsondoc.decode(key, data, limit=SEGMENT_LIMIT), len(data)

    def _entries(self, dataset: str, ref: HistoryRef) -> Entries:
        held = self._cache.get("entries", ref.digest)
        if held is None:
            fields, size = self._read(dataset, ref.n, ref.digest)
            held = tuple(entry_of(item) for item in fields.objects("entries"))
            self._cache.put("entries", ref.digest, held, size)
        entries: Entries = held
        return entries

    def _refs(self, dataset: str, ref: HistoryRef) -> Refs:
        held = self._cache.get("refs", ref.digest)
        if held is None:
            fields, size = self._read(dataset, ref.n, ref.digest)
            held = tuple(history_ref_of(item) for item in fields.objects("refs"))
            if any(below.level >= ref.level for below in held):
                raise ObjectCorrupt(history_key(dataset, ref.n, ref.digest), "a segment's level does not fall")
            self._cache.put("refs", ref.digest, held, size)
        refs: Refs = held
        return refs

    def _records(self, dataset: str, ref: TagsRef) -> Records:
        held = self._cache.get("tags", ref.digest)
        if held is None:
            fields, size = self._read(dataset, ref.n, ref.digest)
            held = records_of(fields)
            self._cache.put("tags", ref.digest, held, size)
        records: Records = held
        return records


class _Cache:
    """Decoded segments by what they were read as and digest, least recently used out first."""

    def __init__(self, size: int) -> None:
        self._limit, self.used = size, 0
        self._held: OrderedDict[tuple[str, str], tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, read_as: str, digest: str) -> Any:
        with self._lock:
            if (read_as, digest) not in self._held:
                return None
            self._held.move_to_end((read_as, digest))
            return self._held[read_as, digest][0]

    def put(self, read_as: str, digest: str, value: Any, encoded: int) -> None:
        size = DECODED * encoded
        if size > self._limit:
            return
        with self._lock:
            if (read_as, digest) not in self._held:
                self._held[read_as, digest] = (value, size)
                self.used += size
            while self.used > self._limit:
                _, (_, freed) = self._held.popitem(last=False)
                self.used -= freed
