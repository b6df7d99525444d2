"""Every coding gives back what went in, and only for the size it was told."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from store.codec import Undecodable, decode, encode, encode_rows, transpose, untranspose

DATA = st.one_of(
    st.binary(max_size=400), st.builds(lambda part, n: part * n, st.binary(max_size=40), st.integers(0, 99))
)


@given(DATA)
def test_decode_gives_back_what_encode_took(data: bytes) -> None:
    coding, stored = encode(data)
    assert bytes(decode(coding, stored, len(data))) == data
    assert len(stored) <= len(data)


@given(DATA, st.integers(1, 48))
def test_rows_come_back_as_they_were(data: bytes, width: int) -> None:
    rows = data[: len(data) // width * width]
    coding, stored = encode_rows(rows, width)
    assert bytes(decode(coding, stored, len(rows), width)) == rows
    assert untranspose(transpose(rows, width), width) == rows


@given(DATA, st.integers(0, 5000))
def test_no_other_size_is_believed(data: bytes, size: int) -> None:
    assume(size != len(data))
    coding, stored = encode(data)
    with pytest.raises(Undecodable):
        decode(coding, stored, size)


@given(st.integers(-2, 300), st.binary(max_size=300), st.integers(0, 1000), st.integers(-1, 70))
def test_any_bytes_are_exactly_the_size_or_undecodable(coding: int, data: bytes, size: int, width: int) -> None:
    try:
        plain = decode(coding, data, size, width)
    except Undecodable:
        return
    assert len(plain) == size
