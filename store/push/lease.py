"""A running push's heartbeat, `pushes/<id>`: what a deletion waits for, and how it shuts a dead push out.

    {"format": 1, "dataset": name, "started": ns, "beat": n, "program": text, "ended": bool}

What a push finds in the store is there when it looks; its commit comes later. While the heartbeat stands, a deletion
neither removes what it has begun to delete nor forgets what it has removed (docs/format.md, Deletion). Safety does not
rest on how fast it beats: a deletion that takes a push for dead marks its heartbeat `ended` first and then rewrites the
head of its dataset, so that whatever commit was still on its way fails, and the push, once it goes on, finds out in
`confirm`. Beats are conditional, so they never undo that.

It costs one PUT and one free DELETE, so it is begun no earlier than needed: before the first pack or manifest is
written, or before a commit that relies on anything which the tags of the very head that it replaces do not name. A push
of a state that these tags name does without: the commit succeeds only while they do, and what tags name is not deleted.

Threads: `begin`, `confirm` and `end` belong to the push's thread; a thread of its own beats, another one removes.
"""

import contextlib
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from store import jsondoc
from store.errors import ObjectMissing, PreconditionFailed, PushLost, Refused, Unavailable
from store.layout import push_key
from store.objects.base import ObjectStore

FORMAT: Final = 1
HEARTBEAT_LIMIT: Final = 4096  # bytes
BEAT_S: Final = 300.0
END_S: Final = 30.0  # a store that is silent by then keeps the heartbeat: a deletion finds it, and finds it dead
PROGRAM: Final = "aetherfs"

Wait = Callable[[threading.Event, float], bool]  # waits that many seconds; true: the event was set


def _wait(stop: threading.Event, seconds: float) -> bool:
    return stop.wait(seconds)


class Lease:
    """The heartbeat of one push, or of another commit."""

    def __init__(
        self,
        objects: ObjectStore,
        dataset: str,
        *,
        every_s: float = BEAT_S,
        wait: Wait = _wait,
        end_s: float = END_S,
        token: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        """Write nothing yet.

        Args:
            objects: the store.
            dataset: whose head will be written.
            every_s: seconds between beats.
            wait: waits for the end of the push, or for the next beat.
            end_s: most seconds that `end` takes for each of its two steps.
            token: draws the heartbeat's id: so many random bytes, in hex.
        """
        self._objects, self._dataset, self._every_s, self._wait, self._end_s = objects, dataset, every_s, wait, end_s
        self.key = push_key(token(16))
        self._lock = threading.Lock()  # one beat, or one look, at a time
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._etag = ""
        self._started_ns = 0
        self._beat = 0
        self._lost = False

    @property
    def begun(self) -> bool:
        """Whether the heartbeat was written."""
        return self._beat > 0

    def begin(self) -> None:
        """Write the first beat and start the thread; nothing where that was done.

        Raises:
            StoreUnavailable, StoreDenied, StoreFull: it could not be written.
        """
        if self.begun:
            return
        self._started_ns = self._objects.now_ns()
        self._etag = self._objects.put(self.key, self._encoded(1))
        self._beat = 1
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Write the next beat, unless a deletion has ended this push. A beat that fails is made up for by the next."""
        with self._lock:
            if self._lost:
                return
            try:
                self._etag = self._objects.put_if(self.key, self._encoded(self._beat + 1), match=self._etag)
                self._beat += 1
            except PreconditionFailed:  # ended, or our own last beat, whose answer was lost
                with contextlib.suppress(Unavailable, Refused):
                    self._look()
            except (Unavailable, Refused):
                return  # the next one will tell

    def confirm(self) -> None:
        """Check, with one request, that no deletion has given this push up.

        Raises:
            PushLost: one has; what this push has found in the store may be there no more.
            StoreUnavailable, StoreDenied: it could not be read.
        """
        with self._lock:
            self._look()
            if self._lost:
                raise PushLost(self._dataset)

    def end(self) -> None:
        """Stop beating and remove the heartbeat, as far as the store answers in time; safe to call twice.

        What the push has done is done by then, or has failed: neither should wait for minutes for a store that has
        fallen silent.
        """
        self._stop.set()
        if self._thread is None:
            return
        self._thread.join(self._end_s)
        self._thread = None
        removed: Future[None] = Future()

        def remove() -> None:
            try:
                self._objects.delete(self.key)
            except BaseException as error:  # handed to the push's thread
                removed.set_exception(error)
            else:
                removed.set_result(None)

        threading.Thread(target=remove, name="heartbeat's end", daemon=True).start()
        with contextlib.suppress(Unavailable, Refused, TimeoutError):
            removed.result(self._end_s)

    def _run(self) -> None:
        while not self._wait(self._stop, self._every_s):
            self.beat()

    def _look(self) -> None:
        try:
            found = self._objects.fetch(self.key, unless=self._etag)
        except ObjectMissing:
            self._lost = True
            return
        if found is not None:
            fields = jsondoc.decode(self.key, found.data, limit=HEARTBEAT_LIMIT)
            self._lost = self._lost or fields.take("ended") is True
            self._beat = max(self._beat, fields.integer("beat"))
            self._etag = found.etag

    def _encoded(self, beat: int) -> bytes:
        return jsondoc.encode(
            {
                "format": FORMAT,
                "dataset": self._dataset,
                "started": self._started_ns,
                "beat": beat,
                "program": PROGRAM,
                "ended": False,
            }
        )
