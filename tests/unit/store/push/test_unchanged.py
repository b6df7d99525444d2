"""What is taken for unchanged is so; everything doubtful is read again."""

import os
from pathlib import Path

import pytest

from store.errors import ObjectMissing, StoreUnavailable
from store.manifest.build import Built, Item, build
from store.manifest.view import Manifest
from store.push import unchanged
from store.push.source import Identity
from tests.support.manifests import content_of, item_of, opened
from tests.support.trees import Contents

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
