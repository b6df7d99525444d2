"""Gateways and load for `bench.nfs`: one NFS worker that is started anew, nfsload and httpload that ask it."""

import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.tools import Ours

HERE: Final = Path(__file__).parent
NONE: Final = ".none"  # a name that is not there: nfsload looks for all that it may need

Row = dict[str, Any]


class Gateway(NamedTuple):
    """A running gateway."""

    nfs: int  # port
    http: str  # address; empty: it serves none
    worker: int  # the process that serves NFS


def built(folder: Path, name: str) -> Path:
    """Compile a load generator, unless that is done; return the program."""
    program, source = folder / name, HERE / "gateway" / f"{name}.c"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["cc", "-O2", "-pthread", "-o", str(program), str(source), "-lnfs", "-lssl", "-lcrypto", "-lz"], check=True
        )  # fmt: skip
    return program


@contextlib.contextmanager
def serving(tool: Ours, *, http: bool = False, **settings: str) -> Iterator[Gateway]:
    """Run a gateway of one NFS worker, and one for HTTP if asked for.

    Args:
        tool: its store, and where its cache lies.
        http: whether HTTP is served too.
        settings: more of the environment, such as AETHERFS_CACHE_MEMORY.
    """
    command = [tool.program, "serve", "--nfs", "127.0.0.1:0", "--grpc", "off", "--http"]
    command.append("127.0.0.1:0" if http else "off")
    with subprocess.Popen(
        command, env=tool.env | settings, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            nfs, web = re.search(r"nfs=\S+:(\d+)", said), re.search(r"http=http://(\S+)", said)
            assert nfs, said
            yield Gateway(int(nfs[1]), web[1] if web else "", _worker(process.pid, int(nfs[1])))
        finally:
            process.terminate()


def _worker(supervisor: int, port: int) -> int:
    """Return the process below a supervisor that holds the socket which listens on a port of 127.0.0.1."""
    listening = f"0100007F:{port:04X} 00000000:0000 0A "
    table = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()
    (inode,) = (line.split()[9] for line in table if listening in line)
    for child in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text(encoding="ascii").split():
        for held in Path(f"/proc/{child}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                if os.readlink(held) == f"socket:[{inode}]":
                    return int(child)
    raise RuntimeError(f"no worker listens on port {port}")


def worker_at(gateway: Gateway, port: int) -> int:
    """Return the gateway's process that listens on a port."""
    status = Path(f"/proc/{gateway.worker}/status").read_text(encoding="ascii", errors="replace")
    above = re.search(r"PPid:\s+(\d+)", status)
    assert above
    return _worker(int(above[1]), port)


def resident_mb(process: int) -> float:
    """Return the memory that a process has at the moment."""
    text = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found
    return int(found[1]) * 1024 / 1e6


class Load:
    """nfsload, asking one gateway below one export."""

    def __init__(self, program: Path, gateway: Gateway, export: str, **names: str) -> None:
        """Take what is asked.

        Args:
            program: nfsload.
            gateway: whom.
            export: below which all names stand.
            names: `dir`, `list_dir`, `big`, `tree`, where a measure needs them.
        """
        self._start = [str(program), "-p", str(gateway.nfs), "-e", export, "--server-pid", str(gateway.worker)]
        for name in ("dir", "list_dir", "big", "tree"):
            self._start += [f"--{name.replace('_', '-')}", names.get(name, NONE)]

    def rows(self, measures: str, *, seconds: float = 1.0, reps: int = 1) -> list[Row]:
        """Run measures; return a row for each repetition of each."""
        done = subprocess.run(
            [*self._start, "-m", measures, "-t", str(seconds), "-r", str(reps), "--quiet-wait", "1"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        wrong = [row["error"] for row in rows if "error" in row]
        if wrong or done.returncode:
            raise RuntimeError(f"nfsload {measures}: {wrong or done.stderr}")
        return [row for row in rows if row["measure"] != "setup"]

    def value(self, measure: str, field: str, *, seconds: float = 1.0, reps: int = 1) -> float:
        """Run one measure; return the median of a field, or the first value, of what is done once."""
        rows = self.rows(measure, seconds=seconds, reps=reps)
        # nfsload does once more what others disturbed; what was to be cold is warm then.
        return float(statistics.median(row[field] for row in (rows if reps > 1 else rows[:1])))


@contextlib.contextmanager
def http_load(program: Path, gateway: Gateway, paths: Path, seconds: float) -> Iterator[Row]:
    """Load the gateway over HTTP from four connections while the block runs; what came of it is filled in after."""
    host, _, port = gateway.http.rpartition(":")
    found: Row = {}
    command = [str(program), host, port, "GET", "4", str(seconds), str(paths)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield found
        said, _ = process.communicate()
    found.update(json.loads(said))


def commit() -> str:
    """Return what is measured."""
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def machine() -> str:
    """Return on what."""
    return f"{os.cpu_count()} CPUs, python {sys.version.split()[0]}, Linux {os.uname().release}"
