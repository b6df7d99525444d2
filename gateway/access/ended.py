"""Sessions that were ended before their time: by a logout. One object of the store keeps them for all gateways.

    auth/ended-sessions {"format": 1, "users": {NAME: {"before": S, "sessions": {ID: S}}}}    S: seconds since 1970

`before`: sessions of the user that began earlier are over (a logout everywhere); `sessions`: single ones, each until it
would have been over anyway. A gateway knows at once of logouts that it was told of itself, and of others' when it asks
again, by the object's ETag: after FRESH_S, when a session is next shown. While the bucket is away nobody can be logged
out elsewhere either, so what was known goes on to count for STALE_S. Any thread; no lock is held across a request.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import structlog

from auth.errors import Undecided
from auth.session import Session
from store import jsondoc
from store.errors import (
    Contended,
    NotWarm,
    ObjectCorrupt,
    ObjectMissing,
    OutcomeUnknown,
    PreconditionFailed,
    StoreError,
)
from store.flight import SingleFlight
from store.layout import ENDED_KEY
from store.objects.base import ObjectStore

FRESH_S: Final = 30.0
STALE_S: Final = 3600.0
RETRY_S: Final = 5.0  # how long the bucket is not asked again when it did not answer
LARGEST: Final = 4 << 20  # bytes of the object
FULL: Final = 3 << 20  # bytes of one that is written, by a rough count that is never too low
MOST_SESSIONS: Final = 100  # ended ones of one user; with one more, all that began so far are over
MOST_USERS: Final = 20_000
ATTEMPTS: Final = 20
LONGEST_SESSION_S: Final = 720 * 3600  # the settings allow no more

_log = structlog.stdlib.get_logger("aetherfs.sessions")


class Over(NamedTuple):
    """What is over for one user."""

    before_s: int = 0  # sessions that began earlier
    sessions: Mapping[str, int] = {}  # id -> when it would have been over

    def covers(self, session: Session) -> bool:
        """Tell whether a session is over."""
        return session.issued_s < self.before_s or session.id in self.sessions


Users = Mapping[str, Over]


class Ended:
    """What is known of sessions that were ended."""

    def __init__(
        self,
        objects: ObjectStore,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        told: Callable[[], None] | None = None,
    ) -> None:
        """Take a store.

        Args:
            objects: its objects, in plain.
            clock: tells seconds that never go back.
            now: tells seconds since 1970.
            told: called when the bucket was told of one more.
        """
        self._told_others = told
        self._objects, self._clock, self._now = objects, clock, now
        self._users: Users = {}  # of the bucket
        self._here: Users = {}  # that this gateway was told of itself
        self._etag: str | None = None
        self._asked_s = float("-inf")
        self._again = False  # what is known is known to be old
        self._not_before_s = float("-inf")
        self._lock = threading.Lock()
        self._flight: SingleFlight[str, None] = SingleFlight()

    def covers(self, session: Session, *, wait: bool = True) -> bool:
        """Tell whether a session was ended.

        Args:
            session: that somebody shows.
            wait: ask the bucket if it was not asked for a while.

        Raises:
            NotWarm: it has to be asked, and nobody may wait.
            Undecided: it does not answer, and has not for long.
        """
        if self._told(session):
            return True
        age_s = self._clock() - self._asked_s
        if (age_s >= FRESH_S or self._again) and self._clock() >= self._not_before_s:
            if not wait:
                raise NotWarm
            self._flight.do(ENDED_KEY, self._look)
            age_s = self._clock() - self._asked_s
        if age_s >= STALE_S:
            raise Undecided("whether a session was ended cannot be told: the bucket does not answer")
        return self._told(session)

    def look_again(self) -> None:
        """Have the bucket asked the next time: somebody has ended a session elsewhere."""
        self._again = True

    def before_s(self, user: str) -> int:
        """Return when a session of a user must begin, or later (seconds since 1970), not to be over already."""
        return max(users[user].before_s if user in users else 0 for users in (self._users, self._here))

    def end(self, session: Session, *, everywhere: bool = False) -> None:
        """End a session, or all of its user's; here at once, on other gateways within FRESH_S of the next request.

        Raises:
            StoreError: other gateways can't be told.
        """
        now_s = int(self._now())

        def ended(users: Users) -> Users:
            return _ended(users, session, now_s, everywhere=everywhere)

        with self._lock:
            self._here = ended(self._here)
        for attempt in range(ATTEMPTS):
            with contextlib.suppress(PreconditionFailed, OutcomeUnknown):
                self._write(ended)
                if self._told_others is not None:
                    self._told_others()
                return
            time.sleep(min(0.01 * 2**attempt, 0.5))
        raise Contended(ENDED_KEY, ATTEMPTS)

    def _told(self, session: Session) -> bool:
        user = session.principal.name
        return any(user in users and users[user].covers(session) for users in (self._users, self._here))

    def _write(self, change: Callable[[Users], Users]) -> None:
        try:
            fetched = self._objects.fetch(ENDED_KEY)
        except ObjectMissing:
            fetched = None
        users: Users = {}
        if fetched is not None:
            users = read_ended(fetched.data)
        changed = change(users)
        etag = self._objects.put_if(ENDED_KEY, write_ended(changed), match=fetched.etag if fetched else None)
        self._keep(changed, etag)

    def _look(self) -> None:
        """Ask the bucket; it not answering is noted, and no error."""
        self._again = False
        try:
            fetched = self._objects.fetch(ENDED_KEY, unless=self._etag)
            if fetched is None:
                with self._lock:
                    self._asked_s = self._clock()
            else:
                self._keep(read_ended(fetched.data), fetched.etag)
        except ObjectMissing:
            self._keep({}, None)
        except StoreError as error:
            self._not_before_s = self._clock() + RETRY_S
            _log.warning("ended sessions can't be read", why=str(error))

    def _keep(self, users: Users, etag: str | None) -> None:
        with self._lock:
            self._users, self._etag, self._asked_s = users, etag, self._clock()


def _ended(users: Users, session: Session, now_s: int, *, everywhere: bool) -> Users:
    """Return what is over, with one more; what would be over anyway is left out."""
    kept: dict[str, Over] = {}
    for name, over in users.items():
        sessions = {one: until_s for one, until_s in over.sessions.items() if until_s > now_s}
        before_s = over.before_s if over.before_s > now_s - LONGEST_SESSION_S else 0
        if sessions or before_s:
            kept[name] = Over(before_s, sessions)
    name = session.principal.name
    own = kept.pop(name, Over())
    sessions = {**own.sessions, session.id: session.expires_s}
    all_of_them = everywhere or len(sessions) > MOST_SESSIONS
    # Those of this very second too, and this one where a gateway whose clock is ahead began it.
    over_s = max(now_s, session.issued_s) + 1
    kept_own = Over(over_s) if all_of_them else Over(own.before_s, sessions)
    if len(kept) >= MOST_USERS:  # whose sessions end soonest has the least to lose
        del kept[_soonest(kept)]
    kept[name] = kept_own
    return _bounded(kept, now_s)


def _bounded(users: dict[str, Over], now_s: int) -> Users:
    """Have users take no more room than an object has: of who ended most sessions, all are over first."""
    sizes = {name: _size(name, over) for name, over in users.items()}
    whole = sum(sizes.values())
    if whole <= FULL:
        return users
    for name in sorted(users, key=lambda one: len(users[one].sessions), reverse=True):
        if whole <= FULL or not users[name].sessions:
            break
        users[name] = Over(now_s + 1)
        whole -= sizes[name]
        sizes[name] = _size(name, users[name])
        whole += sizes[name]
    while whole > FULL:
        name = _soonest(users)
        whole -= sizes[name]
        del users[name]
    return users


def _size(name: str, over: Over) -> int:
    """Return how many bytes a user takes in the object, or somewhat more."""
    return len(json.dumps(name)) + 64 + sum(len(id) + 24 for id in over.sessions)


def _soonest(users: Mapping[str, Over]) -> str:
    return min(users, key=lambda one: max((users[one].before_s, *users[one].sessions.values())))


def write_ended(users: Users) -> bytes:
    """Write the object."""
    told = {name: {"before": over.before_s, "sessions": dict(over.sessions)} for name, over in users.items()}
    return jsondoc.encode({"format": 1, "users": told})


def read_ended(data: bytes) -> Users:
    """Read the object.

    Raises:
        ObjectCorrupt: it is none.
    """
    fields = jsondoc.decode(ENDED_KEY, data, limit=LARGEST)
    users = fields.take("users")
    if fields.take("format") != 1 or not isinstance(users, dict):
        raise ObjectCorrupt(ENDED_KEY, "it is of another format, or has no users")
    return {name: _read_over(over) for name, over in users.items()}


def _read_over(over: Any) -> Over:
    sessions = over.get("sessions") if isinstance(over, dict) else None
    if not isinstance(sessions, dict):
        raise ObjectCorrupt(ENDED_KEY, "what is over for a user is no object")
    times = [over.get("before"), *sessions.values()]
    if not all(isinstance(one, int) and not isinstance(one, bool) for one in times):
        raise ObjectCorrupt(ENDED_KEY, "it has a time that is no number")
    return Over(times[0], sessions)
