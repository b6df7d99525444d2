"""Codings: exact sizes, nothing believed."""

import pytest
import zstandard

from store.codec import Coding, Undecodable, decode, encode, encode_rows, transpose, untranspose

TEXT = b"the same words, the same words, the same words, " * 20
NOISE = bytes((n * 167 + (n >> 3) * 91) % 256 for n in range(64))


def test_what_compresses_is_zstd_and_what_does_not_is_the_same_buffer() -> None:
    assert encode(TEXT)[0] is Coding.ZSTD
    view = memoryview(NOISE)
    coding, stored = encode(view)
    assert (coding, stored is view) == (Coding.PLAIN, True)


def test_nothing_is_coded_as_nothing() -> None:
    assert encode(b"") == (Coding.PLAIN, b"")
    assert decode(Coding.PLAIN, b"", 0) == b""


def test_a_saving_under_three_percent_is_not_worth_it() -> None:
    data = bytes(40) + NOISE * 1
    coding, stored = encode(data)
    assert (coding is Coding.ZSTD) == (len(stored) <= 0.97 * len(data))
    assert len(stored) <= len(data)


def test_columns_are_bytes_of_one_position_together() -> None:
    assert transpose(b"abcABC123", 3) == b"aA1bB2cC3"
    assert untranspose(b"aA1bB2cC3", 3) == b"abcABC123"
    coding, stored = encode_rows(TEXT, 48)
    assert coding is Coding.COLUMNS
    assert decode(coding, stored, len(TEXT), 48) == TEXT


def test_a_frame_that_claims_4_gib_is_refused_before_memory_is_taken() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 20))
    claim = bytearray(bomb)
    header = zstandard.get_frame_parameters(bomb)
    assert header.content_size == 1 << 20
    claim[5:9] = (0xFFFFFFFF).to_bytes(4, "little")
    for data in (bomb, bytes(claim)):
        with pytest.raises(Undecodable, match="claims"):
            decode(Coding.ZSTD, data, 100)


def test_a_frame_that_does_not_say_its_size_is_refused() -> None:
    compressor = zstandard.ZstdCompressor(write_content_size=False)
    with pytest.raises(Undecodable):
        decode(Coding.ZSTD, compressor.compress(TEXT), len(TEXT))


def test_a_frame_of_nothing_but_a_skippable_part_is_refused() -> None:
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"
    with pytest.raises(Undecodable):
        decode(Coding.ZSTD, skippable, 4)


@pytest.mark.parametrize("coding", [Coding.PATCH, 4, 255, -1])
def test_an_unknown_coding_is_refused(coding: int) -> None:
    with pytest.raises(Undecodable, match="unknown coding"):
        decode(coding, TEXT, len(TEXT))


@pytest.mark.parametrize("size", [0, 1, len(TEXT) - 1, len(TEXT) + 1, 1 << 40])
@pytest.mark.parametrize("coding", [Coding.PLAIN, Coding.ZSTD, Coding.COLUMNS])
def test_any_other_size_than_the_right_one_is_refused(coding: Coding, size: int) -> None:
    stored = TEXT if coding is Coding.PLAIN else encode(TEXT)[1]
    with pytest.raises(Undecodable):
        decode(coding, stored, size)


@pytest.mark.parametrize("width", [0, -1, 7, 961])
def test_rows_that_are_not_whole_are_refused(width: int) -> None:
    with pytest.raises(Undecodable, match="no whole rows"):
        decode(Coding.COLUMNS, encode(TEXT)[1], len(TEXT), width)
