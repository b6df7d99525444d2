"""Threads for calls that may block, shared so that no client can take them all.

Jobs wait in a queue for each owner (a client's address, however many connections it has); threads take from the queues
in turn, and one owner runs on at most three quarters of them at a time. So a client that asks for a thousand cold
things delays the others by one of them.

Threads: any thread may call.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

import structlog

from nfs.seldom import Seldom

Job = Callable[[], None]

_log = structlog.get_logger("aetherfs.nfs")
_seldom = Seldom(1, 10.0)


class FairPool:
    """A bounded number of threads, started as they are needed."""

    def __init__(self, threads: int, *, name: str) -> None:
        """Run at most `threads` jobs at a time, on threads whose names begin with `name`."""
        self._limit, self._each, self._name = threads, max(1, threads - threads // 4), name
        self._waiting: OrderedDict[bytes, deque[Job]] = OrderedDict()  # owners whose turn comes first stand first
        self._running: dict[bytes, int] = {}
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False
        self._changed = threading.Condition()

    def submit(self, owner: bytes, job: Job) -> None:
        """Run a job when it is its owner's turn. After `close` jobs are dropped."""
        with self._changed:
            if self._closed:
                return
            self._waiting.setdefault(owner, deque()).append(job)
            if self._idle:
                self._idle -= 1
                self._changed.notify()
            elif len(self._threads) < self._limit:
                self._grow()

    def close(self, wait_s: float) -> None:
        """Drop what waits; return when the jobs that run have ended, or after `wait_s`."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        deadline_s = time.monotonic() + wait_s
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))

    def _grow(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no room for another: those that run take the job, or the next `submit` tries
            if (unsaid := _seldom.ask()) is not None:
                _log.warning("cannot start a thread", why=str(error), unsaid_before=unsaid)
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        while True:
            with self._changed:
                while (owner := self._next()) is None:
                    if self._closed:
                        return
                    self._idle += 1  # taken back by who wakes this thread
                    self._changed.wait()
                job = self._taken(owner)
            try:
                job()
            except Exception:  # the shell: a thread that ended here would be missed for ever
                _log.exception("job failed")
            finally:
                del job  # and what it holds, before waiting for the next
                self._ended(owner)

    def _next(self) -> bytes | None:
        """Return whose turn it is."""
        return next((owner for owner in self._waiting if self._running.get(owner, 0) < self._each), None)

    def _taken(self, owner: bytes) -> Job:
        jobs = self._waiting[owner]
        job = jobs.popleft()
        if jobs:
            self._waiting.move_to_end(owner)
        else:
            del self._waiting[owner]
        self._running[owner] = self._running.get(owner, 0) + 1
        return job

    def _ended(self, owner: bytes) -> None:
        with self._changed:
            left = self._running[owner] - 1
            if left:
                self._running[owner] = left
            else:
                del self._running[owner]
