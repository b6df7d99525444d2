"""What a veil seals comes back, to its own store alone, and whatever was changed is refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from store.veil import Veil, name_of, open_file, open_unnamed
from store.veiled_file import HEADER, HELD, NONCE, PAGE, TAG, VeilBroken, VeiledFile, goes_on_at, reader_of

VEIL = Veil(bytes(range(32)))
OTHER = Veil(bytes(32))
SLOT = NONCE + PAGE + TAG
FIRST = HEADER.size + NONCE + 8 + TAG  # where the first page begins
TEXT = b"".join(b"line %07d\n" % number for number in range(5 * PAGE // 13))


def written(path: Path, data: bytes = TEXT, *, veil: Veil = VEIL) -> Path:
    with veil.open(path, "wb", b"test") as file:
        file.write(data)
    return path


def read(path: Path, *, veil: Veil = VEIL, purpose: bytes = b"test") -> bytes:
    with veil.open(path, "rb", purpose) as file:
        return file.read()


@pytest.mark.parametrize("size", [0, 1, PAGE - 1, PAGE, PAGE + 1, len(TEXT)])
def test_what_was_written_is_read(tmp_path: Path, size: int) -> None:
    assert read(written(tmp_path / "file", TEXT[:size])) == TEXT[:size]


def test_nothing_of_it_is_in_the_file(tmp_path: Path) -> None:
    found = written(tmp_path / "file").read_bytes()
    assert len(found) == FIRST + -(-len(TEXT) // PAGE) * SLOT
    assert b"line" not in found
    assert b"\0" * 8 not in found


def test_it_is_read_and_changed_at_any_place_and_by_a_later_process(tmp_path: Path) -> None:
    path = written(tmp_path / "file")
    with VEIL.open(path, "r+b", b"test") as file:
        assert (file.seek(2 * PAGE - 3), file.read(6), file.tell()) == (
            2 * PAGE - 3,
            TEXT[2 * PAGE - 3 :][:6],
            2 * PAGE + 3,
        )
        file.seek(PAGE - 2)
        file.write(b"here")
        assert file.seek(-4, os.SEEK_END) == len(TEXT) - 4
        file.write(b"the end is farther")
        assert reader_of(file)(4, PAGE - 2) == b"here"
    assert read(path) == TEXT[: PAGE - 2] + b"here" + TEXT[PAGE + 2 : -4] + b"the end is farther"


def test_what_is_passed_over_is_zeros(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with VEIL.open(path, "x+b", b"test") as file:
        file.write(b"a")
        file.seek(3 * PAGE + 1)
        file.write(b"")
        assert file.seek(0, os.SEEK_END) == 1
        file.seek(3 * PAGE + 1)
        file.write(b"b")
    assert read(path) == b"a" + bytes(3 * PAGE) + b"b"


def test_a_write_far_from_another_does_not_lose_it(tmp_path: Path) -> None:
    path, pages = tmp_path / "file", 3 * HELD
    with VEIL.open(path, "wb", b"test") as file:
        for turn in range(3):
            for number in reversed(range(pages)):
                file.seek(number * PAGE + turn)
                file.write(bytes([number]))
        assert len(file._pages) <= HELD  # however many there are
    data = read(path)
    assert [data[number * PAGE : number * PAGE + 4] for number in range(pages)] == [
        bytes([number] * 3 + [0])[: len(data) - number * PAGE] for number in range(pages)
    ]


def test_each_write_of_a_page_has_a_nonce_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "file"
    nonces: list[bytes] = []
    sizes: list[bytes] = []

    def note(file: VeiledFile) -> None:
        file.flush()
        data = path.read_bytes()
        sizes.append(data[HEADER.size :][:NONCE])
        nonces.extend(data[at : at + NONCE] for at in range(FIRST, len(data), SLOT))

    with VEIL.open(path, "wb", b"test") as file:
        file.write(b"same" * PAGE)
        note(file)
        file.seek(0)
        file.write(b"same" * PAGE)
        note(file)
        file.write(b"!")
        note(file)
    assert (len(set(nonces[:8])), len(set(sizes))) == (8, 2)
    assert len(set(nonces)) == 9  # the last flush wrote one page more, and none of the others again


def test_no_two_files_have_one_key(tmp_path: Path) -> None:
    one, two = written(tmp_path / "one").read_bytes(), written(tmp_path / "two").read_bytes()
    assert one[8 : HEADER.size] != two[8 : HEADER.size]
    swapped = tmp_path / "swapped"
    swapped.write_bytes(one[:FIRST] + two[FIRST:])
    with pytest.raises(VeilBroken):
        read(swapped)


@pytest.mark.parametrize(
    "at", [0, 5, 20, HEADER.size + 1, FIRST - 1, FIRST + 3, FIRST + SLOT - 1, FIRST + SLOT + 100, -1]
)
def test_a_flipped_bit_is_refused(tmp_path: Path, at: int) -> None:
    path = written(tmp_path / "file")
    data = bytearray(path.read_bytes())
    data[at] ^= 16
    path.write_bytes(data)
    with pytest.raises(VeilBroken):
        read(path)


@pytest.mark.parametrize("left", [0, 7, HEADER.size, FIRST - 1, FIRST, FIRST + SLOT, FIRST + 2 * SLOT + 1, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, left: int) -> None:
    path = written(tmp_path / "file")
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(VeilBroken):
        read(path)


def test_pages_that_change_places_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "file")
    data = path.read_bytes()
    one, two = data[FIRST : FIRST + SLOT], data[FIRST + SLOT : FIRST + 2 * SLOT]
    path.write_bytes(data[:FIRST] + two + one + data[FIRST + 2 * SLOT :])
    with pytest.raises(VeilBroken):
        read(path)


def test_another_key_another_purpose_and_a_plain_file_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "file")
    for veil, purpose in ((OTHER, b"test"), (VEIL, b"tent")):
        with pytest.raises(VeilBroken):
            read(path, veil=veil, purpose=purpose)
    path.write_bytes(TEXT)
    with pytest.raises(VeilBroken):
        read(path)
    assert issubclass(VeilBroken, OSError)


def test_a_process_killed_as_it_adds_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with VEIL.open(path, "wb", b"test") as file:
        file.write(TEXT)
        file.flush()
        file.seek(goes_on_at(file, len(TEXT)))
        before = path.read_bytes()
        file.write(bytes(HELD * PAGE) + TEXT)
        grown = path.read_bytes()  # it holds no more pages than it may, so some are there
        assert len(grown) > len(before)
        assert grown[: len(before)] == before
        assert read(path) == TEXT
        file.flush()
        path.write_bytes(path.read_bytes()[: len(before)])  # the size was on the disk before the pages were
    with VEIL.open(path, "rb", b"test") as file:
        assert file.read(len(TEXT)) == TEXT


def test_what_could_not_be_written_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    with VEIL.open(path, "wb", b"test") as file:
        with monkeypatch.context() as patched:
            patched.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(OSError, match="space"):
                file.write(TEXT * HELD)
            with pytest.raises(OSError, match="space"):
                file.flush()
        kept = file.tell()
    assert read(path) == (TEXT * HELD)[:kept]


def test_writes_that_take_less_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, at: real(descriptor, data[:1000], at))
    assert read(written(tmp_path / "file")) == TEXT


def test_a_file_without_a_name_is_sealed_too(tmp_path: Path) -> None:
    with VEIL.open_unnamed(tmp_path, b"test") as file:
        file.write(TEXT)
        file.flush()
        raw = os.pread(file.fileno(), 1 << 20, 0)
        assert b"line" not in raw
        assert file.pread(len(TEXT), 0) == TEXT
        assert list(tmp_path.iterdir()) == []
    file.close()  # once more is nothing


def test_without_a_veil_files_and_names_are_plain(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with open_file(path, "wb", None, b"test") as file:
        file.write(TEXT)
        assert goes_on_at(file, 5) == 5
    assert path.read_bytes() == TEXT
    with open_file(path, "rb", None, b"test") as file:
        assert reader_of(file)(4, 13) == TEXT[13:17]
    with open_unnamed(tmp_path, None, b"test") as file:
        file.write(TEXT)
        file.flush()
        assert os.pread(file.fileno(), len(TEXT), 0) == TEXT
    assert name_of(b"a", None) != name_of(b"a", VEIL) == VEIL.name(b"a") != OTHER.name(b"a")


@pytest.mark.parametrize("text", ["", "parent latest 12ab", "a" * 5000, "snow \N{SNOWMAN}"])
def test_a_line_comes_back_for_its_own_key_and_purpose(text: str) -> None:
    line = VEIL.line(text, b"p")
    assert VEIL.unline(line, b"p") == text
    assert VEIL.line(text, b"p") != line
    assert line.isascii()
    assert len(line.split()) == 1
    assert VEIL.unline(line, b"q") is OTHER.unline(line, b"p") is None


def test_a_damaged_line_is_none() -> None:
    line = VEIL.line("some text", b"p")
    assert [VEIL.unline(line[:cut], b"p") for cut in range(len(line))] == [None] * len(line)
    assert all(VEIL.unline(line[:at] + "!" + line[at + 1 :], b"p") is None for at in range(len(line)))
    assert VEIL.unline("00" * 16, b"p") is VEIL.unline("caf\N{LATIN SMALL LETTER E WITH ACUTE}", b"p") is None


def test_a_word_is_the_same_for_the_same_bytes_and_comes_back() -> None:
    word = VEIL.word(bytes(64), b"p")
    assert (word, len(word)) == (VEIL.word(bytes(64), b"p"), 128)
    assert word.isalnum()
    assert word.lower() == word
    assert VEIL.unword(word, b"p") == bytes(64)
    assert VEIL.unword(word, b"q") is OTHER.unword(word, b"p") is VEIL.unword(word[:-1], b"p") is None
    assert VEIL.unword(b"lock", b"p") is VEIL.unword(b"", b"p") is VEIL.unword("\N{SNOWMAN}".encode(), b"p") is None


def test_who_has_no_key_need_not_import_what_seals() -> None:
    text = "import store.push.push, store.pull.pull, sys; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", text], cwd=Path(__file__).parents[3], check=False).returncode == 0
