"""NFS where it is hard: a store far away, a cold cache, a million handles, a gateway that is loaded over HTTP.

    python -m bench.nfs [--full] [--only PART,...] [--dir FOLDER]

What is quick when all is warm, beside other servers, is measured by bench/gateway/run.sh. Here is the rest, by parts:
`far` (a cold file over a line, beside what eight connections carry), `find` (requests of a cold walk and a random
read), `versions` (bytes of a version read after another), `disk` (out of the sealed disk cache, beside memory),
`handles` (GETATTR after a million of them, and memory), `loaded` (GETATTR while HTTP is loaded), `listing`
(READDIRPLUS for the first time and again), `stalled` (HTTP beside clients that send half a request or do not read),
`beside` (GETATTR beside listings and an archive over HTTP), `tls` (RPC-with-TLS beside the clear), `access` (a policy,
a rule and a token beside none). One NFS worker; client, proxy and S3 server are on the same machine, and need its CPUs
too.
"""

import argparse
import datetime
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from bench import nfs_access, nfs_far, nfs_tls, nfs_web
from bench.child import busy_s, run
from bench.gateway import testtree
from bench.nfs_load import Load, built, commit, http_load, machine, resident_mb, serving
from bench.tools import Ours

TREE: Final = "tree"
DISK: Final = (("getattr@16", "ops_s"), ("read1m@4", "mb_s"), ("read128k@8", "mb_s"), ("read32k@16", "mb_s"),
               ("rand4k@16", "ops_s"), ("cattree@16", "files_s"))  # fmt: skip


class Line(NamedTuple):
    """One row of the report."""

    work: str
    aim: str
    figure: str
    met: bool | None  # None: nothing is aimed at


_DISK_ALONE: Final = "from the sealed disk cache, each time"
_RESTARTED: Final = "from the sealed disk cache after a restart, three rounds of 2 s"


class Bench:
    """One run."""

    def __init__(self, folder: Path, *, full: bool) -> None:
        self.folder, self.full = folder, full
        self.scratch = folder / f"scratch-{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}"
        self.nfsload, self.httpload = built(folder / "bin", "nfsload"), built(folder / "bin", "httpload")
        self.lines: list[Line] = []
        self._places = 0

    def place(self) -> Path:
        """Return a folder that nothing has used."""
        self._places += 1
        return self.scratch / str(self._places)

    def note(self, work: str, aim: str, figure: str, *, met: bool | None = None) -> None:
        """Keep a figure."""
        self.lines.append(Line(work, aim, figure, met))
        print(f"  {work}: {figure}", file=sys.stderr, flush=True)

    def local(self) -> Ours:
        """Return a store in a folder that holds the tree of bench/gateway, pushed once."""
        mib = 1024 if self.full else 128
        source = self.folder / f"{TREE}-{mib}"
        testtree.make(str(source), big_mib=mib)
        tool = Ours(self.folder / f"store-{mib}", env={"AETHERFS_CACHE_DIR": str(self.place())})
        if not (self.folder / f"store-{mib}.complete").exists():
            shutil.rmtree(tool.place, ignore_errors=True)
            tool.init()
            tool.push(source, "v1.0.0")
            (self.folder / f"store-{mib}.complete").touch()
        return tool

    # a store that is near

    def disk(self) -> None:
        """Read out of the sealed disk cache, and out of memory.

        Out of the disk cache twice: with so little memory that nothing comes twice, and by a gateway that was just
        started, with memory for all of it.
        """
        tool = self.local()
        names = {"dir": "dir1k", "list_dir": "dir10k", "big": "big.bin", "tree": "tree"}
        found: dict[tuple[str, str], float] = {}
        run([tool.program, "warm", "data:v1.0.0"], env=tool.env)
        # Small files fit into any memory cache of a sensible size, so theirs is smaller than they are, too.
        for kind, memory in (("memory", "2GiB"), (_DISK_ALONE, "32MiB"), (_DISK_ALONE, "8MiB")):
            with serving(tool, AETHERFS_CACHE_MEMORY=memory) as gateway:
                load = Load(self.nfsload, gateway, "/data/v1.0.0", **names)
                load.rows("once1m@4,cattree@16")
                for measure, field in DISK:
                    if memory != "8MiB" or measure.startswith("cattree"):
                        found[measure, kind] = load.value(measure, field, reps=3)
        for measure, field in DISK:
            with serving(tool, AETHERFS_CACHE_MEMORY="2GiB") as gateway:
                load = Load(self.nfsload, gateway, "/data/v1.0.0", **names)
                found[measure, _RESTARTED] = load.value(measure, field, seconds=2.0, reps=3)
        for kind in (_DISK_ALONE, _RESTARTED):
            for measure, field in DISK:
                warm, disk = found[measure, "memory"], found[measure, kind]
                self.note(
                    f"{measure} {kind}", ">= 0.5 of from memory",
                    f"{disk / warm:.2f} x: {disk:,.0f} to {warm:,.0f} {field.replace('_s', '/s')}",
                    met=disk >= 0.5 * warm,
                )  # fmt: skip

    def handles(self) -> None:
        """Ask for attributes before and after a million handles were given out and come back."""
        tool, tags = self.local(), 62 if self.full else 18
        for number in range(tags):
            run([tool.program, "tag", "data:v1.0.0", f"data:v1.0.{number + 1}"], env=tool.env)
        with serving(tool, AETHERFS_CACHE_MEMORY="64MiB") as gateway:
            load = Load(self.nfsload, gateway, "/data", dir="v1.0.0/dir1k", tree=".")
            before = load.value("getattr@16", "ops_s", reps=5)
            files = load.value("stattree@16", "files")
            after = load.value("getattr@16", "ops_s", reps=5)
            memory = resident_mb(gateway.worker)
        self.note(
            f"GETATTR after {files:,.0f} distinct handles, each listed and asked for", "as at the start",
            f"{after / before:.2f} x: {after:,.0f} to {before:,.0f}/s", met=after >= 0.9 * before,
        )  # fmt: skip
        self.note("its memory", "< 250 MB beside the cache, which holds no data", f"{memory:.0f} MB", met=memory < 250)

    def loaded(self) -> None:
        """Ask for attributes, one at a time, while four HTTP clients load the gateway."""
        tool, seconds = self.local(), 3.0
        paths = self.place()
        paths.parent.mkdir(parents=True, exist_ok=True)
        with serving(tool, http=True, AETHERFS_CACHE_MEMORY="2GiB") as gateway:
            load = Load(self.nfsload, gateway, "/data/v1.0.0", dir="dir1k")
            load.rows("getattr@1", seconds=1)
            for what, files in (
                ("small files", [f"dir1k/file-{number:05d}.dat" for number in range(1000)]),
                ("a large file", ["big.bin"]),
            ):
                paths.write_text("".join(f"/fs/data/v1.0.0/{file}\n" for file in files), encoding="ascii")
                with http_load(self.httpload, gateway, paths, 2.0):
                    pass  # so that it is in memory
                idle, busy = [], []
                for _ in range(3):
                    idle.append(load.value("getattr@1", "p99_us", seconds=seconds))
                    with http_load(self.httpload, gateway, paths, seconds + 3) as web:
                        time.sleep(1)
                        busy.append(load.value("getattr@1", "p99_us", seconds=seconds))
                low, high = statistics.median(idle), statistics.median(busy)
                self.note(
                    f"p99 of GETATTR, one at a time, four HTTP clients reading {what}", "<= 3 x idle",
                    f"{high / low:.1f} x: {high:,.0f} to {low:,.0f} us, HTTP at {web['req_s']:,.0f}/s, "
                    f"{web['bytes'] / 1e6 / web['secs']:,.0f} MB/s", met=high <= 3 * low,
                )  # fmt: skip

    def listing(self) -> None:
        """List a folder for the first time, and again."""
        tool = self.local()
        tags = [f"w1.0.{number}" for number in range(1, 8)]  # each its own folder, all of one manifest
        for tag in tags:
            run([tool.program, "tag", "data:v1.0.0", f"data:{tag}"], env=tool.env)
        with serving(tool) as gateway:
            first = []
            for tag in tags:
                load = Load(self.nfsload, gateway, f"/data/{tag}", list_dir="dir10k")
                first.append(load.value("readdirplus", "entries_s", seconds=0.0001))
            cold, *rest = first
            again = load.value("readdirplus", "entries_s", reps=3)
        value = statistics.median(rest)
        self.note("READDIRPLUS, pages of the manifest in memory, first", ">= 150,000 entries/s",
                  f"{value:,.0f} (the very first {cold:,.0f})", met=value >= 150_000)  # fmt: skip
        self.note("READDIRPLUS, repeated", ">= 900,000 entries/s", f"{again:,.0f}", met=again >= 900_000)


PARTS: Final[dict[str, Callable[[Bench], None]]] = {
    "far": nfs_far.line,
    "find": nfs_far.find,
    "versions": nfs_far.versions,
    "disk": Bench.disk,
    "handles": Bench.handles,
    "loaded": Bench.loaded,
    "listing": Bench.listing,
    "stalled": nfs_web.stalled,
    "beside": nfs_web.beside,
    "tls": nfs_tls.tls,
    "access": nfs_access.access,
}


def main() -> None:
    """Measure, and print a section for RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="1 GiB and a million handles, three times each")
    parser.add_argument("--only", default=",".join(PARTS), metavar="PART,...", help="of " + ", ".join(PARTS))
    parser.add_argument("--dir", type=Path, default=Path(".aetherfs/bench"), metavar="FOLDER")
    given = parser.parse_args()
    unknown = set(given.only.split(",")) - PARTS.keys()
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    bench = Bench(given.dir.absolute(), full=given.full)
    busy, began = busy_s(), time.monotonic()
    try:
        for part in given.only.split(","):
            print(part, file=sys.stderr, flush=True)
            PARTS[part](bench)
    finally:
        shutil.rmtree(bench.scratch, ignore_errors=True)
    share = (busy_s() - busy) / (time.monotonic() - began) / (os.cpu_count() or 1)
    options = f"{' --full' if given.full else ''}{'' if given.only == ','.join(PARTS) else ' --only ' + given.only}"
    print(
        f"## {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC: python -m bench.nfs --dir FOLDER{options}\n\n"
        f"Commit {commit()}; {machine()}; the machine was {share:.0%} busy, this run included.\n\n"
        "| work | aim | figure | |\n|---|---|---|---|"
    )
    for line in bench.lines:
        met = {True: "met", False: "**missed**", None: ""}[line.met]
        print(f"| {line.work} | {line.aim} | {line.figure} | {met} |")


if __name__ == "__main__":
    main()
