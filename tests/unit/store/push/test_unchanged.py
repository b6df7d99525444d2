"""What is taken for unchanged is so; everything doubtful is read again."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from store.errors import ObjectMissing, StoreUnavailable
from store.kinds import Kind
from store.manifest.build import Built, Item, build, outline
from store.manifest.layout import Section
from store.manifest.view import Manifest
from store.push import unchanged
from store.push.source import Identity
from tests.support.manifests import content_of, item_of, opened, tampered
from tests.support.trees import Contents, Link

NOW_NS = 10**18
SETTLED_NS = NOW_NS - 3_000_000_000
CONTENTS: Contents = {b"a": b"alpha", b"d": {b"b": b"beta", b"empty": b""}}


def files(top: Item) -> dict[bytes, Item]:
    """Return the files of the small tree by name."""
    return {item.name: item for item in [*top.children, *top.children[1].children] if item.name != b"d"}


def identity_of(item: Item, *, mtime_ns: int = SETTLED_NS, ctime_ns: int = SETTLED_NS) -> Identity:
    return Identity(1, 100 + item.name[0], item.size, mtime_ns, ctime_ns)


def remembered(path: Path, **times: int) -> Built:
    top = item_of(CONTENTS)
    built = build(top)
    unchanged.remember(path, built, {id(i): identity_of(i, **times) for i in files(top).values()}, NOW_NS)
    return built


def filled(path: Path, built: Built, change: Identity | None = None) -> tuple[Manifest | None, dict[bytes, Item]]:
    """Look at the same tree again, `a` perhaps with another identity; return what was filled in."""
    top = item_of(CONTENTS)
    found = files(top)
    for item in found.values():
        item.content = None
    identities = {id(item): identity_of(item) for item in found.values()}
    if change is not None:
        identities[id(found[b"a"])] = change
    return unchanged.fill_in(path, top, identities, lambda id, root: opened(built)), found


def test_files_that_look_as_before_get_the_content_they_had(tmp_path: Path) -> None:
    built = remembered(tmp_path / "below" / "record")
    manifest, found = filled(tmp_path / "below" / "record", built)
    assert manifest is not None
    assert manifest.id == built.id
    assert {name: item.content for name, item in found.items()} == {
        b"a": content_of(b"alpha"), b"b": content_of(b"beta"), b"empty": content_of(b""),
    }  # fmt: skip


@pytest.mark.parametrize("field", Identity._fields)
def test_a_file_that_differs_in_anything_is_read_again(tmp_path: Path, field: str) -> None:
    built = remembered(tmp_path / "record")
    sound = identity_of(item_of({b"a": b"alpha"}).children[0])
    _, found = filled(tmp_path / "record", built, sound._replace(**{field: getattr(sound, field) + 1}))
    assert found[b"a"].content is None
    assert found[b"b"].content is not None


@pytest.mark.parametrize("time", ["mtime_ns", "ctime_ns"])
@pytest.mark.parametrize(
    ("age_ns", "trusted"), [(2_000_000_001, True), (2_000_000_000, False), (0, False), (-5, False)]
)
def test_files_written_just_before_they_were_read_are_not_trusted(
    tmp_path: Path, time: str, age_ns: int, trusted: bool
) -> None:
    top = item_of(CONTENTS)
    built = build(top)
    seen = identity_of(files(top)[b"a"])._replace(**{time: NOW_NS - age_ns})
    unchanged.remember(tmp_path / "record", built, {id(files(top)[b"a"]): seen}, NOW_NS)
    _, found = filled(tmp_path / "record", built, seen)
    assert (found[b"a"].content is not None) == trusted


def test_a_folder_where_a_file_was_gets_nothing(tmp_path: Path) -> None:
    built = remembered(tmp_path / "record")
    top = item_of({b"a": {b"x": b""}})
    assert unchanged.fill_in(tmp_path / "record", top, {}, lambda id, root: opened(built)) is not None


def test_nothing_is_known_without_a_record_or_its_manifest(tmp_path: Path) -> None:
    built = remembered(tmp_path / "record")

    def gone(id: bytes, root: bytes) -> Manifest:
        raise ObjectMissing("manifest", "memory:")

    top = item_of(CONTENTS)
    assert unchanged.fill_in(tmp_path / "none", top, {}, lambda id, root: opened(built)) is None
    assert unchanged.fill_in(tmp_path / "record", top, {}, gone) is None
    other = build(item_of({b"a": b"alpha"}))
    assert unchanged.fill_in(tmp_path / "record", top, {}, lambda id, root: opened(other)) is None


def test_a_store_that_does_not_answer_is_no_reason_to_read_everything_again(tmp_path: Path) -> None:
    remembered(tmp_path / "record")

    def unreachable(id: bytes, root: bytes) -> Manifest:
        raise StoreUnavailable("memory:", "told to fail")

    with pytest.raises(StoreUnavailable):
        unchanged.fill_in(tmp_path / "record", item_of(CONTENTS), {}, unreachable)


@pytest.mark.parametrize("size", [0, 1, 60, 79, 80, 119])
def test_a_record_cut_short_is_passed_over(tmp_path: Path, size: int) -> None:
    built = remembered(tmp_path / "record")
    data = (tmp_path / "record").read_bytes()
    (tmp_path / "record").write_bytes(data[:size])
    assert filled(tmp_path / "record", built)[0] is None


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
    found = [item for item in outline(top).order if item.kind == Kind.FILE]
    identities = {id(item): identity_of(item) for item in found}
    if change is not None:
        identities[id(found[0])] = change
    for item in found:
        item.content = None
    return unchanged.whole(path, top, identities, now_ns, lambda id, root: opened(built))


def linked(path: Path) -> tuple[Built, Item]:
    """Write down a small tree with a link in it; return it and the same tree, to be looked at again."""
    top = item_of(LINKED)
    built = build(top)
    found = [item for item in built.order if item.kind == Kind.FILE]
    unchanged.remember(path, built, {id(item): identity_of(item) for item in found}, NOW_NS)
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
    unchanged.remember(tmp_path / "record", built, {}, NOW_NS)
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
    identities = {id(item): identity_of(item) for item in outline(top).order if item.kind == Kind.FILE}
    sound = opened(built)
    assert unchanged.whole(tmp_path / "record", top, identities, NOW_NS, lambda id, root: sound) is not None
    assert unchanged.whole(tmp_path / "record", top, identities, NOW_NS, lambda id, root: false) is None


@pytest.mark.parametrize("size", [0, 1, 60, 79, 80, 119])
def test_a_record_cut_short_says_nothing_of_the_whole(tmp_path: Path, size: int) -> None:
    built, top = linked(tmp_path / "record")
    (tmp_path / "record").write_bytes((tmp_path / "record").read_bytes()[:size])
    assert whole_of(tmp_path / "record", built, top) is None
