"""What 100,000 datasets, 10,000 tags, 100,000 moves and a million files cost: time to the first output, CPU, memory.

    python -m bench.scale [--dir FOLDER] [--s3] [--reps N]

Stores are made by `tests.support.large` and kept below FOLDER. Commands and a gateway run as users run them; a path in
a manifest of a million files is looked up in a fresh interpreter that counts what it reads. With `--s3`, the datasets
lie in a SeaweedFS, too. The section for RESULTS.md is printed at the end.
"""

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.child import busy_s
from bench.tools import SYSTEM, versions
from store.objects.local import FolderStore
from store.objects.measure import Snapshot
from store.repository import Repository
from tests.support import large, s3

DATASETS, TAGS, MOVES = 100_000, 10_000, 100_000
PROGRAM = str(Path(sys.executable).parent / "aetherfs")
SERVE = ("serve", "--http", "127.0.0.1:0", "--nfs", "127.0.0.1:0", "--grpc", "off")
PATHS = {"nested": "/".join(f"part-{digit}" for digit in (3, 1, 4, 1, 5, 9)), "flat": "part-0/image-00314153.jpeg"}
Ask = tuple[str, str, str, dict[str, str]]  # what to call it, path, method, headers
DATASETS_ASKED: Final[tuple[Ask, ...]] = (
    ("`GET /fs/set-000001/1.0.0/`", "/fs/set-000001/1.0.0/", "GET", {}),
    ("`GET /fs/` as JSON, the first", "/fs/", "GET", {"Accept": "application/json"}),
    ("`GET /fs/` as JSON, again", "/fs/", "GET", {"Accept": "application/json"}),
    ("`PROPFIND /webdav/`, depth 1", "/webdav/", "PROPFIND", {"Depth": "1"}),
)
FILES_ASKED: Final[tuple[Ask, ...]] = (
    ("`HEAD` one of a million files", "/fs/flat/latest/part-0/image-00314153.jpeg", "HEAD", {}),
    ("`GET` its folder as JSON", "/fs/flat/latest/part-0/", "GET", {"Accept": "application/json"}),
    ("`PROPFIND` its folder, depth 1", "/webdav/flat/latest/part-0/", "PROPFIND", {"Depth": "1"}),
)
HEAD = "| what | first output s | wall s | CPU s | peak MB | |\n|---|---|---|---|---|---|"


class Scale:
    """One run: where its stores lie, and what it found."""

    def __init__(self, folder: Path, reps: int) -> None:
        self.folder, self.reps = folder, reps
        self.env = {name: os.environ[name] for name in SYSTEM if name in os.environ}
        self.env |= {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("STATE", "CACHE", "CONFIG", "DATA")}
        self.lines: list[str] = []

    def store(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return a store, made unless it is there."""
        folder, done = self.folder / name, self.folder / f"{name}.complete"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            if (child := os.fork()) == 0:  # so that this process stays small: its memory is booked on what it starts
                large.new_store(folder)
                make(folder)
                done.touch()
                os._exit(0)
            os.waitpid(child, 0)
            if not done.exists():
                raise SystemExit(f"{folder} could not be made")
        return folder

    def note(self, what: str, took: Sequence[tuple[float, ...]], more: str = "") -> None:
        """Keep a row: medians of first output, wall, CPU and peak."""
        cells = [f"{statistics.median(values):.2f}" for values in zip(*took, strict=True)]
        cells[3] = f"{max(values[3] for values in took):.0f}"
        self.lines.append("| " + " | ".join([what, *cells, more]) + " |")
        print(self.lines[-1], file=sys.stderr, flush=True)

    def command(self, address: str, *arguments: str, env: Mapping[str, str] | None = None, where: str = "") -> None:
        """Run a command and keep what it took."""
        took = []
        size = 0
        for _ in range(self.reps):
            started = time.monotonic()
            process = subprocess.Popen(
                [PROGRAM, *arguments],
                env={**self.env, **(env or {}), "AETHERFS_STORE": address},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            assert process.stdout is not None
            size = len(process.stdout.read(1))
            first_s = time.monotonic() - started
            while piece := process.stdout.read(1 << 20):
                size += len(piece)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            wall_s = time.monotonic() - started
            took.append((first_s, wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024))
        code = f", exit {process.returncode}" if process.returncode else ""
        self.note(f"`{' '.join(arguments)}`{where}", took, f"{size:,} bytes{code}")

    def gateway(
        self, address: str, asks: tuple[Ask, ...], *, env: Mapping[str, str] | None = None, where: str = ""
    ) -> None:
        """Start a gateway, and ask it."""
        started = time.monotonic()
        with subprocess.Popen(
            [PROGRAM, *SERVE],
            env={**self.env, **(env or {}), "AETHERFS_STORE": address},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                ready_s = time.monotonic() - started
                workers = _children(process.pid)
                cpu_s = sum(map(_cpu_s, [process.pid, *workers]))
                peak_mb = max(map(_peak_mb, workers))
                self.note(f"`serve`, to its ready line{where}", [(ready_s, ready_s, cpu_s, peak_mb)], "of each worker")
                found = re.search(r"http=(\S+)", line)
                url = found[1] if found else ""
                for what, path, method, headers in asks:
                    cpu_s, asked = sum(map(_cpu_s, workers)), time.monotonic()
                    size, first_s = _ask(f"{url}{path}", method, headers)
                    took = (first_s, time.monotonic() - asked, sum(map(_cpu_s, workers)) - cpu_s)
                    peak_mb = max(map(_peak_mb, workers))
                    self.note(f"{what}{where}", [(*took, peak_mb)], f"{size:,} bytes")
            finally:
                process.terminate()

    def lookup(self, store: Path, name: str) -> None:
        """Look one path up in a manifest of a million files, cold."""
        command = [sys.executable, "-m", "bench.scale", "--dir", str(store), "--lookup", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        self.lines.append(
            f"| open and look `{PATHS[name]}` up, *{name}*, cold | | {found['wall_s']:.4f} | {found['cpu_s']:.4f} "
            f"| {found['peak_mb']:.0f} | open: {found['open']}; path: {found['path']}; {found['a_file']} bytes a file |"
        )
        print(self.lines[-1], file=sys.stderr, flush=True)


def look_up(folder: Path, name: str) -> None:
    """Print what looking a path up takes in this interpreter, which must be fresh."""
    repository = Repository.open(FolderStore(folder))
    objects = repository.objects
    state = repository.catalogue.resolve(name)
    before, started, cpu = objects.snapshot(), time.perf_counter(), time.process_time()
    manifest = repository.manifest(bytes.fromhex(state.manifest), bytes.fromhex(state.content.root))
    opened = objects.snapshot()
    number, record = 0, manifest.record(0)
    for part in PATHS[name].encode().split(b"/"):
        found = manifest.find(number, record, part)
        assert found is not None
        number, record = found
    wall_s, cpu_s, after = time.perf_counter() - started, time.process_time() - cpu, objects.snapshot()
    print(
        json.dumps(
            {
                "wall_s": wall_s,
                "cpu_s": cpu_s,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "open": _reads(before, opened),
                "path": _reads(opened, after),
                "a_file": round(objects.head(manifest.key).size / manifest.files, 1),
            }
        )
    )


def _reads(before: Snapshot, after: Snapshot) -> str:
    made = after.since(before)
    return f"{made.requests} reads, {made.bytes_in:,} bytes"


def _ask(url: str, method: str, headers: dict[str, str]) -> tuple[int, float]:
    """Return the bytes of an answer, and the seconds to the first of them."""
    started = time.monotonic()
    with urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers), timeout=600) as reply:
        size = len(reply.read(1))
        first_s = time.monotonic() - started
        while piece := reply.read(1 << 20):
            size += len(piece)
    return size, first_s


def _children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mb(pid: int) -> float:
    found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


@contextlib.contextmanager
def _seaweed(folder: Path, store: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Give the address and environment of a SeaweedFS that holds a copy of a store."""
    server = s3.start("seaweed", folder)
    try:
        port = urlsplit(server.endpoint).port or 0
        target = f"http://127.0.0.1:{port + 5}.{port + 6}/buckets/{server.bucket}/"
        weed = str(Path(sys.executable).parent / "weed")
        subprocess.run([weed, "filer.copy", "-c=16", store, target], check=True, stdout=subprocess.DEVNULL)
        yield server.address(store.name), server.environment
    finally:
        server.stop(kill=True)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=Path(".aetherfs/bench/scale"))
    parser.add_argument("--reps", type=int, default=3, help="repetitions of each command")
    parser.add_argument("--s3", action="store_true", help="measure 100,000 datasets in a SeaweedFS too; takes minutes")
    parser.add_argument("--lookup", choices=PATHS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.lookup:
        look_up(given.dir, given.lookup)
        return
    given.dir.mkdir(parents=True, exist_ok=True)
    scale = Scale(given.dir.resolve(), given.reps)
    started, busy = time.monotonic(), busy_s()
    many = scale.store("many", lambda folder: large.put_datasets(folder, DATASETS))
    for arguments in (("ls",), ("ls", "--json"), ("ls", "set-000001")):
        scale.command(str(many), *arguments)
    scale.gateway(str(many), DATASETS_ASKED)
    if given.s3:
        with _seaweed(scale.folder / "seaweed", many) as (address, env):
            scale.command(address, "ls", env=env, where=", SeaweedFS")
            scale.gateway(address, DATASETS_ASKED, env=env, where=", SeaweedFS")
    moved = scale.store("long", lambda folder: large.put_history(folder, "big", tags=TAGS, moves=MOVES))
    day = datetime.datetime.fromtimestamp(large.START_NS / 1e9, datetime.UTC) + datetime.timedelta(days=30)
    for text in ("ls big", "log big", f"log big -n {MOVES}", f"log big -n {MOVES} --json", "show big",
                 "show big:1.77.0", f"show big@{day:%Y-%m-%d}", "show big@^1.50", "show big@b3-000000000000",
                 "tag big:latest big:new", "untag big:new", "rollback big:latest"):  # fmt: skip
        scale.command(str(moved), *text.split())
    heads = [path.stat().st_size for path in moved.glob("datasets/*/big")]
    scale.lines.append(f"| the head of {TAGS:,} tags and {MOVES:,} moves | | | | | {heads[0]:,} bytes |")
    files = scale.store(
        "files", lambda folder: [large.put_files(folder, name, getattr(large, name.upper())) for name in PATHS]
    )
    for name in PATHS:
        scale.lookup(files, name)
    for text in ("ls nested:latest/part-3/part-1", "ls flat:latest/part-0", "ls flat:latest/part-0 --json"):
        scale.command(str(files), *text.split())
    scale.gateway(str(files), FILES_ASKED)
    own = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    others = (busy_s() - busy - own) / (time.monotonic() - started) / (os.cpu_count() or 1)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    told = ", ".join(f"{name} {version}" for name, version in versions().items() if name != "restic")
    print(f"## {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC: python -m bench.scale\n")
    print(f"Commit {commit.stdout.strip()}; {told}; {os.cpu_count()} CPUs, Linux {platform.release()}. ", end="")
    print(
        f"Medians of {given.reps} runs of each command; other processes used {max(0.0, others):.0%} of the machine.\n"
    )
    print("\n".join([HEAD, *scale.lines]))


if __name__ == "__main__":
    main()
