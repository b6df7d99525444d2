"""Small files that other processes make: the same tree, the same errors, and nobody left behind."""

import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

import store.pull.staging
from store.errors import BlockCorrupt, DestinationUnusable, StoreFull
from store.layout import PACKS
from store.objects.memory import MemoryStore
from store.pull.pull import Pulled, PullOptions, pull
from store.pull.workers import Workers
from store.push.push import push
from tests.support.folders import OLD_NS, Failing, held, latest, new_repository

FILES = 300


class Bench:
    """A source of small files and its store; `started` are the processes that pulls started."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tmp_path = tmp_path
        self.source, self.dest = tmp_path / "source", tmp_path / "dest"
        for number in range(FILES):
            path = self.source / f"folder {number % 7}" / f"file {number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(random.Random(number).randbytes(2000 + number))
            path.chmod(0o755 if number % 3 == 0 else 0o644)
            os.utime(path, ns=(1, OLD_NS + number))
        (self.source / "larger").write_bytes(random.Random(-1).randbytes(1 << 20))
        self.objects = Failing(MemoryStore(), method="get", only=PACKS)
        self.repository = new_repository(self.objects)
        push(self.repository, self.source, "ds", ["latest"], tmp_path / "push-state")
        self.started: list[subprocess.Popen[bytes]] = []
        monkeypatch.setattr("store.pull.pull._MANY", FILES)
        monkeypatch.setattr("store.pull.fetch._BLOCKS", 50)
        start = Workers._start

        def noted(workers: Workers) -> Any:
            worker = start(workers)
            self.started.append(worker.process)
            return worker

        monkeypatch.setattr(Workers, "_start", noted)

    def pull(self, options: PullOptions | None = None) -> Pulled:
        return pull(self.repository, latest(self.repository), self.dest, self.tmp_path / "pull-state", options)

    def staged(self) -> Path:
        """Return the tree under construction."""
        (folder,) = (path for path in self.tmp_path.iterdir() if path.name.startswith(".aetherfs-pull"))
        (tree,) = (path for path in folder.iterdir() if path.is_dir())
        return tree


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_files_made_by_other_processes_are_as_they_were_and_known_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.pull.staging.Staging, "now_ns", lambda place: 1 << 62)  # everything has settled
    pulled = bench.pull(PullOptions(verify=True))
    assert held(bench.dest) == held(bench.source)
    assert pulled.files == FILES + 1
    assert bench.started
    assert all(process.returncode == 0 for process in bench.started)

    def read(path: bytes) -> bytes | None:
        raise AssertionError(f"{path!r} was read")

    monkeypatch.setattr("store.pull.present.sha256_of", read)
    assert not bench.pull().changed


def test_a_few_files_start_no_process(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.pull.pull._MANY", FILES + 2)
    bench.pull()
    assert held(bench.dest) == held(bench.source)
    assert bench.started == []


def test_where_no_process_can_be_started_the_pull_makes_the_files_itself(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(workers: Workers) -> Any:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(Workers, "_start", refused)
    bench.pull()
    assert held(bench.dest) == held(bench.source)


def test_where_the_processes_fail_to_begin_the_pull_makes_the_files_itself(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.pull.workers._PROGRAM", "import no_such_module")
    bench.pull()
    assert held(bench.dest) == held(bench.source)
    assert all(process.returncode == 1 for process in bench.started)


def test_a_process_that_is_killed_ends_the_pull_and_the_next_goes_on(bench: Bench) -> None:
    def kill(key: str) -> None:
        for process in bench.started[:1]:
            process.kill()
            process.wait()

    bench.objects.before = kill
    with pytest.raises(DestinationUnusable, match="was killed; pull again"):
        bench.pull()
    assert not bench.dest.exists()
    assert all(process.returncode is not None for process in bench.started)
    bench.objects.before = lambda key: None
    assert bench.pull().bytes_reused > 0
    assert held(bench.dest) == held(bench.source)


def test_a_file_that_cannot_be_made_is_named(bench: Bench) -> None:
    in_the_way: list[Path] = []

    def obstruct(key: str) -> None:
        if not in_the_way:
            in_the_way.append(bench.staged() / "folder 3" / "file 290")
            in_the_way[0].touch()

    bench.objects.before = obstruct
    with pytest.raises(DestinationUnusable, match="folder 3/file 290: File exists"):
        bench.pull()
    assert not bench.dest.exists()
    bench.pull()
    assert held(bench.dest) == held(bench.source)


FULL = """
import errno, sys
sys.path[:] = sys.argv[1:]
from store.pull import places, worker
def full(descriptor, data, offset):
    raise OSError(errno.ENOSPC, "No space left on device")
places.write_at = full
worker.main()
"""


def test_a_disk_that_is_full_for_another_process_is_told_as_such(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("store.pull.workers._PROGRAM", FULL)
        with pytest.raises(StoreFull, match=str(bench.dest)):
            bench.pull()
    assert not bench.dest.exists()
    bench.pull()
    assert held(bench.dest) == held(bench.source)


def test_a_damaged_block_is_told_with_its_pack(bench: Bench) -> None:
    (key,) = (info.key for info in bench.objects.list(PACKS))
    data = bytearray(bench.objects.get(key))
    data[5000] ^= 1
    bench.objects.put(key, data)
    with pytest.raises(BlockCorrupt, match=key):
        bench.pull()
    assert not bench.dest.exists()
    assert all(process.returncode is not None for process in bench.started)
