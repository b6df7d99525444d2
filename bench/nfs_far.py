"""The parts of `bench.nfs` with a store far away: SeaweedFS behind `bench.delay`, 20 ms off."""

import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import far, inputs
from bench.child import busy_s
from bench.nfs_load import Load, serving
from bench.tools import Ours, size_of

if TYPE_CHECKING:
    from bench.nfs import Bench

NEAR_KIB: Final = 2300  # window of a connection that carries 100 MB/s over 20 ms
FAR_KIB: Final = 245  # and 12 MB/s
DISK: Final = {"0": "no disk cache", "10GiB": "a disk cache"}  # as AETHERFS_CACHE_DISK


def line(bench: "Bench") -> None:
    """Read a cold file over a line, beside what eight connections carry."""
    mib = 1024 if bench.full else 256
    with far.server(bench.folder / "seaweed") as told:
        name = _pushed(bench, told, _noise(bench.folder / f"noise-{mib}", mib))
        for rate, window in ((100, NEAR_KIB), (12, FAR_KIB)):
            with far.proxy(told["AWS_ENDPOINT_URL"], window, bench.place() / "log") as endpoint:
                far.carried(endpoint, told, (mib << 20) // far.CONNECTIONS)
                for disk in DISK:
                    runs = [_cold(bench, told, endpoint, name, disk, mib) for _ in range(3 if bench.full else 1)]
                    share, got, carried, busy = (statistics.median(values) for values in zip(*runs, strict=True))
                    bench.note(
                        f"cold, {mib} MiB, 20 ms, {rate} MB/s a connection, {DISK[disk]}",
                        ">= 90 % of what 8 connections carry",
                        f"{share:.0%}: {got:.0f} of {carried:.0f} MB/s; the CPUs {busy:.0%} busy", met=share >= 0.9,
                    )  # fmt: skip


def _cold(
    bench: "Bench", told: dict[str, str], endpoint: str, name: str, disk: str, mib: int
) -> tuple[float, float, float, float]:
    """Return the share of what the line carries, both in MB/s, and how busy the CPUs were while it was read."""
    carried = far.down(endpoint, told, (mib << 20) // far.CONNECTIONS)
    with serving(_tool(bench, told, endpoint, name), AETHERFS_CACHE_DISK=disk) as gateway:
        load = Load(bench.nfsload, gateway, "/", big="data/v1.0.0/file")
        began, used = time.monotonic(), busy_s()
        got = load.value("once1m@4", "mb_s")
        busy = (busy_s() - used) / (time.monotonic() - began) / (os.cpu_count() or 1)
    return got / carried, got, carried, busy


def find(bench: "Bench") -> None:
    """Count the requests of a cold walk, and the round trips of a random read."""
    files = inputs.small_files(bench.folder / "tree20k", 20_000, low=1024, high=20 << 10)
    with far.server(bench.folder / "seaweed") as told:
        name = _pushed(bench, told, files)
        large = (path for path in sorted(files.rglob("*.dat"))[9999:] if path.stat().st_size >= 8192)
        one = next(large).relative_to(files)
        for disk in DISK:
            log, kind = bench.place() / "log", DISK[disk]
            with far.proxy(told["AWS_ENDPOINT_URL"], NEAR_KIB, log) as endpoint:
                with serving(_tool(bench, told, endpoint, name), AETHERFS_CACHE_DISK=disk) as gateway:
                    began = time.monotonic()
                    seen = Load(bench.nfsload, gateway, "/data/v1.0.0", tree=".").value("walk@1", "files")
                    took = time.monotonic() - began
                    load = Load(bench.nfsload, gateway, "/data/v1.0.0", big=str(one))
                    load.rows("rand4k@1", seconds=0.001)
                time.sleep(4 * far.DELAY_MS / 1000)
                passed = far.requests(log, 0)
            walk = [request for request in passed if began <= request["start"] <= began + took]
            after = [request for request in passed if request["start"] > began + took]
            # Its path is looked up first, and tags are asked for again then, once a second at most.
            read = [request for request in after if _kind(request["path"]) in ("its manifest", "data")]
            before = len(passed) - len(walk) - len(after)
            bench.note(
                f"cold find of {seen:,.0f} files, {kind}", "<= 5 S3 requests",
                f"{len(walk)} ({', '.join(_kind(request['path']) for request in walk)}) and {before} when the "
                f"gateway started; {took:.2f} s", met=len(walk) <= 5,
            )  # fmt: skip
            bench.note(
                f"first byte of a random read, {kind}", "<= 2 round trips once its path is known",
                f"{far.serial(read)} ({', '.join(_kind(request['path']) for request in read)})",
                met=far.serial(read) <= 2,
            )  # fmt: skip


def versions(bench: "Bench") -> None:
    """Count the bytes that a version costs which is read after another."""
    mib = 256 if bench.full else 64
    first = _noise(bench.folder / f"noise-{mib}", mib)
    second = bench.place()
    second.mkdir(parents=True)
    data = bytearray((first / "file").read_bytes())
    for number in range(1, 33):
        at = number * len(data) // 33
        data[at : at + 100_000] = os.urandom(100_000)
    (second / "file").write_bytes(data)
    with far.server(bench.folder / "seaweed") as told:
        name = _pushed(bench, told, first)
        direct = _tool(bench, told, told["AWS_ENDPOINT_URL"], name)
        new = _stored(direct, second, "v2.0.0")
        for memory in ("512MiB", "16MiB"):
            log = bench.place() / "log"
            with far.proxy(told["AWS_ENDPOINT_URL"], NEAR_KIB, log) as endpoint:
                with serving(_tool(bench, told, endpoint, name), AETHERFS_CACHE_MEMORY=memory) as gateway:
                    Load(bench.nfsload, gateway, "/data", big="v1.0.0/file").rows("once1m@4")
                    time.sleep(1)  # the disk cache is written behind the readers
                    began = time.monotonic()
                    Load(bench.nfsload, gateway, "/data", big="v2.0.0/file").rows("once1m@4")
                time.sleep(4 * far.DELAY_MS / 1000)
                passed = [request for request in far.requests(log, 0) if request["start"] > began]
            got = {
                part: sum(request["received"] for request in passed if f"/{part}/" in request["path"])
                for part in ("packs", "manifests")
            }
            bench.note(
                f"{mib} MiB read in version 2 after version 1, memory {memory}, disk cache",
                "<= 1.2 x the new blocks",
                f"{got['packs'] / new:.2f} x: {got['packs'] / 1e6:.1f} of {new / 1e6:.1f} MB, and "
                f"{got['manifests'] / 1e6:.1f} MB of the manifest", met=got["packs"] <= 1.2 * new,
            )  # fmt: skip


def _pushed(bench: "Bench", told: dict[str, str], source: Path) -> str:
    """Push a folder to a new store on a server; return the store's name in the bucket."""
    name = f"nfs-{time.time_ns()}"
    tool = _tool(bench, told, told["AWS_ENDPOINT_URL"], name)
    tool.init()
    tool.push(source, "v1.0.0")
    return name


def _tool(bench: "Bench", told: dict[str, str], endpoint: str, name: str) -> Ours:
    env = {key: value for key, value in told.items() if key.startswith("AWS_") and "URL" not in key}
    env |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    address = f"s3://{told['S3_BUCKET']}/{name}?endpoint={endpoint}&region=us-east-1"
    return Ours(bench.place(), env=env, address=address)


def _kind(path: str) -> str:
    """Say what a request was for."""
    part = next((part for part in ("changes", "datasets", "manifests", "packs") if part in path), "")
    return {"changes": "what is new", "datasets": "the dataset", "manifests": "its manifest", "packs": "data"}.get(
        part, "another"
    )


def _noise(folder: Path, mib: int) -> Path:
    """Make a folder with one file that neither compresses nor repeats."""
    if not (folder / "file").exists() or size_of(folder) != mib << 20:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "file").open("wb") as file:
            for _ in range(mib):
                file.write(os.urandom(1 << 20))
    return folder


def _stored(tool: Ours, folder: Path, version: str) -> int:
    """Push a version; return the bytes of its new blocks, as they are stored."""
    tool.place.mkdir(parents=True, exist_ok=True)
    return tool.push(folder, version)[1]["stored"]
