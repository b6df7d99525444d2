"""Reading files: pieces cover each, digests are the whole file's, and one that changes meanwhile is told apart."""

import hashlib
import itertools
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store.chunker import Chunker
from store.codec import decode
from store.digest import chunk_digest
from store.objects.memory import MemoryStore
from store.push import ingest as module
from store.push.ingest import Ingest, Read, data_runs
from store.push.known import KnownBlocks
from store.push.reader import HOLE_FROM, SMALL
from store.push.source import SourceFile, scan
from store.push.source import identity as identity_now
from store.root import ChunkerSettings
from tests.support.manifests import block_of

MAX = ChunkerSettings().max


@pytest.fixture
def known() -> KnownBlocks:
    return KnownBlocks(MemoryStore())


@pytest.fixture
def reader(known: KnownBlocks) -> Iterator[Ingest]:
    reader = Ingest(Chunker(ChunkerSettings()), known)
    yield reader
    reader.close()


def files_of(folder: Path) -> list[SourceFile]:
    return list(scan(os.fsencode(folder)).files())


def whole(reads: list[Read]) -> bytes:
    """Put the pieces of one file together again, checking each."""
    data = b""
    for read in reads:
        assert sum(piece.size for piece in read.pieces) == read.size
        for piece in read.pieces:
            assert piece.offset == len(data)
            if piece.digest is None:
                data += bytes(piece.size)
            else:
                assert piece.row is None
                plain = bytes(decode(piece.coding, piece.stored, piece.size))
                assert chunk_digest(plain) == piece.digest
                data += plain
    return data


SIZES = [
    0,
    1,
    2,
    16_384,
    MAX - 1,
    MAX,
    MAX + 1,
    SMALL - 1,
    SMALL,
    SMALL + 1,
    (4 << 20) - 1,
    4 << 20,
    (4 << 20) + 1,
    9 << 20,
]


@pytest.mark.parametrize("size", SIZES)
def test_pieces_join_to_the_file_and_digests_are_its_own(tmp_path: Path, reader: Ingest, size: int) -> None:
    data = random.Random(size).randbytes(size)
    (tmp_path / "f").write_bytes(data)
    (file,) = files_of(tmp_path)
    reads = list(reader.read([file]))
    assert whole(reads) == data
    last = reads[-1]
    assert [read.last for read in reads] == [False] * (len(reads) - 1) + [True]
    assert (last.sha256, last.md5) == (hashlib.sha256(data).digest(), hashlib.md5(data).digest())
    assert (last.identity, last.problem) == (identity_now(os.stat(file.path)), "")


@pytest.mark.parametrize("size", [SMALL - 5, SMALL + 5, (4 << 20) + MAX])
def test_a_file_is_cut_as_the_chunker_cuts_it_whole(tmp_path: Path, reader: Ingest, size: int) -> None:
    data = random.Random(size).randbytes(size)
    (tmp_path / "f").write_bytes(data)
    pieces = [piece for read in reader.read(files_of(tmp_path)) for piece in read.pieces]
    cuts = list(Chunker(ChunkerSettings()).cut(data, first=True, final=True))
    assert [(piece.offset, piece.size) for piece in pieces] == cuts


def test_many_files_come_in_their_order(tmp_path: Path, reader: Ingest) -> None:
    for number in range(300):
        size = (2 << 20) if number % 97 == 50 else number
        (tmp_path / f"{number:03}").write_bytes(random.Random(number).randbytes(size))
    files = files_of(tmp_path)
    reads = list(reader.read(files))
    assert [read.file for read in reads if read.last] == files


def test_long_runs_of_zeros_are_holes_whether_the_disk_knows_or_not(tmp_path: Path, reader: Ingest) -> None:
    zeros = 3 * MAX
    (tmp_path / "written").write_bytes(b"x" * 100 + bytes(zeros + MAX) + b"y")
    with (tmp_path / "sparse").open("wb") as file:
        file.seek(20 << 20)
        file.write(b"end")
    for read in reader.read(files_of(tmp_path)):
        for piece in read.pieces:
            if piece.digest is None:
                assert piece.size >= HOLE_FROM
    sparse, written = files_of(tmp_path)
    assert whole(list(reader.read([sparse]))) == bytes(20 << 20) + b"end"
    pieces = [piece for read in reader.read([written]) for piece in read.pieces]
    assert sum(piece.size for piece in pieces if piece.digest is None) >= zeros


def test_a_chunk_that_is_known_is_not_coded_again(tmp_path: Path, reader: Ingest, known: KnownBlocks) -> None:
    data = random.Random(1).randbytes(1000)
    block = block_of(data)
    known.add([block])
    (tmp_path / "f").write_bytes(data)
    ((piece,),) = [read.pieces for read in reader.read(files_of(tmp_path))]
    assert (piece.row, bytes(piece.stored)) == (known.table.find(block.digest), b"")


# Files that do not hold still


Trick = Callable[[Path], object]
TRICKS: dict[str, Trick] = {
    "shrinks": lambda path: os.truncate(path, 10),
    "empties": lambda path: os.truncate(path, 0),
    "grows": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "is written in place": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("size", [1000, SMALL + 1000, 9 << 20])
@pytest.mark.parametrize("trick", sorted(TRICKS))
def test_a_file_that_changes_while_it_is_read_has_no_identity(
    tmp_path: Path, reader: Ingest, monkeypatch: pytest.MonkeyPatch, size: int, trick: str
) -> None:
    path = tmp_path / "f"
    path.write_bytes(random.Random(1).randbytes(size))
    os.utime(path, ns=(1, 1))
    (file,) = files_of(tmp_path)
    real, tricked = identity_now, threading.Event()

    def identity(status: os.stat_result) -> object:
        found = real(status)
        if not tricked.is_set():  # just after the first look at the opened file
            tricked.set()
            TRICKS[trick](path)
        return found

    monkeypatch.setattr(module, "identity", identity)
    monkeypatch.setattr("store.push.reader.identity", identity)
    reads = list(reader.read([file]))
    assert (reads[-1].last, reads[-1].identity) == (True, None)
    monkeypatch.undo()
    again = list(reader.read(files_of(tmp_path)))
    assert whole(again) == path.read_bytes()
    assert again[-1].identity is not None


@pytest.mark.parametrize("size", [10, SMALL + 10])
def test_a_file_that_grew_or_shrank_after_the_walk_is_read_as_it_is_now(
    tmp_path: Path, reader: Ingest, size: int
) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(size))
    (file,) = files_of(tmp_path)
    for data in (b"", b"now small", random.Random(2).randbytes(SMALL + 77)):
        path.write_bytes(data)
        reads = list(reader.read([file]))
        assert whole(reads) == data
        assert reads[-1].identity is not None
        assert reads[-1].identity.size == len(data)


def test_a_small_file_that_became_huge_is_left_to_be_read_as_a_large_one(tmp_path: Path, reader: Ingest) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"small")
    (file,) = files_of(tmp_path)
    os.truncate(path, 5 * SMALL)
    (read,) = reader.read([file])
    assert (read.last, read.identity, read.problem, read.size) == (True, None, "", 0)


@pytest.mark.parametrize("size", [10, SMALL + 10])
@pytest.mark.parametrize("became", ["nothing", "a folder", "a link", "a pipe"])
def test_a_file_that_is_no_file_any_more_is_a_problem_not_content(
    tmp_path: Path, reader: Ingest, size: int, became: str
) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(size))
    (file,) = files_of(tmp_path)
    path.unlink()
    match became:
        case "a folder":
            path.mkdir()
        case "a link":
            path.symlink_to("elsewhere")
        case "a pipe":
            os.mkfifo(path)
    (read,) = reader.read([file])
    assert read.last
    assert read.problem
    assert read.pieces == []


def test_one_file_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path, reader: Ingest) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode())
    files = files_of(tmp_path)
    (tmp_path / "b").unlink()
    assert [bool(read.problem) for read in reader.read(files)] == [False, True, False]


def test_reading_that_is_given_up_leaves_no_thread_and_no_file_open(tmp_path: Path, known: KnownBlocks) -> None:
    (tmp_path / "f").write_bytes(random.Random(1).randbytes(9 << 20))
    files = files_of(tmp_path)
    threads, descriptors = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    reader = Ingest(Chunker(ChunkerSettings()), known)
    reads = reader.read(files * 10)
    next(reads)
    del reads
    reader.close()
    assert set(threading.enumerate()) <= threads
    assert len(os.listdir("/proc/self/fd")) <= descriptors


# Holes


def test_data_between_holes_is_found(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with path.open("wb") as file:
        for at in (0, 1 << 20, 3 << 20):
            file.seek(at)
            file.write(b"data")
        file.truncate(6 << 20)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        runs = list(data_runs(descriptor, 6 << 20))
    finally:
        os.close(descriptor)
    assert runs[0][0] == 0
    for at in (0, 1 << 20, 3 << 20):
        assert any(start <= at and at + 4 <= end for start, end in runs)
    assert all(end <= after for (_, end), (after, _) in itertools.pairwise(runs))


@pytest.mark.parametrize("size", [0, 1, 100])
def test_a_file_that_emptied_before_its_holes_were_looked_for_is_one_hole(tmp_path: Path, size: int) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(size))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        runs = list(data_runs(descriptor, 8 << 20))
    finally:
        os.close(descriptor)
    assert all(0 <= start < end <= 8 << 20 for start, end in runs)


def test_no_run_comes_of_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert list(data_runs(descriptor, 0)) == []
    finally:
        os.close(descriptor)
