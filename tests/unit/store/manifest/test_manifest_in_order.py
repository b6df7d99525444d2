"""A manifest read from front to back: each page once, and what it says is what random access says."""

from collections.abc import Iterator

import pytest

from store.kinds import Kind
from store.manifest.build import Built
from store.manifest.layout import Section
from store.manifest.streams import Stream
from tests.support.manifests import build, item_of, opened
from tests.support.trees import Contents

TREE: Contents = {
    b"a": {b"%03d" % number: b"content %d" % number for number in range(300)},
    b"b": {b"c": {b"d": b"deep"}, b"empty": {}},
    b"top": b"t" * 5000,
}


@pytest.fixture
def built() -> Built:
    return build(item_of(TREE))


@pytest.mark.parametrize("sizes", [[10], [3, 3, 4], [0, 10], [1] * 10, [12], [4, 9]])
def test_a_stream_gives_its_bytes_in_pieces_of_any_length(sizes: list[int]) -> None:
    pages: Iterator[bytes] = iter([b"012", b"", b"3456", b"789"])
    stream = Stream(pages)
    whole = b"0123456789"
    at = 0
    for size in sizes:
        assert stream.position == at
        assert stream.take(size) == whole[at : at + size]
        at = min(len(whole), at + size)


def test_a_walk_finds_what_lookups_find(built: Built) -> None:
    manifest = opened(built)
    walked = {path: number for number, path, _ in manifest.walk()}
    for path, number in walked.items():
        at, record = 0, manifest.record(0)
        for name in path.split(b"/"):
            found = manifest.find(at, record, name)
            assert found is not None
            at, record = found
        assert at == number
    assert len(walked) == manifest.records - 1


def test_near_answers_the_same_and_asks_for_each_page_once_in_a_row(built: Built) -> None:
    manifest = opened(built)
    near = manifest.near()
    for _, _, record in manifest.walk():
        if record.kind == Kind.FILE:
            assert near.extents(record) == manifest.extents(record)
            assert near.sha256(record.first) == manifest.sha256(record.first)
    assert b"".join(near.pages(Section.SHA256)) == b"".join(manifest.pages(Section.SHA256))
