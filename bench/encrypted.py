"""What encryption costs: an encrypted store beside a plain one, both ours, in one run.

    python -m bench.encrypted [--reps N] [--dir FOLDER]

Pushes and pulls of one large database and of 20,000 small files; then a gateway over each store: the database read
over HTTP and NFS right after the start (cold), from the disk cache (a second start), and from memory (warm), and single
calls of NFS. The two take turns and begin in turn. Rates and times are medians; the ratio is encrypted to plain in
speed.
"""

import argparse
import datetime
import itertools
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
import urllib.parse
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from bench import inputs
from bench.child import busy_s, run
from bench.store import read_all
from bench.tools import Ours, size_of, versions

HERE: Final = Path(__file__).parent
CACHE: Final = {"AETHERFS_CACHE_MEMORY": "1GiB"}
COLD: Final = 3  # starts of a gateway for each round, since one is over in half a second
NFS: Final = (("getattr@16", "ops_s"), ("rand4k@16", "ops_s"), ("read1m@4", "mb_s"))


class Encrypted(Ours):
    """The same, encrypted by a key of its own."""

    name = "encrypted"

    def init(self) -> None:
        """See `Tool`."""
        self.place.mkdir(parents=True)
        run([self.program, "init", "--encrypt"], env=self.env)


class Plain(Ours):
    """A plain store."""

    name = "plain"


class Figures:
    """What was measured: (work, kind) -> values."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str, str], list[float]] = defaultdict(list)

    def note(self, work: str, unit: str, kind: str, value: float, rep: int) -> None:
        """Keep one value; a negative `rep` is a warm-up."""
        if rep >= 0:
            self.found[work, unit, kind].append(value)
        print(f"  {work}, {kind}: {value:.2f} {unit}{', warm-up' if rep < 0 else ''}", file=sys.stderr, flush=True)

    def rows(self) -> Iterator[str]:
        """Yield a table's rows."""
        for work, unit in dict.fromkeys((work, unit) for work, unit, _ in self.found):
            plain, sealed = (self.found[work, unit, kind] for kind in ("plain", "encrypted"))
            middle = statistics.median(plain), statistics.median(sealed)
            ratio = middle[0] / middle[1] if unit in ("s", "CPU s", "MB peak") else middle[1] / middle[0]
            cells = [
                f"{_spell(statistics.median(one))} ({_spell(min(one))}-{_spell(max(one))})" for one in (plain, sealed)
            ]
            yield f"| {work} | {unit} | {cells[0]} | {cells[1]} | {ratio:.2f} |"


def _spell(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


class Bench:
    """One run."""

    def __init__(self, folder: Path, reps: int) -> None:
        self.folder, self.reps = folder, reps
        self.scratch = folder / f"scratch-{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}"
        self.figures = Figures()
        self._places = itertools.count()

    def place(self) -> Path:
        """Return a folder that nothing has used."""
        return self.scratch / f"{next(self._places)}"

    def tools(self) -> list[Ours]:
        """Return both, with empty stores."""
        tools: list[Ours] = [Plain(self.place(), env=CACHE), Encrypted(self.place(), env=CACHE)]
        for tool in tools:
            tool.init()
        return tools

    def transfers(self, source: Path, name: str) -> list[Ours]:
        """Push into empty stores and pull from them; return the last ones."""
        for rep in range(-1, self.reps):
            tools = self.tools()
            for tool in tools if rep % 2 else tools[::-1]:
                read_all(source)
                os.sync()
                done, _ = tool.push(source, "v1.0.0")
                for unit, value in (("s", done.wall_s), ("CPU s", done.cpu_s), ("MB peak", done.peak_mb)):
                    self.figures.note(f"push, {name}", unit, tool.name, value, rep)
        for rep in range(-1, self.reps):
            for tool in tools if rep % 2 else tools[::-1]:
                os.sync()
                done = tool.pull("v1.0.0", self.place() / "out")
                for unit, value in (("s", done.wall_s), ("CPU s", done.cpu_s), ("MB peak", done.peak_mb)):
                    self.figures.note(f"pull, {name}", unit, tool.name, value, rep)
        return tools

    def reading(self, tools: list[Ours], file: str, size: int) -> None:
        """Read one large file through gateways."""
        nfsload = _built(self.folder / "bin", "nfsload")
        for rep in range(-1, self.reps):
            for tool in tools if rep % 2 else tools[::-1]:
                disk = {"AETHERFS_CACHE_DIR": str(self.place())}
                for state, env in (("cold", {}), ("cold, filling the disk cache", disk), ("from the disk cache", disk)):
                    with served(tool, env) as (http, _, _):
                        self._note_get(f"HTTP, {state}", tool, http, file, size, rep)
                        if not env:
                            for _ in range(3):
                                self._note_get("HTTP, warm", tool, http, file, size, rep)
                for turn in range(COLD):
                    with served(tool, {}) as (_, port, pid):
                        began = time.monotonic()
                        url = f"nfs://127.0.0.1/data/v1.0.0/{file}?version=3&nfsport={port}&mountport={port}"
                        subprocess.run(["nfs-cat", url], check=True, stdout=subprocess.DEVNULL)
                        self.figures.note("NFS, cold", "MB/s", tool.name, size / 1e6 / (time.monotonic() - began), rep)
                        if not turn:
                            self._note_nfs(nfsload, tool, file, port, pid, rep)

    def _note_get(self, work: str, tool: Ours, http: str, file: str, size: int, rep: int) -> None:
        connection = HTTPConnection(http)
        began = time.monotonic()
        connection.request("GET", f"/fs/data/v1.0.0/{urllib.parse.quote(file)}")
        answer = connection.getresponse()
        buffer, got = bytearray(1 << 20), 0
        while count := answer.readinto(buffer):
            got += count
        took = time.monotonic() - began
        connection.close()
        assert got == size, f"{got} of {size} bytes"
        self.figures.note(work, "MB/s", tool.name, size / 1e6 / took, rep)

    def _note_nfs(self, nfsload: Path, tool: Ours, file: str, port: int, pid: int, rep: int) -> None:
        measures = ",".join(name for name, _ in NFS)
        done = subprocess.run(
            [nfsload, "-p", str(port), "-e", "/data", "-m", measures, "-r", "1", "-t", "2",
             "--dir", "v1.0.0", "--big", f"v1.0.0/{file}", "--server-pid", str(pid), "--peer", tool.name],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        for line in done.stdout.splitlines():
            said = json.loads(line)
            for name, unit in NFS:
                if said.get("measure") == name.partition("@")[0] and unit in said:
                    self.figures.note(f"NFS, warm, {name}", unit.replace("_s", "/s"), tool.name, said[unit], rep)


@contextmanager
def served(tool: Ours, env: dict[str, str]) -> Iterator[tuple[str, int, int]]:
    """Run a gateway; yield its HTTP address, its NFS port and its process."""
    with subprocess.Popen(
        [tool.program, "serve", "--http", "127.0.0.1:0", "--nfs", "127.0.0.1:0", "--grpc", "off"],
        env=tool.env | env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            found = re.search(r"http=http://(\S+) nfs=\S+:(\d+)", said)
            assert found, said
            yield found[1], int(found[2]), process.pid
        finally:
            process.terminate()


def _built(folder: Path, name: str) -> Path:
    """Compile a load generator, unless that is done."""
    program = folder / name
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        source = str(HERE / "gateway" / f"{name}.c")
        subprocess.run(
            ["cc", "-O2", "-pthread", "-o", str(program), source, "-lnfs", "-lcrypto", "-lz"], check=True
        )  # fmt: skip
    return program


def main() -> None:
    """Measure, and print a section for RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=Path(".aetherfs/bench"), metavar="FOLDER")
    given = parser.parse_args()
    bench = Bench(given.dir.absolute(), given.reps)
    bench.folder.mkdir(parents=True, exist_ok=True)
    busy, began = busy_s(), time.monotonic()
    database = inputs.database(bench.folder / "database")
    bench.transfers(inputs.small_files(bench.folder / "tree20k", 20_000, low=1024, high=20 << 10), "20,000 files")
    tools = bench.transfers(database, f"s1-sqlite {size_of(database) / 1e6:.0f} MB")
    (largest,) = sorted(database.iterdir(), key=lambda path: path.stat().st_size)[-1:]
    bench.reading(tools, largest.name, largest.stat().st_size)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    said = ", ".join(f"{name} {version}" for name, version in versions().items() if name != "restic")
    share = (busy_s() - busy) / (time.monotonic() - began) / (os.cpu_count() or 1)
    print(
        f"## {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC: python -m bench.encrypted --dir FOLDER "
        f"--reps {given.reps}\n\nCommit {commit.stdout.strip()}; {said}; {os.cpu_count()} CPUs, Linux "
        f"{platform.release()}; the machine was {share:.0%} busy, this run included.\n\n"
        "| work | unit | plain | encrypted | encrypted/plain, in speed |\n|---|---|---|---|---|"
    )
    print(*bench.figures.rows(), sep="\n")


if __name__ == "__main__":
    main()
