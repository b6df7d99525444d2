"""The parts of `bench.nfs` about HTTP: clients that stall, and NFS beside a busy HTTP."""

import contextlib
import re
import resource
import socket
import statistics
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.nfs_load import Gateway, Load, serving, worker_at

if TYPE_CHECKING:
    from bench.nfs import Bench

STALLED: Final = 1000  # clients of each kind
ASKED: Final = 500  # requests that are timed
TICKS: Final = 100  # of /proc, a second
PROPFIND: Final = (
    b'<?xml version="1.0"?><D:propfind xmlns:D="DAV:"><D:prop><D:displayname/><D:getlastmodified/>'
    b"<D:getcontentlength/><D:resourcetype/><D:getetag/></D:prop></D:propfind>"
)


def stalled(bench: "Bench") -> None:
    """Ask while a thousand clients send half a head, and a thousand do not read the file that they asked for."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, max(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    with (
        serving(bench.local(), http=True, AETHERFS_CACHE_MEMORY="512MiB") as gateway,
        contextlib.ExitStack() as open_now,
    ):
        host, _, port = gateway.http.rpartition(":")
        worker = worker_at(gateway, int(port))

        def asks(request: bytes) -> None:
            for _ in range(STALLED):
                sock = socket.create_connection((host, int(port)))
                open_now.callback(sock.close)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
                sock.sendall(request)

        _times_ms(gateway, "/fs/data/v1.0.0/dir1k/file-00001.dat")
        began = time.monotonic()
        asks(b"GET /fs/data/v1.0.0/big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        asks(b"GET /healthz HTTP/1.1\r\nHo")
        found = [(path, _times_ms(gateway, path)) for path in ("/healthz", "/fs/data/v1.0.0/dir1k/file-00001.dat")]
        used, waited = _cpu_s(worker), time.monotonic()
        time.sleep(4)
        share = (_cpu_s(worker) - used) / (time.monotonic() - waited)
        took = time.monotonic() - began
    for path, times_ms in found:
        worst = max(times_ms)
        bench.note(
            f"{path.rpartition('/')[2]}, 1,000 half heads and 1,000 clients that do not read", "< 50 ms",
            f"p50 {statistics.median(times_ms):.2f} ms, worst of {len(times_ms)} {worst:.1f} ms", met=worst < 50,
        )  # fmt: skip
    bench.note(
        "CPU of the HTTP worker meanwhile", "idle", f"{share:.1%} of one (within {took:.0f} s)", met=share < 0.05
    )


def beside(bench: "Bench") -> None:
    """Ask for attributes over NFS while a folder of 10,000 is listed over WebDAV, and an archive streams."""
    with serving(bench.local(), http=True, AETHERFS_CACHE_MEMORY="2GiB") as gateway:
        load = Load(bench.nfsload, gateway, "/data/v1.0.0", dir="dir1k")
        load.rows("getattr@1", seconds=1)
        idle, busy, listed, streamed = [], [], 0, 0
        for _ in range(3):
            idle.append(load.value("getattr@1", "p99_us", seconds=3))
            ending = threading.Event()
            counts: list[int] = []
            lister = threading.Thread(target=lambda e=ending, c=counts: c.append(_list(gateway, e)))
            lister.start()
            with subprocess.Popen(
                ["curl", "-s", "-o", "/dev/null", "-w", "%{size_download}", "--max-time", "6",
                 f"http://{gateway.http}/fs/data/v1.0.0/?archive=tar"], stdout=subprocess.PIPE, text=True,
            ) as curl:  # fmt: skip
                time.sleep(1)
                busy.append(load.value("getattr@1", "p99_us", seconds=3))
                said, _ = curl.communicate()
            ending.set()
            lister.join()
            listed, streamed = listed + counts[0], streamed + int(said)
    low, high = statistics.median(idle), statistics.median(busy)
    bench.note(
        "p99 of GETATTR, one at a time, beside PROPFINDs of 10,000 and an archive", "<= 3 x idle",
        f"{high / low:.1f} x: {high:,.0f} to {low:,.0f} us; {listed} listings, {streamed / 1e9:.1f} GB of archives",
        met=high <= 3 * low,
    )  # fmt: skip


def _list(gateway: Gateway, ending: threading.Event) -> int:
    """List a folder again and again, each time with a field that differs, so that no answer is given again."""
    host, _, port = gateway.http.rpartition(":")
    count = 0
    with socket.create_connection((host, int(port))) as sock:
        while not ending.is_set():
            count += 1
            sock.sendall(
                b"PROPFIND /webdav/data/v1.0.0/dir10k/ HTTP/1.1\r\nHost: x\r\nDepth: 1\r\nX-Count: %d\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (count, len(PROPFIND), PROPFIND)
            )
            tail = b""
            while not tail.endswith((b"</D:multistatus>\n", b"</D:multistatus>\n\r\n0\r\n\r\n")):
                tail = (tail + sock.recv(1 << 20))[-64:]
            while b"\r\n0\r\n\r\n" not in tail and b"chunked" in tail:
                tail = (tail + sock.recv(4096))[-64:]
    return count


def _times_ms(gateway: Gateway, path: str) -> list[float]:
    """Ask for something over one connection, and return how long each answer took."""
    host, _, port = gateway.http.rpartition(":")
    times = []
    with socket.create_connection((host, int(port))) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(ASKED):
            began = time.perf_counter()
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode("ascii"))
            data = b""
            while b"\r\n\r\n" not in data:
                data += sock.recv(65536)
            head, _, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            assert length is not None, head
            left = int(length[1]) - len(body)
            while left > 0:
                left -= len(sock.recv(65536))
            times.append((time.perf_counter() - began) * 1000)
            time.sleep(0.002)
    return times


def _cpu_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
