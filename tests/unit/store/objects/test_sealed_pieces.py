"""The disk cache sealed by a local key: what opens, what does not, and that nothing can be read in its folder."""

import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from store.objects.piece_form import PROOF, Form, open_parts, plain_size
from store.objects.pieces import CHECK_FILE, SMALLEST, PieceCache
from store.sealing.pieces import SALT, PieceSeal
from store.secret import Secret

KEY, OTHER = Secret(b"k" * 32), Secret(b"o" * 32)
NAME = "manifests/ab/" + "ab" * 32
MARK = b"never to be seen in the folder"
SMALL, LARGE = MARK * 10, MARK * 30_000  # one stands in the table, the other in a file


@contextmanager
def opened(folder: Path, key: Secret | None = KEY) -> Iterator[PieceCache]:
    with closing(PieceCache(folder, SMALLEST, patient=True, key=key)) as pieces:
        yield pieces


def keep(folder: Path, key: Secret | None = KEY, count: int = 2) -> None:
    with opened(folder, key) as pieces:
        for number in range(count):
            pieces.put(f"{NAME}:{number}", (SMALL, LARGE)[number % 2])


def everything(folder: Path) -> bytes:
    """Return every name and every byte in a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return b"\n".join(os.fsencode(path) + b"\n" + path.read_bytes() for path in files)


def opened_piece(form: Form, name: str, kept: bytes) -> bytes | None:
    """Return a piece that fits one part, if what was kept of it opens."""
    plain = plain_size(form.head, len(kept))
    if plain < 0:
        return None
    parts = open_parts(form.opener(name, kept[: form.head], plain), kept[form.head :], 0, plain or 1)
    return None if parts is None else b"".join(parts)


def rows(folder: Path) -> list[tuple[str, int, str | None]]:
    with closing(sqlite3.connect(folder / "cache.db")) as table:
        return list(table.execute("SELECT key, size, filename FROM Cache ORDER BY size"))


def test_pieces_come_back_after_a_restart(tmp_path: Path) -> None:
    keep(tmp_path)
    with opened(tmp_path) as pieces:
        assert pieces.get(f"{NAME}:0") == SMALL
        assert pieces.get(f"{NAME}:1") == LARGE
        assert pieces.get(f"{NAME}:2") is None
        assert pieces.holds(f"{NAME}:1")
        pieces.drop(f"{NAME}:1")
        assert not pieces.holds(f"{NAME}:1")


def test_neither_pieces_nor_their_names_stand_in_the_folder(tmp_path: Path) -> None:
    with opened(tmp_path) as pieces:
        for number in range(6):
            pieces.put(f"{NAME}:{number}", (SMALL, LARGE)[number % 2])
        pieces.settle()
        pieces.drop(f"{NAME}:0")
        running = everything(tmp_path)
    for found in (running, everything(tmp_path)):
        assert MARK not in found
        assert b"manifests" not in found
        assert b"abababab" not in found
    assert len(rows(tmp_path)) == 5


@pytest.mark.parametrize("which", [0, 1])
def test_a_piece_that_was_moved_to_another_row_is_dropped(tmp_path: Path, which: int) -> None:
    keep(tmp_path, count=4)
    seal = PieceSeal(KEY, tmp_path.name)
    with closing(sqlite3.connect(tmp_path / "cache.db", isolation_level=None)) as table:
        table.execute("DELETE FROM Cache WHERE key = ?", (seal.row(f"{NAME}:{which + 2}"),))
        moved = table.execute(
            "UPDATE Cache SET key = ? WHERE key = ?", (seal.row(f"{NAME}:{which + 2}"), seal.row(f"{NAME}:{which}"))
        )
        assert moved.rowcount == 1
    with opened(tmp_path) as pieces:
        assert pieces.get(f"{NAME}:{which + 2}") is None
        assert not pieces.holds(f"{NAME}:{which + 2}")


def test_a_piece_of_another_stores_folder_does_not_open() -> None:
    sealed = PieceSeal(KEY, "one").lay(NAME, SMALL)
    assert opened_piece(PieceSeal(KEY, "one"), NAME, sealed) == SMALL
    assert opened_piece(PieceSeal(KEY, "two"), NAME, sealed) is None
    assert PieceSeal(KEY, "one").row(NAME) != PieceSeal(KEY, "two").row(NAME)


def test_any_bit_that_flips_is_found() -> None:
    seal = PieceSeal(KEY, "s")
    sealed = seal.lay(NAME, b"piece")
    assert len(sealed) == SALT + len(b"piece") + PROOF
    assert opened_piece(seal, NAME, sealed) == b"piece"
    for bit in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        assert opened_piece(seal, NAME, bytes(damaged)) is None
    for size in range(len(sealed)):
        assert opened_piece(seal, NAME, sealed[:size]) is None
    assert opened_piece(seal, NAME, sealed + b"\0") is None


def test_a_damaged_file_counts_as_missing_and_is_replaced(tmp_path: Path) -> None:
    keep(tmp_path)
    (file,) = tmp_path.rglob("*.val")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with opened(tmp_path) as pieces:
        assert pieces.get(f"{NAME}:1") is None
        pieces.put(f"{NAME}:1", LARGE)
        pieces.settle()
        assert pieces.get(f"{NAME}:1") == LARGE
        assert pieces.get(f"{NAME}:0") == SMALL


@pytest.mark.parametrize(("before", "after"), [(KEY, OTHER), (KEY, None), (None, KEY)])
def test_with_another_key_the_cache_begins_anew(
    tmp_path: Path, before: Secret | None, after: Secret | None, caplog: pytest.LogCaptureFixture
) -> None:
    keep(tmp_path, before, count=10)
    with opened(tmp_path, before) as pieces:
        for number in range(200):
            pieces.put(f"{NAME}:small:{number}", SMALL)
    with closing(sqlite3.connect(tmp_path / "cache.db", isolation_level=None)) as table:
        table.execute("PRAGMA secure_delete = OFF")  # else some builds of SQLite overwrite what is deleted
        table.execute("DELETE FROM Cache WHERE rowid > 20")
    with caplog.at_level(logging.WARNING), opened(tmp_path, after) as pieces:
        assert pieces.get(f"{NAME}:0") is None
        assert pieces.volume() < len(LARGE)
        assert not list(tmp_path.rglob("*.val"))
        found = everything(tmp_path)
        assert MARK not in found
        assert NAME.encode() not in found  # nor in pages of the table that are free now
        pieces.put(f"{NAME}:0", SMALL)
    assert "begins anew" in caplog.text
    caplog.clear()
    with opened(tmp_path, after) as pieces:
        assert pieces.get(f"{NAME}:0") == SMALL
    assert not caplog.records


def test_the_check_value_is_neither_the_key_nor_the_same_for_two_stores(tmp_path: Path) -> None:
    keep(tmp_path / "one")
    keep(tmp_path / "two")
    checks = {(tmp_path / store / CHECK_FILE).read_bytes() for store in ("one", "two")}
    assert len(checks) == 2
    for check in checks:
        assert check not in (KEY.reveal(), KEY.reveal()[:16], KEY.reveal().hex().encode())


def test_who_runs_with_the_old_key_goes_on_beside_who_has_the_new_one(tmp_path: Path) -> None:
    with opened(tmp_path) as old:
        old.put(f"{NAME}:0", SMALL)
        old.settle()
        with opened(tmp_path, OTHER) as new:
            assert old.get(f"{NAME}:0") is None
            for pieces, piece in ((old, SMALL), (new, LARGE)):
                pieces.put(f"{NAME}:0", piece)
                pieces.settle()
            assert old.get(f"{NAME}:0") == SMALL
            assert new.get(f"{NAME}:0") == LARGE


def test_no_salt_comes_twice_over_many_writes_restarts_and_threads(tmp_path: Path) -> None:
    salts: list[bytes] = []

    def write() -> None:
        for _ in range(20):
            seal = PieceSeal(KEY, "s")
            salts.extend(seal.lay(NAME, b"piece")[:SALT] for _ in range(50))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(salts)) == len(salts) == 4000


def test_the_same_piece_is_never_sealed_the_same_way() -> None:
    seal = PieceSeal(KEY, "s")
    one, two = seal.lay(NAME, SMALL), seal.lay(NAME, SMALL)
    assert all(one[at : at + 16] not in two for at in range(0, len(one) - 16))


WRITER = """
import sys, time
from pathlib import Path
from store.objects.pieces import SMALLEST, PieceCache
from store.secret import Secret
pieces = PieceCache(Path(sys.argv[1]), SMALLEST, patient=True, key=Secret(b"k" * 32))
for number in range(40):
    pieces.put(f"packs/{number}:0", b"%d " % number * 20_000)
    found = pieces.get(f"packs/{number * 7 % 40}:0")
    assert found is None or found == b"%d " % (number * 7 % 40) * 20_000
pieces.close()
"""


def test_processes_that_start_at_once_share_a_folder(tmp_path: Path) -> None:
    keep(tmp_path, OTHER, count=20)  # so that all of them find a cache that has to begin anew
    processes = [subprocess.Popen([sys.executable, "-c", WRITER, os.fspath(tmp_path)]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    with opened(tmp_path) as pieces:
        kept = [number for number in range(40) if pieces.get(f"packs/{number}:0") == b"%d " % number * 20_000]
    assert len(kept) >= 30  # a busy table drops some
    assert len(list(tmp_path.rglob("*.val"))) <= 40
