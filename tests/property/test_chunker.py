"""Cutting: chunks join to the input however it is handed in, and an edit moves few cuts."""

import random

from hypothesis import given
from hypothesis import strategies as st

from store.chunker import Chunker
from store.root import ChunkerSettings

SETTINGS = ChunkerSettings(min=64, avg=256, max=1024)
CHUNKER = Chunker(SETTINGS)
SHAPES = st.one_of(
    st.binary(max_size=3000),
    st.builds(lambda seed, size: random.Random(seed).randbytes(size), st.integers(0, 1 << 30), st.integers(0, 40_000)),
    st.builds(lambda byte, size: bytes([byte]) * size, st.integers(0, 255), st.integers(0, 9000)),
    st.builds(lambda part, times: part * times, st.binary(min_size=1, max_size=600), st.integers(0, 40)),
)


def whole(data: bytes) -> list[tuple[int, int]]:
    return list(CHUNKER.cut(data, first=True, final=True))


def in_windows(data: bytes, window: int) -> list[tuple[int, int]]:
    """Cut as a push does: windows that begin at the last cut."""
    found: list[tuple[int, int]] = []
    start = 0
    while start < len(data):
        part = data[start : start + window]
        final = start + len(part) == len(data)
        cuts = list(CHUNKER.cut(part, first=start == 0, final=final))
        found += [(start + at, size) for at, size in cuts]
        start += cuts[-1][0] + cuts[-1][1]
    return found


@given(SHAPES)
def test_chunks_follow_one_another_and_cover_the_input(data: bytes) -> None:
    at = 0
    for offset, size in whole(data):
        assert (offset, size > 0, size <= SETTINGS.max) == (at, True, True)
        at += size
    assert at == len(data)


@given(SHAPES, st.integers(SETTINGS.max + 1, 10_000))
def test_cuts_do_not_depend_on_the_windows(data: bytes, window: int) -> None:
    assert in_windows(data, window) == whole(data)


@given(st.integers(0, 1 << 30), st.integers(0, 99_999), st.binary(max_size=40), st.integers(0, 40))
def test_a_local_edit_changes_few_chunks(seed: int, at: int, inserted: bytes, removed: int) -> None:
    data = random.Random(seed).randbytes(100_000)
    edited = data[:at] + inserted + data[at + removed :]
    before = {data[o : o + n] for o, n in whole(data)}
    after = {edited[o : o + n] for o, n in whole(edited)}
    assert len(after - before) <= 20
    assert len(before) > 150


@given(SHAPES, st.integers(0, 2))
def test_a_cut_by_content_stands_whatever_follows(data: bytes, factor: int) -> None:
    more = data + bytes(factor * SETTINGS.max) + data
    cuts, longer = whole(data), whole(more)
    if len(data) > SETTINGS.max and len(more) > SETTINGS.max:
        assert longer[: len(cuts) - 1] == cuts[:-1]
