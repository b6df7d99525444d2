"""The tokens of a store, as a gateway asks for them: who shows a good one; and who makes, lists and revokes them.

`known` answers from memory and never waits; `check` asks the bucket where it must. What was shown and found good is
known again by a keyed digest of it, for as long as its record counts (`gateway.access.token_records`), since tokens
come with every request. Any thread.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from auth.errors import BadCredentials
from auth.principal import Grant, Principal
from auth.throttle import line_of
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
from gateway.access.token_records import Held, TokenRecords
from gateway.access.token_uses import Uses, last_use
from gateway.errors import TokenMissing
from store.errors import ObjectMissing
from store.objects.base import ObjectStore

SHORT_WAYS: Final = 4096  # tokens that are known again by a digest
NOTED_S: Final = 1.0  # between notes of a token's use


class Known(NamedTuple):
    """A token for those who look after it."""

    record: TokenRecord
    used_ns: int  # when it was last used, to some ten minutes; 0: not, or not known


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
        on_revoke: Callable[[str], None] | None = None,
    ) -> None:
        """Take a store.

        Args:
            objects: its objects, in plain.
            clock: tells seconds that never go back.
            now_ns: tells the time, ns since 1970, UTC; by default the store's own clock.
            uses: gathers last uses; by default written to the same store.
            on_revoke: told the id of each token that is revoked here.
        """
        self._on_revoke = on_revoke
        self._objects, self._clock = objects, clock
        self._now_ns = objects.now_ns if now_ns is None else now_ns
        self._uses = Uses(objects, clock=clock) if uses is None else uses
        self._records = TokenRecords(objects, clock=clock)
        self._good: dict[bytes, _Good] = {}
        self._key = secrets.token_bytes(32)

    @property
    def generation(self) -> int:
        """Return a number that grows when what was known of a token turns out to have changed: it was revoked."""
        return self._records.generation

    def forget(self, token: str) -> None:
        """Have the bucket asked for a token, by its id: somebody says that it was revoked."""
        self._records.forget(token)

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
            held = self._records.at_hand(shown.id)
            return None if held is None else self._shown(held, shown, generation, nfs=nfs)
        except BadCredentials:
            return None

    def check(self, text: str, *, nfs: bool = False, address: str = "") -> Principal:
        """Return who shows a token.

        Args:
            text: the token.
            nfs: it was shown in a path of a mount; else anywhere else.
            address: where it was shown, so that wrong ones from there are counted; empty: they are elsewhere.

        Raises:
            BadCredentials: it is none, of the other kind, revoked or expired.
            Throttled: too many tokens that there are not were shown lately.
            Undecided: the bucket does not answer.
        """
        shown, generation = parse_text(text), self.generation
        held = self._records.get(shown.id, line_of(address) if address else "")
        return self._shown(held, shown, generation, nfs=nfs)

    def known_grant(self, token: str) -> Principal | None:
        """Return who a mount's token stands for, by its id, once it was shown; as `known`."""
        held = self._records.at_hand(token)
        try:
            return None if held is None else self._granted(held.record)
        except BadCredentials:
            return None

    def check_grant(self, token: str) -> Principal:
        """Return who a mount's token stands for, by its id, once it was shown; errors as `check`."""
        if not is_id(token):
            raise BadCredentials("no token has such an id")
        return self._granted(self._records.get(token).record)

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
            TooManyTokens: the owner has as many as anybody may.
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
        self._records.forget(record.id)
        if self._on_revoke is not None:
            self._on_revoke(record.id)
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

    def _shown(self, held: Held, shown: TokenText, generation: int, *, nfs: bool) -> Principal:
        """Judge what was shown. `generation` is of before `held` was looked up: what changed since has to be seen."""
        now_s, now_ns, record = self._clock(), self._now_ns(), held.record
        principal = check_token(record, shown, kind=NFS if nfs else HTTP, now_ns=now_ns)
        self._uses.note(record.id, now_ns)
        until_s = held.until_s
        if record.expires_ns:
            until_s = min(until_s, now_s + (record.expires_ns - now_ns) / 1e9)
        if len(self._good) >= SHORT_WAYS:
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
