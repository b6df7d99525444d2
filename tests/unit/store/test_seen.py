"""What was seen of heads is kept, and it is said where it can't be."""

import logging
import os
from pathlib import Path

import pytest

from store.errors import Replayed
from store.seen import SeenHeads

KEY = bytes(32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "stores" / "s.seen"


def test_an_older_generation_is_refused_by_a_later_process_too(file: Path) -> None:
    SeenHeads(file, KEY)("data", 5)
    later = SeenHeads(file, KEY)
    later("other", 1)
    with pytest.raises(Replayed, match="'data' is at write 4, but write 5 was seen"):
        later("data", 4)
    with pytest.raises(Replayed):
        later("data", 0)
    later("data", 6)


def test_no_name_stands_in_the_file(file: Path) -> None:
    SeenHeads(file, KEY)("a-name-to-hide", 5)
    assert b"a-name-to-hide" not in file.read_bytes()


def test_a_damaged_file_is_told_of_and_begins_anew(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    SeenHeads(file, KEY)("data", 5)
    file.write_bytes(os.urandom(8192))
    seen = SeenHeads(file, KEY)
    seen("data", 4)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert f"{file} is damaged, and begins anew" in caplog.text
    SeenHeads(file, KEY)("data", 6)
    with pytest.raises(Replayed):
        SeenHeads(file, KEY)("data", 5)


def test_where_nothing_can_be_kept_it_is_said_once_and_a_process_remembers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "stores").write_text("a file, where a folder would have to be")
    seen = SeenHeads(tmp_path / "stores" / "s.seen", KEY)
    for number in range(1, 4):
        seen("data", number)
    assert caplog.text.count("may not be noticed here: it can't be kept in") == 1
    with pytest.raises(Replayed):
        seen("data", 2)
