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
from store.push.upload import PENDING, Uploader


class Failing(MemoryStore):
    def put(self, key: str, data: Buffer) -> str:
        raise StoreUnavailable("memory:", "told to fail")


class Slow(MemoryStore):
    """Holds every write up until it may go on; knows how many were under way at most."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.full = threading.Event()
        self.under_way = 0
        self._count = threading.Lock()

    def put(self, key: str, data: Buffer) -> str:
        with self._count:
            self.under_way += 1
            if self.under_way == PENDING:
                self.full.set()
        assert self.go_on.wait(30)
        return super().put(key, data)


def add(uploader: Uploader, data: bytes) -> None:
    uploader.add(chunk_digest(data), 0, data, len(data))


def large(number: int) -> bytes:
    return number.to_bytes(4, "big") * (TARGET_SIZE // 8)


def test_blocks_lie_where_add_said_once_everything_is_confirmed(tmp_path: Path) -> None:
    objects, journal, sizes = MemoryStore(), Journal(tmp_path / "journal"), list[int]()
    uploader = Uploader(objects, journal, on_pack=sizes.append)
    chunks = [*map(large, range(5)), b"small", b"x"]
    blocks = [uploader.add(chunk_digest(chunk), 0, chunk, len(chunk)) for chunk in chunks]
    uploader.finish()
    assert len({block.pack for block in blocks}) == len(uploader.packs) == 3
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


def test_no_more_packs_are_under_way_than_allowed(tmp_path: Path) -> None:
    objects = Slow()
    uploader = Uploader(objects, Journal(None))

    def work() -> None:
        for number in range(2 * (PENDING + 3)):
            add(uploader, large(number))
        uploader.finish()

    producer = threading.Thread(target=work)
    producer.start()
    assert objects.full.wait(30)
    assert objects.under_way == PENDING
    objects.go_on.set()
    producer.join(60)
    assert len(list(objects.list("packs/"))) == PENDING + 3


def test_after_a_failure_closing_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    uploader = Uploader(Failing(), Journal(None))
    for number in range(2):
        add(uploader, large(number))
    uploader.close()
    assert set(threading.enumerate()) <= before
