"""How many threads may work while the loop is late, and while it is not."""

import threading
import time
from collections.abc import Iterator

import pytest

from gateway.web.pace import LATE_S, Pace
from tests.support.until import wait_until


class Workers:
    """Threads that want to work, and do until they are let go."""

    def __init__(self, pace: Pace, count: int) -> None:
        self.begun = threading.Semaphore(0)
        self.numbers = 0
        self._pace, self._go = pace, threading.Event()
        self._lock = threading.Lock()
        self.threads = [threading.Thread(target=self._work) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _work(self) -> None:
        with self._pace:
            with self._lock:
                self.numbers += 1
            self._go.wait(20)

    def let_go(self) -> None:
        self._go.set()
        self._pace.end()
        for thread in self.threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in self.threads)

    def rest(self, waiting: int) -> None:
        """Wait until so many wait to be allowed, and lie down: the loop passes over one that is just coming."""
        wait_until(lambda: self._pace.waiting == waiting, every_s=0.001)
        with self._pace._changed:
            pass


def reaches(workers: Workers, number: int) -> bool:
    wait_until(lambda: workers.numbers >= number, every_s=0.001)
    time.sleep(0.02)  # and no more of them
    return workers.numbers == number


@pytest.fixture
def workers() -> Iterator[tuple[Pace, Workers]]:
    pace = Pace(lambda: None)
    workers = Workers(pace, 8)
    yield pace, workers
    workers.let_go()


def test_each_pass_in_time_allows_one_more(workers: tuple[Pace, Workers]) -> None:
    pace, working = workers
    assert reaches(working, 1)
    for number in range(2, 9):
        working.rest(9 - number)
        pace.passed(LATE_S / 2)
        assert reaches(working, number)
    assert pace.waiting == 0


def test_a_late_pass_lets_one_begin_and_no_more(workers: tuple[Pace, Workers]) -> None:
    pace, working = workers
    assert reaches(working, 1)
    for number in range(2, 4):
        working.rest(9 - number)
        pace.passed(LATE_S / 2)
        assert reaches(working, number)
    for number in range(4, 9):
        working.rest(9 - number)
        pace.passed(LATE_S * 2)
        assert reaches(working, number)


def test_who_ends_makes_room(workers: tuple[Pace, Workers]) -> None:
    pace, working = workers
    assert reaches(working, 1)
    working._go.set()
    assert reaches(working, 8)
    assert pace.waiting == 0


def test_who_has_to_wait_wakes_the_loop() -> None:
    woken = threading.Semaphore(0)
    pace = Pace(woken.release)
    workers = Workers(pace, 1)
    assert reaches(workers, 1)
    assert not woken.acquire(timeout=0.02)
    others = Workers(pace, 3)
    assert all(woken.acquire(timeout=60) for _ in range(3))
    assert others.numbers == 0
    others.let_go()
    workers.let_go()


def test_a_pass_in_time_after_a_late_one_lets_the_next_begin() -> None:
    pace = Pace(lambda: None)
    pace.passed(LATE_S * 2)
    with pace:
        pass
    pace.passed(LATE_S / 2)
    workers = Workers(pace, 1)
    assert reaches(workers, 1)
    workers.let_go()


def test_the_end_of_the_loop_holds_nobody_up() -> None:
    pace = Pace(lambda: None)
    pace.passed(LATE_S * 2)
    workers = Workers(pace, 8)
    pace.end()
    assert reaches(workers, 8)
    workers.let_go()
