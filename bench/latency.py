"""Publish and pull over a store far away: SeaweedFS behind `bench.delay`, beside what eight connections carry.

What they carry is measured through the same proxy by eight threads that each PUT and then GET one object of a pack's
size. The proxy's log says where a run's time goes: before the first request for a pack, while packs move, after that.
"""

import contextlib
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import boto3

from bench.child import Run
from bench.tools import Ours, Restic, Tool, size_of

if TYPE_CHECKING:
    from bench.store import Bench

CONNECTIONS = 8
OBJECT = 16 << 20  # a pack's size, with either tool
DELAY_MS = 20
WINDOWS_KIB = (64, 256)  # 3.3 and 13 MB/s a connection
OPEN_KIB = 16 << 10  # no bound in practice: the CPUs are the limit, so its row says what they cost
PACKS = ("/packs/", "/data/")  # where the two tools keep them
SETTLE_S = 4 * DELAY_MS / 1000  # by then the proxy has seen a program's connections end
SERVER = Path(__file__).resolve().parents[1] / "tests" / "tools" / "s3-server"


class Far(NamedTuple):
    """A store behind a line."""

    endpoint: str  # the proxy's
    log: Path
    told: dict[str, str]  # how to reach the server, as tests/tools/s3-server says it
    name: str


def run(bench: "Bench", source: Path, small: Path) -> None:
    """Measure pushing and pulling a large folder over each line, and what the line carries; and once a small folder."""
    with _server(bench.folder / "seaweed") as told:
        for window in (*WINDOWS_KIB, OPEN_KIB):
            line = "no window" if window == OPEN_KIB else f"{window} KiB a connection"
            with _proxy(told["AWS_ENDPOINT_URL"], window, bench.place() / "log") as (endpoint, log):
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
        carried = _carried(far)
        tools = _tools(bench, far)
        for tool in tools:
            tool.init()
        stored: dict[str, int] = {}  # bytes of packs that each tool has sent
        for what in ("push", "pull"):
            line[what].append(carried[what])
            for tool in bench.turn(tools, rep):
                seen = far.log.stat().st_size
                os.sync()
                started = time.monotonic()
                dest = bench.place() / "out"
                done = tool.push(source, "v1.0.0")[0] if what == "push" else tool.pull("v1.0.0", dest)
                time.sleep(SETTLE_S)
                requests = _requests(far.log, seen)
                if what == "push":
                    stored[tool.name] = sum(request["sent"] for request in _packs(requests))
                bench.timed(f"{what}, far store", name, tool.name, rep, done, bytes=size)
                shares.setdefault((what, tool.name), []).append(stored[tool.name] / 1e6 / done.wall_s / carried[what])
                shapes[what, tool.name] = _shape(requests, started, done)
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
            requests = _requests(far.log, seen)
            bench.note(
                work="fact", what=f"{what} of {size_of(source) / 1e3:.0f} KB, {far.name}, {tool.name}",
                value=f"{done.wall_s:.2f} s; {len(requests)} requests, {_serial(requests)} of them one after another",
            )  # fmt: skip


def _tools(bench: "Bench", far: Far) -> list[Tool]:
    env = {name: value for name, value in far.told.items() if name.startswith("AWS_") and "URL" not in name}
    env |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    place, bucket = bench.place(), far.told["S3_BUCKET"]
    ours = f"s3://{bucket}/ours-{time.time_ns()}?endpoint={far.endpoint}&region=us-east-1"
    restic = f"s3:{far.endpoint}/{bucket}/restic-{time.time_ns()}"
    return [Ours(place / "ours", env=env, address=ours), Restic(place / "restic", env=env, address=restic)]


# what passed the proxy


def _requests(log: Path, start: int) -> list[dict[str, Any]]:
    """Return what the proxy wrote from byte `start` of its log on."""
    with log.open(encoding="utf-8") as file:
        file.seek(start)
        return [json.loads(line) for line in file]


def _packs(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [request for request in requests if any(part in request["path"] for part in PACKS)]


def _serial(requests: list[dict[str, Any]]) -> int:
    """Return the most requests of which each began after the one before had ended."""
    count, free = 0, 0.0
    for request in sorted(requests, key=lambda request: float(request["end"])):
        if request["start"] >= free:
            count, free = count + 1, request["end"]
    return count


def _shape(requests: list[dict[str, Any]], started: float, done: Run) -> str:
    """Say where the time of a run went."""
    data = _packs(requests)
    first, last = min(request["start"] for request in data), max(request["end"] for request in data)
    before = [request for request in requests if request["end"] <= first]
    after = [request for request in requests if request["start"] >= last]
    at_once = sum(request["end"] - request["start"] for request in data) / (last - first)
    moved = sum(max(request["sent"], request["received"]) for request in data)
    return (
        f"{first - started:.2f} s before ({_serial(before)} round trips), {last - first:.2f} s with {len(data)} "
        f"requests for packs, {at_once:.1f} at a time, {moved / 1e6 / (last - first):.0f} MB/s, "
        f"{started + done.wall_s - last:.2f} s after ({_serial(after)} round trips)"
    )


# the line


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[dict[str, str]]:
    shutil.rmtree(folder, ignore_errors=True)
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"}
    started = subprocess.run(
        [SERVER, "start", "seaweed", str(_free_ports()), folder], env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    try:
        yield dict(line.partition("=")[::2] for line in started.stdout.splitlines())
    finally:
        subprocess.run([SERVER, "kill", folder], check=False)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _proxy(server: str, window_kib: int, log: Path) -> Iterator[tuple[str, Path]]:
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "bench.delay", "--to", urlsplit(server).netloc, "--log", str(log)]
    command += ["--delay-ms", str(DELAY_MS), "--window-kib", str(window_kib)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield "http://" + process.stdout.readline().split()[1], log
        finally:
            process.terminate()


def _carried(far: Far) -> dict[str, float]:
    """Return the MB/s that eight connections carry up (`push`) and down (`pull`)."""
    s3 = boto3.client(
        "s3", endpoint_url=far.endpoint, region_name="us-east-1",
        aws_access_key_id=far.told["AWS_ACCESS_KEY_ID"], aws_secret_access_key=far.told["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    body = os.urandom(OBJECT)

    def each(worker: int, method: str) -> None:
        at = urlsplit(far.endpoint)
        operation = {"PUT": "put_object", "GET": "get_object"}[method]
        where = {"Bucket": far.told["S3_BUCKET"], "Key": f"line/{worker}"}
        url = s3.generate_presigned_url(operation, where).removeprefix(far.endpoint)
        line = http.client.HTTPConnection(at.hostname or "", at.port, timeout=120)
        with contextlib.closing(line):
            line.request(method, url, body if method == "PUT" else None)
            answer = line.getresponse()
            while answer.read(1 << 20):
                pass
            if answer.status != http.client.OK:
                raise RuntimeError(f"{method}: {answer.status}")

    found = {}
    for what, method in (("push", "PUT"), ("pull", "GET")):
        started = time.monotonic()
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(each, range(CONNECTIONS), [method] * CONNECTIONS))
        found[what] = OBJECT * CONNECTIONS / 1e6 / (time.monotonic() - started)
    return found


def _free_ports() -> int:
    """Find the first of ten free ports in a row."""
    for first in range(26_000, 30_000, 10):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + 10):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first
    raise OSError("no ten free ports in a row")
