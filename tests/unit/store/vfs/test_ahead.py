"""Read-ahead opens for who reads in order and has to wait, widens as that goes on, and closes when all is in memory."""

import threading
import time
from collections.abc import Iterator

import pytest

from store.errors import StoreUnavailable
from store.vfs.ahead import FORGOTTEN_S, GROWTH, JOBS, QUEUED, READERS, SHARE, SLACK, UNIT, WINDOW, ReadAhead
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


MEMORY = SHARE * WINDOW * 4


class Clock:
    """Time that passes when told."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ahead(fetches: Fetches, clock: Clock) -> Iterator[ReadAhead]:
    ahead = ReadAhead(fetches, MEMORY, clock=clock)
    yield ahead
    fetches.go_on.set()
    ahead.close()


def in_order(ahead: ReadAhead, place: Place, steps: range) -> None:
    for number in steps:
        ahead.note(place, number * STEP, STEP, waited=True)


def settle(ahead: ReadAhead) -> None:
    """Wait until all that was asked for is done."""
    until = time.monotonic() + 30
    while ahead._free < JOBS + QUEUED:
        assert time.monotonic() < until
        time.sleep(0.0001)


def end_of(fetches: Fetches, ahead: ReadAhead) -> int:
    """Return where the ranges that were asked for end; each must begin where the one before ended."""
    settle(ahead)
    end = None
    for offset, size in sorted(fetches.asked):
        assert end in (None, offset)
        end = offset + size
    return end or 0


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


def test_the_second_of_reads_that_are_sent_together_opens_the_window_already(
    ahead: ReadAhead, fetches: Fetches
) -> None:
    in_order(ahead, FILE, range(2))
    settle(ahead)
    assert fetches.asked == [(2 * STEP, UNIT - 2 * STEP)]


def test_a_reader_in_order_that_waits_gets_what_follows_each_byte_once(ahead: ReadAhead, fetches: Fetches) -> None:
    for number in range(128):
        in_order(ahead, FILE, range(number, number + 1))
        assert end_of(fetches, ahead) <= (number + 1) * STEP + WINDOW
    assert min(fetches.asked)[0] == 2 * STEP
    assert end_of(fetches, ahead) >= 128 * STEP + WINDOW - UNIT
    assert all(offset // UNIT == (offset + size - 1) // UNIT for offset, size in fetches.asked)


def test_no_more_lies_ahead_than_a_few_times_what_was_read_in_order(ahead: ReadAhead, fetches: Fetches) -> None:
    piece = 32 << 10
    for offset in range(0, 64 * piece, piece):
        ahead.note(FILE, offset, piece, waited=True)
        assert end_of(fetches, ahead) <= (1 + GROWTH) * (offset + piece)
    assert end_of(fetches, ahead) > 64 * piece


def test_reads_that_overtake_each_other_are_in_order_and_those_beyond_are_not(
    ahead: ReadAhead, fetches: Fetches
) -> None:
    in_order(ahead, FILE, range(1))
    ahead.note(FILE, STEP + SLACK + 1, STEP, waited=True)
    ahead.note(FILE, 0, STEP, waited=True)
    ahead.note(FILE, STEP + SLACK, STEP, waited=True)
    fetches.wait()
    assert min(fetches.asked)[0] == 2 * STEP + SLACK


def test_once_open_the_window_goes_on_while_reads_are_answered_from_memory(ahead: ReadAhead, fetches: Fetches) -> None:
    in_order(ahead, FILE, range(2))
    for number in range(2, 100):
        ahead.warm(FILE, number * STEP, STEP)
    assert end_of(fetches, ahead) > 100 * STEP


def test_when_nothing_had_to_be_fetched_the_window_closes(ahead: ReadAhead, fetches: Fetches) -> None:
    fetches.fetched = False
    in_order(ahead, FILE, range(2))
    fetches.wait()
    settle(ahead)
    before = len(fetches.asked)
    for number in range(2, 100):
        ahead.warm(FILE, number * STEP, STEP)
    settle(ahead)
    assert len(fetches.asked) == before


def test_a_failure_closes_the_window_and_the_next_wait_opens_it_again(ahead: ReadAhead, fetches: Fetches) -> None:
    fetches.error = StoreUnavailable("memory:", "told to fail")
    in_order(ahead, FILE, range(2))
    settle(ahead)
    fetches.error = None
    fetches.asked.clear()
    in_order(ahead, FILE, range(2, 3))
    assert end_of(fetches, ahead) > 3 * STEP


def test_when_all_jobs_are_busy_and_many_wait_steps_are_left_out_and_made_up_for(
    ahead: ReadAhead, fetches: Fetches
) -> None:
    fetches.go_on.clear()
    most = JOBS + QUEUED
    for number in range(most + 3):
        in_order(ahead, FILE._replace(record=number), range(2))
    assert ahead._free == 0
    fetches.go_on.set()
    for _ in range(most):
        fetches.wait()
    assert len(fetches.asked) == most
    settle(ahead)
    in_order(ahead, FILE._replace(record=most + 2), range(2, 3))
    fetches.wait()
    assert len(fetches.asked) > most


def test_readers_share_what_may_lie_ahead_and_who_stopped_takes_no_part(fetches: Fetches, clock: Clock) -> None:
    ahead = ReadAhead(fetches, SHARE * 4 * UNIT, clock=clock)
    in_order(ahead, FILE, range(40))
    assert end_of(fetches, ahead) == 40 * STEP + 4 * UNIT
    other = FILE._replace(record=8)
    fetches.asked.clear()
    in_order(ahead, other, range(40))
    assert end_of(fetches, ahead) == 40 * STEP + 2 * UNIT
    clock.now_s += FORGOTTEN_S + 1
    fetches.asked.clear()
    in_order(ahead, other, range(40, 41))
    assert end_of(fetches, ahead) >= 40 * STEP + 4 * UNIT
    ahead.close()


def test_readers_remembered_are_bounded(ahead: ReadAhead, fetches: Fetches) -> None:
    for number in range(READERS + 1):
        ahead.note(FILE._replace(record=number), 0, STEP, waited=True)
    ahead.note(FILE._replace(record=0), STEP, STEP, waited=True)  # forgotten: this is its first read again
    ahead.close()
    assert fetches.asked == []


def test_after_close_reading_goes_on_without(ahead: ReadAhead, fetches: Fetches) -> None:
    ahead.close()
    in_order(ahead, FILE, range(20))
    assert fetches.asked == []
