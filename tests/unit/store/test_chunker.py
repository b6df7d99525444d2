"""Cut points, pinned: another client of the store must cut alike, for ever."""

import random

import pytest

from store.chunker import MAX, Chunker
from store.errors import FeatureMissing
from store.root import ChunkerSettings

STANDARD = ChunkerSettings()


def cuts(data: bytes, settings: ChunkerSettings = STANDARD) -> list[tuple[int, int]]:
    return list(Chunker(settings).cut(data, first=True, final=True))


def test_cut_points_of_random_bytes_are_those_of_format_1() -> None:
    data = random.Random(7).randbytes(1_000_000)
    assert [at for at, _ in cuts(data)] == [0, 111090, 178375, 264465, 485765, 585183, 710598, 845485, 917027]


def test_cut_points_of_text_are_those_of_format_1() -> None:
    data = b"".join(b"%d,%d\n" % (n, n * n) for n in range(40_000))
    assert [at for at, _ in cuts(data)] == [0, 68873, 177532, 334415, 395246, 574313]


def test_cut_points_depend_on_the_seed() -> None:
    data = random.Random(7).randbytes(1_000_000)
    assert cuts(data, ChunkerSettings(seed=1)) != cuts(data)


def test_nothing_is_cut_from_nothing() -> None:
    assert cuts(b"") == []


@pytest.mark.parametrize("size", [1, 2, STANDARD.min - 1, STANDARD.min, STANDARD.avg, STANDARD.max - 1, STANDARD.max])
def test_what_fits_in_one_chunk_is_one(size: int) -> None:
    assert cuts(random.Random(size).randbytes(size)) == [(0, size)]


def test_one_byte_more_than_a_chunk_holds_is_cut_by_content() -> None:
    data = random.Random(3).randbytes(STANDARD.max + 1)
    found = cuts(data)
    assert len(found) > 1
    assert sum(size for _, size in found) == len(data)


def test_bytes_without_content_are_cut_at_the_maximum() -> None:
    assert cuts(bytes(3 * STANDARD.max + 5)) == [
        (0, STANDARD.max),
        (STANDARD.max, STANDARD.max),
        (2 * STANDARD.max, STANDARD.max),
        (3 * STANDARD.max, 5),
    ]


def test_all_chunks_but_the_last_keep_to_the_bounds() -> None:
    found = cuts(random.Random(1).randbytes(5_000_000))
    assert all(STANDARD.min <= size <= STANDARD.max for _, size in found[:-1])
    assert 0 < found[-1][1] <= STANDARD.max


def test_a_window_hands_back_a_chunk_that_more_bytes_could_lengthen() -> None:
    data = random.Random(7).randbytes(120_000)  # the first cut lies at 111,090
    chunker = Chunker(STANDARD)
    assert list(chunker.cut(data[:111_090], first=True, final=False)) == []
    assert list(chunker.cut(data, first=True, final=False)) == [(0, 111_090)]


@pytest.mark.parametrize(
    "settings",
    [
        ChunkerSettings(algorithm="rabin"),
        ChunkerSettings(normalization=4),
        ChunkerSettings(seed=2**64),
        ChunkerSettings(seed=-1),
        ChunkerSettings(min=1),
        ChunkerSettings(max=MAX + 1),
        ChunkerSettings(min=2**40, avg=2**41, max=2**42),
    ],
)
def test_settings_that_we_cannot_cut_by_are_refused_by_name(settings: ChunkerSettings) -> None:
    with pytest.raises(FeatureMissing, match="chunks cut as"):
        Chunker(settings)
