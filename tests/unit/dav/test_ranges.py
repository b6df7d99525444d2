import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dav.wire.ranges import MAX_RANGES, ByteRange, Multipart, Unsatisfiable, parse_ranges


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        ("bytes=0-0", 10, ByteRange(0, 1)),
        ("bytes=0-9", 10, ByteRange(0, 10)),
        ("bytes=3-", 10, ByteRange(3, 10)),
        ("bytes=3-999", 10, ByteRange(3, 10)),
        ("bytes=-3", 10, ByteRange(7, 10)),
        ("bytes=-999", 10, ByteRange(0, 10)),
        ("BYTES = 1-2", 10, ByteRange(1, 3)),
        ("bytes=10-", 10, Unsatisfiable(10)),
        ("bytes=10-12", 10, Unsatisfiable(10)),
        ("bytes=-0", 10, Unsatisfiable(10)),
        ("bytes=0-", 0, Unsatisfiable(0)),
        ("bytes=" + "9" * 6000 + "-", 10, Unsatisfiable(10)),
        ("bytes=0-" + "9" * 6000, 10, ByteRange(0, 10)),
        ("bytes=-5", 0, None),
        ("bytes=5-3", 10, None),
        ("bytes=-", 10, None),
        ("bytes=", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=0-4,2-5", 10, ByteRange(0, 6)),
        ("bytes=0-1,a", 10, None),
        ("bytes=0-1,5-3", 10, None),
        ("bytes=,", 10, None),
        ("bytes=, 3-4 ,,", 10, ByteRange(3, 5)),
        ("bytes=1-2,99-", 10, ByteRange(1, 3)),
        ("bytes=20-30,99-", 10, Unsatisfiable(10)),
        ("bytes=\u0661-\u0662", 10, None),
        ("items=0-1", 10, None),
        (None, 10, None),
    ],
)
def test_a_header_of_one_range_means(header: str | None, size: int, expected: object) -> None:
    found = parse_ranges(header, size)
    assert found == ([expected] if isinstance(expected, ByteRange) else expected)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9,500-509", [(0, 10), (500, 510)]),
        ("bytes=500-509,0-9", [(500, 510), (0, 10)]),  # in the order of the request
        ("bytes=500-509,0-9,505-600", [(500, 601), (0, 10)]),  # what overlaps is one, where its first member stood
        ("bytes=-10,0-0", [(990, 1000), (0, 1)]),
        ("bytes=0-0,2000-,-1", [(0, 1), (999, 1000)]),
        ("bytes=" + ",".join(["0-"] * 50), [(0, 1000)]),
        ("bytes=0-1,4-5", [(0, 2), (4, 6)]),  # near: a client that asks for two parts reads two
        ("bytes=2-3,0-1", [(2, 4), (0, 2)]),
        ("bytes=0-4,4-5", [(0, 6)]),
        ("bytes=0-4,2-3", [(0, 5)]),
    ],
)
def test_several_ranges_keep_their_order_and_send_no_byte_twice(header: str, expected: list[tuple[int, int]]) -> None:
    assert parse_ranges(header, 1000) == [ByteRange(*pair) for pair in expected]


def test_more_ranges_than_the_bound_are_ignored() -> None:
    size = 10**6
    specs = [f"{i * 1000}-{i * 1000 + 1}" for i in range(MAX_RANGES + 1)]
    found = parse_ranges("bytes=" + ",".join(specs[:-1]), size)
    assert isinstance(found, list)
    assert len(found) == MAX_RANGES
    assert parse_ranges("bytes=" + ",".join(specs), size) is None
    assert parse_ranges("bytes=" + "," * 65536, size) is None


specs = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)).map(sorted), min_size=1, max_size=20)


@given(specs, st.integers(1, 3000))
def test_ranges_hold_what_was_asked_for_and_lie_apart(asked: list[list[int]], size: int) -> None:
    found = parse_ranges("bytes=" + ",".join(f"{first}-{last}" for first, last in asked), size)
    wanted = {byte for first, last in asked for byte in range(first, min(last + 1, size))}
    if not wanted:
        assert found == Unsatisfiable(size)
        return
    assert isinstance(found, list)
    assert wanted == {byte for part in found for byte in range(part.start, part.stop)}
    ordered = sorted(found)
    assert all(after.start >= before.stop for before, after in itertools.pairwise(ordered))
    assert 0 <= ordered[0].start < ordered[-1].stop <= size


def test_parts_of_an_answer_are_framed_and_counted() -> None:
    ranges = [ByteRange(500, 510), ByteRange(0, 3)]
    parts = Multipart(ranges, 1000, "text/csv", bytes(32))
    boundary = parts.media_type.partition("boundary=")[2].encode()
    assert parts.heads[1] == (
        b"\r\n--" + boundary + b"\r\nContent-Type: text/csv\r\nContent-Range: bytes 0-2/1000\r\n\r\n"
    )
    assert parts.length == len(b"".join(parts.heads)) + 13 + len(parts.end)
    assert Multipart(ranges, 1000, "text/csv", b"\1" * 32).media_type != parts.media_type


@given(
    st.text(max_size=40) | st.from_regex(r"bytes=\d{0,20}-\d{0,20}(,\d{0,4}-\d{0,4}){0,3}", fullmatch=True),
    st.integers(0, 2**63),
)
def test_any_range_header_gives_ranges_inside_the_file_or_none(header: str, size: int) -> None:
    found = parse_ranges(header, size)
    if isinstance(found, list):
        assert found
        assert all(0 <= part.start < part.stop <= size for part in found)
    else:
        assert found is None or found == Unsatisfiable(size)


@given(st.binary(min_size=1, max_size=50), st.data())
def test_first_and_last_positions_select_what_a_slice_selects(content: bytes, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(content) - 1))
    last = data.draw(st.integers(first, len(content) + 5))
    found = parse_ranges(f"bytes={first}-{last}", len(content))
    assert isinstance(found, list)
    assert content[found[0].start : found[0].stop] == content[first : last + 1]
