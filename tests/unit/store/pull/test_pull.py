"""What a pull makes of a folder: the same tree, with as little fetched as can be."""

import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.errors import BlockCorrupt, DestinationUnusable, PathMissing, StoreUnavailable
from store.layout import PACKS, pack_key
from store.objects.base import ObjectStore
from store.objects.local import FolderStore
from store.objects.measure import Measuring, Snapshot
from store.objects.memory import MemoryStore
from store.pull.pull import PullCounters, Pulled, PullOptions, pull
from store.push.push import push
from store.repository import Repository
from tests.support.folders import HARD_NAMES, OLD_NS, Failing, held, latest, new_repository


@pytest.fixture(params=["memory", "folder"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    store: ObjectStore = MemoryStore() if request.param == "memory" else FolderStore(tmp_path / "store", create=True)
    yield store
    store.close()


@pytest.fixture
def repository(objects: ObjectStore) -> Repository:
    return new_repository(objects)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def publish(repository: Repository, source: Path, tmp_path: Path) -> None:
    push(repository, source, "ds", ["latest"], tmp_path / "push-state")


def fetch(repository: Repository, tmp_path: Path, options: PullOptions | None = None, dest: str = "dest") -> Pulled:
    return pull(repository, latest(repository), tmp_path / dest, tmp_path / "pull-state", options)


def staging_folders(tmp_path: Path) -> list[Path]:
    return [path for path in tmp_path.iterdir() if path.name.startswith(".aetherfs-pull")]


def settle(folder: Path, ns: int = OLD_NS) -> None:
    """Give everything one time, so that only what a test changes differs."""
    for base, folders, files in os.walk(os.fsencode(folder), topdown=False):
        for name in folders + files:
            os.utime(os.path.join(base, name), ns=(ns, ns), follow_symlinks=False)
    os.utime(folder, ns=(ns, ns))


# equal


def test_everything_that_is_kept_arrives(repository: Repository, source: Path, tmp_path: Path) -> None:
    (source / "sub" / "deeper").mkdir(parents=True)
    (source / "empty folder").mkdir()
    (source / "empty file").touch()
    (source / "sub" / "large").write_bytes(noise(3 << 20))
    (source / "sub" / "deeper" / "text").write_text("words\n" * 1000)
    (source / "run me").write_text("#!/bin/sh\n")
    (source / "run me").chmod(0o755)
    (source / "link").symlink_to("sub/large")
    (source / "dangling").symlink_to("/nowhere/at all")
    (source / "to a folder").symlink_to("sub")
    settle(source)
    os.utime(source / "run me", ns=(1, -5_000_000_001))
    publish(repository, source, tmp_path)
    pulled = fetch(repository, tmp_path)
    assert held(tmp_path / "dest") == held(source)
    assert (pulled.files, pulled.size, pulled.bytes_reused) == (4, held_size(source), 0)
    assert pulled.changed
    assert staging_folders(tmp_path) == []


def held_size(folder: Path) -> int:
    return sum(len(entry.content) for entry in held(folder).values() if not stat.S_ISLNK(entry.kind))


@pytest.mark.parametrize("name", HARD_NAMES)
def test_hard_names_arrive_as_they_are(source: Path, tmp_path: Path, name: bytes) -> None:
    repository = new_repository()
    folder = os.path.join(os.fsencode(source), name)
    os.mkdir(folder)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(name)
    os.symlink(name, os.path.join(folder, b"link"))
    publish(repository, source, tmp_path)
    fetch(repository, tmp_path)
    assert held(tmp_path / "dest") == held(source)


def test_a_folder_of_hard_names_is_pulled_in_place_twice(source: Path, tmp_path: Path) -> None:
    repository = new_repository()
    for name in HARD_NAMES:
        with open(os.path.join(os.fsencode(source), name), "wb") as file:
            file.write(name * 3)
    publish(repository, source, tmp_path)
    fetch(repository, tmp_path)
    os.unlink(os.path.join(os.fsencode(source), HARD_NAMES[0]))
    publish(repository, source, tmp_path)
    assert fetch(repository, tmp_path).bytes_fetched == 0
    assert held(tmp_path / "dest") == held(source)


def test_holes_stay_holes(repository: Repository, source: Path, tmp_path: Path) -> None:
    size = 64 << 20
    with (source / "sparse").open("wb") as file:
        file.write(b"begin")
        file.seek(size // 2)
        file.write(noise(100_000))
        file.truncate(size)
    publish(repository, source, tmp_path)
    pulled = fetch(repository, tmp_path)
    arrived = tmp_path / "dest" / "sparse"
    assert arrived.stat().st_size == size
    assert arrived.stat().st_blocks * 512 < 1 << 20
    assert pulled.bytes_fetched < 1 << 20
    assert arrived.read_bytes() == (source / "sparse").read_bytes()


def test_a_hole_stays_one_where_the_file_is_copied_for_its_time(source: Path, tmp_path: Path) -> None:
    repository = new_repository()
    with (source / "sparse").open("wb") as file:
        file.write(b"begin")
        file.truncate(32 << 20)
    publish(repository, source, tmp_path)
    fetch(repository, tmp_path)
    os.utime(source / "sparse", ns=(1, OLD_NS))
    publish(repository, source, tmp_path)
    assert fetch(repository, tmp_path).bytes_fetched == 0
    arrived = (tmp_path / "dest" / "sparse").stat()
    assert (arrived.st_mtime_ns, arrived.st_size) == (OLD_NS, 32 << 20)
    assert arrived.st_blocks * 512 < 1 << 20


def test_modes_follow_the_umask(source: Path, tmp_path: Path) -> None:
    repository = new_repository()
    (source / "plain").write_text("x")
    (source / "run").write_text("y")
    (source / "run").chmod(0o700)
    publish(repository, source, tmp_path)
    before = os.umask(0o027)
    try:
        fetch(repository, tmp_path)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "dest").iterdir()}
    assert modes == {"plain": 0o640, "run": 0o750}
    assert (tmp_path / "dest").stat().st_mode & 0o777 == 0o750


def test_one_published_file_arrives_in_a_folder(source: Path, tmp_path: Path) -> None:
    repository = new_repository()
    (source / "one.db").write_bytes(noise(100_000))
    publish(repository, source / "one.db", tmp_path)
    fetch(repository, tmp_path)
    assert [path.name for path in (tmp_path / "dest").iterdir()] == ["one.db"]
    assert (tmp_path / "dest" / "one.db").read_bytes() == noise(100_000)


# little is fetched


def test_the_second_version_in_place_fetches_only_new_blocks(
    repository: Repository, source: Path, tmp_path: Path
) -> None:
    data = bytearray(noise(8 << 20))
    (source / "changes").write_bytes(data)
    (source / "stays").write_bytes(noise(2 << 20, 1))
    settle(source)
    publish(repository, source, tmp_path)
    fetch(repository, tmp_path)
    inode = (tmp_path / "dest" / "stays").stat().st_ino
    data[4 << 20 : 4 << 20] = b"inserted in the middle"
    (source / "changes").write_bytes(data)
    publish(repository, source, tmp_path)
    measured = Measuring(repository.objects)
    again = Repository.open(measured)
    state = latest(again)
    again.manifest(bytes.fromhex(state.manifest), bytes.fromhex(state.content.root))
    before = measured.snapshot()
    pulled = fetch(again, tmp_path)
    assert held(tmp_path / "dest") == held(source)
    assert pulled.bytes_fetched < 1 << 20
    assert pulled.bytes_reused > 9 << 20
    assert pulled.requests <= 2
    assert packs_read(measured.snapshot(), before) < 1 << 20
    assert (tmp_path / "dest" / "stays").stat().st_ino == inode


def packs_read(now: Snapshot, before: Snapshot) -> int:
    return now.since(before).bytes_in


def test_an_equal_destination_is_left_alone(repository: Repository, source: Path, tmp_path: Path) -> None:
    (source / "file").write_bytes(noise(300_000))
    (source / "link").symlink_to("file")
    publish(repository, source, tmp_path)
    fetch(repository, tmp_path)
    inode = (tmp_path / "dest").stat().st_ino
    again = fetch(repository, tmp_path)
    assert (again.changed, again.bytes_fetched, again.requests) == (False, 0, 0)
    assert (tmp_path / "dest").stat().st_ino == inode


def test_a_block_at_many_places_is_fetched_once(source: Path, tmp_path: Path) -> None:
    repository = new_repository()
    for number in range(10):
        (source / str(number)).write_bytes(noise(500_000))
    publish(repository, source, tmp_path)
    pulled = fetch(repository, tmp_path)
    assert pulled.bytes_fetched <= 510_000
    assert held(tmp_path / "dest") == held(source)


def test_a_moved_file_is_not_fetched_again(source: Path, tmp_path: Path) -> None:
    repository = new_repository()
    (source / "here").write_bytes(noise(2 << 20))
    publish(repository, source, tmp_path)
    fetch(repository, tmp_path)
    (source / "there").mkdir()
    (source / "here").rename(source / "there" / "moved")
    publish(repository, source, tmp_path)
    pulled = fetch(repository, tmp_path)
    assert (pulled.bytes_fetched, pulled.bytes_reused) == (0, 2 << 20)
    assert held(tmp_path / "dest") == held(source)


@pytest.mark.parametrize("stays", [True, False])
def test_copies_of_a_file_that_is_there_get_inodes_of_their_own(source: Path, tmp_path: Path, stays: bool) -> None:
    repository = new_repository()
    (source / "one").write_bytes(noise(100_000))
    settle(source)
    publish(repository, source, tmp_path)
    fetch(repository, tmp_path)
    for name in ("two", "three"):
        (source / name).write_bytes(noise(100_000))
    if not stays:
        (source / "one").unlink()
    settle(source)
    publish(repository, source, tmp_path)
    assert fetch(repository, tmp_path).bytes_fetched == 0
    assert held(tmp_path / "dest") == held(source)
    assert {path.stat().st_nlink for path in (tmp_path / "dest").iterdir()} == {1}


def test_blocks_of_a_reused_file_serve_a_new_one(source: Path, tmp_path: Path) -> None:
    repository = new_repository()
    (source / "first").write_bytes(noise(1 << 20))
    settle(source)
    publish(repository, source, tmp_path)
    fetch(repository, tmp_path)
    (source / "longer").write_bytes(noise(1 << 20) + noise(10_000, 2))
    publish(repository, source, tmp_path)
    assert fetch(repository, tmp_path).bytes_fetched < 300_000
    assert held(tmp_path / "dest") == held(source)


def test_blocks_of_overwritten_foreign_files_are_used(source: Path, tmp_path: Path) -> None:
    repository = new_repository()
    (source / "file").write_bytes(noise(4 << 20))
    publish(repository, source, tmp_path)
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "mine").write_bytes(noise(2 << 20) + b"other end")
    pulled = fetch(repository, tmp_path, PullOptions(force=True))
    assert pulled.bytes_reused > 1 << 20
    assert pulled.bytes_fetched < 3 << 20
    assert held(tmp_path / "dest") == held(source)


# a part


@pytest.fixture
def mixed(source: Path, tmp_path: Path) -> Repository:
    repository = new_repository()
    for seed, path in enumerate(("a/one.csv", "a/two.txt", "b/c/three.csv", "b/four.txt")):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(noise(50_000, seed))
    (source / "bare").mkdir()
    publish(repository, source, tmp_path)
    return repository


@pytest.mark.parametrize(
    ("include", "there"),
    [
        (("*.csv",), {"a", "a/one.csv", "b", "b/c", "b/c/three.csv"}),
        (("a",), {"a", "a/one.csv", "a/two.txt"}),
        (("b/c/*", "bare"), {"b", "b/c", "b/c/three.csv", "bare"}),
    ],
)
def test_only_what_is_included_is_there(
    mixed: Repository, tmp_path: Path, include: tuple[str, ...], there: set[str]
) -> None:
    fetch(mixed, tmp_path, PullOptions(include=include))
    dest = tmp_path / "dest"
    assert {str(path.relative_to(dest)) for path in dest.rglob("*")} == there


def test_what_is_not_included_is_not_fetched(mixed: Repository, tmp_path: Path) -> None:
    pulled = fetch(mixed, tmp_path, PullOptions(include=["four.txt"]))
    assert (pulled.files, pulled.size) == (1, 50_000)
    assert pulled.bytes_fetched <= 50_000


def test_an_include_that_matches_nothing_changes_nothing(mixed: Repository, tmp_path: Path) -> None:
    fetch(mixed, tmp_path)
    before = held(tmp_path / "dest")
    with pytest.raises(PathMissing, match=r"\*\.parquet"):
        fetch(mixed, tmp_path, PullOptions(include=["*.parquet"]))
    assert held(tmp_path / "dest") == before


def test_the_rest_comes_without_fetching_the_part_again(mixed: Repository, source: Path, tmp_path: Path) -> None:
    fetch(mixed, tmp_path, PullOptions(include=["*.csv"]))
    pulled = fetch(mixed, tmp_path)
    assert pulled.bytes_reused == 100_000
    assert held(tmp_path / "dest") == held(source)


# interrupted


@pytest.mark.slow
def test_a_pull_that_fails_anywhere_goes_on_where_it_was(source: Path, tmp_path: Path) -> None:
    objects = Failing(MemoryStore(), method="get", only=PACKS)
    repository = new_repository(objects)
    for number in range(5):
        (source / f"large {number}").write_bytes(noise(6 << 20, number))
    publish(repository, source, tmp_path)
    whole = fetch(repository, tmp_path, dest="other")
    assert whole.requests >= 6
    fetched = 0
    for _ in range(10 * whole.requests):  # what is left is asked for in ever smaller pieces
        objects.calls_left = 1
        counters = PullCounters()
        try:
            pull(repository, latest(repository), tmp_path / "dest", tmp_path / "pull-state", counters=counters)
        except StoreUnavailable:
            assert not (tmp_path / "dest").exists()
            fetched += 1
        else:
            break
    assert fetched >= 5
    assert held(tmp_path / "dest") == held(source)
    assert staging_folders(tmp_path) == []


def test_every_kind_of_entry_survives_a_pull_that_fails_at_each_request(source: Path, tmp_path: Path) -> None:
    objects = Failing(MemoryStore(), method="get", only=PACKS)
    repository = new_repository(objects)
    (source / "sub" / "bare").mkdir(parents=True)
    (source / "empty").touch()
    (source / "sub" / "link").symlink_to("../empty")
    with (source / "sub" / "sparse").open("wb") as file:
        for seed in range(3):
            file.write(noise(5_000_001, seed))
            file.seek(5_000_003, os.SEEK_CUR)
        file.truncate()
    (source / "sub" / "sparse").chmod(0o755)
    settle(source)
    publish(repository, source, tmp_path)
    requests = fetch(repository, tmp_path, dest="other").requests
    for _ in range(10 * requests):
        objects.calls_left = 1
        try:
            fetch(repository, tmp_path)
        except StoreUnavailable:
            assert (len(staging_folders(tmp_path)), (tmp_path / "dest").exists()) == (1, False)
        else:
            break
    assert held(tmp_path / "dest") == held(source)
    assert (tmp_path / "dest" / "sub" / "sparse").stat().st_blocks * 512 < 16 << 20


def test_what_is_missing_is_noted_a_batch_at_a_time_and_fetched_once(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = new_repository()
    for name in ("a", "b", "c"):
        (source / name).write_bytes(noise(4 << 20) + noise(4 << 20) + name.encode())
    publish(repository, source, tmp_path)
    monkeypatch.setattr("store.pull.pull._BATCH", 7)
    pulled = fetch(repository, tmp_path)
    assert pulled.bytes_fetched < 5 << 20
    assert pulled.requests > 5
    assert held(tmp_path / "dest") == held(source)


def test_what_a_killed_pull_left_in_a_hole_does_not_stay(source: Path, tmp_path: Path) -> None:
    objects = Failing(MemoryStore(), method="get", only=PACKS)
    repository = new_repository(objects)
    with (source / "sparse").open("wb") as file:
        file.write(noise(100_000))
        file.truncate(8 << 20)
    publish(repository, source, tmp_path)
    objects.calls_left = 0
    with pytest.raises(StoreUnavailable):
        fetch(repository, tmp_path)
    (staged,) = (path for path in staging_folders(tmp_path)[0].rglob("sparse") if path.is_file())
    with staged.open("r+b") as file:
        file.seek(4 << 20)
        file.write(b"x")
    objects.calls_left = None
    fetch(repository, tmp_path)
    assert held(tmp_path / "dest") == held(source)


def test_what_a_killed_pull_fetched_serves_a_pull_of_another_state(source: Path, tmp_path: Path) -> None:
    objects = Failing(MemoryStore(), method="get", only=PACKS)
    repository = new_repository(objects)
    for number in range(3):
        (source / f"large {number}").write_bytes(noise(6 << 20, number))
    publish(repository, source, tmp_path)
    objects.calls_left = fetch(repository, tmp_path, dest="other").requests * 2 // 3
    with pytest.raises(StoreUnavailable):
        fetch(repository, tmp_path)
    for number in range(3):
        (source / f"large {number}").write_bytes(b"shifted" + noise(6 << 20, number))
    publish(repository, source, tmp_path)
    objects.calls_left = None
    pulled = fetch(repository, tmp_path)
    assert pulled.bytes_reused > 10 << 20
    assert pulled.bytes_fetched < 8 << 20
    assert held(tmp_path / "dest") == held(source)
    assert staging_folders(tmp_path) == []


def test_damage_in_what_a_killed_pull_left_is_fetched_again(source: Path, tmp_path: Path) -> None:
    objects = Failing(MemoryStore(), method="get", only=PACKS)
    repository = new_repository(objects)
    (source / "large").write_bytes(noise(12 << 20))
    publish(repository, source, tmp_path)
    objects.calls_left = 2
    with pytest.raises(StoreUnavailable):
        fetch(repository, tmp_path)
    (staged,) = (path for path in staging_folders(tmp_path)[0].rglob("large") if path.is_file())
    with staged.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"damage" * 100)
    objects.calls_left = None
    fetch(repository, tmp_path)
    assert held(tmp_path / "dest") == held(source)


def test_a_killed_pull_in_place_changed_nothing(source: Path, tmp_path: Path) -> None:
    objects = Failing(MemoryStore(), method="get", only=PACKS)
    repository = new_repository(objects)
    (source / "file").write_bytes(noise(5 << 20))
    (source / "stays").write_bytes(noise(1 << 20, 3))
    publish(repository, source, tmp_path)
    fetch(repository, tmp_path)
    before = held(tmp_path / "dest")
    (source / "file").write_bytes(noise(5 << 20, 1))
    publish(repository, source, tmp_path)
    objects.calls_left = 1
    with pytest.raises(StoreUnavailable):
        fetch(repository, tmp_path)
    assert held(tmp_path / "dest") == before
    objects.calls_left = None
    fetch(repository, tmp_path)
    assert held(tmp_path / "dest") == held(source)


# bad blocks, bad places


def test_a_damaged_block_is_never_shown(source: Path, tmp_path: Path) -> None:
    objects = MemoryStore()
    repository = new_repository(objects)
    (source / "file").write_bytes(noise(1 << 20))
    publish(repository, source, tmp_path)
    (key,) = (info.key for info in objects.list(PACKS))
    data = bytearray(objects.get(key))
    data[5000] ^= 1
    objects.put(key, data)
    with pytest.raises(BlockCorrupt, match=key):
        fetch(repository, tmp_path)
    assert not (tmp_path / "dest").exists()
    assert pack_key(key.rpartition("/")[2]) == key


def test_a_destination_that_is_a_file_is_refused(source: Path, tmp_path: Path) -> None:
    repository = new_repository()
    publish(repository, source, tmp_path)
    (tmp_path / "dest").write_text("mine")
    with pytest.raises(DestinationUnusable, match="not a folder"):
        fetch(repository, tmp_path, PullOptions(force=True))
    assert (tmp_path / "dest").read_text() == "mine"


def test_a_mount_point_is_refused(source: Path, tmp_path: Path) -> None:
    repository = new_repository()
    publish(repository, source, tmp_path)
    with pytest.raises(DestinationUnusable, match="mount point"):
        pull(repository, latest(repository), Path("/"), tmp_path / "pull-state")


def test_the_current_folder_is_refused(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = new_repository()
    publish(repository, source, tmp_path)
    (tmp_path / "dest" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "dest" / "below")
    with pytest.raises(DestinationUnusable, match="current folder"):
        fetch(repository, tmp_path)


def test_a_link_to_a_folder_stays_and_its_target_is_exchanged(source: Path, tmp_path: Path) -> None:
    repository = new_repository()
    (source / "file").write_text("text")
    publish(repository, source, tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "dest").symlink_to("elsewhere")
    fetch(repository, tmp_path)
    assert os.readlink(tmp_path / "dest") == "elsewhere"
    assert held(tmp_path / "elsewhere") == held(source)


def test_the_folders_above_a_destination_are_made(source: Path, tmp_path: Path) -> None:
    repository = new_repository()
    publish(repository, source, tmp_path)
    fetch(repository, tmp_path, dest="new/and/deep")
    assert held(tmp_path / "new" / "and" / "deep") == held(source)


def test_a_link_in_a_state_never_leads_writing_outside(source: Path, tmp_path: Path) -> None:
    repository = new_repository()
    outside = tmp_path / "outside"
    outside.mkdir()
    (source / "x").symlink_to(outside)
    publish(repository, source, tmp_path)
    fetch(repository, tmp_path)
    (source / "x").unlink()
    (source / "x").mkdir()
    (source / "x" / "file").write_bytes(noise(100_000))
    publish(repository, source, tmp_path)
    fetch(repository, tmp_path)
    assert list(outside.iterdir()) == []
    assert held(tmp_path / "dest") == held(source)


def test_verify_reads_every_file_and_restores_one_that_was_altered_unseen(source: Path, tmp_path: Path) -> None:
    repository = new_repository()
    (source / "file").write_bytes(noise(200_000))
    settle(source)
    publish(repository, source, tmp_path)
    fetch(repository, tmp_path)
    pulled = fetch(repository, tmp_path, PullOptions(verify=True))
    assert (pulled.changed, pulled.bytes_fetched) == (False, 0)
    with (tmp_path / "dest" / "file").open("r+b") as file:
        file.write(b"altered")
    os.utime(tmp_path / "dest" / "file", ns=(OLD_NS, OLD_NS))
    fetch(repository, tmp_path, PullOptions(verify=True, force=True))
    assert held(tmp_path / "dest") == held(source)


def test_counters_end_at_the_whole(source: Path, tmp_path: Path) -> None:
    repository = new_repository()
    (source / "file").write_bytes(noise(200_000))
    (source / "more").write_bytes(noise(20_000))
    publish(repository, source, tmp_path)
    counters = PullCounters()
    pull(repository, latest(repository), tmp_path / "dest", tmp_path / "pull-state", counters=counters)
    assert (counters.files_total, counters.bytes_total, counters.bytes_done) == (2, 220_000, 220_000)
    assert counters.bytes_fetched > 0


@pytest.mark.parametrize("size", [1, 20_000])
def test_small_files_keep_mode_and_time_with_one_content_at_many_places(
    source: Path, tmp_path: Path, size: int
) -> None:
    """Each is made when its block is there: as often as it is wanted, each time with its own bit and time."""
    repository = new_repository()
    for number in range(6):
        path = source / f"file {number}"
        path.write_bytes(noise(size))
        path.chmod(0o755 if number % 2 else 0o644)
        os.utime(path, ns=(1, OLD_NS + number * 1_000_000_007))
    publish(repository, source, tmp_path)
    fetch(repository, tmp_path)
    assert held(tmp_path / "dest") == held(source)
    assert len({path.stat().st_ino for path in (tmp_path / "dest").iterdir()}) == 6


def test_a_file_that_grew_out_of_one_block_and_back_is_right_each_time(source: Path, tmp_path: Path) -> None:
    repository = new_repository()
    for turn, size in enumerate((5_000, 3 << 20, 5_000, 0, 5_000)):
        (source / "file").write_bytes(noise(size, seed=turn))
        os.utime(source / "file", ns=(1, OLD_NS + turn))
        publish(repository, source, tmp_path)
        fetch(repository, tmp_path)
        assert held(tmp_path / "dest") == held(source)
