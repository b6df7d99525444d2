"""What is remembered of the tokens in the bucket, and for how long it counts.

A record counts for 30 s, then it is asked for again, by its ETag; so a token that was revoked is good for nothing on
any gateway half a minute later. That there is no such token counts for a while too, and only some ids a second that
turn out to be nobody's are looked for, of each address but a part: guessing costs the bucket little, and shuts out
nobody whose token is known, nor from a few addresses anybody elsewhere. While the bucket is away, what was known goes
on to count, as the lists of datasets do, for up to an hour.

Any thread; no lock is held across a request, and many who wait for one record share one.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from auth.errors import BadCredentials, Throttled, Undecided
from auth.tokens import TokenRecord
from gateway.access.token_objects import fetch_record
from store.errors import Corrupt, ObjectMissing, StoreError
from store.flight import SingleFlight
from store.objects.base import ObjectStore

FRESH_S: Final = 30.0  # how old what is known of a token may be
ABSENT_S: Final = 10.0  # how long it counts that there is no such token
STALE_S: Final = 3600.0  # how old it may be while the bucket is away
RETRY_S: Final = 5.0  # how long the bucket is not asked again for a token when it did not answer
RECORDS: Final = 4096  # remembered; each of a few KiB, mostly less
ABSENT: Final = 16_384  # remembered ids that are nobody's
GUESSES: Final = 200  # ids that turn out to be nobody's, at once
GUESSES_A_SECOND: Final = 20.0  # and in the long run
OF_ONE: Final = 100  # the same for one address
OF_ONE_A_SECOND: Final = 2.0
LINES: Final = 4096  # addresses whose guesses are counted

_log = structlog.stdlib.get_logger("aetherfs.tokens")


class Held(NamedTuple):
    """A record in memory."""

    record: TokenRecord
    etag: str
    asked_s: float  # when the bucket was asked for what stands here
    waits_s: float  # until then the bucket is not asked, since it did not answer

    @property
    def until_s(self) -> float:
        """Return until when it counts."""
        return max(self.asked_s + FRESH_S, min(self.waits_s, self.asked_s + STALE_S))


class _Allowance:
    """Lookups that may still be made: some at once, and so many a second. Whoever calls holds the lock."""

    def __init__(self, most: int, a_second: float, now_s: float) -> None:
        self._most, self._a_second, self._left, self._at_s = float(most), a_second, float(most), now_s

    def wait_s(self, now_s: float) -> float:
        """Return how long to wait for the next one; 0: it may be made."""
        self._left = min(self._most, self._left + (now_s - self._at_s) * self._a_second)
        self._at_s = now_s
        return max(0.0, (1 - self._left) / self._a_second)

    def add(self, count: int) -> None:
        self._left = min(self._most, self._left + count)


class TokenRecords:
    """The records of one store, as far as they were asked for."""

    def __init__(self, objects: ObjectStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Remember nothing yet; `clock` tells seconds that never go back."""
        self._objects, self._clock = objects, clock
        self._lock = threading.Lock()
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._flights: SingleFlight[str, Held | None] = SingleFlight()
        self._allowance = _Allowance(GUESSES, GUESSES_A_SECOND, clock())
        self._lines: OrderedDict[str, _Allowance] = OrderedDict()  # of single addresses
        self.generation = 0  # grows when what was known of a token turns out to have changed

    def at_hand(self, token: str) -> Held | None:
        """Return a record that counts, from memory alone."""
        with self._lock:
            held = self._held.get(token)
        return held if held is not None and self._clock() < held.until_s else None

    def get(self, token: str, line: str = "") -> Held:
        """Return the record of an id.

        Args:
            token: the id.
            line: stands for the address that shows it (`auth.throttle.line_of`); empty: that is looked after elsewhere.

        Raises:
            BadCredentials: there is none.
            Throttled: too many ids were asked for lately of which there is none.
            Undecided: the bucket does not answer, or what it has can't be read.
        """
        found = self.at_hand(token)
        if found is None:
            with self._lock:
                absent = self._clock() - self._absent.get(token, -ABSENT_S) < ABSENT_S
            found = None if absent else self._flights.do(token, lambda: self._ask(token, line))
        if found is None:
            raise BadCredentials(f"there is no token {token}")
        return found

    def forget(self, token: str) -> None:
        """Have the next who asks for a record ask the bucket."""
        with self._lock:
            gone = self._held.pop(token, None)
            self._absent.pop(token, None)
        if gone is not None:
            self._changed()

    def _ask(self, token: str, line: str) -> Held | None:
        """Ask the bucket for a record, and remember what it says; `None`: there is none."""
        with self._lock:
            before = self._held.get(token)
        asked_s = self._clock()
        if before is None:
            self._spend(line)
        elif asked_s < before.until_s:  # another thread has asked meanwhile
            return before
        try:
            stored = fetch_record(self._objects, token, unless=before.etag if before else None)
        except ObjectMissing:
            self._keep_absent(token, asked_s)
            return None
        except StoreError as error:
            return self._unanswered(token, before, error)
        if before is None:
            self._give_back(line)
        if stored is not None:
            held = Held(stored.record, stored.etag, asked_s, 0.0)
        elif before is not None:
            held = before._replace(asked_s=asked_s, waits_s=0.0)
        else:
            return None  # no ETag was named, so there was an answer
        self._keep(token, held, before)
        return held

    def _unanswered(self, token: str, before: Held | None, error: StoreError) -> Held:
        now_s = self._clock()
        if before is None or isinstance(error, Corrupt) or now_s - before.asked_s > STALE_S:
            _log.warning("token can't be looked up", token=token, why=str(error))
            self.forget(token)
            raise Undecided(f"token {token} can't be looked up: {error}") from error
        held = before._replace(waits_s=now_s + RETRY_S)
        with self._lock:
            self._held[token] = held
        return held

    def _keep(self, token: str, held: Held, before: Held | None) -> None:
        with self._lock:
            self._absent.pop(token, None)
            self._held[token] = held
            self._held.move_to_end(token)
            while len(self._held) > RECORDS:
                self._held.popitem(last=False)
        if before is not None and held.record != before.record:
            self._changed()

    def _keep_absent(self, token: str, asked_s: float) -> None:
        with self._lock:
            gone = self._held.pop(token, None)
            self._absent[token] = asked_s
            self._absent.move_to_end(token)
            while len(self._absent) > ABSENT:
                self._absent.popitem(last=False)
        if gone is not None:
            self._changed()

    def _changed(self) -> None:
        with self._lock:
            self.generation += 1

    def _spend(self, line: str) -> None:
        """Take one of the lookups of ids that are not known, of which there are only so many a second."""
        with self._lock:
            now_s = self._clock()
            allowances = self._allowances(line, now_s)
            wait_s = max(allowance.wait_s(now_s) for allowance in allowances)
            if wait_s:
                raise Throttled("too many unknown tokens are shown", wait_s)
            for allowance in allowances:
                allowance.add(-1)

    def _give_back(self, line: str) -> None:
        """It was no guess."""
        with self._lock:
            for allowance in self._allowances(line, self._clock()):
                allowance.add(1)

    def _allowances(self, line: str, now_s: float) -> list[_Allowance]:
        """Return those that a lookup is taken from. Whoever calls has the lock."""
        if not line:
            return [self._allowance]
        own = self._lines.pop(line, None) or _Allowance(OF_ONE, OF_ONE_A_SECOND, now_s)
        self._lines[line] = own
        if len(self._lines) > LINES:
            self._lines.popitem(last=False)
        return [self._allowance, own]
