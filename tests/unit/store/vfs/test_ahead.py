"""Read-ahead opens for who reads in order and has to wait, doubles, and closes when all is in memory."""

import threading
from collections.abc import Iterator

import pytest

from store.errors import StoreUnavailable
from store.vfs.ahead import FIRST, JOBS, READERS, WINDOW, ReadAhead
from store.vfs.tree import Place, Space

FILE = Place(Space.STATE, 1, 1, bytes(16), 7)
STEP = 1 << 20


class Fetches:
    """Notes what was fetched ahead; tells when each is done."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.fetched = True
        self.error: Exception | None = None
        self.done = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, place: Place, offset: int, size: int) -> bool:
        self.asked.append((offset, size))
        try:
            assert self.go_on.wait(30)
            if self.error:
                raise self.error
            return self.fetched
        finally:
            self.done.release()

    def wait(self) -> None:
        assert self.done.acquire(timeout=30)


@pytest.fixture
def fetches() -> Fetches:
    return Fetches()


@pytest.fixture
def ahead(fetches: Fetches) -> Iterator[ReadAhead]:
    ahead = ReadAhead(fetches)
    yield ahead
    ahead.close()


def test_a_first_read_and_reads_out_of_order_fetch_nothing(ahead: ReadAhead, fetches: Fetches) -> None:
    for offset in (0, 900 << 20, 50 << 20, 700 << 20):
        ahead.note(FILE, offset, STEP, waited=True)
    ahead.close()
    assert fetches.asked == []


def test_reads_in_order_that_never_wait_fetch_nothing(ahead: ReadAhead, fetches: Fetches) -> None:
    for offset in range(0, 20 * STEP, STEP):
        ahead.note(FILE, offset, STEP, waited=False)
        ahead.warm(FILE, offset, STEP)
    ahead.close()
    assert fetches.asked == []


def test_a_reader_in_order_that_waits_gets_what_follows_each_byte_once(ahead: ReadAhead, fetches: Fetches) -> None:
    ahead.note(FILE, 0, STEP, waited=True)
    for offset in range(STEP, 64 * STEP, STEP):
        before = len(fetches.asked)
        ahead.note(FILE, offset, STEP, waited=True)
        if fetches.asked[before:]:
            fetches.wait()
    assert fetches.asked[0][0] == 2 * STEP
    end = fetches.asked[0][0]
    for offset, size in sorted(fetches.asked):
        assert (offset, 0 < size <= WINDOW) == (end, True)
        end = offset + size
    assert end >= 64 * STEP
    assert max(size for _, size in fetches.asked) > FIRST


def test_a_failure_closes_the_window_and_the_next_wait_opens_it_again(ahead: ReadAhead, fetches: Fetches) -> None:
    fetches.error = StoreUnavailable("memory:", "told to fail")
    ahead.note(FILE, 0, STEP, waited=True)
    ahead.note(FILE, STEP, STEP, waited=True)
    fetches.wait()
    fetches.error = None
    ahead.note(FILE, 2 * STEP, STEP, waited=True)
    fetches.wait()
    assert len(fetches.asked) == 2


def test_when_all_jobs_are_busy_a_step_is_left_out(ahead: ReadAhead, fetches: Fetches) -> None:
    fetches.go_on.clear()
    places = [FILE._replace(record=number) for number in range(JOBS + 3)]
    for place in places:
        ahead.note(place, 0, STEP, waited=True)
        ahead.note(place, STEP, STEP, waited=True)
    fetches.go_on.set()
    for _ in range(JOBS):
        fetches.wait()
    assert len(fetches.asked) == JOBS


def test_readers_remembered_are_bounded(ahead: ReadAhead, fetches: Fetches) -> None:
    for number in range(READERS + 1):
        ahead.note(FILE._replace(record=number), 0, STEP, waited=True)
    ahead.note(FILE._replace(record=0), STEP, STEP, waited=True)  # forgotten: this is its first read again
    ahead.close()
    assert fetches.asked == []


def test_after_close_reading_goes_on_without(ahead: ReadAhead, fetches: Fetches) -> None:
    ahead.close()
    for offset in range(0, 20 * STEP, STEP):
        ahead.note(FILE, offset, STEP, waited=True)
    assert fetches.asked == []
