"""Trying again: the one place where a failed call to an object store is repeated.

Delays grow by doubling, with jitter, up to a bound; a store that names its own delay (`Retry-After`) is believed up to
the same bound. Conditional writes are never repeated here: only their caller can tell whose success it was. But the
pause that the store asks for is kept after them too.

Time-outs of attempts and the budget for all of them belong together, so both stand in `Backoff`. The budget is spent by
the store, not by each call: where it has not answered anybody for as long, a call has one attempt. So whoever cleans
up after a first failure does not wait all over again.

Threads: as the inner store; a call that waits blocks its own thread alone.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from store.errors import BucketMissing, NotWarm, OutcomeUnknown, PushLost, StoreError, StoreFull, Unavailable
from store.objects.base import Buffer, Fetched, ObjectInfo, ObjectStore
from store.objects.listing import PagedListing
from store.objects.wrapper import Wrapper

T = TypeVar("T")

OnWait = Callable[[str, float], None]


_PERMANENT: Final = (BucketMissing, StoreFull, NotWarm, OutcomeUnknown, PushLost)


def is_permanent(error: StoreError) -> bool:
    """Tell whether doing the same again is pointless: all but a store that could not be reached."""
    return not isinstance(error, Unavailable) or isinstance(error, _PERMANENT)


@dataclass(frozen=True)
class Backoff:
    """How long to wait between attempts, and when to give up."""

    attempts: int = 8  # calls in all, the first included
    first_s: float = 0.2  # the first delay before jitter
    longest_s: float = 20.0  # no delay is longer, whatever the store asks for
    give_up_s: float = 90.0  # no attempt begins later than this after the first, or after the store fell silent
    answer_s: float = 30.0  # longest wait of an attempt for the next bytes; a write of 16 MiB must be done in it

    def delay_s(self, failures: int, *, fraction: float, asked_s: float | None) -> float:
        """Return the delay after so many failed attempts (from 1).

        Args:
            failures: attempts that have failed so far.
            fraction: 0 to 1, drawn evenly: spreads clients that failed together over the upper half of the delay.
            asked_s: the delay that the store asked for, if it did.
        """
        grown = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 60))
        return min(self.longest_s, max(grown * (0.5 + fraction / 2), asked_s or 0.0))


STANDARD: Final = Backoff()


class Retrying(Wrapper):
    """Repeats what failed for a passing reason; everything but `put_if`."""

    def __init__(
        self,
        inner: ObjectStore,
        backoff: Backoff = STANDARD,
        *,
        on_wait: OnWait | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Wrap `inner`.

        Args:
            inner: where calls go; closed with this one.
            backoff: the delays.
            on_wait: told before each delay why, and how many seconds; called on the waiting thread.
            sleep: waits so many seconds.
            clock: tells seconds that never go back.
            draw: returns numbers from 0 to 1, evenly.
        """
        super().__init__(inner)
        self._backoff = backoff
        self._on_wait = on_wait
        self._sleep = sleep
        self._clock = clock
        self._draw = draw
        self._closed = False
        self._failing_s: float | None = None  # when calls began to fail; none was answered since

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return a range of an object; see `ObjectStore.get`."""
        return self._again(lambda: self._inner.get(key, offset=offset, size=size))

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        """Return an object's end and its whole size; see `ObjectStore.tail`."""
        return self._again(lambda: self._inner.tail(key, size))

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        """Return an object with its ETag; see `ObjectStore.fetch`."""
        return self._again(lambda: self._inner.fetch(key, unless=unless))

    def head(self, key: str) -> ObjectInfo:
        """Look at an object; see `ObjectStore.head`."""
        return self._again(lambda: self._inner.head(key))

    def put(self, key: str, data: Buffer) -> str:
        """Write an object; see `ObjectStore.put`. Writing the same bytes twice does no harm."""
        return self._again(lambda: self._inner.put(key, data))

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        """Write an object on a condition, once; see `ObjectStore.put_if`."""
        try:
            return self._once(lambda: self._inner.put_if(key, data, match=match))
        except OutcomeUnknown as error:
            if error.retry_after_s and not self._closed:
                self._pause(str(error), min(self._backoff.longest_s, error.retry_after_s))
            raise

    def delete(self, key: str) -> None:
        """Remove an object; see `ObjectStore.delete`."""
        self._again(lambda: self._inner.delete(key))

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield objects by prefix; see `ObjectStore.list`.

        A page that failed is asked for again. A listing that does not come in pages (a folder's) is not repeated once
        it has begun: no order is promised, so nobody could tell where to go on.
        """
        listing = self._again(lambda: self._inner.list(prefix, after=after))
        if not isinstance(listing, PagedListing):
            yield from listing
            return
        while (info := self._again(lambda: next(listing, None))) is not None:
            yield info

    def now_ns(self) -> int:
        """Tell the store's time; see `ObjectStore.now_ns`."""
        return self._again(self._inner.now_ns)

    def close(self) -> None:
        """Close the inner store; calls that fail from now on are not repeated."""
        self._closed = True
        self._inner.close()

    def _again(self, call: Callable[[], T]) -> T:
        began = self._clock()
        failures = 0
        while True:
            try:
                return self._once(call)
            except Unavailable as error:
                failures += 1
                asked_s = getattr(error, "retry_after_s", None)
                delay_s = self._backoff.delay_s(failures, fraction=self._draw(), asked_s=asked_s)
                since = began if self._failing_s is None else min(began, self._failing_s)
                late = self._clock() - since + delay_s > self._backoff.give_up_s
                if is_permanent(error) or failures >= self._backoff.attempts or late or self._closed:
                    raise
                why = str(error)
            self._pause(why, delay_s)

    def _once(self, call: Callable[[], T]) -> T:
        """Call, and note whether the store answered: what it says then does not matter."""
        try:
            result = call()
        except Unavailable:
            if self._failing_s is None:
                self._failing_s = self._clock()
            raise
        except StoreError:
            self._failing_s = None
            raise
        self._failing_s = None
        return result

    def _pause(self, why: str, delay_s: float) -> None:
        if self._on_wait is not None:
            self._on_wait(why, delay_s)
        self._sleep(delay_s)
