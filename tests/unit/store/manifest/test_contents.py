"""What files hold comes back as it was set, in memory and on disk, in whatever order it is set."""

import os
import random
from pathlib import Path

import pytest

from store.manifest import contents as module
from store.manifest.contents import Column, Contents
from store.manifest.layout import HOLE

EXTENTS = [[], [(0, 7)], [(0, HOLE)], [(0, 1), (100, HOLE), (300, 2)], [(0, 5), (5_000_000_000_000, 6)]]


@pytest.mark.parametrize("in_memory", [0, 1000, 1 << 20])
def test_rows_of_a_column_come_back_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int) -> None:
    monkeypatch.setattr(module, "_IN_MEMORY", in_memory)
    monkeypatch.setattr(module, "_RUN", 256)
    rows = [random.Random(number).randbytes(16) for number in range(500)]
    column = Column(16, tmp_path)
    for number in [*range(100, 200), *range(100), *range(499, 199, -1)]:
        column.put(number, rows[number])
    column.put(7, rows[8])
    column.put(7, rows[7])
    assert b"".join(column.pieces(48)) == b"".join(rows)
    first, second = column.pieces(1000), column.pieces(1000)
    assert [*zip(first, second, strict=True)] == [(piece, piece) for piece in column.pieces(1000)]
    column.keep(range(0, 500, 7))
    assert b"".join(column.pieces(48)) == b"".join(rows[::7])
    column.close()
    assert os.listdir(tmp_path) == []


def test_each_file_has_the_extents_it_was_given() -> None:
    contents = Contents(len(EXTENTS))
    for number in (3, 0, 4, 1, 2):
        assert not contents.known(number)
        contents.set(number, bytes([number]) * 32, bytes([number]) * 16, EXTENTS[number])
        assert contents.known(number)
    assert contents.unread == 0
    assert [*contents.extents()] == EXTENTS
    assert b"".join(contents.sha256.pieces(32)) == b"".join(bytes([number]) * 32 for number in range(5))
    assert b"".join(contents.md5.pieces(7)) == b"".join(bytes([number]) * 16 for number in range(5))
    assert [contents.uses(number, lambda row: row in (2, 7)) for number in range(5)] == [
        False,
        True,
        False,
        True,
        False,
    ]
    contents.keep([1, 3])
    assert [*contents.extents()] == [EXTENTS[1], EXTENTS[3]]
    contents.close()


def test_what_is_forgotten_is_to_be_read_again() -> None:
    contents = Contents(2)
    contents.set(1, bytes(32), bytes(16), EXTENTS[3])
    contents.forget(1)
    contents.forget(1)
    assert (contents.unread, contents.known(1), contents.uses(1, lambda row: True)) == (2, False, False)
    contents.set(1, bytes(32), bytes(16), EXTENTS[1])
    assert contents.unread == 1
