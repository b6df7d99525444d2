"""What a pull refuses to destroy, and what others see of it while it runs."""

import errno
import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import store.pull.staging
from store.errors import DestinationForeign, DestinationUnusable, StoreFull, StoreUnavailable
from store.layout import PACKS
from store.objects.local import FolderStore
from store.objects.memory import MemoryStore
from store.pull.placed import recall
from store.pull.pull import Pulled, PullOptions, pull
from store.push.push import push
from store.repository import Repository
from tests.support.folders import OLD_NS, Failing, held, latest, new_repository

FORCE = PullOptions(force=True)


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


class Bench:
    """A source, a store, and a destination that holds the source's first state."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.objects = Failing(MemoryStore(), method="get", only=PACKS)
        self.repository = new_repository(self.objects)
        self.source, self.dest = tmp_path / "source", tmp_path / "dest"
        (self.source / "sub").mkdir(parents=True)
        (self.source / "one").write_bytes(noise(300_000))
        (self.source / "sub" / "two").write_bytes(noise(300_000, 1))
        (self.source / "link").symlink_to("one")
        self.publish()

    def publish(self) -> None:
        push(self.repository, self.source, "ds", ["latest"], self.tmp_path / "push-state")

    def next_version(self) -> None:
        """Change every file, so that no content of the destination is wanted any more."""
        (self.source / "one").write_bytes(noise(300_000, 2))
        (self.source / "sub" / "two").write_bytes(noise(300_000, 3))
        (self.source / "link").unlink()
        (self.source / "link").symlink_to("sub/two")
        self.publish()

    def pull(self, options: PullOptions | None = None) -> Pulled:
        return pull(self.repository, latest(self.repository), self.dest, self.tmp_path / "pull-state", options)

    def refused(self) -> tuple[bytes, ...]:
        """Pull, expect to be refused, see that nothing changed, and return what was listed."""
        before = held(self.dest)
        with pytest.raises(DestinationForeign) as caught:
            self.pull()
        assert held(self.dest) == before
        assert not [path for path in self.tmp_path.iterdir() if path.name.startswith(".aetherfs-pull")]
        return caught.value.entries

    def equal(self) -> bool:
        return held(self.dest) == held(self.source)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# foreign


def test_a_folder_that_no_pull_made_is_refused_with_a_list(bench: Bench) -> None:
    (bench.dest / "deep").mkdir(parents=True)
    (bench.dest / "deep" / "mine").write_text("dear to me")
    (bench.dest / "line\nbreak").write_text("too")
    assert set(bench.refused()) == {b"deep", b"deep/mine", b"line\nbreak"}


def test_an_empty_folder_is_fine(bench: Bench) -> None:
    bench.dest.mkdir()
    bench.pull()
    assert bench.equal()


def test_a_file_that_equals_the_new_state_is_not_foreign(bench: Bench) -> None:
    bench.dest.mkdir()
    (bench.dest / "one").write_bytes(noise(300_000))
    assert bench.pull().bytes_reused == 300_000
    assert bench.equal()


def test_a_file_added_since_is_refused(bench: Bench) -> None:
    bench.pull()
    (bench.dest / "sub" / "notes").write_text("mine")
    bench.next_version()
    assert bench.refused() == (b"sub/notes",)


def test_a_file_changed_since_is_refused_even_with_its_time_set_back(bench: Bench) -> None:
    bench.pull()
    times = (bench.dest / "one").stat()
    with (bench.dest / "one").open("r+b") as file:
        file.write(b"mine")
    os.utime(bench.dest / "one", ns=(times.st_atime_ns, times.st_mtime_ns))
    bench.next_version()
    assert bench.refused() == (b"one",)


def test_a_change_of_the_executable_bit_is_refused(bench: Bench) -> None:
    bench.pull()
    (bench.dest / "one").chmod(0o755)
    bench.next_version()
    assert bench.refused() == (b"one",)


def test_a_link_that_was_changed_is_refused(bench: Bench) -> None:
    bench.pull()
    (bench.dest / "link").unlink()
    (bench.dest / "link").symlink_to("/etc/passwd")
    bench.next_version()
    assert bench.refused() == (b"link",)


def test_another_kind_in_a_files_place_is_refused(bench: Bench) -> None:
    bench.pull()
    (bench.dest / "one").unlink()
    (bench.dest / "one").mkdir()
    bench.next_version()
    assert bench.refused() == (b"one",)


def test_a_socket_and_a_pipe_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.pull()
    os.mkfifo(bench.dest / "pipe")
    monkeypatch.chdir(bench.dest)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket")
    monkeypatch.undo()
    assert set(bench.refused()) == {b"pipe", b"socket"}


def test_a_file_removed_since_is_put_back(bench: Bench) -> None:
    bench.pull()
    (bench.dest / "one").unlink()
    bench.pull()
    assert bench.equal()


def test_force_overwrites_what_is_foreign(bench: Bench) -> None:
    bench.pull()
    (bench.dest / "mine").write_text("mine")
    (bench.dest / "one").write_text("changed")
    os.mkfifo(bench.dest / "pipe")
    (bench.dest / "locked").mkdir()
    (bench.dest / "locked" / "file").touch()
    (bench.dest / "locked").chmod(0o500)
    bench.next_version()
    bench.pull(FORCE)
    assert bench.equal()


def test_versions_follow_each_other_in_place_without_force(bench: Bench) -> None:
    bench.pull()
    for seed in range(3):
        bench.next_version()
        (bench.source / "one").write_bytes(noise(100_000, 10 + seed))
        bench.publish()
        bench.pull()
        assert bench.equal()


def test_a_pull_killed_after_the_exchange_leaves_nothing_foreign(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.pull()
    bench.next_version()

    def killed(place: store.pull.staging.Staging) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store.pull.staging.Staging, "clear", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.pull()
    assert bench.equal()
    (bench.source / "one").write_bytes(noise(1000, 9))
    (bench.source / "sub" / "two").write_bytes(noise(1000, 8))
    bench.publish()
    bench.pull()
    assert bench.equal()
    assert not [path for path in bench.tmp_path.iterdir() if path.name.startswith(".aetherfs-pull")]


def test_without_the_record_only_what_is_wanted_counts_as_ours(bench: Bench) -> None:
    bench.pull()
    for path in (bench.tmp_path / "pull-state" / "pull").iterdir():
        path.unlink()
    (bench.source / "one").write_bytes(noise(300_000, 5))
    bench.publish()
    assert bench.refused() == (b"one",)


def test_a_damaged_record_is_as_good_as_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.pull.staging.Staging, "now_ns", lambda place: 1 << 62)  # everything has settled
    bench.pull()
    (record,) = (bench.tmp_path / "pull-state" / "pull").iterdir()
    whole = record.read_bytes()
    for damaged in (b"", whole[:50], whole[:200], whole[:120] + b"?" + whole[121:], b"?" + whole[1:]):
        record.write_bytes(damaged)
        assert recall(record) is None
    record.write_bytes(whole)
    assert identified(record) == {b"one", b"sub/two"}
    for damaged in (whole[:-1], whole[:-50] + b"?" + whole[-49:], whole[:-100]):
        record.write_bytes(damaged)
        assert identified(record) == set()


def identified(record: Path) -> set[bytes]:
    """Return the paths of the files whose identities a record knows; it has to be readable."""
    placement = recall(record)
    assert placement is not None
    with placement:
        return {path for path, placed in placement.entries() if placed.identity is not None}


def test_settled_files_are_not_read_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.pull.staging.Staging, "now_ns", lambda place: 1 << 62)  # everything has settled
    bench.pull()
    monkeypatch.setattr("store.pull.present.sha256_of", read)
    assert bench.pull().changed is False


def test_an_identity_is_believed_only_once_its_times_have_settled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    later_ns = [0]

    def now_ns(place: store.pull.staging.Staging) -> int:
        one = bench.dest / "one"
        return one.stat().st_ctime_ns + later_ns[0] if one.exists() else 0

    monkeypatch.setattr(store.pull.staging.Staging, "now_ns", now_ns)
    for later_ns[0], believed in ((0, False), (50_000_000, False), (3_000_000_000, True)):
        bench.pull()
        (record,) = (bench.tmp_path / "pull-state" / "pull").iterdir()
        assert (b"one" in identified(record)) is believed


def read(path: bytes) -> bytes | None:
    raise AssertionError(f"{path!r} was read")


def test_a_file_added_while_the_tree_was_built_is_not_destroyed(bench: Bench) -> None:
    bench.pull()
    bench.next_version()
    bench.objects.before = lambda key: (bench.dest / "late").touch()
    before = held(bench.dest).keys()
    with pytest.raises(DestinationForeign) as caught:
        bench.pull()
    assert caught.value.entries == (b"late",)
    assert held(bench.dest).keys() == before | {b"late"}


def test_a_file_shared_with_a_killed_pulls_tree_is_not_written_to(bench: Bench) -> None:
    bench.pull()
    (bench.source / "sub" / "two").write_bytes(noise(9 << 20, 7))
    bench.publish()
    bench.objects.calls_left = 0
    with pytest.raises(StoreUnavailable):
        bench.pull()  # links `one` into its tree
    assert (bench.dest / "one").stat().st_nlink == 2
    with (bench.dest / "one").open("r+b") as file:
        file.write(b"mine")
    before = held(bench.dest)
    bench.objects.calls_left = 1
    with pytest.raises(StoreUnavailable):
        bench.pull(FORCE)
    assert held(bench.dest) == before
    bench.objects.calls_left = None
    bench.pull(FORCE)
    assert bench.equal()


# while it runs


def test_two_pulls_of_one_destination_exclude_each_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.pull.staging, "WAIT_S", 0.05)
    refused: list[str] = []

    def meanwhile(key: str) -> None:
        bench.objects.before = lambda key: None
        with pytest.raises(DestinationUnusable) as caught:
            bench.pull()
        refused.append(caught.value.why)

    bench.objects.before = meanwhile
    bench.pull()
    assert refused == ["another pull is writing it"]
    assert bench.equal()


def test_a_staging_folder_that_is_not_ours_to_use_is_refused(bench: Bench) -> None:
    with store.pull.staging.staging(os.fsencode(bench.dest), (bytes(32), bytes(32))) as place:
        folder = Path(os.fsdecode(place.folder))
    bench.dest.mkdir()
    elsewhere = bench.tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder.symlink_to(elsewhere)
    with pytest.raises(DestinationUnusable, match="in the way"):
        bench.pull()
    assert list(elsewhere.iterdir()) == []


def test_the_lock_is_held_for_others_processes_too(bench: Bench) -> None:
    with (
        store.pull.staging.staging(os.fsencode(bench.dest), (bytes(32), bytes(32))) as place,
        open(os.path.join(place.folder, b"lock"), "rb") as lock,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_looping_reader_sees_whole_generations_only(bench: Bench) -> None:
    for seed in (1, 2):
        for name in ("a", "b", "c"):
            (bench.source / name).write_bytes(noise(100, seed) * 10)
        push(bench.repository, bench.source, "ds", [f"v{seed}"], bench.tmp_path / "push-state")
    states = [bench.repository.catalogue.resolve(f"ds:v{seed}") for seed in (1, 2)]
    arguments = (bench.dest, bench.tmp_path / "pull-state")
    pull(bench.repository, states[0], *arguments)
    stop = threading.Event()
    seen: set[tuple[bytes, ...]] = set()
    rounds = 0

    def read() -> None:
        nonlocal rounds
        while not stop.is_set():
            folder = os.open(bench.dest, os.O_RDONLY)  # a reader that opens the folder keeps its generation
            try:
                seen.add(tuple(content(name, folder) for name in ("a", "b", "c")))
            except FileNotFoundError:  # the generation was removed while it was read: it never mixes
                pass
            finally:
                os.close(folder)
            rounds += 1

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        for number in range(20):
            assert pull(bench.repository, states[(number + 1) % 2], *arguments).exchanged
    finally:
        stop.set()
        reader.join()
    assert rounds > 0
    assert seen <= {(noise(100, seed) * 10,) * 3 for seed in (1, 2)}


def content(name: str, folder: int) -> bytes:
    with open(name, "rb", opener=lambda path, flags: os.open(path, flags, dir_fd=folder)) as file:
        return file.read()


def test_where_folders_cannot_be_exchanged_two_renames_do_and_it_says_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.pull()
    bench.next_version()
    monkeypatch.setattr(store.pull.staging, "exchange", lambda one, other: False)
    pulled = bench.pull()
    assert not pulled.exchanged
    assert bench.equal()


def test_a_pull_killed_between_two_renames_is_put_right_by_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.pull()
    before = held(bench.dest)
    bench.next_version()
    rename = os.rename

    def second_fails(source: bytes, target: bytes) -> None:
        if target == os.fsencode(bench.dest):
            raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(store.pull.staging, "exchange", lambda one, other: False)
        patched.setattr("store.pull.staging.os.rename", second_fails)
        with pytest.raises(KeyboardInterrupt):
            bench.pull()
    assert not bench.dest.exists()
    bench.objects.calls_left = 0
    place = store.pull.staging.staging(os.fsencode(bench.dest), (bytes(32), bytes(32)))
    with place:
        assert held(bench.dest) == before
    bench.objects.calls_left = None
    bench.pull()
    assert bench.equal()


def test_a_full_disk_says_so_and_keeps_what_is_done(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: object, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("store.pull.places.os.pwrite", full)
        with pytest.raises(StoreFull, match=str(bench.dest)):
            bench.pull()
    assert not bench.dest.exists()
    assert [path for path in bench.tmp_path.iterdir() if path.name.startswith(".aetherfs-pull")]
    bench.pull()
    assert bench.equal()


PROGRAM = """
import os, signal, sys
from pathlib import Path
from store.objects.local import FolderStore
from store.pull.pull import PullCounters, pull
from store.repository import Repository

class Killing(PullCounters):
    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "bytes_fetched" and value > 10_000_000:
            os.kill(os.getpid(), signal.SIGKILL)

repository = Repository.open(FolderStore(Path(sys.argv[1])))
pull(repository, repository.catalogue.resolve("ds:latest"), Path(sys.argv[2]), Path(sys.argv[3]), None, Killing())
"""


def test_a_process_killed_hard_leaves_the_old_state_and_the_next_moves_only_the_rest(tmp_path: Path) -> None:
    repository = new_repository(FolderStore(tmp_path / "store", create=True))
    source, dest, state = tmp_path / "source", tmp_path / "dest", tmp_path / "pull-state"
    source.mkdir()
    (source / "small").write_text("first")
    push(repository, source, "ds", ["latest"], tmp_path / "push-state")
    pull(repository, latest(repository), dest, state)
    before = held(dest)
    size = 24_000_000
    (source / "large").write_bytes(noise(size))
    push(repository, source, "ds", ["latest"], tmp_path / "push-state")
    killed = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "store", dest, state], cwd=Path(__file__).parents[4], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert held(dest) == before
    pulled = pull(Repository.open(repository.objects), latest(repository), dest, state)
    assert pulled.bytes_fetched <= size - 10_000_000
    assert held(dest) == held(source)


def test_a_time_that_only_was_touched_costs_no_bytes(bench: Bench) -> None:
    bench.pull()
    os.utime(bench.source / "one", ns=(OLD_NS, OLD_NS))
    bench.publish()
    assert bench.pull().bytes_fetched == 0
    assert bench.equal()
