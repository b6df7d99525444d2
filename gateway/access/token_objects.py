"""Tokens in the bucket: what is kept of each, and whose a name is. docs/format.md, Tokens.

    auth/tokens/<id>            the record; made once, changed once, when the token is revoked
    auth/token-names/<digest>   which record has a name; compare-and-set, so that of two who want one name one gets it
    auth/token-owners/<digest>  which tokens of a user may be good; compare-and-set, so that no user has too many

A token is counted first, then its record is made, then its name: what ends in between leaves a record that no name
leads to, with a secret that nobody was told. A name is given anew once the token that had it is revoked or has expired,
since neither is ever undone; the old record stays, for whoever asks what a log speaks of. Functions; any thread; they
block on the bucket.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from auth.tokens import TokenRecord, TokenUnusable, TooManyTokens, document_of, is_id, record_of
from gateway.access.token_uses import last_use
from gateway.errors import TokenMissing, TokenTaken
from store import jsondoc
from store.commit import compare_and_set, remember
from store.errors import ObjectCorrupt, ObjectMissing, StoreError
from store.layout import TOKEN_NAMES, token_key, token_name_key, token_owner_key
from store.objects.base import ObjectStore

FORMAT: Final = 1
RECORD_LIMIT: Final = 256 * 1024  # bytes; an owner of a thousand groups takes most of it
NAME_LIMIT: Final = 16 * 1024  # bytes of the object that gives a name away
MOST_TOKENS: Final = 100_000  # names that are listed
MOST_OF_ONE: Final = 1000  # good tokens of one user; whoever has the store's credentials may have more
OWNER_LIMIT: Final = 128 * 1024  # bytes of the object that counts them
_AT_ONCE: Final = 16  # records that are read side by side


class Stored(NamedTuple):
    """A record, and the ETag of the object that it was read from."""

    record: TokenRecord
    etag: str


def decode_record(token: str, data: bytes) -> TokenRecord:
    """Read the object of the token `token`, an id.

    Raises:
        ObjectCorrupt: it is none, of a later format, or another token's.
    """
    key = token_key(token)
    fields = jsondoc.decode(key, data, limit=RECORD_LIMIT)
    if fields.integer("format") != FORMAT:
        raise ObjectCorrupt(key, "it is of a later format: what it grants is not known")
    try:
        record = record_of(fields.rest())
    except TokenUnusable as error:
        raise ObjectCorrupt(key, str(error)) from error
    if record.id != token:
        raise ObjectCorrupt(key, "it is another token's")
    return record


def fetch_record(objects: ObjectStore, token: str, *, unless: str | None = None) -> Stored | None:
    """Return what is kept of a token, or `None` while its ETag is `unless`.

    Raises:
        ObjectMissing: there is no such token.
        ObjectCorrupt: it can't be read.
    """
    found = objects.fetch(token_key(token), unless=unless)
    return None if found is None else Stored(decode_record(token, found.data), found.etag)


def create(objects: ObjectStore, record: TokenRecord) -> None:
    """Keep a new token.

    Raises:
        TokenTaken: a token of that name is good.
        TooManyTokens: its owner has MOST_OF_ONE.
        Contended, OutcomeUnknown: as `store.commit.compare_and_set`; whether it is there can't be said.
    """
    _count(objects, record)
    key = token_key(record.id)

    def keep(old: bytes | None, operation: str) -> bytes:
        if old is not None:  # an id is drawn once in the world
            raise ObjectCorrupt(key, "a token that was made just now is there already")
        return _encode({}, operation, document_of(record))

    def take(old: bytes | None, operation: str) -> bytes:
        fields = {} if old is None else _name_fields(name_key, old)
        if fields and _is_good(objects, fields["token"]):
            raise TokenTaken(record.name)
        return _encode(fields, operation, {"name": record.name, "token": record.id})

    name_key = token_name_key(record.name)
    try:
        compare_and_set(objects, key, keep)
        compare_and_set(objects, name_key, take)
    except (TokenTaken, StoreError):
        with contextlib.suppress(StoreError):  # nobody is told its secret, whatever is there of it
            _discount(objects, record)
            objects.delete(key)
        raise


def revoke(objects: ObjectStore, name: str, *, only: str = "") -> TokenRecord:
    """Revoke the token of a name; return its record. One that is revoked already stays as it is.

    Args:
        objects: the store.
        name: the token's.
        only: its id, where that is known: another token that has got the name since is left alone.

    Raises:
        TokenMissing: no token has that name.
        Contended, OutcomeUnknown: as `store.commit.compare_and_set`.
    """
    token = only or token_of(objects, name)
    key = token_key(token)

    def end(old: bytes | None, operation: str) -> bytes | None:
        if old is None:
            raise TokenMissing(name)
        record = decode_record(token, old)
        if record.revoked_ns:
            return None
        fields = jsondoc.decode(key, old, limit=RECORD_LIMIT).rest()
        return _encode(fields, operation, {"revoked": max(objects.now_ns(), record.created_ns + 1)})

    done = compare_and_set(objects, key, end)
    record = decode_record(token, done.data or b"")
    with contextlib.suppress(StoreError):  # it is revoked; to revoke it once more takes it off the count
        _discount(objects, record)
    return record


def token_of(objects: ObjectStore, name: str) -> str:
    """Return the id of the token of a name.

    Raises:
        TokenMissing: no token has, or had, that name.
    """
    key = token_name_key(name)
    try:
        return str(_name_fields(key, objects.get(key, size=NAME_LIMIT))["token"])
    except ObjectMissing as error:
        raise TokenMissing(name) from error


def name_keys(objects: ObjectStore) -> list[str]:
    """Return the keys of all names, sorted: an order that stays, for pages of a list."""
    return sorted(info.key for info in itertools.islice(objects.list(TOKEN_NAMES), MOST_TOKENS))


def records(objects: ObjectStore, keys: Iterable[str]) -> Iterator[tuple[str, TokenRecord, int]]:
    """Yield (key, record, time of its last use) for some of `name_keys`, in their order, read several at a time."""
    wanted = iter(keys)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="tokens") as pool:
        while batch := list(itertools.islice(wanted, 4 * _AT_ONCE)):
            for key, found in zip(batch, pool.map(lambda key: _record_at(objects, key), batch), strict=True):
                if found is not None:
                    yield key, *found


def _record_at(objects: ObjectStore, key: str) -> tuple[TokenRecord, int] | None:
    try:
        stored = fetch_record(objects, str(_name_fields(key, objects.get(key, size=NAME_LIMIT))["token"]))
    except ObjectMissing:  # taken away by hand
        return None
    return None if stored is None else (stored.record, last_use(objects, stored.record.id))


def _count(objects: ObjectStore, record: TokenRecord) -> None:
    """Count a token to those of its owner."""
    if record.owner is None:
        return
    user, key = record.owner.name, token_owner_key(record.owner.name)

    def take(old: bytes | None, operation: str) -> bytes:
        fields, now_ns = _owner_fields(key, old), objects.now_ns()
        held = {token: ends_ns for token, ends_ns in fields.get("tokens", {}).items() if not 0 < ends_ns <= now_ns}
        if len(held) >= MOST_OF_ONE:
            raise TooManyTokens(MOST_OF_ONE)
        return _encode(fields, operation, {"user": user, "tokens": held | {record.id: record.expires_ns}})

    compare_and_set(objects, key, take)


def _discount(objects: ObjectStore, record: TokenRecord) -> None:
    """Count a token to those of its owner no more."""
    if record.owner is None:
        return
    key = token_owner_key(record.owner.name)

    def drop(old: bytes | None, operation: str) -> bytes | None:
        fields = _owner_fields(key, old)
        held = fields.get("tokens", {})
        if record.id not in held:
            return None
        left = {token: ends_ns for token, ends_ns in held.items() if token != record.id}
        return _encode(fields, operation, {"tokens": left})

    compare_and_set(objects, key, drop)


def _owner_fields(key: str, data: bytes | None) -> dict[str, Any]:
    if data is None:
        return {}
    fields = jsondoc.decode(key, data, limit=OWNER_LIMIT).rest()
    held = fields.get("tokens")
    if not isinstance(held, dict) or not all(type(ends_ns) is int for ends_ns in held.values()):
        raise ObjectCorrupt(key, "it does not say until when a user's tokens are good")
    return fields


def _is_good(objects: ObjectStore, token: str) -> bool:
    try:
        stored = fetch_record(objects, token)
    except ObjectMissing:
        return False
    return stored is not None and not stored.record.ended(objects.now_ns())


def _name_fields(key: str, data: bytes) -> dict[str, Any]:
    fields = jsondoc.decode(key, data, limit=NAME_LIMIT).rest()
    if not isinstance(fields.get("token"), str) or not is_id(fields["token"]):
        raise ObjectCorrupt(key, "it names no token")
    return fields


def _encode(old: dict[str, Any], operation: str, changed: dict[str, Any]) -> bytes:
    """Write the next generation of an object, with what it had and is not known here."""
    fields = jsondoc.Fields("", old, "document")
    seq = fields.integer("seq", default=0) + 1
    operations = [[*pair] for pair in remember(jsondoc.operations(fields), seq, operation)]
    return jsondoc.encode({"format": FORMAT, **old, **changed, "seq": seq, "operations": operations})
