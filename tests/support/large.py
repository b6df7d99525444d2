"""Large stores in folders, made fast: what would be 100,000 pushes, or a push of a million files, is written in one go.

The objects are what pushes would have left there, but their writes are not made durable one by one. Heads of many
datasets name one small state; a long history is grown in memory and given to the archive now and then; of a large
manifest's files only the manifest is there. For tests and for `bench.scale`; one thread.
"""

import os
from dataclasses import replace
from hashlib import md5, sha256
from itertools import accumulate, pairwise
from math import prod
from pathlib import Path

from store.catalogue.head import Content, Head, TagState, advance, encode_head
from store.catalogue.history import Archive
from store.catalogue.refs import fold, kind_of
from store.codec import Coding, encode, encode_rows
from store.digest import Digest, chunk_digest, stored_digest
from store.frame import MANIFEST_MAGIC, header, table_and_trailer
from store.kinds import Kind
from store.layout import dataset_key, manifest_key, pack_key
from store.manifest import layout
from store.manifest.layout import PageRow, Pages, Section
from store.objects.base import Buffer, ObjectStore
from store.objects.local import FolderStore
from store.pack import PackBuilder
from store.root import create_store

START_NS = 1_600_000_000 * 10**9
MINUTE_NS = 60 * 10**9
STEP = 200  # commits between two looks whether a head has to spill
PACKED = 1000  # files whose chunks lie in one pack
NESTED = (10,) * 6  # entries of the folders of each depth: a million files, six folders deep
FLAT = (1, 1_000_000)


def new_store(folder: Path) -> FolderStore:
    """Make a store in a folder that is not there."""
    objects = FolderStore(folder, create=True)
    create_store(objects)
    return objects


def name_of(number: int) -> str:
    """Return the name of one of many datasets: a tenth of them lie in ten scopes."""
    return f"set-{number:06d}" if number % 10 else f"@group{number // 10 % 10}/set-{number:06d}"


def put_datasets(folder: Path, count: int) -> None:
    """Add datasets with one version and `latest` each."""
    content = put_state(FolderStore(folder), (10,), stored=True)
    made: set[str] = set()
    for number in range(count):
        path = f"{folder}/{dataset_key(name_of(number))}"
        parent = os.path.dirname(path)
        if parent not in made:
            os.makedirs(parent, exist_ok=True)
            made.add(parent)
        head = pushed(Head(name_of(number)), ("1.0.0", "latest"), content, START_NS + number, f"{number:024x}")
        with open(path, "wb") as file:
            file.write(encode_head(head))


def put_history(folder: Path, name: str, *, tags: int, moves: int) -> None:
    """Add a dataset with `tags` versions and `moves` pushes, one a minute, all of which move `latest`."""
    objects = FolderStore(folder)
    states = [put_state(objects, (count + 1,), stored=True) for count in range(10)]
    archive = Archive(objects)
    head = Head(name)
    every = moves // tags
    for move in range(moves):
        named = (f"1.{move // every}.0", "latest") if move % every == 0 else ("latest",)
        head = pushed(head, named, states[move % len(states)], START_NS + move * MINUTE_NS, f"{move:024x}")
        if move % STEP == STEP - 1:
            head = archive.spill(head)
    objects.put(dataset_key(name), encode_head(archive.spill(head)))


def put_files(folder: Path, name: str, shape: tuple[int, ...]) -> Content:
    """Add a dataset whose `latest` has files in folders of a shape, such as `NESTED`."""
    objects = FolderStore(folder)
    content = put_state(objects, shape)
    objects.put(dataset_key(name), encode_head(pushed(Head(name), ("latest",), content, START_NS, "0" * 24)))
    return content


def pushed(head: Head, tags: tuple[str, ...], content: Content, now_ns: int, operation: str) -> Head:
    """Return a head's next generation, as a push of new states makes it."""
    records = {}
    number = head.next_tag
    for tag in tags:
        old = head.tags.get(fold(tag))
        if isinstance(old, TagState):
            records[fold(tag)] = replace(old, content=content)
        else:
            records[fold(tag)] = TagState(tag, number, kind_of(tag), content, 0)
            number += 1
    return advance(
        head,
        records,
        now_ns=now_ns,
        op="push",
        operation=operation,
        tags=tags,
        content=content,
        by="somebody",
        message=f"made at step {operation[-6:]}",
    )


def entry_name(shape: tuple[int, ...], depth: int, position: int) -> bytes:
    """Return the name of an entry: short ones in small folders, a camera's in large ones."""
    return b"image-%08d.jpeg" % (7 * position) if shape[depth] > 1000 else b"part-%d" % position


def put_state(objects: ObjectStore, shape: tuple[int, ...], *, stored: bool = False) -> Content:
    """Put a manifest there; return what a tag says of it.

    Args:
        objects: the store.
        shape: how many entries the folders of each depth have; the last are files.
        stored: whether what the files hold is there, too.
    """
    levels = [1, *accumulate(shape, lambda many, entries: many * entries)]  # records of each depth
    starts = [0, *accumulate(levels)]
    unused = (Section.BASES, Section.SALT)
    parts: dict[int, bytearray] = {kind: bytearray() for kind in Section if kind not in unused}
    nodes, names = parts[Section.NODES], parts[Section.NAMES]
    for depth, count in enumerate(levels):
        is_file = depth == len(shape)
        for number in range(count):
            name = entry_name(shape, depth - 1, number % shape[depth - 1]) if depth else b""
            parent = starts[depth - 1] + number // shape[depth - 1] if depth else 0
            mtime_ns = START_NS + number * 12_345_678
            size, first = (len(_content(number)), number) if is_file else (
                shape[depth], starts[depth + 1] + number * shape[depth]
            )  # fmt: skip
            kind = Kind.FILE if is_file else Kind.FOLDER
            if len(nodes) % layout.PAGE_SIZE == 0:
                parts[Section.GUIDE] += layout.guide_row(name)
            nodes += layout.NODE.pack(size, mtime_ns, first, parent, len(names), len(name), kind, 0)
            names += name
    files = prod(shape)
    packs = [_pack(objects, range(at, min(at + PACKED, files)), stored) for at in range(0, files, PACKED)]
    at = 0
    for number in range(files):
        data = _content(number)
        at = 64 if number % PACKED == 0 else at
        parts[Section.SHA256] += sha256(data).digest()
        parts[Section.MD5] += md5(data).digest()
        parts[Section.FILES] += layout.FILE.pack(number)
        parts[Section.EXTENTS] += layout.EXTENT.pack(0, number)
        parts[Section.DIGESTS] += chunk_digest(data)
        parts[Section.BLOCKS] += layout.BLOCK.pack(number // PACKED, at, len(data), len(data), Coding.PLAIN, 0, 0)
        at += len(data)
    parts[Section.FILES] += layout.FILE.pack(files)
    parts[Section.PACKS] += b"".join(packs)
    if len(nodes) <= layout.PAGE_SIZE:
        del parts[Section.GUIDE]
    head = layout.content_header(sum(levels), len(names), 0, files)
    id = layout.manifest_id(head, (parts[kind] for kind in layout.CONTENT))
    data, root = _paged(id, head, parts)
    objects.put(manifest_key(id.hex()), data)
    return Content(id.hex(), root.hex(), sum(len(_content(number)) for number in range(files)), files)


def _content(number: int) -> bytes:
    return b"content of file %d\n" % number


def _pack(objects: ObjectStore, files: range, stored: bool) -> bytes:
    if not stored:
        return chunk_digest(b"pack of %d" % files.start)[:16]
    builder = PackBuilder()
    for number in files:
        builder.add(chunk_digest(_content(number)), Coding.PLAIN, _content(number), len(_content(number)))
    objects.put(pack_key(builder.id.hex()), bytes(builder.finish()))
    return builder.id


def _paged(id: bytes, head: bytes, parts: dict[int, bytearray]) -> tuple[bytes, bytes]:
    """Return the manifest of sections, and its root."""
    body: list[Buffer] = [header(MANIFEST_MAGIC)]
    pages: list[PageRow] = []
    described: list[tuple[int, Pages]] = []
    at = len(body[0])
    for kind, plain in parts.items():
        width = layout.WIDTH[kind]
        size = layout.PAGE_SIZE // width * width
        borders = [*range(0, len(plain), size), len(plain)]
        described.append((kind, Pages(width, len(plain), size, len(pages), len(borders) - 1)))
        for start, end in pairwise(borders):
            page = memoryview(plain)[start:end]
            match layout.CODING.get(kind):
                case Coding.COLUMNS:
                    coding, stored = encode_rows(page, width)
                case Coding.ZSTD:
                    coding, stored = encode(page)
                case _:
                    coding, stored = Coding.PLAIN, page
            pages.append(PageRow(at, len(stored), coding, stored_digest(stored)))
            body.append(stored)
            at += len(stored)
    table = layout.encode_table(Digest(id), head, described, pages)
    end_of_it, root = table_and_trailer(table, at=at, magic=MANIFEST_MAGIC)
    return b"".join((*body, end_of_it)), root
