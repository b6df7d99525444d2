"""A manifest gives back the tree that it was built from, at random and whole, and its id hangs on content alone."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.cache import ByteCache
from store.errors import Corrupt
from store.kinds import Kind
from store.layout import manifest_key
from store.manifest.view import Manifest, Record, open_manifest
from store.objects.memory import MemoryStore
from store.pack import Block
from tests.support.manifests import Content, block_of, build, item_of, opened
from tests.support.trees import Contents, File, Link

NAMES = st.binary(min_size=1, max_size=12).filter(lambda n: n not in (b".", b"..") and not {0, 47} & set(n))
LEAVES = st.one_of(
    st.binary(max_size=50),
    st.builds(File, st.binary(max_size=20), st.booleans(), st.integers(-(2**63), 2**63 - 1)),
    st.builds(Link, st.binary(min_size=1, max_size=30)),
)
TREES: st.SearchStrategy[Contents] = st.dictionaries(
    NAMES,
    st.recursive(LEAVES, lambda below: st.dictionaries(NAMES, below, max_size=5), max_leaves=30),
    max_size=8,
)


def flat(contents: Contents, base: bytes = b"") -> dict[bytes, object]:
    """Return path -> what stands there; a folder as the number of its entries."""
    found: dict[bytes, object] = {}
    for name, value in contents.items():
        path = b"/".join((base, name)) if base else name
        if isinstance(value, Mapping):
            found[path] = len(value)
            found |= flat(value, path)
        else:
            found[path] = value
    return found


def described(manifest: Manifest, record: Record) -> object:
    """Say of a record what `flat` says of its source."""
    if record.kind is Kind.FOLDER:
        return record.size
    if record.kind is Kind.LINK:
        return Link(manifest.link(record))
    return (record.size, record.executable, [block for _, block in manifest.extents(record)])


def expected(value: object) -> object:
    if isinstance(value, bytes | File):
        data, executable = (value.data, value.executable) if isinstance(value, File) else (value, False)
        return (len(data), executable, [block_of(data)] if data else [])
    return value


@given(TREES)
def test_walking_gives_back_every_entry_once(contents: Contents) -> None:
    manifest = opened(build(item_of(contents)))
    manifest.check()
    found = [(path, described(manifest, record)) for _, path, record in manifest.walk()]
    assert dict(found) == {path: expected(value) for path, value in flat(contents).items()}
    assert len(found) == manifest.records - 1


@given(TREES)
def test_every_path_is_found_by_its_names_and_no_other_is(contents: Contents) -> None:
    manifest = opened(build(item_of(contents)))
    for path in flat(contents):
        number, record = 0, manifest.record(0)
        for name in path.split(b"/"):
            step = manifest.find(number, record, name)
            assert step is not None
            assert manifest.find(number, record, name + b"/") is None
            number, record = step
        assert described(manifest, record) == expected(flat(contents)[path])


@given(TREES, st.integers(0, 9), st.integers(0, 9))
def test_a_slice_of_a_folder_is_that_slice_of_its_sorted_names(contents: Contents, start: int, size: int) -> None:
    manifest = opened(build(item_of(contents)))
    found = [name for _, name, _ in manifest.entries(0, manifest.record(0), start, start + size)]
    assert found == sorted(contents)[start : start + size]


@given(TREES)
def test_what_was_read_once_is_read_from_memory(contents: Contents) -> None:
    manifest = opened(build(item_of(contents)))
    cold = [(number, path, described(manifest, record)) for number, path, record in manifest.walk()]
    warm = [(number, path, described(manifest.warm, record)) for number, path, record in manifest.warm.walk()]
    assert warm == cold


@given(TREES)
def test_the_id_does_not_depend_on_the_order_of_the_walk_nor_on_where_blocks_lie(contents: Contents) -> None:
    built = build(item_of(contents))
    other = item_of(contents)
    stack = [other]
    while stack:
        folder = stack.pop()
        folder.children.reverse()
        for item in folder.children:
            if item.kind is Kind.FOLDER:
                stack.append(item)
            elif item.content is not None:
                item.content = Content(item.content.sha256, item.content.md5, moved(item.content.extents))
    again = build(other)
    assert again.id == built.id


def moved(extents: list[tuple[int, Block | None]]) -> list[tuple[int, Block | None]]:
    return [(at, block and block._replace(offset=block.offset + 7)) for at, block in extents]


@given(TREES, TREES)
def test_two_trees_have_one_id_only_if_they_are_one_tree(one: Contents, other: Contents) -> None:
    first, second = build(item_of(one)), build(item_of(other))
    assert (first.id == second.id) == (shape(one) == shape(other))


def shape(contents: Contents) -> dict[bytes, object]:
    """Return all that an id covers."""
    return {
        path: (File(value, mtime_ns=0), "plain") if isinstance(value, bytes) else value
        for path, value in flat(contents).items()
    }


@given(TREES, st.binary(min_size=32, max_size=32))
def test_a_manifest_under_another_name_is_refused_and_with_another_root_held_against_its_id(
    contents: Contents, other: bytes
) -> None:
    built = build(item_of(contents))
    objects = MemoryStore()
    for id in (other, built.id):
        objects.put(manifest_key(id.hex()), built.data)
    for root in (other, built.root, None):
        with pytest.raises(Corrupt):
            open_manifest(objects, other, root, ByteCache(0))
        assert open_manifest(objects, built.id, root, ByteCache(0)).root == built.root
