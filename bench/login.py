"""What login costs: a gateway where everybody may read, beside one over the same store where one has to log in.

    python -m bench.login [--reps N] [--seconds S] [--dir FOLDER]

Small files (4 KiB, 1,000 of them) and ranges of 64 KiB, warm, at 16 connections, by GET; the gateways take turns and
begin in turn. The ratio is with login to without, of medians.
"""

import argparse
import base64
import contextlib
import datetime
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import bcrypt

from bench.nfs_load import built
from bench.tools import Ours, versions

FILES: Final = 1000
SIZE: Final = 4096  # bytes
CONNECTIONS: Final = 16
PASSWORD: Final = "bench"  # of a gateway on loopback that lives a minute
POLICY: Final = '[[rule]]\nallow = ["read"]\nto = ["authenticated"]\non = ["*"]\n'


class Way(NamedTuple):
    """A gateway, and what its clients send."""

    name: str
    address: str
    headers: tuple[str, ...] = ()


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--dir", type=Path, default=Path(".aetherfs/bench/login"))
    wanted = parser.parse_args()
    folder: Path = wanted.dir.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    tool = filled(folder)
    program = built(folder / "bin", "httpload")
    print(f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} CPUs; {', '.join(versions())}")
    print("\n| GET, 16 connections | open | login by | with login | ratio |\n|---|---|---|---|---|")
    with contextlib.ExitStack() as opened:
        plain = Way("open", opened.enter_context(serving(tool, folder / "open")))
        address = opened.enter_context(serving(tool, folder / "login", login=True))
        token = json.loads(_run(tool, "token", "create", "bench", "--allow", "read:*", "--json"))["token"]
        basic = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
        ways = [
            plain,
            Way("password", address, (f"Authorization: Basic {basic}",)),
            Way("token", address, (f"Authorization: Bearer {token}",)),
        ]
        for work, paths, headers in works(folder):
            found: dict[str, list[float]] = {way.name: [] for way in ways}
            for rep in range(-1, wanted.reps):
                for way in ways if rep % 2 else ways[::-1]:
                    rate = load(program, way, paths, headers, wanted.seconds)
                    if rep >= 0:
                        found[way.name].append(rate)
            row(work, found)


def works(folder: Path) -> Iterator[tuple[str, Path, tuple[str, ...]]]:
    """Yield name, file of paths, and fields of what is measured."""
    small, large = folder / "small.paths", folder / "large.paths"
    small.write_text("".join(f"/fs/bench/1.0.0/small/{number}\n" for number in range(FILES)))
    large.write_text("/fs/bench/1.0.0/large\n")
    yield "small files", small, ()
    yield "range of 64 KiB", large, ("Range: bytes=1048576-1114111",)


def load(program: Path, way: Way, paths: Path, headers: tuple[str, ...], seconds: float) -> float:
    """Return requests a second."""
    host, _, port = way.address.partition(":")
    command = [str(program), host, port, "GET", str(CONNECTIONS), str(seconds), str(paths), *headers, *way.headers]
    done = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    if done["bad"]:
        raise SystemExit(f"{way.name}: {done['bad']} answers were no good")
    return float(done["req_s"])


def row(work: str, found: dict[str, list[float]]) -> None:
    """Print the rows of one work."""
    for name, rates in found.items():
        if name != "open":
            open_rates = found["open"]
            cells = [f"{statistics.median(r):,.0f} ({min(r):,.0f}-{max(r):,.0f})" for r in (open_rates, rates)]
            ratio = statistics.median(rates) / statistics.median(open_rates)
            print(f"| {work} | {cells[0]} | {name} | {cells[1]} | {ratio:.2f} |", flush=True)


def filled(folder: Path) -> Ours:
    """Return a store with what is read."""
    source = folder / "source"
    (source / "small").mkdir(parents=True)
    for number in range(FILES):
        (source / "small" / str(number)).write_bytes(os.urandom(SIZE))
    (source / "large").write_bytes(os.urandom(8 << 20))
    tool = Ours(folder / "store", env={"AETHERFS_CACHE_DIR": str(folder / "cache")})
    tool.init()
    _run(tool, "push", str(source), "-t", "bench:1.0.0")
    return tool


@contextlib.contextmanager
def serving(tool: Ours, folder: Path, *, login: bool = False) -> Iterator[str]:
    """Run a gateway with one worker; give its address."""
    folder.mkdir()
    settings = {}
    if login:
        (folder / "policy.toml").write_text(POLICY)
        users = folder / "users"
        users.touch(mode=0o600)
        users.write_text(f"ada:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()}\n")
        settings = {
            "AETHERFS_AUTH_POLICY": str(folder / "policy.toml"),
            "AETHERFS_AUTH_BASIC_HTPASSWD": str(users),
            "AETHERFS_AUTH_AUDIT_LOG": str(folder / "audit.log"),
        }
    command = [tool.program, "serve", "--http", "127.0.0.1:0", "--nfs", "off", "--grpc", "off"]
    with subprocess.Popen(
        command, env=tool.env | settings, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http=http://(\S+)", process.stdout.readline())
            assert found
            yield found[1]
        finally:
            process.terminate()


def _run(tool: Ours, *arguments: str) -> str:
    done = subprocess.run([tool.program, *arguments], env=tool.env, capture_output=True, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    main()
