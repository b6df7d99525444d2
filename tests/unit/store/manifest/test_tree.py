"""A tree in columns: its records are those of a manifest, and its files come in path order."""

import pytest

from store.errors import BadName
from store.kinds import Kind
from store.manifest import layout
from store.manifest.tree import Tree
from tests.support.manifests import item_of, tree_of
from tests.support.trees import Contents, Link

CONTENTS: Contents = {
    b"b": {b"x": b"12", b"y": {b"deep": b"345"}, b"z": b""},
    b"a": b"6",
    b"c": {},
    b"l": Link(b"b/x"),
    b"d": {b"only": b"78"},
}


def test_records_stand_breadth_first_and_every_folder_knows_its_entries() -> None:
    tree, _ = tree_of(item_of(CONTENTS))
    names = [tree.name(record) for record in range(tree.records)]
    assert names == [b"", b"a", b"b", b"c", b"d", b"l", b"x", b"y", b"z", b"only", b"deep"]
    assert [tree.entries(record) for record in (0, 2, 4, 7)] == [(1, 6), (6, 9), (9, 10), (10, 11)]
    assert tree.row(3)[0] == 0
    assert [tree.path(record) for record in (0, 6, 10)] == [b"", b"b/x", b"b/y/deep"]
    assert (tree.files, tree.size, [*tree.sizes()]) == (5, 8, [1, 2, 0, 2, 3])


def test_files_are_read_in_path_order() -> None:
    tree, files = tree_of(item_of(CONTENTS))
    found = [*tree.in_path_order()]
    assert [entry.path for entry in found] == [b"a", b"b/x", b"b/y/deep", b"b/z", b"d/only"]
    assert [files[entry.number].size for entry in found] == [entry.size for entry in found]
    assert all(tree.name(entry.record) == entry.path.rpartition(b"/")[2] for entry in found)


@pytest.mark.parametrize("gone", [set(), {0}, {1, 2}, {3}, {0, 1, 2, 3, 4}])
def test_without_some_files_it_is_the_tree_that_never_had_them(gone: set[int]) -> None:
    top = item_of(CONTENTS)
    tree, files = tree_of(top)
    stack = [top]
    while stack:
        folder = stack.pop()
        folder.children = [item for item in folder.children if not any(item is files[number] for number in gone)]
        stack += [item for item in folder.children if item.kind is Kind.FOLDER]
    left, (expected, _) = tree.without(gone), tree_of(top)
    assert (left.header, left.nodes, left.names, left.links) == (
        expected.header, expected.nodes, expected.names, expected.links,
    )  # fmt: skip
    assert left.size == expected.size


def test_a_file_may_turn_out_to_be_another_when_it_is_read() -> None:
    tree, _ = tree_of(item_of(CONTENTS))
    tree.set_file(6, 1000, -5)
    assert tree.row(6)[:3] == (1000, -5, 1)
    assert (tree.size, tree.name(6)) == (1006, b"x")


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0", b"n" * (layout.MAX_NAME + 1), b"same", b"before"])
def test_names_that_cannot_stand_there_are_refused(name: bytes) -> None:
    tree = Tree(0)
    for _ in tree.folders():
        if name in (b"same", b"before"):
            tree.add_file(b"same", 0, 0)
        with pytest.raises(BadName):
            tree.add_file(name, 0, 0)
