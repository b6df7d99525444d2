"""How soon somebody may try again after wrong passwords: by user and address, and by address in all.

The first few failures cost nothing; from then on each doubles the time for which the next try is refused, up to a
minute. Failures are counted where they came from: one address cannot keep a user out at another one. Addresses are
those of a client's line: one IPv4 address, or the first 64 bits of an IPv6 address, which one client can draw from at
will. Nobody is held up by what others at their address get wrong (an office, a proxy): who logged in from it within the
last hours not at all, and the first tries under any other name are looked at. So one address in all has three tries a
name, and then those that its failures in all leave it.

Processes tell each other: `on_failure` and `on_success` are given a short ASCII key, which another process hands to its
`failed` or `succeeded`. A key holds a digest of the user's name and the address. Memory is bounded; what failed longest
ago is forgotten first. Any thread; the hooks are called without a lock held.
"""

import hashlib
import ipaddress
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from auth.errors import Throttled

FORGOTTEN_S: Final = 900.0  # after the last failure
PROVEN_S: Final = 12 * 3600.0  # how long a login counts for its user's address
REMEMBERED: Final = 20_000  # entries of each kind, some 200 bytes each
FIRST: Final = 3  # tries of a name that are looked at, whatever others get wrong at its address: people mistype
UNKNOWN: Final = "-"  # the address of a client that has none
_KEY: Final = re.compile(r"[0-9a-f]{16}@[0-9a-f.:/-]{1,45}", re.ASCII)


class Pace(NamedTuple):
    """How failures slow down what follows."""

    free: int  # failures that cost nothing
    first_s: float  # what the next one costs; doubled by each that follows
    longest_s: float

    def delay_s(self, failures: int) -> float:
        """Return for how long tries are refused after so many failures."""
        over = failures - self.free
        return 0.0 if over <= 0 else min(self.longest_s, self.first_s * 2.0 ** min(over - 1, 30))


BY_USER: Final = Pace(free=5, first_s=1.0, longest_s=60.0)  # some 1,400 tries a day
BY_ADDRESS: Final = Pace(free=30, first_s=1.0, longest_s=60.0)


def line_of(address: str) -> str:
    """Return what stands for an address: itself, the network of an IPv6 address, `-` for what is no address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return UNKNOWN
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return str(found)


def too_soon(key: str, left_s: float) -> Throttled:
    """Return the error that refuses a try for a while."""
    return Throttled(f"too many wrong passwords from {key.partition('@')[2]}", left_s)


class _Failures:
    """Counts of one kind. Whoever calls holds the lock."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()  # what -> failures, when the last one was

    def left_s(self, what: str, now_s: float) -> float:
        """Return for how long a try is refused still."""
        failures, last_s = self._counts.get(what, (0, now_s))
        if now_s - last_s > FORGOTTEN_S:
            return 0.0
        return last_s + self._pace.delay_s(failures) - now_s

    def add(self, what: str, now_s: float) -> None:
        failures, last_s = self._counts.pop(what, (0, now_s))
        self._counts[what] = (failures + 1 if now_s - last_s <= FORGOTTEN_S else 1, now_s)
        if len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)

    def count(self, what: str, now_s: float) -> int:
        failures, last_s = self._counts.get(what, (0, now_s))
        return failures if now_s - last_s <= FORGOTTEN_S else 0

    def forget(self, what: str) -> bool:
        return self._counts.pop(what, None) is not None

    def __len__(self) -> int:
        return len(self._counts)


class Throttle:
    """Refuses tries that come too soon."""

    def __init__(
        self,
        *,
        by_user: Pace = BY_USER,
        by_address: Pace = BY_ADDRESS,
        on_failure: Callable[[str], None] | None = None,
        on_success: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with nothing known.

        Args:
            by_user: of one user at one address.
            by_address: of all users together at one address.
            on_failure: told the key of each failure here.
            on_success: told the key of each login here that ends a row of failures, or is the first in hours.
            clock: tells seconds that never go back.
        """
        self._users, self._addresses = _Failures(by_user), _Failures(by_address)
        self._proven: OrderedDict[str, float] = OrderedDict()  # key -> when they logged in
        self._on_failure, self._on_success = on_failure, on_success
        self._clock = clock
        self._lock = threading.Lock()

    @staticmethod
    def key(user: str, address: str) -> str:
        """Return what stands for a user at an address: at most 62 characters, ASCII."""
        name = hashlib.blake2b(user.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
        return f"{name}@{line_of(address)}"

    def check(self, key: str, *, first: bool = False) -> float:
        """Let a try through.

        Args:
            key: of `key`.
            first: let the first `FIRST` through under each name, whatever was wrong here under others.

        Returns:
            With `first`, for how long (s) it would have been refused without: if it is wrong it is to be answered so.

        Raises:
            Throttled: it comes too soon.
        """
        now_s = self._clock()
        line = key.partition("@")[2]
        with self._lock:
            left_s, line_s = self._users.left_s(key, now_s), 0.0
            if now_s - self._proven.get(key, -PROVEN_S) >= PROVEN_S:
                line_s = max(0.0, self._addresses.left_s(line, now_s))
            passes = first and self._users.count(key, now_s) < FIRST
        if left_s > 0 or (line_s and not passes):
            raise too_soon(key, max(left_s, line_s))
        return line_s

    def failure(self, key: str) -> None:
        """Count a wrong password, and tell the others."""
        self._count(key)
        if self._on_failure is not None:
            self._on_failure(key)

    def success(self, key: str) -> None:
        """Forget what this user got wrong at this address, and tell the others if that is news."""
        if self._prove(key) and self._on_success is not None:
            self._on_success(key)

    def failed(self, key: str) -> None:
        """Count what another process tells; what is no key is passed over."""
        if _KEY.fullmatch(key):
            self._count(key)

    def succeeded(self, key: str) -> None:
        """Note a login that another process tells; what is no key is passed over."""
        if _KEY.fullmatch(key):
            self._prove(key)

    def _count(self, key: str) -> None:
        now_s = self._clock()
        with self._lock:
            self._users.add(key, now_s)
            self._addresses.add(key.partition("@")[2], now_s)

    def _prove(self, key: str) -> bool:
        now_s = self._clock()
        with self._lock:
            before_s = self._proven.pop(key, -PROVEN_S)
            self._proven[key] = now_s
            if len(self._proven) > REMEMBERED:
                self._proven.popitem(last=False)
            # Failures of the address in all stay: one good account would buy tries at all others.
            return self._users.forget(key) or now_s - before_s >= PROVEN_S
