"""An S3 server's time, learned from the `Date` of its answers (RFC 9110 section 6.6.1) and carried forward.

`Date` tells whole seconds, cut off: the true time lies in the second after it. The estimate moves with this machine's
monotonic clock and is set anew only when an answer shows it to be outside that second (with a second's allowance for a
slow answer), so that it does not jitter with each one.

Threads: every method may be called from any thread.
"""

import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

SECOND_NS: Final = 1_000_000_000
_ALLOWANCE_NS: Final = 2 * SECOND_NS


class StoreClock:
    """Tells another machine's time between its answers."""

    def __init__(self, *, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """Know nothing yet.

        Args:
            monotonic_ns: tells nanoseconds that never go back.
        """
        self._monotonic_ns = monotonic_ns
        self._lock = threading.Lock()
        self._ahead_ns: int | None = None  # the server's time minus the monotonic clock's

    def note(self, date: str) -> None:
        """Learn from the `Date` of an answer that has just come; one that is no date is ignored."""
        try:
            told = parsedate_to_datetime(date)
        except ValueError:
            return
        told_ns = int(told.timestamp()) * SECOND_NS
        now_ns = self._monotonic_ns()
        with self._lock:
            carried_ns = None if self._ahead_ns is None else self._ahead_ns + now_ns
            if carried_ns is None or not told_ns <= carried_ns <= told_ns + _ALLOWANCE_NS:
                self._ahead_ns = told_ns - now_ns

    def now_ns(self) -> int | None:
        """Tell the server's time in ns since 1970, or `None` before the first answer."""
        with self._lock:
            return None if self._ahead_ns is None else self._ahead_ns + self._monotonic_ns()
