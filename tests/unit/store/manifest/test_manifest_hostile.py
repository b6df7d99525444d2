"""Manifests made to harm: every digest is right, and what they say cannot be. Met anywhere, that is `ObjectCorrupt`."""

import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.cache import ByteCache
from store.codec import Coding
from store.errors import Corrupt, FeatureMissing, ObjectCorrupt
from store.kinds import Kind
from store.layout import manifest_key
from store.manifest import layout
from store.manifest.build import Built
from store.manifest.layout import BLOCK, EXTENT, HOLE, NODE, PageRow, Pages, Section
from store.manifest.view import Manifest, Record, open_manifest, plausible
from store.objects.memory import MemoryStore
from tests.support.manifests import build, item_of, tampered, with_table
from tests.support.trees import Link

# Records: 0 root, 1 a (file 0), 2 b (folder), 3 c (folder), 4 l (link), 5 b/x (file 1), 6 b/y (file 2), 7 c/z (file 3)
BUILT = build(
    item_of({b"a": b"alpha" * 30, b"b": {b"x": b"", b"y": b"ypsilon"}, b"c": {b"z": b"zeta"}, b"l": Link(b"a")})
)
SIZE, MTIME, FIRST, PARENT, NAME_AT, NAME_SIZE, KIND, FLAGS = range(8)
Change = Callable[[dict[int, bytearray]], None]


def node(record: int, field: int, value: int) -> Change:
    """Return a change of one field of one record."""

    def change(sections: dict[int, bytearray]) -> None:
        row = list(NODE.unpack_from(sections[Section.NODES], record * NODE.size))
        row[field] = value
        NODE.pack_into(sections[Section.NODES], record * NODE.size, *row)

    return change


def put(section: int, codec: struct.Struct, row: int, field: int, value: int) -> Change:
    """Return a change of one field of another section's row."""

    def change(sections: dict[int, bytearray]) -> None:
        fields = list(codec.unpack_from(sections[section], row * codec.size))
        fields[field] = value
        codec.pack_into(sections[section], row * codec.size, *fields)

    return change


def name(old: bytes, new: bytes) -> Change:
    """Return a change of the bytes of all names; `b"abclxyz"` are those of the tree above."""

    def change(sections: dict[int, bytearray]) -> None:
        assert sections[Section.NAMES].count(old) == 1
        sections[Section.NAMES][:] = sections[Section.NAMES].replace(old, new)

    return change


def visit(manifest: Manifest) -> None:
    """Look at everything as readers do, without the check of the id."""
    for number, _, record in manifest.walk():
        if record.kind is Kind.FILE:
            manifest.spans(record, 0, record.size)
            manifest.extents(record)
            manifest.sha256(record.first)
            manifest.md5(record.first)
        manifest.record(number)
    list(manifest.all_blocks())


HARM: dict[str, Change] = {
    "a name with a slash": name(b"x", b"/"),
    "a name with NUL": name(b"x", b"\0"),
    "a doubled name": name(b"y", b"x"),
    "names out of order": name(b"xy", b"yx"),
    "a name past the table": node(5, NAME_AT, 2**32 - 1),
    "a name longer than the table": node(5, NAME_SIZE, 65_535),
    "an empty name": node(5, NAME_SIZE, 0),
    "a parent that comes after": node(5, PARENT, 6),
    "a record that is its own parent": node(5, PARENT, 5),
    "a parent past the end": node(5, PARENT, 2**32 - 1),
    "another folder's entry": node(5, PARENT, 3),
    "a folder that holds itself": node(2, FIRST, 2),
    "a folder that holds what comes before": node(2, FIRST, 1),
    "a folder that holds the root": node(2, FIRST, 0),
    "entries past the end": node(2, SIZE, 2**40),
    "entries shared by two folders": node(3, FIRST, 5),
    "entries that overlap another folder's": node(3, SIZE, 2**63),
    "more entries than there are": node(0, SIZE, 8),
    "an unknown kind": node(5, KIND, 9),
    "no kind": node(5, KIND, 0),
    "a root that is a file": node(0, KIND, 1),
    "a root that is a link": node(0, KIND, 3),
    "a file past the last": node(5, FIRST, 4),
    "a target past the table": node(4, SIZE, 2),
    "a target of 2**63 bytes": node(4, SIZE, 2**63),
    "a file longer than its blocks": node(7, SIZE, 5),
    "a file shorter than its blocks": node(7, SIZE, 3),
    "a file of 2**64 bytes": node(7, SIZE, 2**64 - 1),
    "an empty file with blocks": node(7, SIZE, 0),
    "a file without blocks": node(5, SIZE, 10),
    "extents that end before they begin": put(Section.FILES, layout.FILE, 1, 0, 3),
    "extents past the table": put(Section.FILES, layout.FILE, 4, 0, 99),
    "a first run that does not begin at 0": put(Section.EXTENTS, EXTENT, 0, 0, 1),
    "a run of a block past the table": put(Section.EXTENTS, EXTENT, 0, 1, 3),
    "a block of no bytes": put(Section.BLOCKS, BLOCK, 0, 3, 0),
    "a block that claims 4 GiB": put(Section.BLOCKS, BLOCK, 0, 3, 2**32 - 1),
    "a block that claims to take 4 GiB": put(Section.BLOCKS, BLOCK, 0, 2, 2**32 - 1),
    "a block in the header of its pack": put(Section.BLOCKS, BLOCK, 0, 1, 0),
    "a block in a pack that is not listed": put(Section.BLOCKS, BLOCK, 0, 0, 1),
}
HARM["a name that is ."] = name(b"c", b".")
HARM["a name that is .."] = lambda sections: (
    node(5, NAME_SIZE, 2)(sections),
    sections[Section.NAMES].__setitem__(slice(4, 6), b".."),
)[0]


def test_the_sound_manifest_passes_and_so_does_one_put_together_again() -> None:
    manifest = tampered(BUILT, lambda sections: None)
    visit(manifest)
    manifest.check()
    assert manifest.id == BUILT.id


@pytest.mark.parametrize("harm", sorted(HARM))
def test_refused_when_met_and_when_checked(harm: str) -> None:
    manifest = tampered(BUILT, HARM[harm])
    with pytest.raises(ObjectCorrupt):
        visit(manifest)
    with pytest.raises(ObjectCorrupt):
        manifest.check()


@pytest.mark.parametrize("harm", sorted(HARM))
def test_looking_names_up_finds_something_sound_or_nothing(harm: str) -> None:
    manifest = tampered(BUILT, HARM[harm])
    for folder in (0, 2, 3):
        for wanted in (b"a", b"b", b"x", b"y", b"z", b".", b"..", b"/", b"\0", b"nothing"):
            try:
                found = manifest.find(folder, manifest.record(folder), wanted)
            except ObjectCorrupt:
                continue
            if found is not None:
                assert found[1].parent == folder
                assert wanted not in (b".", b"..", b"/", b"\0")


def one_by_one(manifest: Manifest, number: int, folder: Record) -> list[tuple[int, bytes, Record]]:
    """List a folder as `entries` does, looking at each record for itself."""
    found: list[tuple[int, bytes, Record]] = []
    for child in range(folder.first, folder.first + folder.size):
        record = manifest.record(child)
        named = manifest.name(record)
        if record.parent != number or not plausible(named) or (found and named <= found[-1][1]):
            raise ObjectCorrupt(manifest.key, f"record {child}")
        found.append((child, named, record))
    return found


def at_once(manifest: Manifest, number: int, folder: Record) -> list[tuple[int, bytes, Record]]:
    return list(manifest.entries(number, folder, 0, folder.size))


def outcome(look: Callable[[], list[tuple[int, bytes, Record]]]) -> list[tuple[int, bytes, Record]] | None:
    try:
        return look()
    except ObjectCorrupt:
        return None


@given(
    st.lists(
        st.tuples(
            st.sampled_from([Section.NODES, Section.NAMES]), st.integers(0, 255), st.sampled_from(b"\0\1./xy\xff")
        ),
        min_size=1,
        max_size=3,
    )
)
def test_a_listing_gives_and_refuses_what_its_records_one_by_one_do(changes: list[tuple[Section, int, int]]) -> None:
    def change(sections: dict[int, bytearray]) -> None:
        for kind, at, value in changes:
            sections[kind][at % len(sections[kind])] = value

    manifest = tampered(BUILT, change)
    for number in (0, 2, 3):
        try:
            folder = manifest.record(number)
        except ObjectCorrupt:
            continue
        if folder.kind is Kind.FOLDER:
            listed = outcome(partial(at_once, manifest, number, folder))
            assert listed == outcome(partial(one_by_one, manifest, number, folder))


def test_doubled_names_on_two_pages_of_a_listing_are_noticed() -> None:
    manifest = tampered(BUILT, HARM["a doubled name"])
    folder = manifest.record(2)
    assert len(list(manifest.entries(2, folder, 0, 1))) == 1
    with pytest.raises(ObjectCorrupt):
        list(manifest.entries(2, folder, 1, 2))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(node(5, NAME_AT, 0), id="two entries share the bytes of a name"),
        pytest.param(node(7, FIRST, 2), id="two files share their content"),
    ],
)
def test_a_form_that_is_not_the_canonical_one_fails_the_check(change: Change) -> None:
    with pytest.raises(ObjectCorrupt):
        tampered(BUILT, change).check()


def test_runs_with_a_hole_past_the_end_of_the_file_are_refused() -> None:
    def change(sections: dict[int, bytearray]) -> None:
        last = len(sections[Section.EXTENTS]) // EXTENT.size - 1
        EXTENT.pack_into(sections[Section.EXTENTS], last * EXTENT.size, 0, HOLE)
        sections[Section.EXTENTS] += EXTENT.pack(2**50, HOLE)
        stops = [stop for (stop,) in layout.FILE.iter_unpack(sections[Section.FILES])]
        layout.FILE.pack_into(sections[Section.FILES], (len(stops) - 1) * layout.FILE.size, stops[-1] + 1)

    manifest = tampered(BUILT, change)
    record = manifest.record(7)
    with pytest.raises(ObjectCorrupt):
        manifest.spans(record, 0, 1)
    with pytest.raises(ObjectCorrupt):
        manifest.extents(record)


# The table


def opened_with(change: Callable[[list[tuple[int, Pages]], list[PageRow]], None], built: Built = BUILT) -> Manifest:
    data, root = with_table(built, change)
    objects = MemoryStore()
    objects.put(manifest_key(built.id.hex()), data)
    return open_manifest(objects, built.id, root, ByteCache(0))


def section(kind: int, **fields: int) -> Callable[[list[tuple[int, Pages]], list[PageRow]], None]:
    def change(described: list[tuple[int, Pages]], pages: list[PageRow]) -> None:
        for number, (found, row) in enumerate(described):
            if found == kind:
                described[number] = (kind, row._replace(**fields))

    return change


def page(number: int, **fields: Any) -> Callable[[list[tuple[int, Pages]], list[PageRow]], None]:
    def change(described: list[tuple[int, Pages]], pages: list[PageRow]) -> None:
        pages[number] = pages[number]._replace(**fields)

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(section(Section.NAMES, first=0), id="pages of another section"),
        pytest.param(section(Section.MD5, first=2**32 - 1), id="pages past the table"),
        pytest.param(section(Section.NODES, plain=2**60), id="2**60 bytes"),
        pytest.param(section(Section.NODES, plain=0, pages=0), id="no records"),
        pytest.param(section(Section.NODES, page_size=0), id="pages of no size"),
        pytest.param(section(Section.NODES, page_size=33), id="pages of no whole rows"),
        pytest.param(section(Section.NODES, page_size=2**31), id="pages of 2 GiB"),
        pytest.param(section(Section.NODES, width=16), id="another width"),
        pytest.param(section(Section.SHA256, plain=32), id="fewer digests than files"),
        pytest.param(section(Section.NODES, pages=2), id="more pages than bytes need"),
        pytest.param(lambda described, pages: described.pop(), id="a section missing"),
        pytest.param(lambda described, pages: described.append(described[0]), id="a section twice"),
        pytest.param(lambda described, pages: pages.append(pages[0]), id="a page of no section"),
        pytest.param(page(0, stored=0), id="a page of no bytes"),
        pytest.param(page(0, stored=2**32 - 1), id="a page of 4 GiB"),
        pytest.param(page(1, offset=64), id="two pages at one place"),
        pytest.param(page(0, offset=2**63), id="a page past the end"),
        pytest.param(page(0, offset=0), id="a page in the header"),
    ],
)
def test_a_table_that_contradicts_itself_is_not_opened(
    change: Callable[[list[tuple[int, Pages]], list[PageRow]], None],
) -> None:
    with pytest.raises(Corrupt):
        opened_with(change)


def test_an_unknown_section_is_passed_over_unless_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(described: list[tuple[int, Pages]], pages: list[PageRow]) -> None:
        described.append((999, Pages(1, 0, 1, len(pages), 0)))

    with pytest.raises(FeatureMissing, match="section 999"):
        opened_with(change)
    monkeypatch.setattr(layout, "REQUIRED", 0)
    manifest = opened_with(change)
    monkeypatch.undo()
    assert 999 not in manifest.contents.sections
    manifest.check()


@pytest.mark.parametrize("coding", [Coding.ZSTD, Coding.COLUMNS, Coding.PATCH, 4, 255])
def test_a_page_that_claims_another_coding_is_corrupt(coding: int) -> None:
    names = opened_with(lambda described, pages: None).contents.sections[Section.NAMES].first
    with pytest.raises(Corrupt):
        opened_with(page(names, coding=coding)).check()  # the few names of this tree are plain
