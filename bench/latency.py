"""Publish and pull over a store with latency: SeaweedFS behind `bench.delay`, beside what eight connections carry.

What they carry is measured by eight threads that PUT, then GET, objects of 16 MiB through the same proxy.
"""

import contextlib
import http.client
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3

from bench.tools import Ours, Restic, Tool, size_of

if TYPE_CHECKING:
    from bench.store import Bench

CONNECTIONS = 8
OBJECT = 16 << 20
OBJECTS = 24
DELAY_MS = 20
RATE_MB_S = 100
SERVER = Path(__file__).resolve().parents[1] / "tests" / "tools" / "s3-server"


def run(bench: "Bench", sources: list[Path]) -> None:
    """Measure each folder with each tool, and what the line carries."""
    with _server(bench.folder / "seaweed") as told, _proxy(told["AWS_ENDPOINT_URL"]) as endpoint:
        env = {name: value for name, value in told.items() if name.startswith("AWS_") and "URL" not in name}
        env |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        for source in sources:
            size = size_of(source)
            name = f"{source.parent.name} {size / 1e6:.0f} MB, {DELAY_MS} ms"
            shares: dict[str, list[float]] = {"push": [], "pull": []}  # of what the line carries at that moment
            lines: dict[str, list[float]] = {"push": [], "pull": []}
            for rep in range(bench.reps):
                shutil.rmtree(bench.scratch, ignore_errors=True)
                prefix = f"{time.time_ns()}"
                tools: list[Tool] = [
                    Ours(bench.scratch / "ours", env=env,
                         address=f"s3://{told['S3_BUCKET']}/ours-{prefix}?endpoint={endpoint}&region=us-east-1"),
                    Restic(bench.scratch / "restic", env=env, address=f"s3:{endpoint}/{told['S3_BUCKET']}/r-{prefix}"),
                ]  # fmt: skip
                up, down = _carried(endpoint, told)
                lines["push"].append(up)
                lines["pull"].append(down)
                stored = 0.0
                for tool in tools:
                    tool.init()
                    done, said = tool.push(source, "v1.0.0")
                    bench.timed("push, far store", name, tool.name, rep, done, bytes=size, **said)
                    if isinstance(tool, Ours):
                        stored = said["stored_bytes"] / 1e6
                        shares["push"].append(stored / done.wall_s / up)
                for tool in tools:
                    dest = bench.scratch / f"out-{tool.name}"
                    done = tool.pull("v1.0.0", dest)
                    bench.timed("pull, far store", name, tool.name, rep, done, bytes=size)
                    if isinstance(tool, Ours):
                        shares["pull"].append(stored / done.wall_s / down)
                    shutil.rmtree(dest)
            for what, values in shares.items():
                line = statistics.median(lines[what])
                bench.note(
                    work="fact", what=f"{what} of {name}: stored bytes a second, of what 8 connections carry",
                    value=f"{statistics.median(values):.0%} of {line:.0f} MB/s",
                )  # fmt: skip


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
def _proxy(endpoint: str) -> Iterator[str]:
    to = urlsplit(endpoint).netloc
    command = [sys.executable, "-m", "bench.delay", "--to", to, "--delay-ms", str(DELAY_MS), "--mb-s", str(RATE_MB_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield "http://" + process.stdout.readline().split()[1]
        finally:
            process.terminate()


def _carried(endpoint: str, told: dict[str, str]) -> tuple[float, float]:
    """Return the MB/s that eight connections carry up and down."""
    s3 = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1",
        aws_access_key_id=told["AWS_ACCESS_KEY_ID"], aws_secret_access_key=told["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    body = os.urandom(OBJECT)

    def spread(method: str) -> float:
        def each(worker: int) -> None:
            at = urlsplit(endpoint)
            line = http.client.HTTPConnection(at.hostname or "", at.port, timeout=120)
            for number in range(worker, OBJECTS, CONNECTIONS):
                operation = {"PUT": "put_object", "GET": "get_object"}[method]
                url = s3.generate_presigned_url(operation, {"Bucket": told["S3_BUCKET"], "Key": f"line/{number}"})
                line.request(method, url.removeprefix(endpoint), body if method == "PUT" else None)
                answer = line.getresponse()
                while answer.read(1 << 20):
                    pass
                if answer.status != http.client.OK:
                    raise RuntimeError(f"{method}: {answer.status}")
            line.close()

        return _rate(each)

    return spread("PUT"), spread("GET")


def _rate(each: Callable[[int], None]) -> float:
    started = time.monotonic()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(each, range(CONNECTIONS)))
    return OBJECT * OBJECTS / 1e6 / (time.monotonic() - started)


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
