"""Two callers who want the same thing at the same time share one piece of work.

Any thread; no lock is held while it runs.
"""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Work in flight, by key."""

    def __init__(self) -> None:
        self._flights: dict[K, Future[V]] = {}
        self._lock = threading.Lock()

    def do(self, key: K, work: Callable[[], V]) -> V:
        """Return what `work` gives (or raise what it raises), running it only if nobody else is at it already."""
        with self._lock:
            flight: Future[Any] | None = self._flights.get(key)
            mine = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        if not mine:
            result: V = flight.result()
            return result
        try:
            value = work()
        except BaseException as error:
            self._end(key)
            flight.set_exception(error)
            raise
        self._end(key)
        flight.set_result(value)
        return value

    def _end(self, key: K) -> None:
        with self._lock:
            del self._flights[key]
