"""Push and pull beside restic: stored bytes, time, CPU seconds, memory, requests.

    python -m bench.store [--full] [--only WORK,...] [--reps N] [--dir FOLDER]

Works, all but `million` unless told otherwise (with --full: all):

    corpora    every version of every corpus, in order: stored bytes (with --full all real corpora, else three)
    new        one large database, and a few large arrays, into an empty repository
    unchanged  20,000 files of 1 to 20 KiB, and the same again
    pull       those three into empty folders
    small      100,000 files of 2 KiB: push and pull
    latency    the database over SeaweedFS behind a delaying proxy
    million    1,000,000 small files: memory of ours alone

The tools take turns, after one turn of each that is not counted where times are compared, and begin in turn. A pull
gets a folder of its own, and no tree is removed before the end: for half a minute after many files were removed ext4 is
slow at making files, whoever makes them. Every row goes to FOLDER/results/*.jsonl; the section for RESULTS.md is
printed at the end, targets first. Everything is written below FOLDER (default: .aetherfs/bench in the current folder).
"""

import argparse
import datetime
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench import inputs, latency, table
from bench.child import Run
from bench.tools import Ours, Restic, Tool, size_of, versions

WORKS: Final = ("corpora", "new", "unchanged", "pull", "small", "latency")
FULL_WORKS: Final = (*WORKS, "million")


class Bench:
    """One run: where it writes, and what it has measured."""

    def __init__(self, folder: Path, *, full: bool, reps: int, scale: float) -> None:
        self.folder, self.full, self.reps, self.scale = folder, full, reps, scale
        self.rows: list[dict[str, Any]] = []
        now = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}"
        self.results = folder / "results" / f"store-{now}.jsonl"
        self.results.parent.mkdir(parents=True, exist_ok=True)
        self.scratch = folder / f"scratch-{now}"
        self._places = itertools.count()

    def place(self) -> Path:
        """Return a folder that nothing has used, and that nobody has made."""
        return self.scratch / f"{next(self._places)}"

    def note(self, **row: Any) -> None:
        """Keep one row."""
        self.rows.append(row)
        with self.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def timed(self, work: str, source: str, tool: str, rep: int, done: Run, **more: Any) -> None:
        """Keep what a run took; a negative `rep` is a warm-up, which is only shown."""
        if rep >= 0:
            took = {key: round(value, 4) for key, value in done._asdict().items() if key != "out"}
            self.note(work=work, input=source, tool=tool, rep=rep, **took, **more)
        print(f"  {work}, {source}, {tool}: {done.wall_s:.2f} s, {done.cpu_s:.2f} CPU s, {done.peak_mb:.0f} MB"
              f"{', warm-up' if rep < 0 else ''}; others {done.others:.0%}", file=sys.stderr, flush=True)  # fmt: skip

    def about(self) -> None:
        """Say what is measured, and where."""
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
        ).stdout.strip()
        self.note(
            work="about", date=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
            command=" ".join(["python -m bench.store", *sys.argv[1:]]), commit=commit,
            versions=", ".join(f"{name} {version}" for name, version in versions().items()),
            machine=f"{os.cpu_count()} CPUs ({_cpu()}), Linux {platform.release()}",
        )  # fmt: skip

    def turn(self, tools: Sequence[Tool], rep: int) -> Sequence[Tool]:
        """Return who goes when in one round: each begins every other."""
        return tools if rep % 2 == 0 else tools[::-1]

    def tools(self) -> list[Tool]:
        """Return all tools, each with an empty repository."""
        tools: list[Tool] = [Ours(self.place()), Restic(self.place())]
        for tool in tools:
            tool.init()
        return tools

    # inputs

    def database(self) -> Path:
        """Return a folder with one large database."""
        return inputs.database(self.folder / "database")

    def arrays(self) -> Path:
        """Return a folder with a few large arrays."""
        (zones,) = inputs.real(self.folder / "corpora", ("timezonefinder",))
        return zones / "v1"

    def tree(self) -> Path:
        """Return a tree of 20,000 files."""
        return inputs.small_files(self.folder / "tree20k", 20_000, low=1024, high=20 << 10)

    # works

    def run_corpora(self) -> None:
        """Push every version of every corpus, in order."""
        found = inputs.real(self.folder / "corpora", inputs.REAL if self.full else inputs.REAL_QUICK)
        for corpus in [*found, *inputs.synthetic(self.folder / f"synthetic-{self.scale:g}", self.scale)]:
            tools = self.tools()
            plain = 0
            for number, version in enumerate(inputs.versions_of(corpus), 1):
                plain += size_of(version)
                for tool in tools:
                    done, _ = tool.push(version, f"v{number}.0.0")
                    self.timed("push, version after version", corpus.name, tool.name, number, done)
            for tool in tools:
                self.note(
                    work="stored", input=corpus.name, tool=tool.name, stored=tool.stored(), plain=plain, versions=number
                )
                shutil.rmtree(tool.place)  # few files, which slow nobody down, but many gigabytes

    def run_new(self) -> None:
        """Push into empty repositories."""
        for source in (self.database(), self.arrays()):
            self._new(source, _named(source))

    def run_unchanged(self) -> None:
        """Push a tree of 20,000 files, and push it again."""
        tree = self.tree()
        tools = self._new(tree, "20,000 files")
        time.sleep(3)  # so that no file is as young as the clock's grain
        for rep in range(-1, 2 * self.reps + 1):
            for tool in self.turn(tools, rep):
                os.sync()
                done, _ = tool.push(tree, f"v1.1.{rep + 1}")
                self.timed("push, unchanged", "20,000 files", tool.name, rep, done, bytes=size_of(tree))

    def run_pull(self) -> None:
        """Pull into empty folders."""
        for source, name in (
            (self.database(), _named(self.database())), (self.arrays(), _named(self.arrays())),
            (self.tree(), "20,000 files"),
        ):  # fmt: skip
            tools = self.tools()
            for tool in tools:
                tool.push(source, "v1.0.0")
            self._pull(source, name, tools)

    def run_small(self) -> None:
        """Push and pull 100,000 files of 2 KiB."""
        tree = inputs.small_files(self.folder / "tree100k", 100_000, low=2048, high=2048)
        self._pull(tree, "100,000 files of 2 KiB", self._new(tree, "100,000 files of 2 KiB"))

    def run_latency(self) -> None:
        """Push and pull over a store that is far away."""
        few = inputs.small_files(self.folder / "tree20", 20, low=1024, high=20 << 10)
        latency.run(self, self.database(), few)

    def run_million(self) -> None:
        """Push 1,000,000 small files, the same again, and pull them: ours alone, for its memory."""
        tree = inputs.small_files(self.folder / "tree1m", 1_000_000, low=100, high=500)
        ours, name = self.tools()[0], "1,000,000 files of 100 to 500 bytes"
        for work, version in (("push, new", "v1.0.0"), ("push, unchanged", "v1.0.1")):
            done, said = ours.push(tree, version)
            self.timed(work, name, ours.name, 0, done, bytes=size_of(tree), puts=said["puts"])
        self.timed("pull", name, ours.name, 0, ours.pull("v1.0.0", self.place() / "out"), bytes=size_of(tree))

    def _new(self, source: Path, name: str) -> list[Tool]:
        """Push into empty repositories; return the last ones."""
        size = size_of(source)
        for rep in range(-1, self.reps):
            tools = self.tools()
            for tool in self.turn(tools, rep):
                read_all(source)
                os.sync()  # what was written before is not booked on who comes next
                done, said = tool.push(source, "v1.0.0")
                self.timed("push, new", name, tool.name, rep, done, bytes=size)
                if isinstance(tool, Ours) and not rep:
                    per_file = tool.manifest_size() / said["files"]
                    self.note(work="ours", input=name, puts=said["puts"], manifest_per_file=round(per_file, 1))
        return tools

    def _pull(self, source: Path, name: str, tools: list[Tool]) -> None:
        """Pull from repositories that hold it as v1.0.0."""
        for rep in range(-1, self.reps):
            for tool in self.turn(tools, rep):
                dest = self.place() / "out"
                os.sync()
                done = tool.pull("v1.0.0", dest)
                self.timed("pull", name, tool.name, rep, done, bytes=size_of(source))
                if rep < 0:
                    same_bytes(source, dest)


def read_all(folder: Path) -> None:
    """Bring a folder into the page cache."""
    for top, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(top, name), "rb") as file:
                while file.read(1 << 20):
                    pass


def same_bytes(source: Path, dest: Path) -> None:
    """Stop where two trees differ: a wrong answer has no speed."""
    subprocess.run(["diff", "-r", "--no-dereference", source, dest], check=True)


def _named(source: Path) -> str:
    return f"{source.parent.name} {size_of(source) / 1e6:.0f} MB"


def _cpu() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown CPU")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all works, corpora at full size, more repetitions")
    parser.add_argument("--only", default="", metavar="WORK,...", help="these works")
    parser.add_argument("--reps", type=int, default=0, help="repetitions (3; 5 with --full)")
    parser.add_argument("--scale", type=float, default=0.0, help="of the synthetic corpora (0.05; 1 with --full)")
    parser.add_argument("--dir", type=Path, default=Path(".aetherfs/bench"))
    given = parser.parse_args()
    works = given.only.split(",") if given.only else FULL_WORKS if given.full else WORKS
    for work in works:
        if work not in FULL_WORKS:
            parser.error(f"no work {work!r}; there are: {', '.join(FULL_WORKS)}")
    if shutil.which("restic") is None:
        sys.exit("no restic on PATH; install the peers with: bench/setup.sh")
    bench = Bench(
        given.dir.resolve(), full=given.full, reps=given.reps or (5 if given.full else 3),
        scale=given.scale or (1.0 if given.full else 0.05),
    )  # fmt: skip
    bench.about()
    try:
        for work in works:
            getattr(bench, f"run_{work}")()
    finally:
        print(table.section(bench.rows), flush=True)
        shutil.rmtree(bench.scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
