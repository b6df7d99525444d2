"""How much work for logins is done at a time: so much at once, so much waiting, and of each address but a part.

A flood of passwords then costs what its turns cost. One address has no more turns than it leaves to all others: the
first to flood gets half of them, the next one half of the rest. So many users behind one proxy can come at once, and
who comes from elsewhere still finds a turn. Any thread.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Final

from auth.errors import Throttled

SOON_S: Final = 1.0  # when to come again


class Turns:
    """Lets a few work at once, and a few wait."""

    def __init__(self, *, at_once: int, waiting: int) -> None:
        """Set the bounds.

        Args:
            at_once: most that work at a time.
            waiting: most that wait for it.
        """
        self._free = threading.Semaphore(at_once)
        self._most = at_once + waiting
        self._taken: dict[str, int] = {}  # address -> how many work or wait
        self._sum = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def turn(self, whose: str) -> Iterator[None]:
        """Wait for a turn, and hold it for as long as the context lasts.

        Raises:
            Throttled: too many wait, or too many of this address.
        """
        with self._lock:
            mine = self._taken.get(whose, 0)
            if mine >= self._most - self._sum:
                raise Throttled("too many logins are being checked", SOON_S)
            self._taken[whose] = mine + 1
            self._sum += 1
        try:
            with self._free:
                yield
        finally:
            with self._lock:
                self._sum -= 1
                if self._taken[whose] == 1:
                    del self._taken[whose]
                else:
                    self._taken[whose] -= 1
