"""Finding out whether a store honours conditional writes, by five of them on an object of its own.

Some servers that speak S3 take `If-Match` and `If-None-Match` and ignore them, some refuse them, and some want an ETag
without its quotes. What is found holds for a store as long as its server is the same; the caller remembers it.

Threads: plain functions; two probes at once use two objects.
"""

import secrets
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from store.errors import (
    ConditionsIgnored,
    ObjectMissing,
    OutcomeUnknown,
    PreconditionFailed,
    StoreUnavailable,
    Unavailable,
)
from store.objects.base import ObjectStore

# An unclear outcome is tried again on another object. Of six writes one may well fail: with one request in ten lost,
# half of all attempts end so. The pauses, about 15 s in all, are for a store that asks for slower requests.
ATTEMPTS: Final = 8
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 4.0


class Conditions(NamedTuple):
    """What a store does with conditional writes."""

    create: bool  # writes "only if there is none" are honoured
    match: bool  # writes "only if it is this one" are honoured
    quoted: bool  # ETags go back as they came; otherwise without their quotes
    why: str  # what went wrong, for people; empty when all is honoured

    @property
    def honoured(self) -> bool:
        """Whether several writers can share the store."""
        return self.create and self.match


def probe_conditions(store: ObjectStore, *, sleep: Callable[[float], None] = time.sleep) -> Conditions:
    """Find out by trying: create, create again, match, stale, missing; the ETag as it came, then without quotes.

    The object lies below `probe/` and is removed. About ten requests. `sleep` waits that many seconds between attempts.

    Raises:
        StoreUnavailable: no clear outcome, several times, or the store stopped answering.
        StoreDenied, StoreFull, StoreMissing: nothing can be written there at all.
    """
    why = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            sleep(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (attempt - 1)))
        key = f"probe/{secrets.token_hex(16)}"
        try:
            return _probe(store, key)
        except OutcomeUnknown as error:
            why = str(error)
        finally:
            try:
                store.delete(key)
                answers = True
            except Unavailable:
                answers = False
        if not answers:  # and each attempt may have waited for minutes
            break
    raise StoreUnavailable(store.address, f"finding out whether it honours conditional writes failed: {why}")


def _probe(store: ObjectStore, key: str) -> Conditions:
    create, why = _create(store, key)
    if not create:
        store.put(key, b"1")
    try:
        held = store.fetch(key)
    except ObjectMissing:
        held = None
    if held is None:
        raise StoreUnavailable(store.address, "an object could not be read right after it was written")
    match, quoted, why_match = _match(store, key, held.etag)
    return Conditions(create, match, quoted, "; ".join(filter(None, (why, why_match))))


def _create(store: ObjectStore, key: str) -> tuple[bool, str]:
    try:
        store.put_if(key, b"1", match=None)
    except PreconditionFailed:
        return False, "it refuses to create an object that is not there"
    except ConditionsIgnored as error:
        return False, error.why
    if _taken(store, key, b"2", match=None):
        return False, "it creates an object that is there already"
    return True, ""


def _match(store: ObjectStore, key: str, etag: str) -> tuple[bool, bool, str]:
    quoted = True
    try:
        taken = _taken(store, key, b"3", match=etag)
        if not taken and bare(etag) != etag:
            quoted = False
            taken = _taken(store, key, b"3", match=bare(etag))
    except ConditionsIgnored as error:
        return False, True, error.why
    if not taken:
        return False, True, "it refuses to replace an object by its own ETag"
    if _taken(store, key, b"4", match=etag if quoted else bare(etag)):
        return False, quoted, "it replaces an object that was changed meanwhile"
    store.delete(key)
    if _taken(store, key, b"5", match=etag if quoted else bare(etag)):
        return False, quoted, "it replaces an object that is not there"
    return True, quoted, ""


def _taken(store: ObjectStore, key: str, data: bytes, *, match: str | None) -> bool:
    try:
        store.put_if(key, data, match=match)
    except PreconditionFailed:
        return False
    return True


def bare(etag: str) -> str:
    """Return an ETag without its quotes."""
    return etag.strip('"')
