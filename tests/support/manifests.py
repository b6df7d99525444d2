"""Manifests for tests: built from small trees, then damaged on purpose where a test wants that.

Pure but for `opened`, which stores one; one thread each.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import md5, sha256

from store.cache import ByteCache
from store.codec import encode
from store.digest import Digest, PackId, chunk_digest
from store.frame import MANIFEST_MAGIC, header, table_and_trailer
from store.kinds import Kind
from store.layout import manifest_key, pack_key
from store.manifest import build as building
from store.manifest import layout
from store.manifest.blocktable import BlockTable
from store.manifest.build import Built
from store.manifest.contents import Column
from store.manifest.contents import Contents as FileContents
from store.manifest.layout import HOLE, PageRow, Pages, Section
from store.manifest.tree import Tree
from store.manifest.view import Manifest, open_manifest
from store.objects.base import ObjectStore
from store.objects.memory import MemoryStore
from store.pack import Block, PackBuilder
from store.push.source import LOOK, Identity, Scan
from tests.support.trees import Contents, File, Link

PACK = PackId(b"p" * 16)
MTIME_NS = 1_600_000_000_123_456_789


@dataclass(slots=True)
class Content:
    """What a file holds."""

    sha256: bytes
    md5: bytes
    extents: list[tuple[int, Block | None]]  # (offset in the file, block or None for a hole), by offset, no gap


@dataclass(slots=True)
class Item:
    """One entry of a tree, with all below it, in any order."""

    name: bytes
    kind: Kind
    mtime_ns: int
    size: int = 0  # bytes of a file
    executable: bool = False
    target: bytes = b""  # of a link
    content: Content | None = None  # of a file
    children: list["Item"] = field(default_factory=list)


def tree_of(top: Item) -> tuple[Tree, list[Item]]:
    """Return a tree as a push holds it, and its files by their numbers."""
    tree, files = Tree(top.mtime_ns), list[Item]()
    folders = [top]
    for folder, _ in zip(folders, tree.folders(), strict=True):  # both grow
        for item in sorted(folder.children, key=lambda item: item.name):
            if item.kind == Kind.FOLDER:
                tree.add_folder(item.name, item.mtime_ns)
                folders.append(item)
            elif item.kind == Kind.LINK:
                tree.add_link(item.name, item.target, item.mtime_ns)
            else:
                tree.add_file(item.name, item.size, item.mtime_ns, executable=item.executable)
                files.append(item)
    return tree, files


def contents_of(files: Sequence[Item], table: BlockTable) -> FileContents:
    """Return what files hold as a push holds it; of those without a content, nothing is known."""
    contents = FileContents(len(files))
    for number, item in enumerate(files):
        if item.content is not None:
            extents = [(at, HOLE if block is None else table.add(block)) for at, block in item.content.extents]
            contents.set(number, item.content.sha256, item.content.md5, extents)
    return contents


def build(top: Item) -> Built:
    """Encode a tree, all of whose files have their content."""
    (tree, files), table = tree_of(top), BlockTable()
    with closing(contents_of(files, table)) as contents:
        return building.build(tree, contents, table)


def block_of(data: bytes, *, pack: PackId = PACK, offset: int = 64) -> Block:
    """Return where a plain chunk would lie."""
    return Block(chunk_digest(data), pack, offset, len(data), len(data), 0)


def content_of(data: bytes, *, chunk: int = 1 << 20) -> Content:
    """Cut bytes into chunks of one size."""
    extents: list[tuple[int, Block | None]] = [
        (at, block_of(data[at : at + chunk], offset=64 + at)) for at in range(0, len(data), chunk)
    ]
    return Content(sha256(data).digest(), md5(data).digest(), extents)


def item_of(contents: Contents, name: bytes = b"") -> Item:
    """Return a tree of contents as what a manifest is built from."""
    folder = Item(name, Kind.FOLDER, MTIME_NS)
    for child, value in contents.items():
        if isinstance(value, Link):
            folder.children.append(Item(child, Kind.LINK, MTIME_NS, target=value.target))
        elif isinstance(value, File | bytes):
            file = value if isinstance(value, File) else File(value, mtime_ns=MTIME_NS)
            folder.children.append(
                Item(
                    child, Kind.FILE, file.mtime_ns, size=len(file.data), executable=file.executable,
                    content=content_of(file.data),
                )
            )  # fmt: skip
        else:
            folder.children.append(item_of(value, child))
    return folder


def scan_of(top: Item, look: Callable[[Item], Identity]) -> Scan:
    """Return a tree as a walk finds it."""
    tree, files = tree_of(top)
    found = Scan(b"", False, tree, Column(LOOK.size))
    for number, item in enumerate(files):
        found.looks.put(number, LOOK.pack(*look(item)))
    return found


def pack_of(chunks: Iterable[bytes]) -> tuple[bytes, list[Block]]:
    """Return a pack that holds chunks, and where each lies in it."""
    builder = PackBuilder()
    blocks = []
    for chunk in chunks:
        coding, stored = encode(chunk)
        blocks.append(builder.add(chunk_digest(chunk), coding, stored, len(chunk)))
    return bytes(builder.finish()), blocks


def stored_pack(objects: ObjectStore, chunks: Sequence[bytes]) -> list[Block]:
    """Store a pack that holds chunks; return where each lies."""
    data, blocks = pack_of(chunks)
    objects.put(pack_key(blocks[0].pack.hex()), data)
    return blocks


def opened(built: Built, *, objects: ObjectStore | None = None, cache: int = 1 << 24) -> Manifest:
    """Store a manifest and open it."""
    objects = objects or MemoryStore()
    objects.put(manifest_key(built.id.hex()), built.data)
    return open_manifest(objects, built.id, built.root, ByteCache(cache))


def sections_of(manifest: Manifest) -> dict[int, bytes]:
    """Return all sections, plain."""
    return {kind: b"".join(manifest.pages(kind)) for kind in manifest.contents.sections}


def forged(sections: dict[int, bytes], *, records: int, files: int) -> Built:
    """Put sections together to a manifest whose digests are all right, whatever stands in it."""
    head = layout.content_header(records, len(sections[Section.NAMES]), len(sections[Section.LINKS]), files)
    id = layout.manifest_id(head, (sections[kind] for kind in layout.CONTENT))
    data, root = building.paged(id, head, {kind: [data] for kind, data in sections.items()})
    return Built(id, root, data, records, files, 0)


def tampered(built: Built, change: Callable[[dict[int, bytearray]], None]) -> Manifest:
    """Open a manifest of which one writer with bad intentions has changed sections, and made all digests fit."""
    found = {kind: bytearray(data) for kind, data in sections_of(opened(built)).items()}
    change(found)
    records, files = len(found[Section.NODES]) // layout.NODE.size, len(found[Section.SHA256]) // 32
    return opened(forged({kind: bytes(data) for kind, data in found.items()}, records=records, files=files))


def with_table(built: Built, change: Callable[[list[tuple[int, Pages]], list[PageRow]], None]) -> tuple[bytes, Digest]:
    """Return a manifest's object with another table of contents, and the root that fits it."""
    contents = opened(built).contents
    described, pages = list(contents.sections.items()), list(contents.pages)
    change(described, pages)
    body = bytes(built.data)[: contents.pages[-1].offset + contents.pages[-1].stored]
    head = layout.content_header(
        contents.records,
        contents.sections[Section.NAMES].plain,
        contents.sections[Section.LINKS].plain,
        contents.files,
    )
    table = layout.encode_table(contents.id, head, described, pages)
    end, root = table_and_trailer(table, at=len(body), magic=MANIFEST_MAGIC)
    assert body[:64] == header(MANIFEST_MAGIC)
    return body + end, root
