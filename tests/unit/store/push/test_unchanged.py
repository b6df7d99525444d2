"""What is taken for unchanged is so; everything doubtful is read again."""

import os
from collections.abc import Callable
from hashlib import md5, sha256
from pathlib import Path

import pytest

from store.errors import ObjectMissing, StoreUnavailable
from store.kinds import Kind
from store.manifest import build as building
from store.manifest.blocktable import BlockTable
from store.manifest.build import Built
from store.manifest.contents import Contents as FileContents
from store.manifest.layout import HOLE, Section
from store.manifest.view import Manifest
from store.push import unchanged
from store.push.source import LOOK, Identity, Scan
from tests.support.manifests import Item, block_of, build, content_of, item_of, opened, scan_of, tampered, tree_of
from tests.support.trees import Contents, Link

NOW_NS = 10**18
SETTLED_NS = NOW_NS - 3_000_000_000
CONTENTS: Contents = {b"a": b"alpha", b"d": {b"b": b"beta", b"empty": b""}}
NUMBERS = {b"a": 0, b"b": 1, b"empty": 2}


def identity_of(item: Item, *, mtime_ns: int = SETTLED_NS, ctime_ns: int = SETTLED_NS) -> Identity:
    return Identity(1, 100 + item.name[0], item.size, mtime_ns, ctime_ns)


def found_of(top: Item, first: Identity | None = None) -> Scan:
    """Walk a tree whose first file perhaps has another identity."""
    found = scan_of(top, identity_of)
    if first is not None:
        found.looks.put(0, LOOK.pack(*first))
    return found


def remembered(path: Path, first: Identity | None = None) -> Built:
    top = item_of(CONTENTS)
    built = build(top)
    unchanged.remember(path, built, found_of(top, first), NOW_NS)
    return built


class Filled:
    """What was filled in for the small tree."""

    def __init__(self, path: Path, found: Scan, open_manifest: unchanged.Open) -> None:
        self.contents, self.table = FileContents(found.tree.files), BlockTable()
        self.manifest = unchanged.fill_in(path, found, self.contents, self.table, open_manifest)

    def known(self) -> set[bytes]:
        return {name for name, number in NUMBERS.items() if self.contents.known(number)}


def filled(path: Path, built: Built, change: Identity | None = None) -> Filled:
    """Look at the same tree again, `a` perhaps with another identity; return what was filled in."""
    return Filled(path, found_of(item_of(CONTENTS), change), lambda id, root: opened(built))


def test_files_that_look_as_before_get_the_content_they_had(tmp_path: Path) -> None:
    built = remembered(tmp_path / "below" / "record")
    again = filled(tmp_path / "below" / "record", built)
    assert again.manifest is not None
    assert again.manifest.id == built.id
    assert building.build(tree_of(item_of(CONTENTS))[0], again.contents, again.table)[:3] == built[:3]


@pytest.mark.parametrize("gone", [b"a", b"d", b"m", b"z"])
@pytest.mark.parametrize("new", [b"0", b"e", b"zz"])
def test_files_are_known_again_among_others_that_came_and_went(tmp_path: Path, gone: bytes, new: bytes) -> None:
    before: dict[bytes, bytes | Contents] = {
        b"a": b"alpha",
        b"d": {b"b": b"beta", b"c": {b"deep": b"deep"}},
        b"m": {b"x": b"", b"y": b"ypsilon"},
        b"z": b"z",
    }
    top = item_of(before)
    built = build(top)
    unchanged.remember(tmp_path / "record", built, found_of(top), NOW_NS)
    after = {name: value for name, value in before.items() if name != gone} | {new: {b"b": b"another"}}
    whole = item_of(after)
    again = Filled(tmp_path / "record", found_of(whole), lambda id, root: opened(built))
    assert again.contents.unread == 1
    _, files = tree_of(whole)
    (number,) = [number for number in range(len(files)) if not again.contents.known(number)]
    assert files[number].content == content_of(b"another")
    again.contents.set(number, sha256(b"another").digest(), md5(b"another").digest(),
                       [(0, again.table.add(block_of(b"another")))])  # fmt: skip
    assert building.build(tree_of(whole)[0], again.contents, again.table).id == build(whole).id


@pytest.mark.parametrize("field", Identity._fields)
def test_a_file_that_differs_in_anything_is_read_again(tmp_path: Path, field: str) -> None:
    built = remembered(tmp_path / "record")
    sound = identity_of(item_of({b"a": b"alpha"}).children[0])
    again = filled(tmp_path / "record", built, sound._replace(**{field: getattr(sound, field) + 1}))
    assert again.known() == {b"b", b"empty"}


@pytest.mark.parametrize("time", ["mtime_ns", "ctime_ns"])
@pytest.mark.parametrize(
    ("age_ns", "trusted"), [(2_000_000_001, True), (2_000_000_000, False), (0, False), (-5, False)]
)
def test_files_written_just_before_they_were_read_are_not_trusted(
    tmp_path: Path, time: str, age_ns: int, trusted: bool
) -> None:
    seen = identity_of(item_of(CONTENTS).children[0])._replace(**{time: NOW_NS - age_ns})
    built = remembered(tmp_path / "record", seen)
    assert (b"a" in filled(tmp_path / "record", built, seen).known()) == trusted


def test_a_folder_where_a_file_was_gets_nothing(tmp_path: Path) -> None:
    built = remembered(tmp_path / "record")
    again = Filled(tmp_path / "record", found_of(item_of({b"a": {b"x": b""}})), lambda id, root: opened(built))
    assert again.manifest is not None
    assert again.contents.unread == 1


def test_nothing_is_known_without_a_record_or_its_manifest(tmp_path: Path) -> None:
    built = remembered(tmp_path / "record")

    def gone(id: bytes, root: bytes) -> Manifest:
        raise ObjectMissing("manifest", "memory:")

    found = found_of(item_of(CONTENTS))
    assert Filled(tmp_path / "none", found, lambda id, root: opened(built)).manifest is None
    assert Filled(tmp_path / "record", found, gone).manifest is None
    other = build(item_of({b"a": b"alpha"}))
    assert Filled(tmp_path / "record", found, lambda id, root: opened(other)).manifest is None


def hole_over_data(sections: dict[int, bytearray]) -> None:
    sections[Section.EXTENTS][8:12] = HOLE.to_bytes(4, "little")
    sections[Section.EXTENTS][0] = 1


def row_that_is_not_there(sections: dict[int, bytearray]) -> None:
    sections[Section.EXTENTS][8] = 9


def extents_past_the_end(sections: dict[int, bytearray]) -> None:
    sections[Section.FILES][8] = 7


def extents_backwards(sections: dict[int, bytearray]) -> None:
    sections[Section.FILES][4] = 2
    sections[Section.FILES][8] = 1


@pytest.mark.parametrize("change", [hole_over_data, row_that_is_not_there, extents_past_the_end, extents_backwards])
def test_extents_that_cannot_be_are_not_taken_over(
    tmp_path: Path, change: Callable[[dict[int, bytearray]], None]
) -> None:
    built = remembered(tmp_path / "record")
    false = tampered(built, change)
    assert Filled(tmp_path / "record", found_of(item_of(CONTENTS)), lambda id, root: false).manifest is None


def test_a_store_that_does_not_answer_is_no_reason_to_read_everything_again(tmp_path: Path) -> None:
    remembered(tmp_path / "record")

    def unreachable(id: bytes, root: bytes) -> Manifest:
        raise StoreUnavailable("memory:", "told to fail")

    with pytest.raises(StoreUnavailable):
        Filled(tmp_path / "record", found_of(item_of(CONTENTS)), unreachable)


@pytest.mark.parametrize("size", [0, 1, 60, 79, 80, 199])
def test_a_record_cut_short_is_passed_over(tmp_path: Path, size: int) -> None:
    built = remembered(tmp_path / "record")
    data = (tmp_path / "record").read_bytes()
    (tmp_path / "record").write_bytes(data[:size])
    assert filled(tmp_path / "record", built).manifest is None


def test_where_nothing_can_be_written_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "record").mkdir()
    remembered(tmp_path / "record")
    assert os.listdir(tmp_path) == ["record"]


# the tree as a whole

LINKED: Contents = {**CONTENTS, b"link": Link(b"a")}


def whole_of(
    path: Path, built: Built, top: Item, *, change: Identity | None = None, now_ns: int = NOW_NS
) -> unchanged.Whole | None:
    """Look at a tree, whose first file perhaps has another identity, as a whole."""
    return unchanged.whole(path, found_of(top, change), now_ns, lambda id, root: opened(built))


def linked(path: Path) -> tuple[Built, Item]:
    """Write down a small tree with a link in it; return it and the same tree, to be looked at again."""
    top = item_of(LINKED)
    built = build(top)
    unchanged.remember(path, built, found_of(top), NOW_NS)
    return built, item_of(LINKED)


def test_a_tree_that_looks_as_before_is_the_last_state_as_a_whole(tmp_path: Path) -> None:
    built, top = linked(tmp_path / "record")
    found = whole_of(tmp_path / "record", built, top)
    assert found is not None
    assert found.manifest.id == built.id
    assert found.built[:2] == built[:2]
    assert (found.built.records, found.built.files, found.built.size) == (built.records, built.files, built.size)


@pytest.mark.parametrize("field", Identity._fields)
def test_a_tree_is_not_the_last_state_when_one_file_looks_different(tmp_path: Path, field: str) -> None:
    built, top = linked(tmp_path / "record")
    sound = identity_of(top.children[0])
    changed = sound._replace(**{field: getattr(sound, field) + 1})
    assert whole_of(tmp_path / "record", built, top, change=sound) is not None
    assert whole_of(tmp_path / "record", built, top, change=changed) is None


def _later(top: Item) -> None:
    top.children[1].mtime_ns += 1


def _renamed(top: Item) -> None:
    top.children[1].name = b"e"


def _executable(top: Item) -> None:
    top.children[0].executable = True


def _elsewhere(top: Item) -> None:
    top.children[2].target = b"b"


def _one_more(top: Item) -> None:
    top.children.append(Item(b"new", Kind.FOLDER, 0))


def _one_less(top: Item) -> None:
    top.children.pop()


def _another_kind(top: Item) -> None:
    top.children[2] = Item(b"link", Kind.FOLDER, 0)


@pytest.mark.parametrize("change", [_later, _renamed, _executable, _elsewhere, _one_more, _one_less, _another_kind])
def test_a_tree_is_not_the_last_state_when_an_entry_differs(tmp_path: Path, change: Callable[[Item], None]) -> None:
    built, top = linked(tmp_path / "record")
    change(top)
    assert whole_of(tmp_path / "record", built, top) is None


def test_a_tree_is_not_the_last_state_when_a_file_may_be_of_this_moment(tmp_path: Path) -> None:
    built, top = linked(tmp_path / "record")
    assert whole_of(tmp_path / "record", built, top, now_ns=SETTLED_NS + unchanged.SETTLED_NS + 1) is not None
    assert whole_of(tmp_path / "record", built, top, now_ns=SETTLED_NS + unchanged.SETTLED_NS) is None


def test_a_tree_is_not_the_last_state_when_a_file_was_not_to_be_trusted(tmp_path: Path) -> None:
    top = item_of(LINKED)
    built = build(top)
    unchanged.remember(tmp_path / "record", built, found_of(top), SETTLED_NS)
    assert whole_of(tmp_path / "record", built, item_of(LINKED)) is None


def test_a_tree_is_not_the_last_state_when_any_page_of_that_is_damaged(tmp_path: Path) -> None:
    built, top = linked(tmp_path / "record")
    for page in opened(built).contents.pages:
        data = bytearray(built.data)
        data[page.offset] ^= 1
        assert whole_of(tmp_path / "record", built._replace(data=bytes(data)), top) is None


def test_a_tree_is_not_the_last_state_when_the_digest_of_a_file_is_another_than_the_id_covers(tmp_path: Path) -> None:
    built, top = linked(tmp_path / "record")

    def other_digest(sections: dict[int, bytearray]) -> None:
        sections[Section.SHA256][0] ^= 1

    false = tampered(built, other_digest)
    false.id, false.root = built.id, built.root  # it claims to be the last one
    found, sound = found_of(top), opened(built)
    assert unchanged.whole(tmp_path / "record", found, NOW_NS, lambda id, root: sound) is not None
    assert unchanged.whole(tmp_path / "record", found, NOW_NS, lambda id, root: false) is None


@pytest.mark.parametrize("size", [0, 1, 60, 79, 80, 199])
def test_a_record_cut_short_says_nothing_of_the_whole(tmp_path: Path, size: int) -> None:
    built, top = linked(tmp_path / "record")
    (tmp_path / "record").write_bytes((tmp_path / "record").read_bytes()[:size])
    assert whole_of(tmp_path / "record", built, top) is None
