"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable
from typing import Final

LIMIT_S: Final = 60.0  # so far off that a machine which stalls does not reach it


def wait_until(holds: Callable[[], object], *, within_s: float = LIMIT_S, every_s: float = 0.01) -> None:
    """Ask until something holds.

    Args:
        holds: asks; what it returns is taken for true or false.
        within_s: seconds after which it is taken for what never comes.
        every_s: seconds between two tries.
    """
    until_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until_s, "it did not come"
        time.sleep(every_s)
