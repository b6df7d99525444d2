"""Two client libraries that are not ours: libnfs by its programs, and nfs-rs."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nfs_rs
import pytest

from tests.conformance.tree_cases import BIG, HARD_NAMES, SAMPLE
from tests.support.nfs_client import serving
from tests.support.trees import MemoryTree

pytestmark = pytest.mark.interop
needs_libnfs = pytest.mark.skipif(shutil.which("nfs-ls") is None, reason="needs apt-get install libnfs-utils")
TIMEOUT_S = 60


@pytest.fixture(params=["warm", "cold"])
def query(request: pytest.FixtureRequest) -> Iterator[str]:
    """Serve the sample, from memory or through the pool; give the part of an address that names the ports."""
    tree = MemoryTree(chunk_size=1000)
    tree.publish("maps", "1.0.0", SAMPLE)
    tree.publish("maps", "latest", SAMPLE)
    tree.publish("many", "1.0.0", {f"file-{i:04}".encode(): f"{i}".encode() for i in range(1500)})
    tree.cold = request.param == "cold"
    with serving(tree) as (_, port):
        yield f"?nfsport={port}&mountport={port}&version=3"


def libnfs(program: str, *args: str) -> bytes:
    done = subprocess.run([program, *args], capture_output=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@needs_libnfs
def test_libnfs_lists_everything_below_a_dataset(query: str) -> None:
    listing = libnfs("nfs-ls", "-R", "nfs://127.0.0.1/maps" + query)
    for name in HARD_NAMES:
        assert b" 1.0.0/names/" + name + b"\n" in listing
    assert listing.count(b"-r-xr-xr-x") == 2
    assert listing.count(b"lrwxrwxrwx") == 2


@needs_libnfs
def test_libnfs_lists_a_folder_of_many_pages_once_each(query: str) -> None:
    lines = libnfs("nfs-ls", "nfs://127.0.0.1/many/1.0.0" + query).splitlines()
    assert sorted(line.split()[-1] for line in lines) == [f"file-{i:04}".encode() for i in range(1500)]


@needs_libnfs
def test_libnfs_copies_files_whole(query: str, tmp_path: Path) -> None:
    libnfs("nfs-cp", "nfs://127.0.0.1/maps/1.0.0/big.bin" + query, str(tmp_path / "big"))
    assert (tmp_path / "big").read_bytes() == BIG
    assert libnfs("nfs-cat", "nfs://127.0.0.1/maps/latest/sub/deep/leaf" + query) == b"leaf"


def test_nfs_rs_sees_names_sizes_and_bytes_as_published(query: str) -> None:
    with nfs_rs.Client.connect("nfs://127.0.0.1/maps/1.0.0" + query) as client:
        assert sorted(client.listdir("/")) == sorted(os.fsdecode(name) for name in SAMPLE)
        info = client.stat("/run.sh")
        assert (info.size, info.mode & 0o7777, info.mtime) == (10, 0o555, 1_234_567_890_123_456_789)
        assert client.readlink("/link") == "a.txt"
        with client.open("/big.bin", "rb") as file:
            assert file.readall() == BIG
            assert file.read_at(len(BIG) - 3, 10) == BIG[-3:]
        assert client.listdir("/sub/empty") == []
        with pytest.raises(nfs_rs.NfsNotFoundError):
            client.stat("/nothing")


def test_nfs_rs_is_refused_when_it_writes(query: str) -> None:
    with nfs_rs.Client.connect("nfs://127.0.0.1/maps/1.0.0" + query) as client:
        with pytest.raises(nfs_rs.NfsError, match=r"(?i)read.?only|ROFS"):
            client.mkdir("/new")
        assert client.fs_info().max_read == 1 << 20
