"""Records come out whole, however the stream was cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfs.wire.errors import RecordRefused
from nfs.wire.record import LAST_FRAGMENT, MAX_EMPTY, RecordReader, marked

LIMIT = 100_000


def feed(reader: RecordReader, stream: bytes, sizes: list[int]) -> list[bytes]:
    """Give a stream in pieces of the sizes, over and over."""
    records: list[bytes] = []
    at = turn = 0
    while at < len(stream):
        room = reader.room()
        assert len(room)
        piece = stream[at : at + min(len(room), sizes[turn % len(sizes)])]
        room[: len(piece)] = piece
        room.release()
        records += reader.received(len(piece))
        at, turn = at + len(piece), turn + 1
    return records


def fragmented(record: bytes, cuts: list[int]) -> bytes:
    """Cut a record into fragments at the offsets, equal ones giving empty fragments."""
    edges = [0, *sorted(min(c, len(record)) for c in cuts), len(record)]
    out = b""
    for i, (start, end) in enumerate(pairwise(edges)):
        last = LAST_FRAGMENT if i == len(edges) - 2 else 0
        out += (last | end - start).to_bytes(4, "big") + record[start:end]
    return out


RECORDS = st.lists(
    st.tuples(st.binary(max_size=300) | st.integers(0, 70_000).map(bytes), st.lists(st.integers(0, 300), max_size=5)),
    max_size=8,
)


@given(RECORDS, st.lists(st.integers(1, 50_000), min_size=1, max_size=5))
def test_records_do_not_depend_on_where_the_stream_was_cut(
    records: list[tuple[bytes, list[int]]], sizes: list[int]
) -> None:
    if max(sizes) < 100:
        records = [(record[:300], cuts) for record, cuts in records]
    stream = b"".join(fragmented(record, cuts) for record, cuts in records)
    assert feed(RecordReader(LIMIT), stream, sizes) == [record for record, _ in records]


def test_a_record_of_the_limit_passes_and_one_byte_more_does_not() -> None:
    assert feed(RecordReader(50_000), marked(bytes(50_000)), [4096]) == [bytes(50_000)]
    with pytest.raises(RecordRefused):
        feed(RecordReader(50_000), marked(bytes(50_001)), [4])


@pytest.mark.slow
def test_a_record_of_the_limit_may_come_a_byte_a_fragment() -> None:
    record = bytes(range(256)) * (LIMIT // 256)
    stream = fragmented(record, list(range(len(record))))
    assert feed(RecordReader(len(record)), stream + marked(b"next"), [50_000]) == [record, b"next"]


def test_fragments_that_add_up_past_the_limit_are_refused() -> None:
    with pytest.raises(RecordRefused):
        feed(RecordReader(1000), fragmented(bytes(1001), [10, 500]), [64])


def test_a_mark_is_refused_before_its_bytes_come() -> None:
    with pytest.raises(RecordRefused):
        feed(RecordReader(LIMIT), b"\xff\xff\xff\xff", [4])


def test_endless_empty_fragments_are_refused() -> None:
    assert feed(RecordReader(LIMIT), b"\0\0\0\0" * (MAX_EMPTY - 1) + marked(b"end"), [64]) == [b"end"]
    with pytest.raises(RecordRefused):
        feed(RecordReader(LIMIT), b"\0\0\0\0" * MAX_EMPTY, [64])
