"""What a killed push leaves behind is used by the next one, whatever the last line looks like."""

from pathlib import Path

import pytest

from store.digest import PackId
from store.push.journal import Journal

A, B = PackId(b"a" * 16), PackId(b"b" * 16)
HEX = "ab" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "below" / "journal"


def test_packs_and_parents_outlive_the_process(path: Path) -> None:
    first = Journal(path)
    first.begin({"latest": HEX, "qa": ""})
    first.pack(A)
    first.pack(B)
    again = Journal(path)
    assert again.packs() == [A, B]
    assert again.parents(["latest", "qa", "other"]) == {"latest": HEX, "qa": ""}


def test_parents_noted_first_stay(path: Path) -> None:
    Journal(path).begin({"latest": HEX})
    again = Journal(path)
    again.begin({"latest": "cd" * 32, "qa": "cd" * 32})
    assert Journal(path).parents(["latest", "qa"]) == {"latest": HEX, "qa": "cd" * 32}


def test_after_the_end_nothing_is_remembered(path: Path) -> None:
    journal = Journal(path)
    journal.pack(A)
    journal.end()
    journal.end()
    assert (Journal(path).packs(), path.exists()) == ([], False)


def test_after_a_conflict_only_packs_are_remembered(path: Path) -> None:
    journal = Journal(path)
    journal.begin({"latest": HEX})
    journal.pack(A)
    journal.forget_parents()
    again = Journal(path)
    assert (again.packs(), again.parents(["latest"])) == ([A], {})


def test_wherever_a_line_was_cut_short_no_other_line_is_lost_and_nothing_false_is_read(path: Path) -> None:
    whole = f"parent latest {HEX}\n{A.hex()}\n"
    for size in range(len(whole) + 1):
        path.parent.mkdir(exist_ok=True)
        path.write_text(whole[:size])
        Journal(path).pack(B)
        again = Journal(path)
        assert B in again.packs()
        assert set(again.packs()) <= {A, B}
        assert again.parents(["latest"]) in ({}, {"latest": HEX})
        if size >= len(whole) - 34:
            assert again.parents(["latest"]) == {"latest": HEX}


@pytest.mark.parametrize(
    "text", ["", "\n\n", "parent\n", "parent latest\n", "parent latest zz\n", "zz\n", "ab\n", "\xff\xfe\x00"]
)
def test_nonsense_is_passed_over(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    journal = Journal(path)
    assert (journal.packs(), journal.parents(["latest"])) == ([], {})


def test_a_journal_without_a_path_keeps_nothing(tmp_path: Path) -> None:
    journal = Journal(None)
    journal.begin({"latest": HEX})
    journal.pack(A)
    journal.end()
    assert journal.packs() == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_costs_only_the_resume(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    journal = Journal(tmp_path / "file" / "journal")
    journal.pack(A)
    journal.end()
    assert Journal(tmp_path / "file" / "journal").packs() == []
