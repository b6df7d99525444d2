"""Processes that make small files, so that a pull of many uses all CPUs: one Python process makes them on one.

They are new interpreters, started by their command line. A fork would be cheaper, but a pull is also called from
programs with threads, whose locks a fork copies in whatever state they are; and multiprocessing's own way of starting
them runs the caller's main module again. They are in process groups of their own, so that Ctrl-C reaches the pull
alone, and each holds the lock of the staging folder: as long as one writes there, even after its pull was killed, no
other pull does.

`do` may be called from any thread; each of them is at one job at a time.
"""

import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, NamedTuple

import store
from store.errors import DestinationUnusable
from store.pull.places import Made
from store.pull.worker import Failed, Job, do

MOST: Final = 4
_PROGRAM: Final = "import sys; sys.path[:] = sys.argv[1:]; from store.pull.worker import main; main()"
_HERE: Final = str(Path(store.__file__).parents[1])  # they are to run what this process runs, however it came by it
_END_S: Final = 10.0  # for a worker to end once it is told, in the middle of a job at worst


class _Worker(NamedTuple):
    process: "subprocess.Popen[bytes]"
    line: Connection


class Workers:
    """As many processes as there are CPUs, `MOST` at most. Use as a context: they begin and end with it."""

    def __init__(self, shown: str, lock: int) -> None:
        """Start none yet.

        Args:
            shown: the destination, for messages.
            lock: descriptor that each is to hold.
        """
        self._shown, self._held = shown, lock
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._count = min(cpus, MOST)
        self._all: list[_Worker] = []
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()  # `None`: one has died
        self._own = threading.Lock()

    def __enter__(self) -> "Workers":
        with contextlib.suppress(OSError):  # as many as the system starts
            while len(self._all) < self._count:
                self._all.append(self._start())
                self._idle.put(self._all[-1])
        return self

    def __exit__(self, *exc: object) -> None:
        for worker in self._all:
            worker.line.close()
        for worker in self._all:
            try:
                worker.process.wait(_END_S)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()

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

    def _take(self) -> _Worker | None:
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

    def _start(self) -> _Worker:
        here, there = socket.socketpair()
        with contextlib.closing(there):
            line = Connection(here.detach())
            try:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-S", "-c", _PROGRAM, _HERE, *sys.path],
                    stdin=there.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    pass_fds=(self._held,), process_group=0,
                )  # fmt: skip
            except OSError:
                line.close()
                raise
        return _Worker(process, line)


def _never_began(worker: _Worker) -> bool:
    """Tell whether a process ended by an error of its own: before its first job, as the errors of jobs are answered."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return worker.process.wait(_END_S) > 0
    return False
