#!/usr/bin/env python3
"""Load generator for WebDAV servers: curl, wrk, httpload, rclone.

One JSON line per repetition of each measure (-m, comma separated; NAME@C asks
for C connections):

  verify         big.bin against its SHA-256, ranges, listings, allowed methods
  get            GET of the 1 GiB file with C curls at the same time (MB/s)
  small          GET of the files of dir1k, keep-alive (req/s)
  range64k       GET of random 64 KiB pieces of the 1 GiB file (req/s)
  propfind1_1k propfind1_10k   PROPFIND Depth: 1, five named properties
  allprop1_10k   the same with allprop
  propfind0      PROPFIND Depth: 0 of files (req/s)
  head options   req/s
  copytree       rclone copy of the tree of 5,000 files (wall seconds)

Expected counts come from the manifest that testtree.py wrote.  Programs:
CURL, WRK, RCLONE, HTTPLOAD in the environment, or from PATH.
"""

import argparse
import fcntl
import filecmp
import functools
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]  # one line of JSON

CURL = os.environ.get("CURL", "curl")
WRK = os.environ.get("WRK", "wrk")
RCLONE = os.environ.get("RCLONE", "rclone")
HTTPLOAD = os.environ.get("HTTPLOAD", "httpload")
HERE = os.path.dirname(os.path.abspath(__file__))
LUA = os.path.join(HERE, "davload.lua")
TICK = 1.0 / os.sysconf("SC_CLK_TCK")
NCPU = os.cpu_count() or 1
BUSY = 0.10  # others' share of the CPUs from which a repetition is done again
EXTRA = 1  # at most so many times

NAMED = (
    b'<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:displayname/>'
    b"<D:getlastmodified/><D:getcontentlength/><D:resourcetype/><D:getetag/></D:prop></D:propfind>"
)
ALLPROP = b'<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>'
RESPONSE = re.compile(rb"<(?:[A-Za-z0-9_.-]+:)?response[\s>]")


class Bad(Exception):
    pass


# ---- CPU accounting (the same rules as nfsload) ----


def tree_cpu(roots: set[int]) -> float:
    """CPU seconds of these processes and everything below them."""
    if not roots:
        return 0.0
    parent, cpu = {}, {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                with open(f"/proc/{d}/stat") as f:
                    v = f.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parent[int(d)] = int(v[1])
            cpu[int(d)] = sum(map(int, v[11:15])) * TICK
    total = 0.0
    for pid in cpu:
        p, hops = pid, 0
        while p > 1 and p not in roots and hops < 16:
            p, hops = parent.get(p, 0), hops + 1
        if p in roots:
            total += cpu[pid]
    return total


def client_cpu() -> float:
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


def machine_cpu() -> tuple[float, float]:
    with open("/proc/stat") as f:
        v = [int(x) * TICK for x in f.readline().split()[1:9]]
    return v[0] + v[2] + v[7], v[1]  # user+system+steal, niced


class Bench:
    def __init__(self, a: argparse.Namespace) -> None:
        self.a = a
        self.host, _, self.port = a.address.partition(":")
        self.base = "/" + a.prefix.strip("/")
        self.base = "" if self.base == "/" else self.base
        self.pids = {int(p) for p in a.server_pid.split(",")} if a.server_pid else set()
        self.lockfd = os.open(a.lock, os.O_RDWR | os.O_CREAT, 0o666) if a.lock else None
        self.locked = 0.0  # since when, on the monotonic clock
        with open(a.manifest) as f:
            self.m: dict[str, Any] = json.load(f)
        os.makedirs(a.scratch, exist_ok=True)
        self.tmp = tempfile.mkdtemp(prefix="davload-", dir=a.scratch)
        self.paths = os.path.join(self.tmp, "paths")
        with open(self.paths, "w") as f:
            f.writelines(f"{self.base}/dir1k/file-{i:05d}.dat\n" for i in range(self.m["dir1k"]["files"]))
        self.bigpath = os.path.join(self.tmp, "big")
        with open(self.bigpath, "w") as f:
            f.write(f"{self.base}/big.bin\n")

    def url(self, path: str) -> str:
        return f"{'https' if self.a.cacert else 'http'}://{self.host}:{self.port}{self.base}{path}"

    def connection(self) -> http.client.HTTPConnection:
        if self.a.cacert:
            trusted = ssl.create_default_context(cafile=self.a.cacert)
            return http.client.HTTPSConnection(self.host, int(self.port), timeout=120, context=trusted)
        return http.client.HTTPConnection(self.host, int(self.port), timeout=120)

    def lock_quiet(self) -> None:
        """As in nfsload: the lock may be kept over several repetitions."""
        if self.lockfd is not None and not self.locked:
            fcntl.flock(self.lockfd, fcntl.LOCK_EX)
            self.locked = time.monotonic()
        t0 = time.monotonic()
        while True:
            a = machine_cpu()[0]
            time.sleep(0.2)
            if (machine_cpu()[0] - a) / 0.2 / NCPU < 0.10 or time.monotonic() - t0 > self.a.quiet_wait:
                return

    def unlock(self) -> None:
        if self.lockfd is not None and self.locked and time.monotonic() - self.locked >= self.a.lock_hold:
            fcntl.flock(self.lockfd, fcntl.LOCK_UN)
            self.locked = 0.0

    def emit(self, measure: str, conns: int, rep: int, **more: Any) -> None:
        print(
            json.dumps(
                {"tool": "davload", "peer": self.a.peer, "measure": measure, "conns": conns, "rep": rep, **more}
            ),
            flush=True,
        )

    def timed(self, measure: str, conns: int, rep: int, func: Callable[[], Row], unit: str) -> bool:
        """Run func() -> dict between CPU readings; unit names the field that counts."""
        self.lock_quiet()
        try:
            (m0, n0), s0, c0, t0 = machine_cpu(), tree_cpu(self.pids), client_cpu(), time.monotonic()
            r = func()
            wall = time.monotonic() - t0
            c1, s1, (m1, n1) = client_cpu(), tree_cpu(self.pids), machine_cpu()
        finally:
            self.unlock()
        r["client_cpu_s"] = round(c1 - c0, 3)
        other = 0.0
        if self.pids:
            other = (m1 - m0 - (s1 - s0) - (c1 - c0)) / wall / NCPU
            units = r.get(unit) or 0
            r.update(
                server_cpu_s=round(s1 - s0, 3),
                units=units,
                server_us_per_unit=round((s1 - s0) * 1e6 / units, 3) if units else None,
                other_cpu=round(other, 3),
                niced_cpu=round((n1 - n0) / wall / NCPU, 3),
            )
        self.emit(measure, conns, rep, **r)
        return other > BUSY and wall < 5

    # ---- measures ----
    def run_wrk(self, conns: int, method: str, pathfile: str, mode: str, size: int = 0) -> Row:
        p = subprocess.run(
            [
                WRK,
                "-t1",
                f"-c{conns}",
                f"-d{self.a.seconds}s",
                "--timeout",
                "20s",
                "-s",
                LUA,
                self.url("/"),
                "--",
                method,
                pathfile,
                mode,
                str(size),
            ],
            capture_output=True,
            text=True,
            timeout=self.a.seconds + 60,
        )
        line = [x for x in p.stdout.splitlines() if x.startswith("JSON ")]
        if not line:
            raise Bad(f"wrk: {(p.stderr or p.stdout).strip()[-200:]}")
        r: Row = json.loads(line[0][5:])
        if r["bad"] or r["socket_errors"] or not r["requests"]:
            raise Bad(f"wrk: {r['requests']} answers, {r['bad']} of them no 2xx, {r['socket_errors']} socket errors")
        r["mb_s"] = round(r["bytes"] / 1e6 / r["secs"], 2)
        return r

    def get(self, conns: int) -> Row:
        size = self.m["big"]["bytes"]
        cmd = [
            CURL,
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{size_download} %{time_starttransfer}",
            *(["--cacert", self.a.cacert] if self.a.cacert else []),
            self.url("/big.bin"),
        ]
        t0 = time.monotonic()
        ps = [subprocess.Popen(cmd, stdout=subprocess.PIPE, text=True) for _ in range(conns)]
        outs = [p.communicate(timeout=300)[0].split() for p in ps]
        secs = time.monotonic() - t0
        for o in outs:
            if len(o) != 3 or o[0] != "200" or int(o[1]) != size:
                raise Bad(f"curl: {o}")
        total = size * conns
        return {
            "secs": round(secs, 4),
            "mb": total / 1e6,
            "mb_s": round(total / 1e6 / secs, 1),
            "ttfb_ms": round(max(float(o[2]) for o in outs) * 1e3, 2),
        }

    def small(self, conns: int) -> Row:
        return self.run_wrk(conns, "GET", self.paths, "plain")

    def range64k(self, conns: int) -> Row:
        return self.run_wrk(conns, "GET", self.bigpath, "range64k", self.m["big"]["bytes"])

    def propfind0(self, conns: int) -> Row:
        return self.run_wrk(conns, "PROPFIND", self.paths, "depth0")

    def options(self, conns: int) -> Row:
        return self.run_wrk(conns, "OPTIONS", self.paths, "plain")

    def head(self, conns: int) -> Row:
        p = subprocess.run(
            [HTTPLOAD, self.host, self.port, "HEAD", str(conns), str(self.a.seconds), self.paths],
            capture_output=True,
            text=True,
            timeout=self.a.seconds + 60,
        )
        r: Row = json.loads(p.stdout or "{}")
        if r.get("error") or r.get("bad") or not r.get("requests"):
            raise Bad(f"httpload: {p.stdout}{p.stderr}")
        return r

    def propfind(self, path: str, body: bytes) -> Row:
        c = self.connection()
        expect = self.m[path.strip("/")]["files"] + 1
        lat: list[float] = []
        ttfb: list[float] = []
        size = n = 0
        t0 = time.monotonic()
        while True:
            t = time.monotonic()
            c.request("PROPFIND", self.base + path, body, {"Depth": "1", "Content-Type": "application/xml"})
            r = c.getresponse()
            ttfb.append(time.monotonic() - t)
            data = r.read()
            lat.append(time.monotonic() - t)
            if r.status != 207:
                raise Bad(f"PROPFIND: status {r.status}")
            if not n:
                n, size = len(RESPONSE.findall(data)), len(data)
                if n != expect:
                    raise Bad(f"PROPFIND listed {n} of {expect}")
            if len(data) < size // 2:
                raise Bad("PROPFIND: answer lengths differ")
            if time.monotonic() - t0 >= self.a.seconds and len(lat) >= 2:
                break
        c.close()
        lat.sort()
        ttfb.sort()
        p50 = lat[len(lat) // 2]
        return {
            "secs": round(time.monotonic() - t0, 3),
            "requests": len(lat),
            "ms": round(p50 * 1e3, 2),
            "ttfb_ms": round(ttfb[len(ttfb) // 2] * 1e3, 2),
            "ms_max": round(lat[-1] * 1e3, 2),
            "entries_s": round((n - 1) / p50, 1),
            "entries": (n - 1) * len(lat),
            "body_bytes": size,
        }

    def propfind1_1k(self, _: int) -> Row:
        return self.propfind("/dir1k/", NAMED)

    def propfind1_10k(self, _: int) -> Row:
        return self.propfind("/dir10k/", NAMED)

    def allprop1_10k(self, _: int) -> Row:
        return self.propfind("/dir10k/", ALLPROP)

    def copytree(self, transfers: int) -> Row:
        out = os.path.join(self.tmp, "copy")
        shutil.rmtree(out, ignore_errors=True)
        cmd = [
            RCLONE,
            "copy",
            ":webdav:tree",
            out,
            "--webdav-url",
            self.url("/"),
            "--config",
            "/dev/null",
            "--transfers",
            str(transfers),
            "--checkers",
            "8",
            "--retries",
            "1",
            "--low-level-retries",
            "1",
            "--webdav-pacer-min-sleep",
            self.a.pacer,
        ]
        t0 = time.monotonic()
        p = subprocess.run(cmd, capture_output=True, text=True, timeout=300)
        secs = time.monotonic() - t0
        if p.returncode:
            raise Bad(f"rclone copy: {p.stderr.strip()[-300:]}")
        files = size = 0
        for d, _, names in os.walk(out):
            files += len(names)
            size += sum(os.path.getsize(os.path.join(d, n)) for n in names)
        if files != self.m["tree"]["files"] or size != self.m["tree"]["bytes"]:
            raise Bad(f"rclone copy made {files} files, {size} bytes")
        if self.a.local and filecmp.dircmp(os.path.join(self.a.local, "tree"), out).left_only:
            raise Bad("rclone copy: names missing")
        return {
            "secs": round(secs, 3),
            "files": files,
            "files_s": round(files / secs, 1),
            "mb_s": round(size / 1e6 / secs, 2),
        }

    # ---- correctness ----
    def verify(self) -> bool:
        def request(
            method: str, path: str, **headers: str
        ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
            c = self.connection()
            c.request(method, self.base + path, headers=headers)
            return c, c.getresponse()

        c, r = request("GET", "/big.bin")
        h = hashlib.sha256()
        while True:
            b = r.read(1 << 20)
            if not b:
                break
            h.update(b)
        c.close()
        big_ok = h.hexdigest() == self.m["big"]["sha256"]
        c, r = request("GET", "/big.bin", Range="bytes=65536-131071")
        data = r.read()
        c.close()
        range_ok = r.status == 206 and len(data) == 65536
        if self.a.local:
            with open(os.path.join(self.a.local, "big.bin"), "rb") as f:
                f.seek(65536)
                range_ok = range_ok and f.read(65536) == data
        c, r = request("OPTIONS", "/")
        r.read()
        c.close()
        self.emit(
            "verify",
            1,
            0,
            ok=big_ok and range_ok,
            big_ok=big_ok,
            range_ok=range_ok,
            dav=r.getheader("DAV"),
            allow=r.getheader("Allow"),
            server=r.getheader("Server"),
        )
        return big_ok and range_ok


UNIT = {
    "get": "mb",
    "propfind1_1k": "entries",
    "propfind1_10k": "entries",
    "allprop1_10k": "entries",
    "copytree": "files",
}
ALL = (
    "verify,get@1,get@4,small@1,small@16,range64k@1,range64k@16,propfind1_1k,propfind1_10k,allprop1_10k,"
    "propfind0@1,propfind0@16,head@1,head@16,options@1,options@16,copytree@4"
)
GET_ONLY = "verify,get@1,get@4,small@1,small@16,range64k@1,range64k@16,head@1,head@16"


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("address", help="HOST:PORT (IPv4 address)")
    ap.add_argument("--prefix", default="", help="path of the tree on the server")
    ap.add_argument("--cacert", default="", help="speak TLS, and trust this certificate (for verify and get)")
    ap.add_argument("--manifest", required=True, help="DIR.manifest.json of testtree.py")
    ap.add_argument("--local", help="the tree itself, to compare contents with")
    ap.add_argument("-m", "--measures", default=ALL, help="'all', 'get' (no DAV methods), or a list")
    ap.add_argument("-t", "--seconds", type=int, default=2)
    ap.add_argument("-r", "--reps", type=int, default=3)
    ap.add_argument("--scratch", default=tempfile.gettempdir(), help="where copies go")
    ap.add_argument("--server-pid", default="", help="book CPU of these processes and their children")
    ap.add_argument("--lock", help="hold this lock while timing")
    ap.add_argument(
        "--pacer",
        default="0s",
        help="rclone's pause between calls; its own default, 10ms, means 100 files a second with any server",
    )
    ap.add_argument("--lock-hold", type=float, default=0, help="keep it over repetitions for S s")
    ap.add_argument("--quiet-wait", type=float, default=5, help="wait up to S s for idle CPUs each time")
    ap.add_argument("--peer", default="")
    a = ap.parse_args()
    a.measures = {"all": ALL, "get": GET_ONLY}.get(a.measures, a.measures)
    b = Bench(a)
    bad = 0
    try:
        for spec in a.measures.split(","):
            name, _, c = spec.partition("@")
            conns = int(c or 1)
            if name != "verify" and (name.startswith("_") or name not in Bench.__dict__):
                sys.exit(f"no such measure: {name}")
            rep, goal = 0, a.reps
            while rep < goal:
                try:
                    if name == "verify":
                        bad |= not b.verify()
                        break
                    measure = functools.partial(getattr(b, name), conns)
                    spoilt = b.timed(name, conns, rep, measure, UNIT.get(name, "requests"))
                    if spoilt and goal < a.reps + EXTRA:
                        goal += 1
                except (Bad, OSError, http.client.HTTPException, subprocess.TimeoutExpired, ValueError) as e:
                    b.emit(name, conns, rep, error=str(e)[:300])
                    bad = 1
                    break
                rep += 1
    finally:
        shutil.rmtree(b.tmp, ignore_errors=True)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
