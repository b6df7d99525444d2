"""Push and pull beside restic: stored bytes, time, CPU seconds, memory, requests.

    python -m bench.store [--full] [--only WORK,...] [--reps N] [--dir FOLDER]

Works: corpora (every version of every corpus, in order), new (push into an empty repository), unchanged (push again),
small (100,000 files of 2 KiB), pull, latency (SeaweedFS behind a delaying proxy). Runs of the tools alternate, so that
what disturbs one disturbs the other. Every row goes to FOLDER/results/*.jsonl; the section for RESULTS.md is printed at
the end. Everything is written below FOLDER (default: .aetherfs/bench in the current folder).
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import inputs, latency, table
from bench.child import Run
from bench.tools import Ours, Restic, Tool, size_of, versions

MakeTool = Callable[[Path], Tool]
TOOLS: tuple[MakeTool, ...] = (Ours, Restic)


class Bench:
    """One run: where it writes, and what it has measured."""

    def __init__(self, folder: Path, *, full: bool, reps: int, scale: float) -> None:
        self.folder, self.full, self.reps, self.scale = folder, full, reps, scale
        self.rows: list[dict[str, Any]] = []
        self.results = folder / "results" / f"store-{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}.jsonl"
        self.results.parent.mkdir(parents=True, exist_ok=True)
        self.scratch = folder / "scratch"

    def note(self, **row: Any) -> None:
        """Keep one row."""
        self.rows.append(row)
        with self.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def timed(self, work: str, source: str, tool: str, rep: int, done: Run, **more: Any) -> None:
        """Keep what a run took."""
        took = {key: round(value, 4) for key, value in done._asdict().items() if key != "out"}
        self.note(work=work, input=source, tool=tool, rep=rep, **took, **more)
        print(f"  {work} {source} {tool}: {done.wall_s:.2f} s, {done.cpu_s:.2f} CPU s, {done.peak_mb:.0f} MB",
              file=sys.stderr, flush=True)  # fmt: skip

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

    # inputs

    def corpora(self) -> list[Path]:
        """Return all corpora of this edition."""
        names = inputs.REAL if self.full else inputs.REAL_QUICK
        made = inputs.synthetic(self.folder / f"synthetic-{self.scale:g}", self.scale)
        return [*inputs.real(self.folder / "corpora", names), *made]

    def trees(self) -> list[Path]:
        """Return the folders of new data: one large database, and a few large arrays."""
        made = inputs.synthetic(self.folder / f"synthetic-{self.scale:g}", self.scale)
        sqlite = next(path for path in made if path.name == "s1-sqlite")
        (zones,) = inputs.real(self.folder / "corpora", ("timezonefinder",))
        return [sqlite / "v1", zones / "v1"]

    def tree(self) -> Path:
        """Return a tree of 20,000 files of 1 to 20 KiB."""
        return inputs.small_files(self.folder / "tree20k", 20_000, low=1024, high=20 << 10)

    # works

    def run_corpora(self) -> None:
        """Push every version of every corpus, in order."""
        for corpus in self.corpora():
            tools = self._fresh()
            plain = 0
            for number, version in enumerate(inputs.versions_of(corpus), 1):
                plain += size_of(version)
                for tool in tools:
                    done, _ = tool.push(version, f"v{number}.0.0")
                    self.timed("push, version after version", corpus.name, tool.name, number, done)
                    self.note(
                        work="stored", input=corpus.name, tool=tool.name, stored=tool.stored(), plain=plain,
                        versions=number,
                    )  # fmt: skip

    def run_new(self) -> None:
        """Push into an empty repository, and pull into an empty folder."""
        for source in self.trees():
            self._new_and_pull(source, f"{source.parent.name} {size_of(source) / 1e6:.0f} MB")

    def run_unchanged(self) -> None:
        """Push a tree of 20,000 files, and push it again; pull it."""
        tree = self.tree()
        self._new_and_pull(tree, "20,000 files", again=True)

    def run_small(self) -> None:
        """Push 100,000 files of 2 KiB."""
        tree = inputs.small_files(self.folder / "tree100k", 100_000, low=2048, high=2048)
        self._new_and_pull(tree, "100,000 files of 2 KiB")

    def _new_and_pull(self, source: Path, name: str, *, again: bool = False) -> None:
        size = size_of(source)
        for rep in range(self.reps):
            tools = self._fresh()
            for tool in tools:
                read_all(source)
                done, said = tool.push(source, "v1.0.0")
                self.timed("push, new", name, tool.name, rep, done, bytes=size, **said)
                if isinstance(tool, Ours) and not rep:
                    self.note(work="fact", what=f"PUTs of pushing {name}", value=said["puts"])
                    per_file = tool.manifest_size() / said["files"]
                    self.note(work="fact", what=f"manifest bytes a file, {name}", value=round(per_file, 1))
            if again:
                time.sleep(3)  # so that no file is as young as the clock's grain
                for tool in tools:
                    tool.push(source, "v1.0.1")
                for turn in range(3):
                    for tool in tools:
                        done, said = tool.push(source, f"v1.1.{turn}")
                        self.timed("push, unchanged", name, tool.name, rep * 3 + turn, done, bytes=size, **said)
            for tool in tools:
                dest = self.scratch / f"out-{tool.name}"
                self.timed("pull", name, tool.name, rep, tool.pull("v1.0.0", dest), bytes=size)
                if not rep:
                    same_bytes(source, dest)
                shutil.rmtree(dest)

    def run_latency(self) -> None:
        """Push and pull over a store that is far away."""
        latency.run(self, [self.trees()[0]])

    def _fresh(self) -> list[Tool]:
        shutil.rmtree(self.scratch, ignore_errors=True)
        tools = [make(self.scratch / make.__name__.lower()) for make in TOOLS]
        for tool in tools:
            tool.init()
        os.sync()  # what was removed and written before is not booked on the first to run
        return tools


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


def _cpu() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown CPU")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all corpora at full size, more repetitions")
    parser.add_argument("--only", default="corpora,new,unchanged,small,latency", metavar="WORK,...")
    parser.add_argument("--reps", type=int, default=0, help="repetitions (3; 5 with --full)")
    parser.add_argument("--scale", type=float, default=0.0, help="of the synthetic corpora (0.05; 1 with --full)")
    parser.add_argument("--dir", type=Path, default=Path(".aetherfs/bench"))
    given = parser.parse_args()
    if shutil.which("restic") is None:
        sys.exit("no restic on PATH; install the peers with: bench/setup.sh")
    bench = Bench(
        given.dir.resolve(), full=given.full, reps=given.reps or (5 if given.full else 3),
        scale=given.scale or (1.0 if given.full else 0.05),
    )  # fmt: skip
    bench.about()
    try:
        for work in given.only.split(","):
            getattr(bench, f"run_{work}")()
    finally:
        shutil.rmtree(bench.scratch, ignore_errors=True)
        print(table.section(bench.rows))


if __name__ == "__main__":
    main()
