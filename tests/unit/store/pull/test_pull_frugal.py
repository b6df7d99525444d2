"""What a pull takes of the disk and of the line: little more than what is new."""

import fcntl
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from store.layout import PACKS
from store.objects.base import ObjectStore
from store.objects.local import FolderStore
from store.objects.memory import MemoryStore
from store.objects.wrapper import Wrapper
from store.pull import assembly
from store.pull.pull import PullOptions, pull
from store.pull.staging import Staging
from store.push.push import push
from store.repository import Repository
from tests.support.folders import Failing, held, latest, new_repository

SLACK = 256 << 10  # bytes of folders, of the lock, and of what is remembered


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def taken(*folders: Path) -> int:
    """Return the bytes that folders take on the disk, each inode counted once."""
    inodes = {}
    for folder in folders:
        for top, names, files in os.walk(folder):
            for name in names + files:
                status = os.lstat(os.path.join(top, name))
                inodes[status.st_ino] = status.st_blocks * 512
    return sum(inodes.values())


class Bench:
    """Pulls in place, of which the most that they ever take on the disk is noted."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tmp_path = tmp_path
        self.source, self.here, self.state = tmp_path / "source", tmp_path / "here", tmp_path / "pull-state"
        for folder in (self.source, self.here, self.state):
            folder.mkdir()
        self.objects = Failing(MemoryStore(), method="get", only=PACKS)
        self.repository = new_repository(self.objects)
        self.peak = 0
        self.objects.before = lambda key: self.note()
        self._before(monkeypatch, "swap")
        self._before(monkeypatch, "clear")

    def _before(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        step: Callable[[Staging], object] = getattr(Staging, name)

        def noted(place: Staging) -> object:
            self.note()
            return step(place)

        monkeypatch.setattr(Staging, name, noted)

    def note(self) -> None:
        self.peak = max(self.peak, taken(self.here, self.state))

    def publish_and_pull(self) -> int:
        """Return by how much what is taken grew at most while pulling."""
        push(self.repository, self.source, "ds", ["latest"], self.tmp_path / "push-state")
        self.peak = before = taken(self.here, self.state)
        pull(self.repository, latest(self.repository), self.here / "dest", self.state)
        self.note()
        assert held(self.here / "dest") == held(self.source)
        return self.peak - before


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_half_of_the_files_changed_take_the_room_of_that_half(bench: Bench) -> None:
    sizes = [200_000 + 10_000 * number for number in range(20)]
    for number, size in enumerate(sizes):
        (bench.source / str(number)).write_bytes(noise(size, number))
    bench.publish_and_pull()
    for number in range(0, 20, 2):
        (bench.source / str(number)).write_bytes(noise(sizes[number], 100 + number))
    new = sum(sizes[::2])
    assert new <= bench.publish_and_pull() <= 1.05 * new + SLACK


def test_one_percent_of_a_large_file_changed_takes_the_room_of_that_file_once(bench: Bench) -> None:
    """Where the file system cannot clone, the old file stays whole until the new one is shown."""
    size = 12 << 20
    data = bytearray(noise(size))
    (bench.source / "large").write_bytes(data)
    (bench.source / "stays").write_bytes(noise(size, 1))
    bench.publish_and_pull()
    data[size // 2 : size // 2 + size // 100] = noise(size // 100, 2)
    (bench.source / "large").write_bytes(data)
    assert bench.publish_and_pull() <= 1.05 * size + SLACK


def test_where_files_can_be_cloned_only_changed_blocks_of_a_large_one_are_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clone is played by a copy: what is written besides is what takes room where clones are real."""
    size = 12 << 20
    data = bytearray(noise(size))
    (bench.source / "large").write_bytes(data)
    bench.publish_and_pull()
    data[size // 2 : size // 2 + size // 100] = noise(size // 100, 2)
    (bench.source / "large").write_bytes(data[: size - 1000])
    (bench.source / "large").chmod(0o755)

    def cloned(source: int, target: int) -> bool:
        os.pwrite(target, os.pread(source, size, 0), 0)
        return True

    written: list[int] = []
    write = os.pwrite

    def pwrite(descriptor: int, block: memoryview, offset: int) -> int:
        written.append(len(block))
        return write(descriptor, block, offset)

    monkeypatch.setattr(assembly, "clone", cloned)
    monkeypatch.setattr("store.pull.places.os", _With(os, pwrite=pwrite))
    bench.publish_and_pull()
    assert 0 < sum(written) < size // 100 + (1 << 20)


class _With:
    """A module with some of its functions replaced."""

    def __init__(self, module: object, **replaced: object) -> None:
        self._module = module
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> object:
        return getattr(self._module, name)


# the line


class PackBytes(Wrapper):
    """Counts what is read of packs."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.read = 0

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return a range of an object."""
        data = self._inner.get(key, offset=offset, size=size)
        if key.startswith(PACKS):
            self.read += len(data)
        return data


def test_of_one_file_of_many_nothing_but_its_blocks_is_read(tmp_path: Path) -> None:
    objects = PackBytes(MemoryStore())
    repository = new_repository(objects)
    source = tmp_path / "source"
    source.mkdir()
    for number in range(10):
        (source / f"file {number}").write_bytes(noise(300_000, number))
    push(repository, source, "ds", ["latest"], tmp_path / "push-state")
    assert len([*objects.list(PACKS)]) == 1
    objects.read = 0
    state = latest(repository)
    pulled = pull(repository, state, tmp_path / "dest", tmp_path / "state", PullOptions(include=["file 7"]))
    assert (tmp_path / "dest" / "file 7").read_bytes() == noise(300_000, 7)
    assert objects.read == pulled.bytes_fetched == 300_000  # noise is stored plain


# killed

SMALL, LARGE = 2500, 12 << 20

PROGRAM = """
import os, signal, sys
from pathlib import Path
import store.pull.pull as module
from store.objects.local import FolderStore
from store.repository import Repository

module._MANY = 1000  # so that other processes make the small files
signal.signal(signal.SIGINT, signal.default_int_handler)  # who starts the tests in the background has it ignored
limit, phase, number = int(sys.argv[4]), sys.argv[5], int(sys.argv[6])

class Killing(module.PullCounters):
    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if (name == "bytes_fetched" and value > limit) or (name == "phase" and value == phase):
            print(self.bytes_fetched, flush=True)
            os.kill(os.getpid(), number)

repository = Repository.open(FolderStore(Path(sys.argv[1])))
state = repository.catalogue.resolve("ds:latest")
module.pull(repository, state, Path(sys.argv[2]), Path(sys.argv[3]), None, Killing())
"""


@pytest.mark.slow
def test_a_pull_that_is_killed_again_and_again_moves_only_the_rest_each_time(tmp_path: Path) -> None:
    objects = PackBytes(FolderStore(tmp_path / "store", create=True))
    repository = new_repository(objects)
    source, dest, state = tmp_path / "source", tmp_path / "dest", tmp_path / "pull-state"
    for number in range(SMALL):
        path = source / str(number % 20) / f"file {number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(3000 + number, number))
    (source / "large").write_bytes(noise(LARGE, -1))
    push(repository, source, "ds", ["latest"], tmp_path / "push-state")
    size = LARGE + sum(3000 + number for number in range(SMALL))
    fetched = 0
    rounds = (
        (size // 10, "", signal.SIGKILL),
        (size // 10, "", signal.SIGINT),
        (size, "finishing", signal.SIGKILL),
    )
    for limit, phase, number in rounds:
        words = [str(word) for word in (tmp_path / "store", dest, state, limit, phase, int(number))]
        killed = subprocess.run(
            [sys.executable, "-c", PROGRAM, *words], cwd=Path(__file__).parents[4], capture_output=True, check=False
        )
        assert killed.returncode == -number, killed.stderr
        assert not dest.exists()
        fetched += int(killed.stdout.split()[0])
        wait_until_unlocked(tmp_path, at_once=number == signal.SIGINT)
        kept = {path.name for path in staged(tmp_path).rglob("*") if path.is_file()}
        assert kept
    assert fetched <= size
    before = objects.read
    pulled = pull(Repository.open(objects), latest(repository), dest, state)
    assert held(dest) == held(source)
    assert pulled.bytes_reused >= fetched
    assert objects.read - before == pulled.bytes_fetched == 0  # it was killed when all was there


def staged(tmp_path: Path) -> Path:
    (folder,) = (path for path in tmp_path.iterdir() if path.name.startswith(".aetherfs-pull"))
    return folder


def wait_until_unlocked(tmp_path: Path, *, at_once: bool) -> None:
    """Wait until nothing that a killed pull started is left; one that was interrupted leaves nothing behind."""
    with (staged(tmp_path) / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (fcntl.LOCK_NB if at_once else 0))
