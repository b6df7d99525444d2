"""Who asks while the work is under way gets its outcome; who asks later starts anew."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from store.errors import StoreUnavailable
from store.flight import SingleFlight


def test_the_work_is_done_once_for_all_who_ask_meanwhile() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    begun, go_on = threading.Event(), threading.Event()
    done: list[int] = []

    def work() -> int:
        begun.set()
        assert go_on.wait(30)
        done.append(1)
        return 42

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(flights.do, "k", work)
        assert begun.wait(30)
        asked = [threading.Event() for _ in range(3)]

        def other(event: threading.Event) -> int:
            event.set()
            return flights.do("k", lambda: 42 if go_on.is_set() else pytest.fail("done twice at a time"))

        others = [pool.submit(other, event) for event in asked]
        assert all(event.wait(30) for event in asked)
        assert flights.do("other", lambda: 7) == 7
        go_on.set()
        assert [f.result(30) for f in (first, *others)] == [42] * 4
    assert done == [1]
    assert flights.do("k", lambda: 5) == 5


def test_a_failure_is_shared_and_not_remembered() -> None:
    flights: SingleFlight[str, int] = SingleFlight()

    def fail() -> int:
        raise StoreUnavailable("here", "told to")

    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            flights.do("k", fail)
    assert flights.do("k", lambda: 1) == 1


def test_a_waiter_gets_the_failure_of_the_work_it_waited_for() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    begun, go_on = threading.Event(), threading.Event()

    def fail() -> int:
        begun.set()
        assert go_on.wait(30)
        raise StoreUnavailable("here", "told to")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(flights.do, "k", fail)
        assert begun.wait(30)
        waiting = pool.submit(flights.do, "k", fail)
        go_on.set()
        for future in (first, waiting):
            with pytest.raises(StoreUnavailable):
                future.result(30)
