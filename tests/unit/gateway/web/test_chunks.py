"""Bodies in chunks: what is one, what is none, and how much of one is held."""

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.chunks import LINE, PIECE, Chunks


class Counted(io.BytesIO):
    """A stream that knows how much was asked of it at once."""

    most = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.most = max(self.most, len(data))
        return data


def body(data: bytes, most: int = 1 << 30) -> Chunks:
    return Chunks(io.BytesIO(data), most)


@given(st.lists(st.binary(min_size=1, max_size=20_000), max_size=5), st.integers(1, 30_000))
def test_chunks_are_joined_in_whatever_pieces_they_are_read(parts: list[bytes], size: int) -> None:
    data = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\n"
    chunks, read = body(data), b""
    while piece := chunks.read(size):
        assert len(piece) <= size
        read += piece
    assert read == b"".join(parts)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\r\n", b"-1\r\n\r\n", b"+1\r\na\r\n", b"0x1\r\na\r\n", b"1_0\r\n", b" 1\r\na\r\n", b"1\na\r\n", b"0\n\n",
        b"1\r\nab\r\n", b"1\r\na", b"5\r\nab", b"g\r\n", b"1;\0\r\na\r\n", b"f" * 17 + b"\r\n",
        b"1;" + b"x" * LINE + b"\r\na\r\n",
    ],
)  # fmt: skip
def test_what_is_no_chunk_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        body(data).read()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_body_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError, OSError):
        assert len(body(data, 100).read()) <= 100


def test_of_a_long_chunk_and_of_an_endless_line_little_is_held() -> None:
    stream = Counted(b"%x\r\n" % (8 << 20) + bytes(8 << 20) + b"\r\n0\r\n\r\n")
    chunks = Chunks(stream, 1 << 30)
    assert len(chunks.read(10)) == 10
    assert stream.most <= PIECE
    endless = io.BytesIO(b"1;" + b"x" * (1 << 20))
    with pytest.raises(ValueError, match="size"):
        Chunks(endless, 1 << 30).read(10)
    assert endless.tell() <= LINE


def test_a_body_over_the_limit_is_refused_by_what_it_says_of_itself() -> None:
    with pytest.raises(OSError, match="Large"):
        body(b"ffffffff\r\n", 1000).read(10)
