import pytest
from hypothesis import given
from hypothesis import strategies as st

from dav.wire.ranges import ByteRange, Unsatisfiable, parse_range


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
        ("bytes=0-1,4-5", 10, None),
        ("bytes=\u0661-\u0662", 10, None),
        ("items=0-1", 10, None),
        (None, 10, None),
    ],
)
def test_range_header_means(header: str | None, size: int, expected: object) -> None:
    assert parse_range(header, size) == expected


@given(st.text(max_size=40) | st.from_regex(r"bytes=\d{0,20}-\d{0,20}", fullmatch=True), st.integers(0, 2**63))
def test_any_range_header_gives_a_range_inside_the_file_or_none(header: str, size: int) -> None:
    found = parse_range(header, size)
    if isinstance(found, ByteRange):
        assert 0 <= found.start < found.stop <= size
    else:
        assert found is None or found == Unsatisfiable(size)


@given(st.binary(min_size=1, max_size=50), st.data())
def test_first_and_last_positions_select_what_a_slice_selects(content: bytes, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(content) - 1))
    last = data.draw(st.integers(first, len(content) + 5))
    found = parse_range(f"bytes={first}-{last}", len(content))
    assert isinstance(found, ByteRange)
    assert content[found.start : found.stop] == content[first : last + 1]
