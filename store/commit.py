"""Changing one object that many writers change: compare-and-set, and knowing whose success it was.

Every such object is JSON that carries `seq` (+1 a write) and `operations`, its last 64 pairs of (seq, operation id).
A conditional write whose answer was lost may have taken place; and a second try then meets its own first one as a
stranger. So after any failed write the object is read again: our operation id among its operations means success, its
absence means deciding again, on the new state. Only that decision may end in a `Conflict`.

One operation id serves all attempts of one call, so that a write that arrives late is recognised whichever attempt it
was. Any thread; blocks. docs/format.md, Commit.
"""

import json
import random
import secrets
import time
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from store.errors import Contended, ObjectMissing, OutcomeUnknown, PreconditionFailed, StoreUnavailable
from store.objects.base import Fetched, ObjectStore

OPERATIONS_KEPT: Final = 64
# With the pauses below some two minutes of trying. Of eight busy writers one may well lose twenty times in a row.
ATTEMPTS: Final = 64
UNCLEAR: Final = 12  # so many writes without a clear answer, some 10 s of trying: the store is out of order
GIVE_UP_S: Final = 60.0  # after this no write without a clear answer is made again
_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 2.0

Operations = tuple[tuple[int, str], ...]
Decide = Callable[[bytes | None, str], bytes | None]


class Committed(NamedTuple):
    """What stands in the store after `compare_and_set`."""

    data: bytes | None  # None: there was no object and none was wanted
    etag: str  # empty with `data` None
    written: bool  # False: `decide` found that nothing had to change


def new_operation() -> str:
    """Draw an operation id: 24 hex digits, random."""
    return secrets.token_hex(12)


def remember(operations: Operations, seq: int, operation: str) -> Operations:
    """Append one operation and keep the last 64."""
    return (*operations, (seq, operation))[-OPERATIONS_KEPT:]


def json_operations(data: bytes) -> Collection[str]:
    """Return the operation ids that a JSON object carries; none where it can't be read."""
    try:
        return {str(pair[1]) for pair in json.loads(data)["operations"]}
    except (ValueError, RecursionError, LookupError, TypeError):
        return ()


def compare_and_set(
    objects: ObjectStore,
    key: str,
    decide: Decide,
    *,
    attempts: int = ATTEMPTS,
    operations: Callable[[bytes], Collection[str]] = json_operations,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
    clock: Callable[[], float] = time.monotonic,
) -> Committed:
    """Replace an object by what `decide` makes of it, against any number of other writers.

    Args:
        objects: must not retry `put_if` itself.
        key: the object.
        decide: called with the object's bytes (`None`: absent) and the operation id that the result must carry among
            its operations; returns the new bytes, or `None` to leave all as it is. Called once an attempt, so it
            must depend on nothing but its arguments; it may raise any `StoreError`, which ends the matter.
        attempts: most writes tried.
        operations: reads the operation ids out of an object's bytes.
        sleep: waits that many seconds between attempts.
        jitter: draws from [0, 1).
        clock: tells seconds that never go back.

    Raises:
        Contended: others were faster `attempts` times.
        OutcomeUnknown: the store stopped answering after a write that may have taken place, or no write got a clear
            answer in `UNCLEAR` tries or `GIVE_UP_S`.
        StoreUnavailable: the object could not be read at first.
    """
    operation = new_operation()
    began_s = clock()
    found = _fetch(objects, key)
    unclear: OutcomeUnknown | StoreUnavailable | None = None
    unclear_writes = 0
    for attempt in range(attempts):
        new = decide(found.data if found else None, operation)
        if new is None:
            return Committed(found.data if found else None, found.etag if found else "", written=False)
        unclear = None
        try:
            return Committed(new, objects.put_if(key, new, match=found.etag if found else None), written=True)
        except PreconditionFailed:
            pass  # perhaps by our own write, whose answer was lost below us: read again
        except (OutcomeUnknown, StoreUnavailable) as error:
            unclear = error
            unclear_writes += 1
        # Before reading, not after: what is decided on should be as fresh as can be.
        sleep(min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt) * (0.5 + jitter()))
        try:
            found = _fetch(objects, key)
        except StoreUnavailable as error:
            raise OutcomeUnknown(key, str(unclear or error)) from error
        if found and operation in operations(found.data):
            return Committed(found.data, found.etag, written=True)
        if unclear and (unclear_writes >= UNCLEAR or clock() - began_s > GIVE_UP_S):
            break
    if unclear:
        raise unclear
    raise Contended(key, attempts)


def _fetch(objects: ObjectStore, key: str) -> Fetched | None:
    try:
        return objects.fetch(key)
    except ObjectMissing:
        return None
