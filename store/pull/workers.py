"""Processes that make small files, so that a pull of many uses all CPUs: one Python process makes them on one.

Each holds the lock of the staging folder: as long as one writes there, even after its pull was killed, no other pull
does. Where the system starts none, the pull makes the files itself.

`do` may be called from any thread; each of them is at one job at a time.
"""

import contextlib
import queue
import subprocess
import threading
from typing import Final

from store.errors import DestinationUnusable
from store.pull.places import Made
from store.pull.worker import Failed, Job, do
from store.workers import END_S, Worker, count, end, program, start

_PROGRAM: Final = program("store.pull.worker")


class Workers:
    """As many processes as there are CPUs, `MOST` at most. Use as a context: they begin and end with it."""

    def __init__(self, shown: str, lock: int) -> None:
        """Start none yet.

        Args:
            shown: the destination, for messages.
            lock: descriptor that each is to hold.
        """
        self._shown, self._held = shown, lock
        self._all: list[Worker] = []
        self._idle: queue.LifoQueue[Worker | None] = queue.LifoQueue()  # `None`: one has died
        self._own = threading.Lock()

    def __enter__(self) -> "Workers":
        with contextlib.suppress(OSError):  # as many as the system starts
            while len(self._all) < count():
                self._all.append(self._start())
                self._idle.put(self._all[-1])
        return self

    def __exit__(self, *exc: object) -> None:
        end(self._all)

    def do(self, job: Job, data: bytes) -> list[list[Made]]:
        """Have one job done; return of each block what it made.

        Raises:
            BlockCorrupt: a block is not what its name says.
            OSError: something can't be written.
            DestinationUnusable: the process died.
        """
        worker = self._take()
        if worker is None:
            return self._do_here(job, data)
        try:
            worker.line.send(job)
            worker.line.send_bytes(data)
            answer: list[list[Made]] | Failed = worker.line.recv()
        except (EOFError, OSError) as error:
            if _never_began(worker):
                self._idle.put(worker)  # so that nobody waits for it in vain
                return self._do_here(job, data)
            self._idle.put(None)
            raise self._died() from error
        self._idle.put(worker)
        if isinstance(answer, Failed):
            raise answer.raised()
        return answer

    def _do_here(self, job: Job, data: bytes) -> list[list[Made]]:
        with self._own:
            return do(job, memoryview(data))

    def _take(self) -> Worker | None:
        """Return a process that has nothing to do; `None` where the system starts none, so that this one has to."""
        if not self._all:
            return None
        worker = self._idle.get()
        if worker is None:
            self._idle.put(None)
            raise self._died()
        return worker

    def _died(self) -> DestinationUnusable:
        return DestinationUnusable(
            self._shown, "a process that made files for it was killed; pull again, it goes on where it was"
        )

    def _start(self) -> Worker:
        return start(_PROGRAM, [self._held])


def _never_began(worker: Worker) -> bool:
    """Tell whether a process ended by an error of its own: before its first job, as the errors of jobs are answered."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return worker.process.wait(END_S) > 0
    return False
