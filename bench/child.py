"""Runs one program and measures it: wall time, CPU seconds and peak memory of it and of all processes that it starts.

The share of the machine that others used meanwhile is measured too, so that a disturbed run can be told from a quiet
one. The caller's own memory is a lower bound of what is measured as peak, so it stays small.
"""

import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

TICK_S: Final = 1.0 / os.sysconf("SC_CLK_TCK")
SAMPLE_S: Final = 0.1


class Run(NamedTuple):
    """What one run took."""

    wall_s: float
    cpu_s: float  # user and system, of the child and its children
    peak_mb: (
        float  # resident: the kernel's peak for the largest process, or what all had at once when looked at, if more
    )
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
        with Family(process.pid) as family:
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
    return Run(wall_s, cpu_s, max(usage.ru_maxrss / 1024, family.peak / 1e6), max(0.0, others), text)


class Family:
    """Looks now and then at the memory that a process and its descendants have together, if there is more than one.

    Pages that several share are counted once (PSS). One thread, while it is entered.
    """

    def __init__(self, root: int) -> None:
        self.peak = 0  # bytes
        self._root = root
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Family":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_S):
            members = self._members()
            if len(members) > 1:
                self.peak = max(self.peak, sum(map(_pss, members)))

    def _members(self) -> set[int]:
        """Return the process and those below it; numbers below its own are older processes, but for a wrap."""
        members = {self._root}
        for number in sorted(int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) > self._root):
            with contextlib.suppress(OSError), open(f"/proc/{number}/stat", encoding="utf-8", errors="replace") as file:
                if int(file.read().rpartition(") ")[2].split()[1]) in members:
                    members.add(number)
        return members


def _pss(process: int) -> int:
    with contextlib.suppress(OSError), open(f"/proc/{process}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def busy_s() -> float:
    """Return the CPU seconds that the machine has worked since it started, all CPUs together."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = (int(text) for text in file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) * TICK_S
