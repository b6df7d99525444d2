"""Users with passwords: one dear hash for the first request of a client, a quick look into memory for the others.

What was found is remembered for some minutes under a keyed digest of user, password and the user's hash, so neither
passwords nor anything to guess them by lies in memory, and a line of the file that changed is asked for anew at once.
A good password counts for the very address that it came from: from anywhere else the first one takes its hash, and its
place in the throttle, so that memory is no quick way to guess. At that address too many tries that were refused make it
forgotten, so that memory answers a few guesses and no more. A wrong one is remembered too: a client that goes on
sending an old password counts once.

An unknown user takes the hash of some known one (`Users.decoy`), and every answer is the same. Few hashes are made at a
time (`auth.turns`), and equal questions at one time share one. `known` never waits; `check` does. Any thread.
"""

import hashlib
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from auth.errors import BadCredentials, Throttled
from auth.hashes import LONGEST, new_hash, verify
from auth.htpasswd import LONGEST_NAME, Users
from auth.principal import Principal
from auth.principal import user as user_of
from auth.throttle import Throttle, line_of, too_soon
from auth.turns import Turns

REMEMBERED_S: Final = 300.0
REMEMBERED: Final = 10_000  # passwords, some 200 bytes each, good and wrong ones apart
MISSES: Final = 100  # tries that are refused unseen, until what is remembered for a user and address is forgotten
WAITING: Final = 32  # logins that wait for a hash, each on a thread of the server's


class _Memory:
    """Digests that are forgotten after a while, the oldest first where there are too many."""

    def __init__(self) -> None:
        self._until: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    def has(self, digest: bytes, now_s: float) -> bool:
        return self._until.get(digest, 0.0) > now_s

    def keep(self, digest: bytes, now_s: float) -> None:
        with self._lock:
            self._until[digest] = now_s + REMEMBERED_S
            self._until.move_to_end(digest)
            if len(self._until) > REMEMBERED:
                self._until.popitem(last=False)

    def __len__(self) -> int:
        return len(self._until)


class _Flight:
    """A hash that is being made, and who waits for it."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.fits: bool | None = None  # None: it was not made
        self.lines: set[str] = set()  # of which a failure was counted


class Passwords:
    """Tells who sent a user's name and password."""

    def __init__(
        self,
        users: Callable[[], Users],
        throttle: Throttle,
        *,
        clock: Callable[[], float] = time.monotonic,
        key: bytes | None = None,
        at_once: int | None = None,
        verify: Callable[[str, bytes], bool] = verify,
    ) -> None:
        """Begin with nothing remembered.

        Args:
            users: returns the users there are now; asked for every request, so it must not wait.
            throttle: counts failures.
            clock: tells seconds that never go back.
            key: 32 random bytes of this process; `None` draws them.
            at_once: most hashes that are made at a time; `None`: half as many as there are processors.
            verify: holds a password against a hash; see `auth.hashes.verify`.
        """
        self._users, self._throttle, self._clock, self._verify = users, throttle, clock, verify
        self._key = key or secrets.token_bytes(32)
        self._good, self._wrong = _Memory(), _Memory()
        self._turns = Turns(at_once=at_once or max(1, (os.cpu_count() or 1) // 2), waiting=WAITING)
        self._flights: dict[bytes, _Flight] = {}
        self._missed: OrderedDict[tuple[str, str], int] = OrderedDict()  # user, address -> tries refused unseen
        self._lock = threading.Lock()
        self._nobody: str | None = None  # what takes the time where there are no users

    def mark(self, user: str) -> str | None:
        """Return what stands for a user's password as it is now, and changes with it; `None`: no such user."""
        stored = self._users().get(user)
        return None if stored is None else hashlib.blake2b(stored.encode(), digest_size=8, person=b"mark").hexdigest()

    def known(self, user: str, password: bytes, address: str) -> Principal | None:
        """Return the user if this very password was found good from this address a short while ago. Never waits."""
        stored = self._users().get(user)
        if stored is None:
            return None
        return user_of(user) if self._is_good(user, password, stored, address) else None

    def check(self, user: str, password: bytes, address: str) -> Principal:
        """Return the user if the password is theirs. May wait for a hash, and for those before it.

        Raises:
            BadCredentials: it is not, or there is no such user.
            Throttled: too many were wrong before, or too many are being checked.
            Undecided: there was no memory to check it.
        """
        users = self._users()
        stored = users.get(user)
        if stored is not None and self._is_good(user, password, stored, address):
            return user_of(user)
        digest = self._digest(user, password, stored or "", "")
        # Nobody elsewhere is to learn from a quick answer what a user has mistyped.
        wrong = self._digest(user, password, stored or "", f"wrong {line_of(address)}")
        if self._wrong.has(wrong, self._clock()):
            raise BadCredentials(f"wrong password, once more, for {user!r}")
        odd = len(user) > LONGEST_NAME or len(password) > LONGEST  # no file holds such a name; no hash such a password
        # They cost no hash: under names of their own they would soon crowd out what is counted of others.
        key = self._throttle.key("" if odd else user, address)
        try:
            held_s = self._throttle.check(key, first=True)
        except Throttled:
            if stored is not None:
                self._miss(user, address)
            raise
        if odd:
            self._throttle.failure(key)
            raise too_soon(key, held_s) if held_s else BadCredentials("a name or password that is too long")
        against = stored or users.decoy(user) or self._somebody()
        flight = self._fly(digest, key, against, password, real=stored is not None)
        if stored is not None and flight.fits:
            self._good.keep(self._good_digest(user, password, stored, address), self._clock())
            self._throttle.success(key)
            return user_of(user)
        with self._lock:
            counted = line_of(address) in flight.lines
            flight.lines.add(line_of(address))
        if not counted:
            self._wrong.keep(wrong, self._clock())
            self._throttle.failure(key)
        raise too_soon(key, held_s) if held_s else BadCredentials(f"wrong password, or no such user: {user!r}")

    def _fly(self, digest: bytes, key: str, against: str, password: bytes, *, real: bool) -> _Flight:
        """Make a hash, or wait for the one that is being made for the same question."""
        while True:
            with self._lock:
                flight = self._flights.get(digest)
                mine = flight is None
                if flight is None:
                    flight = self._flights[digest] = _Flight()
            if not mine:
                flight.done.wait()
                if flight.fits is not None:
                    return flight
                continue  # whoever made it was refused: that says nothing of this one
            try:
                with self._turns.turn(key.partition("@")[2]):
                    self._throttle.check(key, first=True)  # others may have failed while this one waited
                    flight.fits = self._verify(against, password) and real
                return flight
            finally:
                with self._lock:
                    del self._flights[digest]
                flight.done.set()

    def _somebody(self) -> str:
        with self._lock:
            if self._nobody is None:
                self._nobody = new_hash(secrets.token_hex(16).encode())
            return self._nobody

    def _is_good(self, user: str, password: bytes, stored: str, address: str) -> bool:
        return self._good.has(self._good_digest(user, password, stored, address), self._clock())

    def _good_digest(self, user: str, password: bytes, stored: str, address: str) -> bytes:
        """Return what a good password is remembered by: another one after each `MISSES` of who guesses there."""
        missed = self._missed.get((user, address), 0) // MISSES if self._missed else 0
        return self._digest(user, password, stored, f"{address} {missed}")

    def _miss(self, user: str, address: str) -> None:
        """Count a try that was refused without a look at the password."""
        with self._lock:
            self._missed[user, address] = self._missed.pop((user, address), 0) + 1
            if len(self._missed) > REMEMBERED:
                self._missed.popitem(last=False)

    def _digest(self, user: str, password: bytes, stored: str, address: str) -> bytes:
        parts = (user.encode("utf-8", "surrogateescape"), password, stored.encode(), address.encode("utf-8", "replace"))
        hasher = hashlib.blake2b(key=self._key, digest_size=32)
        for part in parts:
            hasher.update(len(part).to_bytes(8, "big") + part)
        return hasher.digest()
