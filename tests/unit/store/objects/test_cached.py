"""The disk cache in front of an object store: what it keeps, what it never serves, and how much it takes."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.errors import ObjectMissing
from store.objects.cached import PIECE, CachedObjects
from store.objects.measure import Measuring
from store.objects.memory import MemoryStore
from store.objects.piece_form import PART, PROOF
from store.objects.pieces import SMALLEST, PieceCache
from store.secret import Secret

KEY = "packs/aa/" + "a" * 32
DATA = os.urandom(3 * PIECE + 1000)


class Cached:
    """A cache over a counted store in memory."""

    def __init__(self, folder: Path, key: Secret | None) -> None:
        self.inner = Measuring(MemoryStore())
        self.inner.put(KEY, DATA)
        self.key = key
        self.pieces = PieceCache(folder, SMALLEST, key=key)
        self.objects = CachedObjects(self.inner, self.pieces)

    def settle(self) -> None:
        """Wait until what was read is on disk: close, and open again."""
        folder = Path(self.pieces._cache.directory)
        self.pieces.close()
        self.pieces = PieceCache(folder, SMALLEST, key=self.key)
        self.objects = CachedObjects(self.inner, self.pieces)

    @property
    def gets(self) -> int:
        return self.inner.snapshot().methods["get"].calls


@pytest.fixture(params=[None, Secret(bytes(range(32)))], ids=["plain", "sealed"])
def cached(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cached]:
    cached = Cached(tmp_path / "cache", request.param)
    yield cached
    cached.pieces.close()


@pytest.mark.parametrize(
    ("offset", "size"),
    [
        (0, 1),
        (0, PIECE),
        (PIECE - 1, 2),
        (5, 2 * PIECE),
        (0, len(DATA)),
        (3 * PIECE, 5000),
        (len(DATA) - 1, 10),
        (len(DATA), 5),
    ],
)
def test_any_range_is_as_the_store_has_it_cold_and_kept(cached: Cached, offset: int, size: int) -> None:
    expected = DATA[offset : offset + size]
    assert cached.objects.get(KEY, offset=offset, size=size) == expected
    cached.settle()
    before = cached.gets
    assert cached.objects.get(KEY, offset=offset, size=size) == expected
    assert cached.gets == before or not expected


def test_neighbouring_pieces_come_by_one_request(cached: Cached) -> None:
    cached.objects.get(KEY, offset=10, size=3 * PIECE)
    assert cached.gets == 1


def test_a_damaged_piece_is_fetched_again(cached: Cached) -> None:
    cached.objects.get(KEY, offset=0, size=10)
    cached.settle()
    (file,) = Path(cached.pieces._cache.directory).rglob("*.val")
    damaged = bytearray(file.read_bytes())
    damaged[100] ^= 1
    file.write_bytes(damaged)
    assert cached.objects.get(KEY, offset=0, size=1000) == DATA[:1000]
    assert cached.gets == 2


def test_damage_is_met_only_where_it_is_read(cached: Cached) -> None:
    cached.objects.get(KEY, offset=0, size=10)
    cached.settle()
    (file,) = Path(cached.pieces._cache.directory).rglob("*.val")
    damaged = bytearray(file.read_bytes())
    damaged[-100] ^= 1
    file.write_bytes(damaged)
    assert cached.objects.get(KEY, offset=0, size=PIECE // 2) == DATA[: PIECE // 2]
    assert cached.gets == 1
    assert cached.objects.get(KEY, offset=PIECE - 200, size=200) == DATA[PIECE - 200 : PIECE]
    assert cached.gets == 2


def test_a_file_that_was_cut_is_fetched_again(cached: Cached) -> None:
    cached.objects.get(KEY, offset=0, size=10)
    for kept in (0, 10, 40, PART + PROOF, PART + PROOF + 32, PIECE // 2):
        cached.settle()
        (file,) = Path(cached.pieces._cache.directory).rglob("*.val")
        os.truncate(file, kept)
        before = cached.gets
        assert cached.objects.get(KEY, offset=5, size=1000) == DATA[5:1005]
        assert cached.gets == before + 1


def test_a_file_that_is_cut_under_a_reader_is_fetched_again(cached: Cached) -> None:
    cached.objects.get(KEY, offset=0, size=10)
    cached.settle()
    assert cached.objects.get(KEY, offset=5, size=1000) == DATA[5:1005]
    (file,) = Path(cached.pieces._cache.directory).rglob("*.val")
    os.truncate(file, PIECE // 2)
    assert cached.objects.get(KEY, offset=PIECE - 200, size=200) == DATA[PIECE - 200 : PIECE]
    assert cached.gets == 2


def test_a_file_that_is_gone_is_fetched_again(cached: Cached) -> None:
    cached.objects.get(KEY, offset=0, size=10)
    cached.settle()
    assert cached.objects.get(KEY, offset=5, size=1000) == DATA[5:1005]
    (file,) = Path(cached.pieces._cache.directory).rglob("*.val")
    file.unlink()
    assert cached.objects.get(KEY, offset=5, size=1000) == DATA[5:1005]
    assert cached.gets == 2


def test_what_is_forgotten_is_fetched_again(cached: Cached) -> None:
    cached.objects.get(KEY, offset=0, size=2 * PIECE)
    cached.settle()
    cached.objects.forget(KEY, PIECE - 5, 10)
    cached.objects.get(KEY, offset=0, size=2 * PIECE)
    assert cached.gets == 2


def test_only_what_never_changes_is_kept(cached: Cached) -> None:
    cached.objects.put("datasets/00/x", b"one")
    assert cached.objects.get("datasets/00/x", offset=0, size=3) == b"one"
    cached.settle()
    cached.objects.put("datasets/00/x", b"two")
    assert cached.objects.get("datasets/00/x", offset=0, size=3) == b"two"


def test_the_end_of_a_manifest_is_kept_with_its_size(cached: Cached) -> None:
    key = "manifests/bb/" + "b" * 64
    cached.inner.put(key, DATA[:70_000])
    assert cached.objects.tail(key, 1000) == (DATA[69_000:70_000], 70_000)
    cached.settle()
    assert cached.objects.tail(key, 1000) == (DATA[69_000:70_000], 70_000)
    assert cached.inner.snapshot().methods["tail"].calls == 1


def test_the_end_of_a_manifest_is_forgotten_with_any_of_its_ranges(cached: Cached) -> None:
    key = "manifests/bb/" + "b" * 64
    cached.inner.put(key, b"damaged")
    assert cached.objects.tail(key, 1000) == (b"damaged", 7)
    cached.settle()
    cached.inner.put(key, b"repaired")
    assert cached.objects.tail(key, 1000) == (b"damaged", 7)
    cached.objects.forget(key, 0, 1)
    assert cached.objects.tail(key, 1000) == (b"repaired", 8)
    assert cached.objects.tail(key, 4) == (b"ired", 8)


def test_two_callers_share_one_request(cached: Cached) -> None:
    gate, first = threading.Event(), threading.Event()
    real = cached.inner.get

    def slow(key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        first.set()
        gate.wait(60)
        return real(key, offset=offset, size=size)

    cached.inner.get = slow  # type: ignore[method-assign]  # the only way to hold a request
    found: list[bytes] = []
    callers = [
        threading.Thread(target=lambda: found.append(cached.objects.get(KEY, offset=0, size=100))) for _ in range(4)
    ]
    callers[0].start()
    assert first.wait(60)
    for caller in callers[1:]:
        caller.start()
    gate.set()
    for caller in callers:
        caller.join()
    assert found == [DATA[:100]] * 4
    assert cached.gets == 1


def test_an_error_reaches_every_caller_and_is_not_kept(cached: Cached) -> None:
    other = "packs/cc/" + "c" * 32
    with pytest.raises(ObjectMissing):
        cached.objects.get(other, offset=0, size=10)
    cached.inner.put(other, b"now it is there")
    assert cached.objects.get(other, offset=0, size=10) == b"now it is "


def test_the_folder_never_takes_more_than_its_limit(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    pieces = PieceCache(folder, SMALLEST)
    for number in range(60):
        pieces.put(f"{KEY}:{number}", os.urandom(PIECE))
        if number % 10 == 9:
            pieces.close()
            assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) <= SMALLEST
            pieces = PieceCache(folder, SMALLEST)
    kept = [number for number in range(60) if pieces.get(f"{KEY}:{number}") is not None]
    pieces.close()
    assert len(kept) >= 12
    assert kept[-1] == 59


def test_files_left_by_a_killed_process_are_swept(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    PieceCache(folder, SMALLEST).close()
    orphan = folder / "ab" / "cd" / "orphan.val"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"x")
    os.utime(orphan, (0, 0))
    fresh = folder / "ab" / "cd" / "being-written.val"
    fresh.write_bytes(b"x")
    PieceCache(folder, SMALLEST).close()
    assert not orphan.exists()
    assert fresh.exists()


def test_a_pickled_row_is_never_loaded(tmp_path: Path) -> None:
    pieces = PieceCache(tmp_path / "cache", SMALLEST)
    pieces.put("k", b"piece")
    pieces.close()
    with sqlite3.connect(tmp_path / "cache" / "cache.db") as table:
        # A pickle that would make a folder when loaded.
        attack = b"cos\nmkdir\n(S'" + os.fsencode(tmp_path / "pwned") + b"'\ntR."
        table.execute("UPDATE Cache SET mode = 4, filename = NULL, value = ?", (attack,))
    table.close()
    again = PieceCache(tmp_path / "cache", SMALLEST)
    assert again.get("k") is None
    again.close()
    assert not (tmp_path / "pwned").exists()


def test_a_damaged_table_begins_anew(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    pieces = PieceCache(folder, SMALLEST)
    pieces.put("k", b"piece")
    pieces.close()
    for leftover in folder.glob("cache.db-*"):
        leftover.unlink()
    (folder / "cache.db").write_bytes(b"no table at all" * 1000)
    again = PieceCache(folder, SMALLEST)
    assert again.get("k") is None
    again.put("k", b"piece")
    again.close()
    last = PieceCache(folder, SMALLEST)
    assert last.get("k") == b"piece"
    last.close()
