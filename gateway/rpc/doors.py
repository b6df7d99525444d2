"""Where callers are identified whom memory does not know: on a few threads, of which nobody gets those of all others.

A password's hash takes a while, and the provider or the bucket may. As with `auth.turns`, one address has no more
threads than it leaves to all others; but its calls wait for them, a while, since one client may make many at once with
the same new token. Threads: the loop of the server.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from auth.errors import Throttled
from auth.throttle import line_of
from auth.turns import SOON_S
from gateway.rpc.limits import DOOR_S

T = TypeVar("T")


class Doors:
    """See the module."""

    def __init__(self, count: int) -> None:
        """Have so many threads."""
        self._pool, self._count = ThreadPoolExecutor(count, thread_name_prefix="doors"), count
        self._within: Counter[str] = Counter()  # line of an address -> threads that work for it
        self._left = asyncio.Event()  # one of them has ended

    async def through(self, address: str, ask: Callable[[], T]) -> T:
        """Return what `ask` returns, asked on a thread.

        Args:
            address: whom it is for.
            ask: may wait. Once it was begun it is not broken off, whether or not anybody waits for it.

        Raises:
            Throttled: none of the threads was for this address in time.
        """
        whose = line_of(address)
        try:
            async with asyncio.timeout(DOOR_S):
                while self._within[whose] >= self._count - self._within.total():
                    await self._left.wait()
        except TimeoutError:
            raise Throttled("too many logins are being checked", SOON_S) from None
        loop = asyncio.get_running_loop()
        asked = self._pool.submit(ask)
        self._within[whose] += 1
        asked.add_done_callback(lambda _: loop.call_soon_threadsafe(self._leave, whose))
        return await asyncio.wrap_future(asked)

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _leave(self, whose: str) -> None:
        self._within[whose] -= 1
        if not self._within[whose]:
            del self._within[whose]
        self._left.set()
        self._left = asyncio.Event()
