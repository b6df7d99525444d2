"""When tokens were last used: gathered in memory, written to the bucket now and then. docs/format.md, Tokens.

    auth/token-uses/<id>   {"format", "used"}; rewritten every ten minutes at most, by whichever gateway comes first

It lies apart from the record, so that nothing that counts is ever rewritten for it, and it may be lost without harm.
`note` never waits; a thread of its own writes, only where there is something to write.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from store import jsondoc
from store.errors import Corrupt, ObjectMissing, StoreError
from store.layout import token_use_key
from store.objects.base import ObjectStore

EVERY_S: Final = 600.0
FORMAT: Final = 1
LIMIT: Final = 4096  # bytes of an object
MOST: Final = 4096  # tokens whose uses are remembered
_LOOK_S: Final = 5.0  # between looks at what is due

_log = structlog.stdlib.get_logger("aetherfs.tokens")


class Uses:
    """Gathers the last uses of tokens."""

    def __init__(self, objects: ObjectStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Write to `objects`; `clock` tells seconds that never go back."""
        self._objects, self._clock = objects, clock
        self._lock = threading.Lock()
        self._pending: dict[str, int] = {}  # id -> ns of a use that is not written yet
        self._written: dict[str, float] = {}  # id -> when one was, by `clock`
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, token: str, now_ns: int) -> None:
        """Take note of a use."""
        with self._lock:
            if token not in self._pending and len(self._pending) >= MOST:
                return
            self._pending[token] = now_ns
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="token-uses", daemon=True)
                self._thread.start()

    def write_due(self, *, all_of_them: bool = False) -> int:
        """Write what is due; return how many objects were written."""
        now_s = self._clock()
        with self._lock:
            due = {
                token: used_ns
                for token, used_ns in self._pending.items()
                if all_of_them or now_s - self._written.get(token, -EVERY_S) >= EVERY_S
            }
            for token in due:
                del self._pending[token]
                self._written.pop(token, None)
                self._written[token] = now_s
            for token in list(self._written)[: max(0, len(self._written) - MOST)]:
                del self._written[token]
        return sum(self._write(token, used_ns) for token, used_ns in due.items())

    def close(self) -> None:
        """Stop; what is not written yet is, unless the bucket is away."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=_LOOK_S)
        self.write_due(all_of_them=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.write_due()
            self._stop.wait(_LOOK_S)

    def _write(self, token: str, used_ns: int) -> bool:
        try:
            # Another worker or gateway may have written a moment ago: to the ten minutes it says the same.
            if used_ns - last_use(self._objects, token) < EVERY_S * 1e9:
                return False
            self._objects.put(token_use_key(token), jsondoc.encode({"format": FORMAT, "used": used_ns}))
        except StoreError as error:
            _log.warning("last use of a token can't be written", token=token, why=str(error))
            return False
        return True


def last_use(objects: ObjectStore, token: str) -> int:
    """Return when a token was last used, to some ten minutes: ns since 1970; 0: it was not, or that is not known."""
    key = token_use_key(token)
    with contextlib.suppress(ObjectMissing, Corrupt):
        return jsondoc.decode(key, objects.get(key, size=LIMIT), limit=LIMIT).integer("used")
    return 0
