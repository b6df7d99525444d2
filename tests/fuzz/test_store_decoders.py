"""Any bytes, and sound bytes with damage, give a value or a documented error, and take bounded memory."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.cache import ByteCache
from store.catalogue.catalogue import Catalogue
from store.catalogue.head import Content as StateContent
from store.catalogue.head import decode_head
from store.digest import PackId
from store.errors import Corrupt, FeatureMissing, ObjectMissing
from store.frame import INDEX_MAGIC, MANIFEST_MAGIC, PACK_MAGIC, TRAILER, header, read_table, table_and_trailer
from store.index import read_segment, write_segment
from store.kinds import Kind
from store.layout import ROOT_KEY, dataset_key, manifest_key, pack_key
from store.manifest import layout
from store.manifest.blocktable import BlockTable
from store.manifest.contents import Contents
from store.manifest.layout import Section
from store.manifest.view import Manifest, open_manifest
from store.objects.memory import MemoryStore
from store.pack import read_footer
from store.push import unchanged
from store.push.journal import Journal
from store.push.source import Identity, Scan
from store.root import create_store, decode_root
from tests.support.manifests import (
    build,
    forged,
    item_of,
    opened,
    pack_of,
    scan_of,
    sections_of,
    tampered,
)
from tests.support.trees import Link

TREE = item_of({b"a": b"alpha" * 30, b"b": {b"x": b"", b"y": b"ypsilon"}, b"c": {b"z": b"zeta"}, b"l": Link(b"a")})
BUILT = build(TREE)
PACK, BLOCKS = pack_of([b"x" * 1000, bytes(range(256)), b"y"])
MOST = 48 << 20  # bytes that any decoder may take for inputs of this size
DOCUMENTED = (Corrupt, FeatureMissing)


def _sample(write: Callable[[MemoryStore], object], prefix: str) -> bytes:
    objects = MemoryStore()
    write(objects)
    return next(objects.get(info.key) for info in objects.list(prefix))


def _tagged(objects: MemoryStore) -> None:
    catalogue = Catalogue(objects, create_store(objects).root)
    catalogue.set_tags("geo", ["1.0.0", "latest"], StateContent("ab" * 32, "cd" * 32, 5, 1), message="m", by="me")


SEGMENT = _sample(
    lambda objects: write_segment(objects, "maps", [(BLOCKS[0].pack, [b"hook---1", b"hook---2"])]), "index/"
)
ROOT = _sample(create_store, ROOT_KEY)
HEAD = _sample(_tagged, dataset_key("geo"))


def damaged(sound: bytes) -> st.SearchStrategy[bytes]:
    """Return bytes of any kind: nonsense, or `sound` with a part replaced, removed, doubled or cut off."""
    size = len(sound)
    places = st.integers(0, size)
    spliced = st.builds(
        lambda at, cut, put: sound[:at] + put + sound[at + cut :], places, st.integers(0, 40), st.binary(max_size=40)
    )
    numbers = st.builds(
        lambda at, number, width: sound[:at] + number.to_bytes(8, "little")[:width] + sound[at + width :],
        places,
        st.sampled_from([0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**63, 2**64 - 1]),
        st.sampled_from([1, 2, 4, 8]),
    )
    return st.one_of(st.binary(max_size=300), spliced, numbers, st.builds(lambda n: sound[:n], places))


def bounded(work: Callable[[], object]) -> None:
    """Run a decoder: it returns, or raises what is documented, within `MOST` bytes."""
    tracemalloc.start()
    try:
        work()
    except DOCUMENTED:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MOST


def framed(magic: bytes, table: bytes, *, body: bytes = b"") -> bytes:
    """Put a table into an object so that all of its frame is right."""
    start = header(magic) + body
    return start + table_and_trailer(table, at=len(start), magic=magic)[0]


def visit(manifest: Manifest) -> None:
    """Do all that readers do with a manifest."""
    for number in range(min(manifest.records, 50)):
        try:
            record = manifest.record(number)
            manifest.name(record)
            if record.kind is Kind.FOLDER:
                list(manifest.entries(number, record, 0, 20))
                manifest.find(number, record, b"y")
            elif record.kind is Kind.LINK:
                manifest.link(record)
            else:
                manifest.spans(record, 0, 1 << 20)
                manifest.spans(record, record.size // 2, 10)
                manifest.extents(record)
                manifest.sha256(record.first)
                manifest.md5(record.first)
        except DOCUMENTED:
            continue
    manifest.check()


@pytest.mark.parametrize("magic", [PACK_MAGIC, MANIFEST_MAGIC, INDEX_MAGIC])
@given(data=st.data())
def test_any_object_has_a_table_or_is_refused(magic: bytes, data: st.DataObject) -> None:
    objects = MemoryStore()
    objects.put("k", data.draw(damaged(PACK) | damaged(bytes(BUILT.data)) | damaged(SEGMENT)))
    bounded(lambda: read_table(objects, "k", magic, limit=1 << 20))


@given(damaged(PACK))
def test_any_pack_has_a_footer_or_is_refused(data: bytes) -> None:
    objects = MemoryStore()
    pack = PackId(b"p" * 16)
    objects.put(pack_key(pack.hex()), data)
    bounded(lambda: read_footer(objects, pack))


@given(st.data())
def test_any_footer_is_read_or_refused(data: st.DataObject) -> None:
    rows = len(BLOCKS).to_bytes(8, "little") + PACK[BLOCKS[-1].offset + BLOCKS[-1].stored : -TRAILER.size]
    objects = MemoryStore()
    pack = PackId(b"p" * 16)
    body = PACK[64 : BLOCKS[-1].offset + BLOCKS[-1].stored]
    objects.put(pack_key(pack.hex()), framed(PACK_MAGIC, data.draw(damaged(rows)), body=body))
    bounded(lambda: read_footer(objects, pack))


@given(st.one_of(damaged(SEGMENT), damaged(SEGMENT[64 : -TRAILER.size]).map(lambda table: framed(INDEX_MAGIC, table))))
def test_any_index_segment_is_read_or_refused(data: bytes) -> None:
    objects = MemoryStore()
    objects.put("index/00/aa", data)
    bounded(lambda: list(read_segment(objects, "index/00/aa").hooks()))


@given(damaged(bytes(BUILT.data)))
def test_any_manifest_is_opened_or_refused(data: bytes) -> None:
    objects = MemoryStore()
    objects.put(manifest_key(BUILT.id.hex()), data)
    bounded(lambda: visit(open_manifest(objects, BUILT.id, None, ByteCache(1 << 20))))


def _table() -> bytes:
    objects = MemoryStore()
    objects.put("k", BUILT.data)
    return bytes(read_table(objects, "k", MANIFEST_MAGIC, limit=layout.MAX_TABLE).plain)


@given(damaged(_table()))
def test_any_table_of_a_manifest_is_decoded_or_refused(table: bytes) -> None:
    bounded(lambda: layout.decode_table(table, "k", 10_000))
    objects = MemoryStore()
    pages = opened(BUILT).contents.pages
    body = bytes(BUILT.data)[64 : pages[-1].offset + pages[-1].stored]
    objects.put(manifest_key(BUILT.id.hex()), framed(MANIFEST_MAGIC, table, body=body))
    bounded(lambda: visit(open_manifest(objects, BUILT.id, None, ByteCache(1 << 20))))


@given(st.data())
def test_any_sections_with_right_digests_are_read_or_refused(data: st.DataObject) -> None:
    kind = data.draw(
        st.sampled_from([Section.NODES, Section.NAMES, Section.LINKS, Section.FILES, Section.EXTENTS, Section.BLOCKS])
    )

    def change(sections: dict[int, bytearray]) -> None:
        whole = bytes(sections[kind])
        harmed = data.draw(damaged(whole))
        sections[kind][:] = harmed[: len(whole)].ljust(len(whole), b"\0")

    bounded(lambda: visit(tampered(BUILT, change)))


@given(st.dictionaries(st.sampled_from(sorted(layout.WIDTH)), st.binary(max_size=200)))
def test_sections_of_any_size_are_read_or_refused(parts: dict[int, bytes]) -> None:
    sections = {kind: data for kind, data in sections_of(opened(BUILT)).items()}
    sections |= {kind: part[: len(part) // layout.WIDTH[kind] * layout.WIDTH[kind]] for kind, part in parts.items()}
    records, files = len(sections[Section.NODES]) // 32, len(sections[Section.SHA256]) // 32
    bounded(lambda: visit(opened(forged(sections, records=records, files=files))))


@given(damaged(ROOT))
def test_any_record_of_a_store_is_read_or_refused(data: bytes) -> None:
    bounded(lambda: decode_root(data))


@given(damaged(HEAD))
def test_any_head_is_read_or_refused(data: bytes) -> None:
    bounded(lambda: decode_head("geo", data))


def _found() -> Scan:
    top = item_of({b"a": b"alpha" * 30, b"b": {b"y": b"ypsilon"}})
    return scan_of(top, lambda item: Identity(1, 2, item.size, 3, 4))


def _record_of_last_push() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "record"
        unchanged.remember(path, BUILT, _found(), 10**18)
        return path.read_bytes()


@given(damaged(_record_of_last_push()))
def test_any_record_of_the_last_push_is_used_or_passed_over(data: bytes) -> None:
    manifest = opened(BUILT)

    def open_it(id: bytes, root: bytes) -> Manifest:
        if (id, root) != (BUILT.id, BUILT.root):
            raise ObjectMissing("manifest", "memory:")
        return manifest

    with TemporaryDirectory() as folder:
        path = Path(folder) / "record"
        path.write_bytes(data)
        now = _found()
        found = unchanged.fill_in(path, now, Contents(now.tree.files), BlockTable(), open_it)
    assert found in (None, manifest)


@given(damaged(b"parent latest " + b"ab" * 32 + b"\n" + b"cd" * 16 + b"\nparent qa -\n"))
def test_any_journal_is_used_or_passed_over(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        path.write_bytes(data)
        journal = Journal(path)
        assert all(len(pack) == 16 for pack in journal.packs())
        assert all(parent == "" or len(parent) == 64 for parent in journal.parents(["latest", "qa"]).values())
        journal.pack(PackId(b"z" * 16))
        assert PackId(b"z" * 16) in Journal(path).packs()
