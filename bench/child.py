"""Runs one program and measures it: wall time, CPU seconds and peak memory of the child and all that it waited for.

The share of the machine that others used meanwhile is measured too, so that a disturbed run can be told from a quiet
one. One thread; the caller's own memory is a lower bound of what is measured as peak, so it stays small.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


class Run(NamedTuple):
    """What one run took."""

    wall_s: float
    cpu_s: float  # user and system, of the child and its children
    peak_mb: float  # largest resident size of any one process of it
    others: float  # share of all CPUs, 0 to 1, that other processes used meanwhile
    out: str  # its stdout


class Failed(Exception):
    """A measured program did not end well."""

    def __init__(self, command: Sequence[str], code: int, said: str) -> None:
        self.command, self.code, self.said = tuple(command), code, said
        super().__init__(f"{' '.join(command)}: exit {code}: {said.strip()[-600:]}")


def run(command: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None) -> Run:
    """Run a program to its end.

    Args:
        command: program and arguments.
        env: its whole environment.
        cwd: where it runs.

    Raises:
        Failed: it ended with another code than 0.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        busy, started = busy_s(), time.monotonic()
        process = subprocess.Popen(
            command, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=said, close_fds=True
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        cpu_s = usage.ru_utime + usage.ru_stime
        others = (busy_s() - busy - cpu_s) / wall_s / (os.cpu_count() or 1)
        out.seek(0)
        said.seek(0)
        if process.returncode:
            raise Failed(command, process.returncode, said.read().decode(errors="replace"))
        text = out.read().decode(errors="replace")
    return Run(wall_s, cpu_s, usage.ru_maxrss / 1024, max(0.0, others), text)


def busy_s() -> float:
    """Return the CPU seconds that the machine has worked since it started, all CPUs together."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = (int(text) for text in file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) * TICK_S
