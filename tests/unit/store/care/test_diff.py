"""Two states compared: every difference once, none that is not, in order."""

import os
import sys
from collections.abc import Mapping
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.care import digestsets
from store.care.diff import Difference, Summary, differences, needed
from store.kinds import Kind
from store.manifest.view import Manifest
from tests.support.manifests import Item, build, item_of, opened
from tests.support.trees import Contents, File, Link

NAMES = st.sampled_from([b"a", b"b", b"c", b"\xff"])
LEAVES = st.one_of(
    st.binary(max_size=3),
    st.builds(File, st.binary(max_size=3), st.booleans(), st.sampled_from([1, 2])),
    st.builds(Link, st.sampled_from([b"x", b"y"])),
)
TREES = st.recursive(LEAVES, lambda below: st.dictionaries(NAMES, below, max_size=3), max_leaves=12)
FOLDERS = st.dictionaries(NAMES, TREES, max_size=4)


def state(contents: Contents) -> Manifest:
    return opened(build(item_of(contents)))


def found(before: Contents, after: Contents) -> list[Difference]:
    return list(differences(state(before), state(after)))


def flat(contents: Contents, base: bytes = b"") -> dict[bytes, object]:
    entries: dict[bytes, object] = {}
    for name, value in contents.items():
        path = os.path.join(base, name)
        if isinstance(value, Mapping):
            entries |= {path: Kind.FOLDER, **flat(value, path)}
        else:
            entries[path] = value
    return entries


def test_each_kind_of_difference_is_told_apart() -> None:
    before: Contents = {
        b"content": b"1", b"executable": File(b"x", False, 1), b"link": Link(b"to"), b"kind": b"file",
        b"time": File(b"t", False, 1), b"same": {b"deep": b"d"}, b"removed": {b"in": b"12"},
    }  # fmt: skip
    after: Contents = {
        b"content": b"22", b"executable": File(b"x", True, 1), b"link": Link(b"elsewhere"), b"kind": {b"in": b"1"},
        b"time": File(b"t", False, 2), b"same": {b"deep": b"d"}, b"added": b"333",
    }  # fmt: skip
    listed = found(before, after)
    assert [(entry.path, entry.what, entry.aspects) for entry in listed] == [
        (b"added", "added", ()),
        (b"content", "changed", ("content",)),
        (b"executable", "changed", ("executable",)),
        (b"kind", "changed", ("kind",)),
        (b"kind/in", "added", ()),
        (b"link", "changed", ("target",)),
        (b"removed", "removed", ()),
        (b"removed/in", "removed", ()),
        (b"time", "touched", ("time",)),
    ]
    summary = Summary()
    for difference in listed:
        summary.count(difference)
    assert (summary.added, summary.removed, summary.changed, summary.touched) == (2, 2, 4, 1)
    assert (summary.bytes_added, summary.bytes_removed, summary.bytes_changed) == (4, 6, 2)


@given(FOLDERS, FOLDERS)
def test_differences_are_those_of_the_two_listings(before: Contents, after: Contents) -> None:
    old, new = flat(before), flat(after)
    listed = found(before, after)
    paths = [entry.path for entry in listed]
    assert len(paths) == len(set(paths))
    assert {entry.path for entry in listed if entry.what == "added"} == set(new) - set(old)
    assert {entry.path for entry in listed if entry.what == "removed"} == set(old) - set(new)
    same = {path for path in set(old) & set(new) if old[path] == new[path]}
    assert same.isdisjoint(paths)
    assert {p for p in set(old) & set(new) if isinstance(old[p], Link) and old[p] != new[p]} <= set(paths)


@given(FOLDERS, FOLDERS)
def test_differences_turn_around_with_the_states(before: Contents, after: Contents) -> None:
    turned = {(entry.path, entry.after, entry.before) for entry in found(after, before)}
    assert {(entry.path, entry.before, entry.after) for entry in found(before, after)} == turned


def test_a_folder_stands_before_what_lies_in_it_and_names_are_in_order() -> None:
    listed = found({}, {b"b": {b"z": b"", b"a": {b"x": b""}}, b"a-b": b"", b"a": {b"q": b""}})
    assert [entry.path for entry in listed] == [b"a", b"a/q", b"a-b", b"b", b"b/a", b"b/a/x", b"b/z"]


def nested(leaf: bytes, depth: int) -> Manifest:
    item = item_of({b"leaf": leaf}, b"d")
    for _ in range(depth):
        above = Item(b"d", Kind.FOLDER, item.mtime_ns)
        above.children.append(item)
        item = above
    item.name = b""
    return opened(build(item))


def test_folders_nested_deeper_than_the_interpreters_stack_are_compared() -> None:
    depth = sys.getrecursionlimit() + 100
    (only,) = differences(nested(b"1", depth), nested(b"2", depth))
    assert only.path == b"d/" * depth + b"leaf"


@pytest.mark.parametrize("part", [1, 3, 1000])
def test_needed_chunks_are_those_that_the_first_has_not_however_many_parts(
    part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digestsets, "PART", part)
    before: Contents = {b"a": b"one", b"b": b"two", b"c": b"three", b"d": b"four"}
    after: Contents = {b"x": b"three", b"y": b"hundred", b"z": b"hundred", b"w": b"thousands"}
    assert needed(state(before), state(after)) == (2, 16, 16)
    assert needed(state(after), state(after)) == (0, 0, 0)


def test_sides_hold_what_people_ask_for() -> None:
    (changed,) = found({b"f": File(b"1", False, 5)}, {b"f": File(b"22", True, 6)})
    assert changed.aspects == ("content", "executable", "time")
    assert changed.after == (Kind.FILE, 2, True, 6, sha256(b"22").digest(), b"")
    assert changed.before is not None
    assert changed.before.mtime_ns == 5


@settings(max_examples=20)
@given(st.sets(st.binary(min_size=1, max_size=4).filter(lambda n: not set(b"/\0.") & set(n)), max_size=200))
def test_a_wide_folder_is_merged_in_one_pass(names: set[bytes]) -> None:
    half = sorted(names)[::2]
    assert [e.path for e in found(dict.fromkeys(half, b""), dict.fromkeys(names, b""))] == sorted(names - set(half))
