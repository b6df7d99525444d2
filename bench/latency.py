"""Publish and pull over a store far away: SeaweedFS behind `bench.delay`, beside what eight connections carry.

What they carry is measured through the same proxy by eight threads that each PUT and then GET one object of a pack's
size. The proxy's log says where a run's time goes: before the first request for a pack, while packs move, after that.
"""

import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.child import Run
from bench.far import DELAY_MS, carried, proxy, requests, serial, server
from bench.tools import Ours, Restic, Tool, size_of

if TYPE_CHECKING:
    from bench.store import Bench

OBJECT = 16 << 20  # a pack's size, with either tool
WINDOWS_KIB = (64, 256)  # 3.3 and 13 MB/s a connection
OPEN_KIB = 16 << 10  # no bound in practice: the CPUs are the limit, so its row says what they cost
PACKS = ("/packs/", "/data/")  # where the two tools keep them
SETTLE_S = 4 * DELAY_MS / 1000  # by then the proxy has seen a program's connections end


class Far(NamedTuple):
    """A store behind a line."""

    endpoint: str  # the proxy's
    log: Path
    told: dict[str, str]  # how to reach the server, as tests/tools/s3-server says it
    name: str


def run(bench: "Bench", source: Path, small: Path) -> None:
    """Measure pushing and pulling a large folder over each line, and what the line carries; and once a small folder."""
    with server(bench.folder / "seaweed") as told:
        for window in (*WINDOWS_KIB, OPEN_KIB):
            line = "no window" if window == OPEN_KIB else f"{window} KiB a connection"
            log = bench.place() / "log"
            with proxy(told["AWS_ENDPOINT_URL"], window, log) as endpoint:
                far = Far(endpoint, log, told, f"{DELAY_MS} ms, {line}")
                _large(bench, source, far, reps=bench.reps if window != OPEN_KIB else 1)
                if window == WINDOWS_KIB[0]:
                    _small(bench, small, far)


def _large(bench: "Bench", source: Path, far: Far, *, reps: int) -> None:
    size = size_of(source)
    name = f"{source.parent.name} {size / 1e6:.0f} MB, {far.name}"
    line: dict[str, list[float]] = {"push": [], "pull": []}
    shares: dict[tuple[str, str], list[float]] = {}
    shapes: dict[tuple[str, str], str] = {}
    for rep in range(reps):
        carries = carried(far.endpoint, far.told, OBJECT)
        tools = _tools(bench, far)
        for tool in tools:
            tool.init()
        stored: dict[str, int] = {}  # bytes of packs that each tool has sent
        for what in ("push", "pull"):
            line[what].append(carries[what])
            for tool in bench.turn(tools, rep):
                seen = far.log.stat().st_size
                os.sync()
                started = time.monotonic()
                dest = bench.place() / "out"
                done = tool.push(source, "v1.0.0")[0] if what == "push" else tool.pull("v1.0.0", dest)
                time.sleep(SETTLE_S)
                passed = requests(far.log, seen)
                if what == "push":
                    stored[tool.name] = sum(request["sent"] for request in _packs(passed))
                bench.timed(f"{what}, far store", name, tool.name, rep, done, bytes=size)
                shares.setdefault((what, tool.name), []).append(stored[tool.name] / 1e6 / done.wall_s / carries[what])
                shapes[what, tool.name] = _shape(passed, started, done)
    for (what, tool_name), values in shares.items():
        bench.note(
            work="far", what=what, tool=tool_name, input=name, line_mb_s=round(statistics.median(line[what]), 1),
            share=round(statistics.median(values), 3), least=round(min(values), 3), most=round(max(values), 3),
            shape=shapes[what, tool_name],
        )  # fmt: skip


def _small(bench: "Bench", source: Path, far: Far) -> None:
    """Measure what a push and a pull cost where hardly any data moves: the requests that wait for one another."""
    for tool in _tools(bench, far):
        tool.init()
        for what in ("first push", "same again", "pull"):
            seen = far.log.stat().st_size
            if what == "pull":
                done = tool.pull("v1.0.0", bench.place() / "out")
            else:
                done, _ = tool.push(source, "v1.0.0" if what == "first push" else "v1.0.1")
            time.sleep(SETTLE_S)
            passed = requests(far.log, seen)
            bench.note(
                work="fact", what=f"{what} of {size_of(source) / 1e3:.0f} KB, {far.name}, {tool.name}",
                value=f"{done.wall_s:.2f} s; {len(passed)} requests, {serial(passed)} of them one after another",
            )  # fmt: skip


def _tools(bench: "Bench", far: Far) -> list[Tool]:
    env = {name: value for name, value in far.told.items() if name.startswith("AWS_") and "URL" not in name}
    env |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    place, bucket = bench.place(), far.told["S3_BUCKET"]
    ours = f"s3://{bucket}/ours-{time.time_ns()}?endpoint={far.endpoint}&region=us-east-1"
    restic = f"s3:{far.endpoint}/{bucket}/restic-{time.time_ns()}"
    return [Ours(place / "ours", env=env, address=ours), Restic(place / "restic", env=env, address=restic)]


def _packs(passed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [request for request in passed if any(part in request["path"] for part in PACKS)]


def _shape(passed: list[dict[str, Any]], started: float, done: Run) -> str:
    """Say where the time of a run went."""
    data = _packs(passed)
    first, last = min(request["start"] for request in data), max(request["end"] for request in data)
    before = [request for request in passed if request["end"] <= first]
    after = [request for request in passed if request["start"] >= last]
    at_once = sum(request["end"] - request["start"] for request in data) / (last - first)
    moved = sum(max(request["sent"], request["received"]) for request in data)
    return (
        f"{first - started:.2f} s before ({serial(before)} round trips), {last - first:.2f} s with {len(data)} "
        f"requests for packs, {at_once:.1f} at a time, {moved / 1e6 / (last - first):.0f} MB/s, "
        f"{started + done.wall_s - last:.2f} s after ({serial(after)} round trips)"
    )
