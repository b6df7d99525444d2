"""The tokens of a store, as a gateway asks for them: who shows a good one, and what is known of it.

A record counts for 30 s, then it is asked for again, by its ETag; so a token that was revoked is good for nothing on
any gateway half a minute later. That there is no such token counts for a while too, and no more than some unknown ids a
second are looked for: guessing costs the bucket next to nothing. While the bucket is away, what was known goes on to
count, as the lists of datasets do, for up to an hour: nobody can revoke a token then either.

`known` answers from memory and never waits; `check` asks the bucket where it must. Any thread; no lock is held across a
request, and many who wait for one token share one.
"""

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import structlog

from auth.errors import BadCredentials, Throttled, Undecided
from auth.principal import Grant, Principal
from auth.tokens import (
    HTTP,
    LENGTH,
    NEVER,
    NFS,
    TokenRecord,
    TokenText,
    check_record,
    check_token,
    digest_of,
    document_of,
    is_id,
    new_text,
    parse_name,
    parse_text,
    record_of,
)
from gateway.access import token_objects
from gateway.access.token_uses import Uses, last_use
from gateway.errors import TokenMissing
from store.errors import Corrupt, ObjectMissing, StoreError
from store.flight import SingleFlight
from store.objects.base import ObjectStore

FRESH_S: Final = 30.0  # how old what is known of a token may be
ABSENT_S: Final = 10.0  # how long it counts that there is no such token
STALE_S: Final = 3600.0  # how old it may be while the bucket is away
RETRY_S: Final = 5.0  # how long the bucket is not asked again for a token when it did not answer
RECORDS: Final = 4096  # remembered; each of a few KiB at most
ABSENT: Final = 16_384  # remembered ids that are nobody's
NOTED_S: Final = 1.0  # between notes of a token's use
GUESSES: Final = 200  # unknown ids that are looked for at once,
GUESSES_A_SECOND: Final = 20.0  # and in the long run

_log = structlog.stdlib.get_logger("aetherfs.tokens")


class Known(NamedTuple):
    """A token for those who look after it."""

    record: TokenRecord
    used_ns: int  # when it was last used, to some ten minutes; 0: not, or not known


class _Held(NamedTuple):
    record: TokenRecord
    etag: str
    asked_s: float  # when the bucket was asked for what stands here
    waits_s: float  # until then the bucket is not asked, since it did not answer


class _Good:
    """A token that was shown and found good, by a digest of what was shown: the short way for the next request."""

    __slots__ = ("generation", "noted_s", "principal", "token", "until_s")

    def __init__(self, token: str, principal: Principal, generation: int, until_s: float, noted_s: float) -> None:
        self.token, self.principal, self.generation, self.until_s = token, principal, generation, until_s
        self.noted_s = noted_s  # when the use was noted last


class Tokens:
    """All tokens of one store."""

    def __init__(
        self,
        objects: ObjectStore,
        *,
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] | None = None,
        uses: Uses | None = None,
    ) -> None:
        """Take a store.

        Args:
            objects: its objects, in plain.
            clock: tells seconds that never go back.
            now_ns: tells the time, ns since 1970, UTC; by default the store's own clock.
            uses: gathers last uses; by default written to the same store.
        """
        self._objects, self._clock = objects, clock
        self._now_ns = objects.now_ns if now_ns is None else now_ns
        self._uses = Uses(objects, clock=clock) if uses is None else uses
        self._lock = threading.Lock()
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._flights: SingleFlight[str, _Held | None] = SingleFlight()
        self._allowance, self._allowed_s = float(GUESSES), clock()
        self._listeners: list[Callable[[], None]] = []
        self._good: dict[bytes, _Good] = {}
        self._key = secrets.token_bytes(32)
        self.generation = 0  # grows when what is known of a token turns out to have changed

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have somebody told when what is known of a token has changed: it was revoked. Called by any thread."""
        self._listeners.append(listener)

    # asked with every request

    def known(self, text: str, *, nfs: bool = False) -> Principal | None:
        """Return who shows a token, from memory alone; `None`: `check` has to say."""
        if len(text) != LENGTH:
            return None
        good = self._good.get(self._digest(text, nfs=nfs))
        now_s, generation = self._clock(), self.generation
        if good is not None and good.generation == generation and now_s < good.until_s:
            if now_s - good.noted_s >= NOTED_S:
                good.noted_s = now_s
                self._uses.note(good.token, self._now_ns())
            return good.principal
        try:
            shown = parse_text(text)
            with self._lock:
                held = self._held.get(shown.id)
            if held is None or not self._counts(held):
                return None
            return self._shown(held, shown, generation, nfs=nfs)
        except BadCredentials:
            return None

    def check(self, text: str, *, nfs: bool = False) -> Principal:
        """Return who shows a token.

        Args:
            text: the token.
            nfs: it was shown in a path of a mount; else anywhere else.

        Raises:
            BadCredentials: it is none, of the other kind, revoked or expired.
            Throttled: too many tokens that there are not were shown lately.
            Undecided: the bucket does not answer.
        """
        shown, generation = parse_text(text), self.generation
        return self._shown(self._record(shown.id), shown, generation, nfs=nfs)

    def known_grant(self, token: str) -> Principal | None:
        """Return who a mount's token stands for, by its id, once it was shown; as `known`."""
        with self._lock:
            held = self._held.get(token)
        try:
            return self._granted(held.record) if held is not None and self._counts(held) else None
        except BadCredentials:
            return None

    def check_grant(self, token: str) -> Principal:
        """Return who a mount's token stands for, by its id, once it was shown; errors as `check`."""
        if not is_id(token):
            raise BadCredentials("no token has such an id")
        return self._granted(self._record(token).record)

    # by those who look after tokens

    def create(
        self,
        name: str,
        grants: tuple[Grant, ...],
        *,
        nfs: bool = False,
        lives_s: int = 0,
        owner: Principal | None = None,
    ) -> tuple[TokenText, TokenRecord]:
        """Make a token; what is returned first is shown once.

        Args:
            name: that no other good token has.
            grants: from `auth.tokens.parse_rules`.
            nfs: it is for paths of mounts, else for all else.
            lives_s: seconds that it is good for; 0: until it is revoked.
            owner: the user who makes it; `None`: whoever has the store's own credentials.

        Raises:
            TokenUnusable: the name, or the owner's, can't be one.
            TokenTaken: a token of that name is good.
            StoreError: the bucket did not take it.
        """
        text, now_ns = new_text(), self._objects.now_ns()
        record = TokenRecord(
            text.id, parse_name(name), NFS if nfs else HTTP, digest_of(text), grants, owner, now_ns,
            now_ns + lives_s * 10**9 if lives_s else NEVER,
        )  # fmt: skip
        record = record_of(document_of(record))  # what could not be read again is not written
        token_objects.create(self._objects, record)
        return text, record

    def revoke(self, name: str, *, only: str = "") -> TokenRecord:
        """Revoke a token; as `token_objects.revoke`. Other gateways learn of it within 30 s."""
        record = token_objects.revoke(self._objects, name, only=only)
        self._forget(record.id)
        return record

    def find(self, name: str) -> Known:
        """Return the token of a name, be it revoked or expired.

        Raises:
            TokenMissing: no token has, or had, that name.
            StoreError: the bucket does not say.
        """
        try:
            stored = token_objects.fetch_record(self._objects, token_objects.token_of(self._objects, name))
        except ObjectMissing as error:
            raise TokenMissing(name) from error
        if stored is None:
            raise TokenMissing(name)
        return Known(stored.record, last_use(self._objects, stored.record.id))

    def list(self, *, after: str = "") -> Iterator[tuple[str, Known]]:
        """Yield (place, token) in an order that stays, from behind the place `after`; revoked and expired ones too."""
        keys = [key for key in token_objects.name_keys(self._objects) if key > after]
        for place, record, used_ns in token_objects.records(self._objects, keys):
            yield place, Known(record, used_ns)

    def now_ns(self) -> int:
        """Tell the time by which tokens expire: ns since 1970, UTC."""
        return self._now_ns()

    def close(self) -> None:
        """Write what is still to be written."""
        self._uses.close()

    def _shown(self, held: _Held, shown: TokenText, generation: int, *, nfs: bool) -> Principal:
        """Judge what was shown. `generation` is of before `held` was looked up: what changed since has to be seen."""
        now_s, now_ns, record = self._clock(), self._now_ns(), held.record
        principal = check_token(record, shown, kind=NFS if nfs else HTTP, now_ns=now_ns)
        self._uses.note(record.id, now_ns)
        until_s = max(held.asked_s + FRESH_S, min(held.waits_s, held.asked_s + STALE_S))
        if record.expires_ns:
            until_s = min(until_s, now_s + (record.expires_ns - now_ns) / 1e9)
        if len(self._good) >= RECORDS:
            self._good.clear()
        key = self._digest(str(shown), nfs=nfs)
        self._good[key] = _Good(record.id, principal, generation, until_s, now_s)
        return principal

    def _digest(self, text: str, *, nfs: bool) -> bytes:
        person = b"nfs" if nfs else b"http"
        return hashlib.blake2b(
            text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16, person=person
        ).digest()

    def _granted(self, record: TokenRecord) -> Principal:
        now_ns = self._now_ns()
        principal = check_record(record, kind=NFS, now_ns=now_ns)
        self._uses.note(record.id, now_ns)
        return principal

    def _counts(self, held: _Held) -> bool:
        now_s = self._clock()
        return now_s - held.asked_s <= FRESH_S or (now_s < held.waits_s and now_s - held.asked_s <= STALE_S)

    def _record(self, token: str) -> _Held:
        with self._lock:
            held = self._held.get(token)
            if held is None and self._clock() - self._absent.get(token, -ABSENT_S) < ABSENT_S:
                raise BadCredentials(f"there is no token {token}")
        if held is None or not self._counts(held):
            held = self._flights.do(token, lambda: self._ask(token))
        if held is None:
            raise BadCredentials(f"there is no token {token}")
        return held

    def _ask(self, token: str) -> _Held | None:
        """Ask the bucket for a record, and remember what it says."""
        with self._lock:
            before = self._held.get(token)
        if before is not None and self._counts(before):  # another thread has asked meanwhile
            return before
        if before is None:
            self._spend_guess()
        asked_s = self._clock()
        try:
            stored = token_objects.fetch_record(self._objects, token, unless=before.etag if before else None)
        except ObjectMissing:
            self._keep_absent(token, asked_s)
            return None
        except StoreError as error:
            return self._unanswered(token, before, error)
        if stored is not None:
            held = _Held(stored.record, stored.etag, asked_s, 0.0)
        elif before is not None:
            held = before._replace(asked_s=asked_s, waits_s=0.0)
        else:
            return None  # no ETag was named, so there was an answer
        self._keep(token, held, before)
        return held

    def _unanswered(self, token: str, before: _Held | None, error: StoreError) -> _Held:
        now_s = self._clock()
        if before is None or isinstance(error, Corrupt) or now_s - before.asked_s > STALE_S:
            _log.warning("token can't be looked up", token=token, why=str(error))
            self._forget(token)
            raise Undecided(f"token {token} can't be looked up: {error}") from error
        held = before._replace(waits_s=now_s + RETRY_S)
        with self._lock:
            self._held[token] = held
        return held

    def _keep(self, token: str, held: _Held, before: _Held | None) -> None:
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

    def _forget(self, token: str) -> None:
        with self._lock:
            gone = self._held.pop(token, None)
            self._absent.pop(token, None)
        if gone is not None:
            self._changed()

    def _changed(self) -> None:
        with self._lock:
            self.generation += 1
        for listener in self._listeners:
            listener()

    def _spend_guess(self) -> None:
        """Take one of the lookups of ids that are not known, of which there are only so many a second."""
        with self._lock:
            now_s = self._clock()
            grown = self._allowance + (now_s - self._allowed_s) * GUESSES_A_SECOND
            self._allowance, self._allowed_s = min(float(GUESSES), grown), now_s
            if self._allowance < 1:
                raise Throttled("too many unknown tokens are shown", (1 - self._allowance) / GUESSES_A_SECOND)
            self._allowance -= 1
