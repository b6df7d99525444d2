"""Starts and stops whole gateways, as users do, for tests; and publishes what they serve."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEADLINE_S = 60.0
NAMES = (
    b"plain.txt",
    b"with space",
    b"quote'\"s",
    b"#%?&=+;",
    "emoji-\N{RAINBOW}".encode(),
    b"not-utf8-\xff\xfe",
    b"x" * 255,
    b"back\\slash",
    b"new\nline",
)


@dataclass
class Gateway:
    """One `aetherfs serve`."""

    process: subprocess.Popen[str]
    http: str = ""  # URL without a path
    nfs_port: int = 0
    grpc: str = ""  # HOST:PORT
    ready: str = field(default="", repr=False)

    def stop(self) -> int:
        """Ask it to stop and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait(DEADLINE_S)


class Place:
    """A store, and what is needed to run commands on it without touching the user's own files."""

    def __init__(self, store: str, home: Path) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AETHERFS_", "XDG_"))}
        # gRPC is a process of its own, which most tests have no use for.
        self.environment = {**inherited, "HOME": str(home), "AETHERFS_STORE": store, "AETHERFS_GRPC_LISTEN": "off"}

    def run(self, *arguments: str | Path) -> Any:
        """Run a command and return the document it prints."""
        program = [sys.executable, "-P", "-m", "gateway.cli", *map(str, arguments), "--json"]
        done = subprocess.run(program, capture_output=True, text=True, env=self.environment, timeout=DEADLINE_S)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def serve(
        self, *arguments: str, http: str = "127.0.0.1:0", nfs: str = "127.0.0.1:0", grpc: str = "off"
    ) -> Iterator[Gateway]:
        """Run a gateway for as long as the context lasts."""
        where = ["--http", http, "--nfs", nfs, "--grpc", grpc]
        program = [sys.executable, "-P", "-m", "gateway.cli", "serve", *where, *arguments]
        with subprocess.Popen(
            program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment
        ) as process:
            try:
                yield started(process)
            finally:
                process.kill()


def started(process: subprocess.Popen[str]) -> Gateway:
    """Wait for the ready line."""
    assert process.stdout is not None
    line = process.stdout.readline().rstrip("\n")
    if not line.startswith("ready "):
        assert process.stderr is not None
        said = process.stderr.read()
        raise AssertionError(f"exit {process.wait(DEADLINE_S)}: {line}{said}")
    places = dict(word.partition("=")[::2] for word in line.split()[1:])
    port = places.get("nfs", ":0").rpartition(":")[2]
    return Gateway(process, places.get("http", ""), int(port), places.get("grpc", ""), line)


def write_sample(folder: Path, *, seed: bytes = b"1") -> dict[bytes, bytes]:
    """Fill a folder with files of hard names and several sizes; return path -> content."""
    files = {b"deep/er/" + name: seed + name * 50 for name in NAMES}
    files[b"empty"] = b""
    files[b"big"] = b"".join((seed + str(number).encode()) * 3 for number in range(120_000))
    for path, content in files.items():
        file = os.path.join(os.fsencode(folder), path)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, "wb") as opened:
            opened.write(content)
    return files
