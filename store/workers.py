"""Processes that do what one Python process does on one CPU alone: started by their command line, asked over a socket.

They are new interpreters. A fork would be cheaper, but pushes and pulls are also called from programs with threads,
whose locks a fork copies in whatever state they are; and multiprocessing's own way of starting them runs the caller's
main module again. They are in process groups of their own, so that Ctrl-C reaches their caller alone, and they end when
their socket does, which the death of their caller is too.

Plain functions; a `Worker` belongs to one thread at a time.
"""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, NamedTuple

import store

MOST: Final = 4
_HERE: Final = str(Path(store.__file__).parents[1])  # they are to run what this process runs, however it came by it
END_S: Final = 10.0  # for a worker to end once it is told, in the middle of a job at worst


class Worker(NamedTuple):
    """A process, and the line to it."""

    process: "subprocess.Popen[bytes]"
    line: Connection


def count() -> int:
    """Say how many processes are worth starting: as many as there are CPUs for us, `MOST` at most."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cpus, MOST)


def program(module: str) -> str:
    """Return the text that a worker runs: `main` of a module of ours, whose standard input is the socket."""
    return f"import sys; sys.path[:] = sys.argv[1:]; from {module} import main; main()"


def start(text: str, held: Sequence[int] = ()) -> Worker:
    """Start one.

    Args:
        text: the program.
        held: descriptors that it is to hold open.

    Raises:
        OSError: the system starts none.
    """
    here, there = socket.socketpair()
    with contextlib.closing(there):
        line = Connection(here.detach())
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-S", "-c", text, _HERE, *sys.path],
                stdin=there.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=tuple(held), process_group=0,
            )  # fmt: skip
        except OSError:
            line.close()
            raise
    return Worker(process, line)


def end(workers: Iterable[Worker]) -> None:
    """Have all end, and wait for them; who does not in time is killed."""
    workers = list(workers)
    for worker in workers:
        worker.line.close()
    for worker in workers:
        try:
            worker.process.wait(END_S)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
