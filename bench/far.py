"""A store far away, for benchmarks: a real S3 server behind `bench.delay`, and what passed between them."""

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import boto3

CONNECTIONS: Final = 8
DELAY_MS: Final = 20
SERVER: Final = Path(__file__).resolve().parents[1] / "tests" / "tools" / "s3-server"


@contextlib.contextmanager
def server(folder: Path) -> Iterator[dict[str, str]]:
    """Run SeaweedFS in a folder that is removed; yield how to reach it, as tests/tools/s3-server says it."""
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
def proxy(server: str, window_kib: int, log: Path) -> Iterator[str]:
    """Run `bench.delay` in front of a server, with a log; yield the address that is far away."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "bench.delay", "--to", urlsplit(server).netloc, "--log", str(log)]
    command += ["--delay-ms", str(DELAY_MS), "--window-kib", str(window_kib)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield "http://" + process.stdout.readline().split()[1]
        finally:
            process.terminate()


def requests(log: Path, start: int) -> list[dict[str, Any]]:
    """Return what the proxy wrote from byte `start` of its log on."""
    with log.open(encoding="utf-8") as file:
        file.seek(start)
        return [json.loads(line) for line in file]


def serial(requests: list[dict[str, Any]]) -> int:
    """Return the most requests of which each began after the one before had ended."""
    count, free = 0, 0.0
    for request in sorted(requests, key=lambda request: float(request["end"])):
        if request["start"] >= free:
            count, free = count + 1, request["end"]
    return count


def carried(endpoint: str, told: dict[str, str], size: int) -> dict[str, float]:
    """Return the MB/s that eight connections carry up (`push`) and down (`pull`).

    Each writes one object of `size` bytes, and then reads it.
    """
    return {"push": _all(endpoint, told, size, "PUT"), "pull": down(endpoint, told, size)}


def down(endpoint: str, told: dict[str, str], size: int) -> float:
    """Return the MB/s of eight connections that each read an object which `carried` wrote."""
    return _all(endpoint, told, size, "GET")


def _all(endpoint: str, told: dict[str, str], size: int, method: str) -> float:
    s3 = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1",
        aws_access_key_id=told["AWS_ACCESS_KEY_ID"], aws_secret_access_key=told["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    body = os.urandom(size) if method == "PUT" else None
    at = urlsplit(endpoint)

    def each(worker: int) -> None:
        operation = {"PUT": "put_object", "GET": "get_object"}[method]
        where = {"Bucket": told["S3_BUCKET"], "Key": f"line/{size}/{worker}"}
        url = s3.generate_presigned_url(operation, where).removeprefix(endpoint)
        line = http.client.HTTPConnection(at.hostname or "", at.port, timeout=120)
        buffer = bytearray(1 << 20)
        with contextlib.closing(line):
            line.request(method, url, body)
            answer = line.getresponse()
            got = 0
            while count := answer.readinto(buffer):
                got += count
            if answer.status != http.client.OK or (body is None and got != size):
                raise RuntimeError(f"{method}: {answer.status}, {got} bytes")

    started = time.monotonic()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(each, range(CONNECTIONS)))
    return size * CONNECTIONS / 1e6 / (time.monotonic() - started)


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
