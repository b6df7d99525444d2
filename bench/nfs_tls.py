"""RPC-with-TLS beside the clear: one connection, the same gateway, in turns. A part of `bench.nfs`.

The client needs a CPU of its own, as the server does: where others work meanwhile, the server's CPU seconds hold.
"""

import json
import os
import statistics
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.nfs_load import Gateway, built, serving
from tests.support.nfs_client import NfsClient

if TYPE_CHECKING:
    from bench.nfs import Bench

ROUNDS: Final = 5
SECONDS: Final = 1.5


def tls(bench: "Bench") -> None:
    """Read a large file that is in memory, and ask for attributes, by TLS and in the clear."""
    tool, program = bench.local(), built(bench.folder / "bin", "tlsload")
    cert, key = (bench.place() for _ in range(2))
    cert.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=bench", "-keyout", key, "-out", cert], check=True, capture_output=True,
    )  # fmt: skip
    with serving(
        tool, AETHERFS_CACHE_MEMORY="2GiB", AETHERFS_NFS_TLS="allow",
        AETHERFS_NFS_TLS_CERT=str(cert), AETHERFS_NFS_TLS_KEY=str(key),
    ) as gateway:  # fmt: skip
        with NfsClient(gateway.nfs) as client:
            file = client.handle("data/v1.0.0/big.bin")
            size = client.attributes(file).size
            for at in range(0, size, 1 << 20):
                client.read(file, at, 1 << 20)
        read, asked = (
            _rates(program, gateway, what, depth, size, file)
            for what, depth in (("read", 4), ("getattr", 16))
        )  # fmt: skip
    fast, clear = (read[way]["bytes"] / 1e9 for way in ("tls", "plain"))
    taken = [read[way]["cpu"] / read[way]["bytes"] * 1e9 for way in ("tls", "plain")]
    bench.note(
        "READ of 1 MiB by TLS, 4 at a time on one connection", ">= 1 GB/s or 0.5 of the clear",
        f"{fast:.2f} GB/s, {fast / clear:.2f} x: {clear:.2f} GB/s in the clear; "
        f"{taken[0]:.2f} CPU s of the server a GB, {taken[1]:.2f} in the clear", met=fast >= 1 or fast >= clear / 2,
    )  # fmt: skip
    fast, clear = (asked[way]["calls"] for way in ("tls", "plain"))
    bench.note(
        "GETATTR by TLS, 16 at a time on one connection", "",
        f"{fast:,.0f}/s, {fast / clear:.2f} x: {clear:,.0f}/s in the clear",
    )  # fmt: skip


FIELDS: Final = ("calls", "bytes", "cpu")


def _rates(
    program: Path, gateway: Gateway, what: str, depth: int, size: int, file: bytes
) -> dict[str, dict[str, float]]:
    """Return calls, bytes and the server's CPU seconds a second, by TLS and in the clear: medians of rounds in turn."""
    found: dict[str, list[dict[str, float]]] = {"tls": [], "plain": []}
    for _ in range(ROUNDS):
        for way, rows in found.items():
            command = [str(program), str(gateway.nfs), way, what, str(depth), str(SECONDS), str(size), file.hex()]
            before_s = _cpu_s(gateway.worker)
            row = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            row["cpu"] = _cpu_s(gateway.worker) - before_s
            rows.append({name: row[name] / row["secs"] for name in FIELDS})
    return {way: {name: statistics.median(row[name] for row in rows) for name in FIELDS} for way, rows in found.items()}


def _cpu_s(process: int) -> float:
    """Return the CPU seconds that a process has taken."""
    text = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
