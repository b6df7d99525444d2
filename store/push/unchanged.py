"""Remembers how each file looked when it was last pushed, so that the next push need not read it again.

A small file in the user's state directory, one for each (store, source folder, dataset). Losing it costs only time.
It holds

    "AFUN", u32 version 1, id of the manifest (32), its root (32), u64 number of rows, then in the order of the
    manifest's records rows of 40 bytes: device, inode, size (u64), mtime, ctime (ns, i64); all zero where a file is
    not to be trusted

A file whose times lie within `SETTLED_NS` of the moment it was read is not trusted: it may have been written again
within the clock's grain. ctime counts, because it alone moves when a program sets mtime back. One thread.
"""

import contextlib
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from store.errors import Corrupt, FeatureMissing, Missing
from store.kinds import Kind
from store.manifest.build import Built, Content, Item, outline
from store.manifest.layout import Section
from store.manifest.view import Manifest, Record
from store.push.source import Identity

HEAD: Final = struct.Struct("<4sI32s32sQ")
ROW: Final = struct.Struct("<QQQqq")
MAGIC: Final = b"AFUN"
SETTLED_NS: Final = 2_000_000_000

Open = Callable[[bytes, bytes], Manifest]  # (id, root) -> manifest


class _Last(NamedTuple):
    id: bytes
    root: bytes
    records: int
    rows: memoryview


def _read(path: Path) -> _Last | None:
    try:
        data = path.read_bytes()
        magic, version, id, root, count = HEAD.unpack_from(data)
    except (OSError, struct.error):
        return None
    if magic != MAGIC or version != 1 or len(data) != HEAD.size + count * ROW.size:
        return None
    return _Last(id, root, count, memoryview(data)[HEAD.size :])


class Whole(NamedTuple):
    """A tree that is, as a whole, what was pushed last."""

    manifest: Manifest  # of the last push
    built: Built  # the same state; without bytes to be written, as it is there


def whole(
    path: Path, top: Item, identities: Mapping[int, Identity], started_ns: int, open_manifest: Open
) -> Whole | None:
    """Tell whether a scanned tree is entirely what was pushed last; its items need no content for that.

    It is when each file looks as it is written down for the same record, and the id, which covers every name, kind,
    size, time, executable bit and link, is the last one's too. What is written down then stays as it is.

    Args:
        path: where the last push's record lies.
        top: the tree.
        identities: how each file looks now, by `id(item)`.
        started_ns: the local clock before anything was looked at.
        open_manifest: opens the manifest of the last push.

    Returns:
        `None` where anything differs, is doubtful or damaged; `fill_in` then finds what is the same.
    """
    last = _read(path)
    if last is None:
        return None
    outlined = outline(top)
    if len(outlined.order) != last.records:
        return None
    trusted_until = started_ns - SETTLED_NS
    looks = map(identities.get, map(builtin_id, outlined.order))
    for item, seen, row in zip(outlined.order, looks, ROW.iter_unpack(last.rows), strict=True):
        if seen is None:
            if item.kind == Kind.FILE:
                return None
        elif seen != row or seen.mtime_ns >= trusted_until or seen.ctime_ns >= trusted_until:
            return None
    try:
        manifest = open_manifest(last.id, last.root)
        same = manifest.root == last.root and outlined.id(manifest.pages(Section.SHA256)) == manifest.id
        if not same:
            return None
        for kind in manifest.contents.sections:  # a damaged page must not get another tag
            for _ in manifest.pages(kind):
                pass
    except (Missing, Corrupt, FeatureMissing):
        return None
    return Whole(
        manifest,
        Built(manifest.id, manifest.root, b"", last.records, outlined.files, outlined.size, outlined.order),
    )


def fill_in(path: Path, top: Item, identities: Mapping[int, Identity], open_manifest: Open) -> Manifest | None:
    """Give every unchanged file of a scanned tree the content it had when it was last pushed.

    Args:
        path: where the last push's record lies.
        top: the tree; items of unchanged files get their `content`.
        identities: how each file looks now, by `id(item)`.
        open_manifest: opens the manifest of the last push.

    Returns:
        The last push's manifest, or `None` where there is nothing to compare with.
    """
    last = _read(path)
    if last is None:
        return None
    try:
        manifest = open_manifest(last.id, last.root)
        if manifest.records != last.records:
            return None
        near = manifest.near()
        for item, number, record in _pairs(top, manifest):
            seen = identities.get(builtin_id(item))
            if seen is not None and seen == Identity(*ROW.unpack_from(last.rows, number * ROW.size)):
                extents = near.extents(record)
                item.content = Content(near.sha256(record.first), near.md5(record.first), extents)
                item.size = record.size
        return manifest
    except (Missing, Corrupt, FeatureMissing):  # gone or damaged: everything is read again
        return None


def builtin_id(item: Item) -> int:
    """Return the key of an item in a mapping of identities."""
    return id(item)


def _pairs(top: Item, manifest: Manifest) -> Iterator[tuple[Item, int, Record]]:
    """Yield the files that stand in both trees at the same path, with the record of the second."""
    folders = {0: {item.name: item for item in top.children}}
    for number, path, record in manifest.walk():
        here = folders.get(record.parent)
        item = here.get(path.rpartition(b"/")[2]) if here else None
        if item is None or item.kind != record.kind:
            continue
        if record.kind == Kind.FOLDER:
            folders[number] = {child.name: child for child in item.children}
        elif record.kind == Kind.FILE:
            yield item, number, record


def remember(path: Path, built: Built, identities: Mapping[int, Identity], started_ns: int) -> None:
    """Write down how the files of a push looked. Best effort: a failure costs the next push its time.

    Args:
        path: where.
        built: the manifest that was published.
        identities: how each file looked when it was read, by `id(item)`.
        started_ns: the local clock before anything was read.
    """
    trusted_until = started_ns - SETTLED_NS
    nothing = bytes(ROW.size)
    rows = bytearray(HEAD.pack(MAGIC, 1, built.id, built.root, built.records))
    for item in built.order:
        seen = identities.get(builtin_id(item))
        trusted = seen is not None and max(seen.mtime_ns, seen.ctime_ns) < trusted_until
        rows += ROW.pack(*seen) if trusted and seen is not None else nothing
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(rows)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
