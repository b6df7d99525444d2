"""How many threads may work on answers at a time: few while the loop is late, more while it is not.

Whoever decodes or parses takes the interpreter whenever the loop lets go of it, which it does at each system call, and
has it for a while. With a thousand clients who come at once, the last of them waits for a thousand times several such
whiles. So after a pass of the loop that took too long only one thread begins to work, and only with the next pass; each
pass that did not take too long allows one more. Threads that wait for a far store are soon as many as there are.

Threads: `passed` and `end` are the loop's; the rest may be called from any.
"""

import threading
from collections.abc import Callable
from typing import Final

LATE_S: Final = 0.03  # a pass that took longer has kept somebody waiting
LOOK_S: Final = 0.005  # between two passes while somebody waits to be allowed


class Pace:
    """See the module. A context for whoever works."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """Begin; `wake` has the loop make a pass, and never waits."""
        self._wake = wake
        self.waiting = 0  # threads that are not allowed yet
        self._allowed = 1
        self._granted = False  # one may begin, however many work
        self._working = 0
        self._ended = False
        self._changed = threading.Condition()

    def passed(self, took_s: float) -> None:
        """Take note of how long a pass of the loop took; never waits."""
        if took_s > LATE_S:
            self._allowed, self._granted = 0, True
        elif self.waiting or not self._allowed:
            self._allowed += 1
        if self.waiting and self._changed.acquire(blocking=False):  # else it is done after the next pass
            self._changed.notify()
            self._changed.release()

    def end(self) -> None:
        """Hold nobody up any more: there will be no further pass."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def enter(self) -> None:
        """Begin to work, once that is allowed."""
        with self._changed:
            self.waiting += 1
            if not self._may_begin():
                self._wake()
                self._changed.wait_for(self._may_begin)
            if self._working >= self._allowed:
                self._granted = False
            self.waiting -= 1
            self._working += 1

    def _may_begin(self) -> bool:
        return self._working < self._allowed or self._granted or self._ended

    def leave(self) -> None:
        """Have worked."""
        with self._changed:
            self._working -= 1
            if self._working < self._allowed:
                self._changed.notify(self._allowed - self._working)

    def __enter__(self) -> None:
        """As `enter`."""
        self.enter()

    def __exit__(self, *_: object) -> None:
        """As `leave`."""
        self.leave()
