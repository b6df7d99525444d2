"""Blocks become packs that the store has confirmed; a failure is told, and no thread stays."""

import os
import threading
from pathlib import Path

import pytest

from store.digest import chunk_digest
from store.errors import StoreUnavailable
from store.index import hooks_of
from store.objects.base import Buffer
from store.objects.memory import MemoryStore
from store.pack import TARGET_SIZE, read_footer
from store.push.journal import Journal
from store.push.upload import CONNECTIONS, HELD, LARGEST, SMALLEST, Uploader


class Failing(MemoryStore):
    def put(self, key: str, data: Buffer) -> str:
        raise StoreUnavailable("memory:", "told to fail")


class Slow(MemoryStore):
    """Holds every write up until it may go on; says when so many are under way."""

    def __init__(self, expected: int) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.full = threading.Event()
        self.sizes = list[int]()
        self._expected = expected

    def put(self, key: str, data: Buffer) -> str:
        self.sizes.append(len(data))
        if len(self.sizes) == self._expected:
            self.full.set()
        assert self.go_on.wait(30)
        return super().put(key, data)


def add(uploader: Uploader, data: bytes) -> None:
    uploader.add(chunk_digest(data), 0, data, len(data))


def large(number: int) -> bytes:
    """Return what fills one of the first packs."""
    return number.to_bytes(4, "big") * (LARGEST // 4)


def half(number: int) -> bytes:
    """Return what fills half of the smallest pack."""
    return number.to_bytes(4, "little") * (SMALLEST // 8)


def test_blocks_lie_where_add_said_once_everything_is_confirmed(tmp_path: Path) -> None:
    objects, journal, sizes = MemoryStore(), Journal(tmp_path / "journal"), list[int]()
    uploader = Uploader(objects, journal, on_pack=sizes.append)
    chunks = [*(large(number) for number in range(3)), *map(half, range(3)), b"small", b"x"]
    blocks = [uploader.add(chunk_digest(chunk), 0, chunk, len(chunk)) for chunk in chunks]
    uploader.finish()
    assert len({block.pack for block in blocks}) == len(uploader.packs) == 5
    assert [block for pack, _ in uploader.packs for block in read_footer(objects, pack)] == blocks
    assert [hooks for _, hooks in uploader.packs] == [
        hooks_of(block for block in blocks if block.pack == pack) for pack, _ in uploader.packs
    ]
    assert sorted(journal.packs()) == sorted(pack for pack, _ in uploader.packs)
    assert sorted(sizes) == sorted(info.size for info in objects.list("packs/"))


def test_nothing_added_writes_nothing(tmp_path: Path) -> None:
    objects = MemoryStore()
    uploader = Uploader(objects, Journal(tmp_path / "journal"))
    uploader.finish()
    assert (list(objects.list("")), uploader.packs, os.listdir(tmp_path)) == ([], [], [])


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    sizes = list[int]()
    uploader = Uploader(None, Journal(tmp_path / "journal"), on_pack=sizes.append)
    add(uploader, b"x")
    uploader.finish()
    assert len(sizes) == 1
    assert os.listdir(tmp_path) == []


def test_a_failed_write_is_raised_at_the_latest_by_finish_and_never_journalled(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    uploader = Uploader(Failing(), journal)
    add(uploader, b"x")
    with pytest.raises(StoreUnavailable):
        uploader.finish()
    uploader.close()
    assert journal.packs() == []


@pytest.mark.parametrize("ahead", [0, 10 << 30])
def test_all_connections_are_used_and_no_more_bytes_are_held_than_allowed(ahead: int) -> None:
    """With packs of the smallest size the connections are the limit, with large ones the bytes."""
    objects = Slow(CONNECTIONS)
    uploader = Uploader(objects, Journal(None), ahead=lambda stored: ahead)
    done = threading.Event()

    def work() -> None:
        for number in range(60):
            add(uploader, large(number))
        uploader.finish()
        done.set()

    producer = threading.Thread(target=work)
    producer.start()
    assert objects.full.wait(30)
    assert not done.is_set()
    assert len(objects.sizes) == CONNECTIONS
    assert uploader._held <= HELD
    objects.go_on.set()
    producer.join(60)
    assert sum(objects.sizes) > 60 * TARGET_SIZE // 2


def closed_at(total: int) -> list[int]:
    """Return the sizes of the packs that so many bytes become, all of which were foretold."""
    sizes, left, piece = list[int](), total, bytes(1 << 18)
    uploader = Uploader(None, Journal(None), on_pack=sizes.append, ahead=lambda stored: left)
    for number in range(total // len(piece)):
        data = number.to_bytes(4, "big") + piece[4:]
        uploader.add(chunk_digest(data), 0, data, len(data))
        left -= len(data)
    uploader.finish()
    return sizes


def test_a_large_push_makes_packs_of_one_size() -> None:
    *sizes, _ = closed_at(400 << 20)
    assert min(sizes) >= LARGEST
    assert max(sizes) <= LARGEST + (1 << 20)


@pytest.mark.parametrize(
    ("total", "packs"), [(1 << 20, 1), (SMALLEST, 1), (4 * SMALLEST, 4), (8 * SMALLEST, 8), (8 * LARGEST, CONNECTIONS)]
)
def test_a_small_push_has_a_pack_for_each_connection_as_far_as_that_is_worth_it(total: int, packs: int) -> None:
    assert len(closed_at(total)) == packs


def test_after_a_failure_closing_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    uploader = Uploader(Failing(), Journal(None))
    for number in range(2):
        add(uploader, half(number))
    uploader.close()
    assert set(threading.enumerate()) <= before
