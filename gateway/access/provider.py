"""The OpenID provider: what it says of itself and its keys, asked when needed and kept for a while; and its tokens.

Keys are asked for again every FRESH_S. A token that none of them has signed has them asked for at once, but not again
before a pause that doubles up to PAUSE_S as long as nothing new is found, so that a flood of made-up keys costs
the provider one question a minute. While the provider is away, its keys go on to count for STALE_S; then nobody can be
told any more (`Undecided`).

A token that was checked is remembered, by a keyed digest, until it ends or for REMEMBERED_S: a key that the provider
gave up is good for no longer than that and FRESH_S together. Any thread; no lock is held across a request.
"""

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from auth.errors import Undecided
from auth.jwt import Keys, UnknownKey, parse_keys
from auth.oidc import Rules, Verified, check_bearer, check_login
from auth.principal import Principal
from gateway.access.fetch import Fetch, FetchFailed
from gateway.access.oauth import Metadata, discover

FRESH_S: Final = 300.0
STALE_S: Final = 6 * 3600.0
FIRST_PAUSE_S: Final = 5.0
PAUSE_S: Final = 60.0
REMEMBERED_S: Final = 300.0
REMEMBERED: Final = 10_000  # tokens
WAITING: Final = 8  # threads that wait for one answer of the provider; more are told to come again

_log = structlog.stdlib.get_logger("aetherfs.oidc")


class _Known(NamedTuple):
    metadata: Metadata
    keys: Keys
    asked_s: float  # when


class Provider:
    """A provider, as far as it is known."""

    def __init__(self, issuer: str, fetch: Fetch | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a provider; nothing is asked yet.

        Args:
            issuer: how it calls itself.
            fetch: asks it.
            clock: tells seconds that never go back.
        """
        self.issuer, self.fetch, self._clock = issuer, fetch or Fetch(), clock
        self._known: _Known | None = None
        self._pause_s, self._not_before_s = 0.0, float("-inf")
        self._why = "it was not asked yet"
        self._asking: threading.Event | None = None
        self._waiting = 0
        self._lock = threading.Lock()

    def metadata(self) -> Metadata:
        """Return what it says of itself.

        Raises:
            Undecided: it does not answer.
        """
        return self._current().metadata

    def keys(self) -> Keys:
        """Return its keys; errors as `metadata`."""
        return self._current().keys

    def newer(self, keys: Keys) -> Keys:
        """Return its keys, asked for again if `keys` are the newest that are known and it was not asked just now."""
        known = self._current()
        if known.keys is keys:
            known = self._ask(known) or known
        return known.keys

    def _current(self) -> _Known:
        known, now_s = self._known, self._clock()
        if known is None or now_s - known.asked_s >= FRESH_S:
            known = self._ask(known, wait=known is None) or known
        if known is None or self._clock() - known.asked_s >= STALE_S:
            raise Undecided(f"the provider {self.issuer} cannot be asked: {self._why}")
        return known

    def _ask(self, known: _Known | None, *, wait: bool = True) -> _Known | None:
        """Ask the provider, or `wait` for somebody who does; `None`: it is too soon, or it does not answer."""
        with self._lock:
            if self._known is not known:
                return self._known
            asking, mine = self._asking, False
            if asking is None:
                if self._clock() < self._not_before_s:
                    return None
                asking, mine = threading.Event(), True
                self._asking = asking
            elif not wait or self._waiting >= WAITING:
                return None
            else:
                self._waiting += 1
        if not mine:
            asking.wait(30.0)
            with self._lock:
                self._waiting -= 1
                return self._known
        found, why = None, ""
        try:
            metadata = discover(self.fetch, self.issuer)
            found = _Known(metadata, self._fetch_keys(metadata), self._clock())
        except FetchFailed as error:
            why = str(error)
            _log.warning("provider can't be asked", issuer=self.issuer, why=why)
        finally:
            with self._lock:
                self._note(known, found, why)
                self._asking = None
            asking.set()
        return found

    def _note(self, known: _Known | None, found: _Known | None, why: str) -> None:
        """Keep what was found, and decide when to ask next. Whoever calls has the lock."""
        news = found is not None and (known is None or found.keys.keys != known.keys.keys)
        self._pause_s = FIRST_PAUSE_S if news else min(max(self._pause_s * 2, FIRST_PAUSE_S), PAUSE_S)
        self._not_before_s = self._clock() + self._pause_s
        self._why = why or self._why
        if found is not None:
            self._known = found

    def _fetch_keys(self, metadata: Metadata) -> Keys:
        answer = self.fetch.get(metadata.keys)
        if answer.status != 200:
            raise FetchFailed(f"{self.issuer} answered {answer.status} when asked for its keys")
        try:
            keys = parse_keys(answer.body)
        except ValueError as error:
            raise FetchFailed(f"{self.issuer}: {error}") from None
        if not keys.keys:
            raise FetchFailed(f"{self.issuer} has no key that can be used")
        return keys


class OidcTokens:
    """What the provider has signed, as credentials."""

    def __init__(self, provider: Provider, rules: Rules, *, now: Callable[[], float] = time.time) -> None:
        """Take a provider and what its tokens must say; `now` tells seconds since 1970."""
        self._provider, self._rules, self._now = provider, rules, now
        self._secret = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()
        self._lock = threading.Lock()

    def known(self, text: str) -> Principal | None:
        """Return who a token is about that was checked before, from memory alone."""
        key = self._digest(text)
        with self._lock:
            found = self._remembered.get(key)
            if found is None:
                return None
            if self._now() >= found[1]:
                del self._remembered[key]
                return None
            return found[0]

    def check(self, text: str) -> Principal:
        """Return who a token is about.

        Raises:
            BadCredentials: it is not to be taken.
            Undecided: the provider does not answer.
        """
        now_s = self._now()
        found = self._verified(lambda keys: check_bearer(text, keys, self._rules, now_s))
        until_s = min(found.expires_s, now_s + REMEMBERED_S)
        with self._lock:
            self._remembered[self._digest(text)] = found.principal, until_s
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return found.principal

    def login(self, text: str, nonce: str) -> Principal:
        """Return who has logged in by a browser, from the ID token of that login; errors as `check`."""
        return self._verified(lambda keys: check_login(text, keys, self._rules, self._now(), nonce=nonce)).principal

    def _verified(self, check: Callable[[Keys], Verified]) -> Verified:
        keys = Keys()  # a token that is refused whatever its key is asks for no keys
        try:
            return check(keys)
        except UnknownKey:
            keys = self._provider.keys()
        try:
            return check(keys)
        except UnknownKey:
            newer = self._provider.newer(keys)
            if newer is keys:
                raise
            return check(newer)

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "replace"), key=self._secret, digest_size=16).digest()
