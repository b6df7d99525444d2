"""What happens again and again and is to be noted now and then: the first time, and again after a while.

Memory is bounded; what was noted longest ago is forgotten first. Any thread.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

PAUSE_S: Final = 300.0  # until the same is noted again
REMEMBERED: Final = 4096


class Seldom:
    """Tells what is to be noted."""

    def __init__(self) -> None:
        self._noted: OrderedDict[Hashable, float] = OrderedDict()
        self._lock = threading.Lock()

    def first(self, what: Hashable) -> bool:
        """Tell whether something was not noted for a while; then it counts as noted now."""
        now_s = time.monotonic()
        with self._lock:
            if now_s - self._noted.get(what, -PAUSE_S) < PAUSE_S:
                return False
            self._noted[what] = now_s
            self._noted.move_to_end(what)
            if len(self._noted) > REMEMBERED:
                self._noted.popitem(last=False)
            return True
