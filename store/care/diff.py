"""Tells two states apart: a streaming merge of two manifests, folder by folder, in memory that does not grow with them.

Entries of a folder are sorted by name in both, so one step of the merge needs one entry of each; runs that are the same
in both are passed over at once. Depth first, so what is held is one place in each folder on the way down. `needed`
tells what a pull has to fetch for the second state where the first is at hand. Pure but for reading manifests; one
thread each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from store.care.digestsets import digests_of, parts_of
from store.kinds import Kind
from store.manifest.view import Manifest, Record

What = Literal["added", "removed", "changed", "touched"]
Aspect = Literal["kind", "content", "executable", "target", "time"]

RUN: Final = 1024  # entries of a folder that are compared at once
_ROOT: Final = b""


class Side(NamedTuple):
    """An entry in one of the states."""

    kind: Kind
    size: int  # bytes of a file; 0 of anything else
    executable: bool
    mtime_ns: int
    sha256: bytes  # of a file, else empty
    target: bytes  # of a link, else empty


class Difference(NamedTuple):
    """One entry that is not the same in both states."""

    path: bytes  # below the root, without a leading slash; empty for the root itself
    what: What  # "touched": nothing but its time differs
    aspects: tuple[Aspect, ...]  # what differs; empty where it is added or removed
    before: Side | None
    after: Side | None


class Needed(NamedTuple):
    """Chunks that the second state has and the first has not."""

    chunks: int
    plain: int  # bytes of them
    stored: int  # bytes as stored: what has to be fetched


@dataclass(slots=True)
class Summary:
    """Counts of differences, entries of all kinds; bytes are those of files."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    touched: int = 0
    bytes_added: int = 0
    bytes_removed: int = 0
    bytes_changed: int = 0  # size, in the second state, of files whose content changed

    def count(self, difference: Difference) -> None:
        """Take one difference into account."""
        setattr(self, difference.what, getattr(self, difference.what) + 1)
        before = difference.before.size if difference.before else 0
        after = difference.after.size if difference.after else 0
        if "content" in difference.aspects:
            self.bytes_changed += after
        elif "kind" in difference.aspects or difference.what in ("added", "removed"):
            self.bytes_added += after
            self.bytes_removed += before


def differences(before: Manifest, after: Manifest) -> Iterator[Difference]:
    """Yield what differs, a folder before what lies in it, entries of a folder by name.

    What lies in a folder that was added or removed is yielded too, entry by entry.

    Raises:
        ObjectCorrupt: a manifest that cannot be.  What the object store raises.
    """
    if before.id == after.id:
        return
    before, after = before.near(), after.near()
    top = _entry(_ROOT, before, (0, before.record(0)), after, (0, after.record(0)))
    if top is not None:
        yield top
    stack = [_merged(_ROOT, before, (0, before.record(0)), after, (0, after.record(0)))]
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
            continue
        path, old, new = step
        found = _entry(path, before, old, after, new)
        if found is not None:
            yield found
        old_folder = old if old and old[1].kind is Kind.FOLDER else None
        new_folder = new if new and new[1].kind is Kind.FOLDER else None
        if old_folder or new_folder:
            stack.append(_merged(path, before, old_folder, after, new_folder))


def needed(before: Manifest, after: Manifest) -> Needed:
    """Return which chunks the second state needs beyond the first.

    Raises:
        ObjectCorrupt: a manifest that cannot be.  What the object store raises.
    """
    chunks = plain = stored = 0
    if before.id == after.id:
        return Needed(0, 0, 0)
    after = after.near()
    parts = parts_of(before.blocks)
    for part in range(parts):
        known = {digest for _, digest in digests_of(before, part, parts)}
        for row, digest in digests_of(after, part, parts):
            if digest not in known:
                block = after.block(row)
                chunks, plain, stored = chunks + 1, plain + block.plain, stored + block.stored
    return Needed(chunks, plain, stored)


_Numbered = tuple[int, Record]
_Named = tuple[int, bytes, Record]
_Pair = tuple[bytes, _Numbered | None, _Numbered | None]  # a path or name, the entry before, the entry after


def _merged(
    base: bytes, before: Manifest, old: _Numbered | None, after: Manifest, new: _Numbered | None
) -> Iterator[_Pair]:
    """Yield the entries of one folder, by name; of runs that are the same in both, the folders alone."""
    at, then = 0, 0  # positions in the two folders
    size, then_size = (folder[1].size if folder else 0 for folder in (old, new))
    while at < size or then < then_size:
        count = min(RUN, size - at, then_size - then)
        if old and new and count:
            run = before.run(old[1].first + at, count)
            if run is not None and run == after.run(new[1].first + then, count):
                for position in run.folders:
                    one, other = old[1].first + at + position, new[1].first + then + position
                    record = before.record(one)
                    yield _below(base, before.name(record)), (one, record), (other, after.record(other))
                at, then = at + count, then + count
                continue
        stop, then_stop = (at + count, then + count) if count else (size, then_size)
        for name, taken, given in _by_name(_entries(before, old, at), _entries(after, new, then)):
            yield _below(base, name), taken, given
            at, then = at + (taken is not None), then + (given is not None)
            if at >= stop and then >= then_stop:
                break


def _by_name(left: Iterator[_Named], right: Iterator[_Named]) -> Iterator[_Pair]:
    one, other = next(left, None), next(right, None)
    while one or other:
        name = min(entry[1] for entry in (one, other) if entry)
        taken = (one[0], one[2]) if one and one[1] == name else None
        given = (other[0], other[2]) if other and other[1] == name else None
        yield name, taken, given
        one = next(left, None) if taken else one
        other = next(right, None) if given else other


def _entries(manifest: Manifest, folder: _Numbered | None, start: int) -> Iterator[_Named]:
    if folder is not None:
        number, record = folder
        yield from manifest.entries(number, record, start, record.size)


def _below(base: bytes, name: bytes) -> bytes:
    return b"/".join((base, name)) if base else name


def _entry(
    path: bytes, before: Manifest, old: _Numbered | None, after: Manifest, new: _Numbered | None
) -> Difference | None:
    one = _side(before, old[1]) if old else None
    other = _side(after, new[1]) if new else None
    if one is None or other is None:
        return Difference(path, "removed" if other is None else "added", (), one, other)
    if one == other:
        return None
    aspects = tuple(_aspects(one, other))
    return Difference(path, "touched" if aspects == ("time",) else "changed", aspects, one, other)


def _aspects(before: Side, after: Side) -> Iterator[Aspect]:
    if before.kind != after.kind:
        yield "kind"
    else:
        if (before.size, before.sha256) != (after.size, after.sha256):
            yield "content"
        if before.executable != after.executable:
            yield "executable"
        if before.target != after.target:
            yield "target"
    if before.mtime_ns != after.mtime_ns:
        yield "time"


def _side(manifest: Manifest, record: Record) -> Side:
    is_file = record.kind is Kind.FILE
    return Side(
        record.kind,
        record.size if is_file else 0,
        is_file and record.executable,
        record.mtime_ns,
        manifest.sha256(record.first) if is_file else b"",
        manifest.link(record) if record.kind is Kind.LINK else b"",
    )
