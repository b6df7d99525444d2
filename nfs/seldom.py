"""Keeps a log readable where one cause makes thousands of lines.

Threads: any thread may ask.
"""

import threading
import time
from collections.abc import Callable


class Seldom:
    """Allows so many lines at once, then that many again each period."""

    def __init__(self, lines: int, period_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow `lines` lines in `period_s` seconds, by a clock that never goes back."""
        self._lines, self._period_s, self._clock = lines, period_s, clock
        self._began_s, self._said, self._unsaid = clock(), 0, 0
        self._lock = threading.Lock()

    def ask(self) -> int | None:
        """Return how many lines were left out before this one, or `None`: this one is left out too."""
        with self._lock:
            now_s = self._clock()
            if now_s - self._began_s >= self._period_s:
                self._began_s, self._said = now_s, 0
            if self._said >= self._lines:
                self._unsaid += 1
                return None
            self._said += 1
            unsaid, self._unsaid = self._unsaid, 0
            return unsaid
